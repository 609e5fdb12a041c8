//! Datasets of a server on this machine that speaks as the Hugging Face Hub does.

use std::path::Path;

use t81_datasets::{DataError, DatasetSource, LoadOptions, TokenStreams};
use t81_hub::{HubClient, HubError};

use crate::fixtures::{TEST, TRAIN, VALIDATION, configuration, decoded, path, tokenizer};
use crate::hub_server::{HubServer, Repo};

fn client(server: &HubServer, cache: &Path, offline: bool) -> HubClient {
    HubClient::builder()
        .endpoint(server.url())
        .cache_directory(cache)
        .token(None)
        .offline(offline)
        .build()
        .unwrap()
}

fn wikitext_server() -> HubServer {
    let server = HubServer::start();
    let repo = Repo::dataset("Salesforce/wikitext")
        .files_of(&path("wikitext"))
        .alias("wikitext");
    server.add(repo);
    server
}

fn load(name: &str, client: &HubClient, options: &LoadOptions) -> Result<TokenStreams, DataError> {
    let source: DatasetSource = name.parse().unwrap();
    source.load_with(&tokenizer(), options, Some(client), &mut |_| {})
}

#[test]
fn wikitext_comes_by_its_old_name_and_its_new_one() {
    let server = wikitext_server();
    for name in ["wikitext", "Salesforce/wikitext"] {
        let cache = tempfile::tempdir().unwrap();
        let client = client(&server, cache.path(), false);
        server.forget();
        let streams = load(name, &client, &LoadOptions::default()).unwrap();
        assert_eq!(decoded(&streams.train), TRAIN);
        assert_eq!(decoded(&streams.validation), VALIDATION);
        // Nothing but the card and the two files of the default configuration was downloaded.
        assert_eq!(
            server.served(),
            [
                "README.md",
                "wikitext-2-raw-v1/train-00000-of-00001.parquet",
                "wikitext-2-raw-v1/validation-00000-of-00001.parquet",
            ]
        );
        // A second load downloads nothing.
        server.forget();
        assert_eq!(
            load(name, &client, &LoadOptions::default()).unwrap(),
            streams
        );
        assert_eq!(server.served(), [""; 0]);
    }
}

#[test]
fn only_the_files_that_are_needed_are_downloaded() {
    let server = wikitext_server();
    let cache = tempfile::tempdir().unwrap();
    let client = client(&server, cache.path(), false);
    let options = LoadOptions {
        block_size: 8,
        max_train_samples: Some(3),
        validation_split: Some("test".to_owned()),
        ..configuration("wikitext-103-raw-v1")
    };
    let streams = load("wikitext", &client, &options).unwrap();
    assert_eq!(streams.train.len(), 25);
    assert_eq!(decoded(&streams.validation), TEST);
    assert_eq!(
        server.served(),
        [
            "README.md",
            "wikitext-103-raw-v1/test-00000-of-00001.parquet",
            "wikitext-103-raw-v1/train-00000-of-00002.parquet",
        ]
    );
    let all = configuration("wikitext-103-raw-v1");
    let streams = load("wikitext", &client, &all).unwrap();
    assert!(decoded(&streams.train).ends_with(" One line more . \n"));
}

#[test]
fn what_was_downloaded_is_read_without_a_network() {
    let server = wikitext_server();
    let cache = tempfile::tempdir().unwrap();
    let online = client(&server, cache.path(), false);
    let streams = load("wikitext", &online, &LoadOptions::default()).unwrap();
    let offline = client(&server, cache.path(), true);
    server.forget();
    let again = load("wikitext", &offline, &LoadOptions::default()).unwrap();
    assert_eq!(again, streams);
    assert!(server.requests().is_empty());
    let error = load("wikitext", &offline, &configuration("wikitext-103-raw-v1")).unwrap_err();
    assert!(matches!(error, DataError::CardPattern { .. }), "{error}");
}

#[test]
fn a_load_that_fails_leaves_the_earlier_commit_for_offline_runs() {
    let server = wikitext_server();
    let cache = tempfile::tempdir().unwrap();
    let online = client(&server, cache.path(), false);
    let streams = load("wikitext", &online, &LoadOptions::default()).unwrap();
    let old = Repo::dataset("Salesforce/wikitext")
        .files_of(&path("wikitext"))
        .commit();
    // The branch moves to a commit one of whose files cannot be had.
    let changed = Repo::dataset("Salesforce/wikitext")
        .files_of(&path("wikitext"))
        .file("LICENSE", "new")
        .file("wikitext-2-raw-v1/train-00000-of-00001.parquet", "damaged")
        .alias("wikitext");
    assert_ne!(changed.commit(), old);
    server.add(changed);
    load("wikitext", &online, &LoadOptions::default()).unwrap_err();
    let offline = client(&server, cache.path(), true);
    let again = load("wikitext", &offline, &LoadOptions::default()).unwrap();
    assert_eq!(again, streams);
}

#[test]
fn a_missing_dataset_or_revision_is_the_hubs_error() {
    let server = wikitext_server();
    let cache = tempfile::tempdir().unwrap();
    let client = client(&server, cache.path(), false);
    let error = load("owner/nothing", &client, &LoadOptions::default()).unwrap_err();
    assert!(
        matches!(error, DataError::Hub(HubError::Remote(_)))
            && error.to_string().contains("owner/nothing"),
        "{error}"
    );
    let revision = LoadOptions {
        revision: Some("no-such-branch".to_owned()),
        ..LoadOptions::default()
    };
    let error = load("wikitext", &client, &revision).unwrap_err();
    assert!(error.to_string().contains("no-such-branch"), "{error}");
}
