//! The cache: its layout, and that it is used.

use std::fs;

use t81_hub::{HubError, RemoteError};

use super::{Place, Recorder, crowded, dataset, model, noise, remote, sharded, tree};
use crate::hub_server::{Fault, Repo};

#[test]
fn the_layout_is_the_one_of_the_python_tools() {
    let place = Place::new();
    let repo = Repo::dataset("owner/data")
        .file("README.md", "a card")
        .file("data/part 1.parquet", noise(1000));
    let (commit, hash) = (
        repo.commit(),
        repo.hash_of("data/part 1.parquet").to_owned(),
    );
    let card = repo.hash_of("README.md")[..40].to_owned();
    place.server.add(repo);
    let client = place.client();
    let listing = client.list(&dataset("owner/data")).unwrap();
    assert_eq!(listing.commit, commit);
    let sizes: Vec<_> = listing
        .files
        .iter()
        .map(|file| (file.path.as_str(), file.size))
        .collect();
    assert_eq!(
        sizes,
        [("README.md", Some(6)), ("data/part 1.parquet", Some(1000))]
    );
    let paths = client
        .download_all(
            &dataset("owner/data"),
            &["data/part 1.parquet", "README.md"],
        )
        .unwrap();
    assert_eq!(fs::read(&paths[0]).unwrap(), noise(1000));
    assert_eq!(fs::read(&paths[1]).unwrap(), b"a card");
    let folder = "datasets--owner--data";
    let mut expected = vec![
        format!(".locks/{folder}/{hash}.lock"),
        format!(".locks/{folder}/{card}.lock"),
        format!("{folder}/blobs/{hash}"),
        format!("{folder}/blobs/{card}"),
        format!("{folder}/refs/main"),
        format!("{folder}/snapshots/{commit}/README.md"),
        format!("{folder}/snapshots/{commit}/data/part 1.parquet"),
    ];
    expected.sort();
    assert_eq!(tree(place.cache.path()), expected);
    assert_eq!(
        fs::read_to_string(place.cached(&format!("{folder}/refs/main"))).unwrap(),
        commit
    );
    #[cfg(unix)]
    {
        let link = |path: &str| {
            let link = place.cached(&format!("{folder}/snapshots/{commit}/{path}"));
            fs::read_link(link).unwrap().to_str().unwrap().to_owned()
        };
        assert_eq!(link("README.md"), format!("../../blobs/{card}"));
        assert_eq!(
            link("data/part 1.parquet"),
            format!("../../../blobs/{hash}")
        );
    }
}

#[test]
fn what_is_cached_is_not_fetched_again() {
    let (place, source) = (Place::new(), tempfile::tempdir().unwrap());
    let repo = sharded("owner/name", source.path());
    let commit = repo.commit();
    place.server.add(repo);
    place.client().model(&model("owner/name")).unwrap();
    place.server.forget();
    place.client().model(&model("owner/name")).unwrap();
    assert_eq!(
        place.server.requests().len(),
        1,
        "{:?}",
        place.server.requests()
    );
    // A file at a commit costs nothing at all.
    place.server.forget();
    let pinned = model("owner/name").at_revision(&commit).unwrap();
    place.client().download(&pinned, "config.json").unwrap();
    assert!(place.server.requests().is_empty());
    // A new commit costs what changed.
    let changed = sharded("owner/name", source.path()).file("LICENSE", "new");
    let new_commit = changed.commit();
    place.server.add(changed);
    let directory = place.client().model(&model("owner/name")).unwrap();
    assert!(directory.ends_with(new_commit));
    assert_eq!(place.server.served(), ["LICENSE"]);
}

#[test]
fn a_deleted_blob_is_fetched_anew() {
    let place = Place::new();
    place
        .server
        .add(Repo::model("a/b").file("model.safetensors", noise(100)));
    let path = place
        .client()
        .download(&model("a/b"), "model.safetensors")
        .unwrap();
    fs::remove_file(fs::canonicalize(&path).unwrap()).unwrap();
    assert_eq!(
        place
            .client()
            .download(&model("a/b"), "model.safetensors")
            .unwrap(),
        path
    );
    assert_eq!(fs::read(&path).unwrap(), noise(100));
    // One that is too short is what a tool without checks left behind.
    fs::write(fs::canonicalize(&path).unwrap(), "short").unwrap();
    fs::remove_file(&path).unwrap();
    place
        .client()
        .download(&model("a/b"), "model.safetensors")
        .unwrap();
    assert_eq!(fs::read(&path).unwrap(), noise(100));
}

#[test]
fn offline_the_cache_is_all_there_is() {
    let (place, source) = (Place::new(), tempfile::tempdir().unwrap());
    place.server.add(sharded("owner/name", source.path()));
    place.server.add(
        Repo::dataset("owner/data")
            .file("x/a.txt", "a")
            .file("b.txt", "bb"),
    );
    let offline = place.builder().offline(true).build().unwrap();
    for error in [
        remote(offline.model(&model("owner/name"))),
        remote(offline.list(&model("owner/name")).map(|_| place.cached(""))),
        remote(offline.download(&model("owner/name"), "config.json")),
    ] {
        assert!(matches!(error, RemoteError::Offline { .. }), "{error:?}");
        assert!(error.to_string().contains("HF_HUB_OFFLINE"), "{error}");
    }
    let online = place.client();
    let directory = online.model(&model("owner/name")).unwrap();
    online.list(&dataset("owner/data")).unwrap();
    online.download(&dataset("owner/data"), "x/a.txt").unwrap();
    place.server.forget();
    assert_eq!(offline.model(&model("owner/name")).unwrap(), directory);
    let listing = offline.list(&dataset("owner/data")).unwrap();
    assert_eq!(listing.files.len(), 1);
    assert_eq!(
        (listing.files[0].path.as_str(), listing.files[0].size),
        ("x/a.txt", Some(1))
    );
    offline.download(&dataset("owner/data"), "x/a.txt").unwrap();
    let error = remote(offline.download(&dataset("owner/data"), "b.txt")).to_string();
    assert!(
        error.starts_with("`b.txt` of `owner/data` is not in the cache"),
        "{error}"
    );
    assert!(place.server.requests().is_empty());
    // A shard that is gone makes the model incomplete.
    fs::remove_file(directory.join(crate::model::SHARDS[1])).unwrap();
    let error = remote(offline.model(&model("owner/name"))).to_string();
    assert!(error.contains(crate::model::SHARDS[1]), "{error}");
}

#[test]
fn a_branch_moves_when_the_files_of_its_commit_are_there() {
    let place = Place::new();
    let repo = || {
        Repo::dataset("owner/data")
            .file("a.txt", "a")
            .file("b.txt", "b")
    };
    place.server.add(repo());
    let data = dataset("owner/data");
    let online = place.client();
    let files = ["a.txt", "b.txt"];
    online.download_all(&data, &files).unwrap();
    let changed = repo().file("a.txt", "new");
    let commit = changed.commit();
    place.server.add(changed);
    let offline = place.builder().offline(true).build().unwrap();
    let cached = || {
        let paths = offline.download_all(&data, &files).unwrap();
        let read = |path| fs::read_to_string(path).unwrap();
        paths.into_iter().map(read).collect::<Vec<_>>()
    };
    // A listing downloads nothing, and a missing file fails after the others were downloaded.
    online.list(&data).unwrap();
    assert_eq!(cached(), ["a", "b"]);
    let missing = ["a.txt", "b.txt", "c.txt"];
    online.download_all(&data, &missing).unwrap_err();
    assert_eq!(cached(), ["a", "b"]);
    online.record_revision(&data, &commit);
    assert_eq!(offline.list(&data).unwrap().commit, commit);
    online.download_all(&data, &files).unwrap();
    assert_eq!(cached(), ["new", "b"]);
}

#[test]
fn an_outage_falls_back_on_the_cache_and_says_so() {
    let (place, source) = (Place::new(), tempfile::tempdir().unwrap());
    place.server.add(crowded("owner/name", source.path()));
    let directory = place.client().model(&model("owner/name")).unwrap();
    place.server.plant(Fault::status("/", 503, &[]));
    let recorder = Recorder::new(u64::MAX);
    let client = place.builder().progress(recorder.clone()).build().unwrap();
    assert_eq!(client.model(&model("owner/name")).unwrap(), directory);
    assert!(
        recorder.heard().contains("what the cache holds is used"),
        "{}",
        recorder.heard()
    );
    client
        .download(&model("owner/name"), "config.json")
        .unwrap();
    assert_eq!(client.list(&model("owner/name")).unwrap().files.len(), 7);
    let error = remote(client.model(&model("owner/other")));
    assert!(
        matches!(error, RemoteError::Server { status: 503, .. }),
        "{error:?}"
    );
}

#[cfg(unix)]
#[test]
fn a_cache_that_cannot_be_written_is_an_error_that_names_the_place() {
    let place = Place::new();
    place
        .server
        .add(Repo::model("a/b").file("config.json", "{}"));
    // A file where the folder should be; permissions would not stop root.
    fs::write(place.cached("models--a--b"), "").unwrap();
    let error = place
        .client()
        .download(&model("a/b"), "config.json")
        .unwrap_err();
    assert!(
        matches!(&error, HubError::Io { path, .. } if path.starts_with(place.cache.path())),
        "{error}"
    );
}
