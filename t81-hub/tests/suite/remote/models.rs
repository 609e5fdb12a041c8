//! Which files of a model are downloaded.

use t81_hub::{Checkpoint, HubError, RemoteError};

use super::{Place, crowded, model, remote, sharded, tree};
use crate::hub_server::{Fault, Repo};
use crate::model::SHARDS;

const COMPANIONS: [&str; 6] = [
    "LICENSE.txt",
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
];

#[test]
fn only_the_files_needed_are_fetched() {
    let (place, source) = (Place::new(), tempfile::tempdir().unwrap());
    place.server.add(crowded("owner/name", source.path()));
    let directory = place.client().model(&model("owner/name")).unwrap();
    let mut expected: Vec<&str> = COMPANIONS.to_vec();
    expected.push("model.safetensors");
    expected.sort();
    assert_eq!(place.server.served(), expected);
    assert_eq!(tree(&directory), expected);
    let local = std::fs::read(source.path().join("model.safetensors")).unwrap();
    assert_eq!(
        std::fs::read(directory.join("model.safetensors")).unwrap(),
        local
    );
    let checkpoint = Checkpoint::open(&directory).unwrap();
    checkpoint.config().check(&checkpoint).unwrap();
}

#[test]
fn a_sharded_model_is_its_index_and_exactly_its_shards() {
    let (place, source) = (Place::new(), tempfile::tempdir().unwrap());
    place.server.add(sharded("owner/name", source.path()));
    let directory = place.client().model(&model("owner/name")).unwrap();
    let expected = [
        "config.json",
        SHARDS[0],
        SHARDS[1],
        "model.safetensors.index.json",
        "tokenizer.json",
    ];
    assert_eq!(place.server.served(), expected);
    Checkpoint::open(&directory).unwrap();

    // A shard that the repository lacks is found out before the others are fetched.
    let place = Place::new();
    let mut repo = Repo::model("owner/name");
    for file in ["config.json", SHARDS[0], "model.safetensors.index.json"] {
        repo = repo.file(file, std::fs::read(source.path().join(file)).unwrap());
    }
    place.server.add(repo);
    let error = place.client().model(&model("owner/name")).unwrap_err();
    assert!(matches!(error, HubError::MissingShard { .. }), "{error}");
    assert!(error.to_string().contains(SHARDS[1]), "{error}");
    assert_eq!(
        place.server.served(),
        ["config.json", "model.safetensors.index.json"]
    );
}

#[test]
fn an_index_cannot_lead_out_of_the_repository() {
    let place = Place::new();
    let index = r#"{"weight_map": {"a": "../../../evil.safetensors"}}"#;
    place.server.add(
        Repo::model("owner/name")
            .file("config.json", "{}")
            .file("model.safetensors.index.json", index),
    );
    let error = place.client().model(&model("owner/name")).unwrap_err();
    assert!(matches!(error, HubError::ShardName { .. }), "{error}");
}

#[test]
fn other_formats_are_refused_before_anything_is_fetched() {
    for (file, advice) in [
        ("pytorch_model.bin", "M.from_pretrained('owner/name'"),
        ("pytorch_model.bin.index.json", "then pass ./name"),
        ("adapter_model.safetensors", "merge it into its base model"),
        ("consolidated.00.pth", "original layout"),
        ("t81_metadata.json", "t81 directory"),
        ("model-q4_0.gguf", "holds neither model.safetensors nor"),
    ] {
        let place = Place::new();
        place.server.add(
            Repo::model("owner/name")
                .file("config.json", "{}")
                .file("tokenizer.json", "{}")
                .file(file, "x"),
        );
        let error = remote(place.client().model(&model("owner/name")));
        assert!(
            matches!(error, RemoteError::NoSafetensors { .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains(advice), "{file}: {error}");
        assert!(place.server.served().is_empty());
        assert!(tree(place.cache.path()).is_empty());
    }
}

#[test]
fn a_model_without_a_configuration_is_an_error() {
    let place = Place::new();
    place
        .server
        .add(Repo::model("owner/name").file("model.safetensors", "x"));
    let error = remote(place.client().model(&model("owner/name")));
    assert_eq!(error.to_string(), "`owner/name` has no file `config.json`");
    assert!(place.server.served().is_empty());
}

#[test]
fn old_names_are_redirected_and_keep_their_folder() {
    let (place, source) = (Place::new(), tempfile::tempdir().unwrap());
    let repo = crowded("openai-community/gpt2", source.path()).alias("gpt2");
    let commit = repo.commit();
    place.server.add(repo);
    let directory = place.client().model(&model("gpt2")).unwrap();
    assert_eq!(
        directory,
        place.cached(&format!("models--gpt2/snapshots/{commit}"))
    );
    Checkpoint::open(&directory).unwrap();
    let requests = place.server.requests();
    let redirected = requests
        .iter()
        .filter(|request| request.status == 307)
        .count();
    assert!(redirected > 2, "{redirected}");
    // The second time the description is all that is asked for.
    place.server.forget();
    assert_eq!(place.client().model(&model("gpt2")).unwrap(), directory);
    let asked: Vec<u16> = place
        .server
        .requests()
        .iter()
        .map(|request| request.status)
        .collect();
    assert_eq!(asked, [307, 200]);
}

#[test]
fn revisions_are_branches_tags_and_commits() {
    let (place, source) = (Place::new(), tempfile::tempdir().unwrap());
    let repo = crowded("owner/name", source.path())
        .tag("v1.0")
        .tag("refs/pr/7");
    let commit = repo.commit();
    place.server.add(repo);
    for revision in ["v1.0", "refs/pr/7", &commit] {
        let repo = model("owner/name").at_revision(revision).unwrap();
        let directory = place.client().model(&repo).unwrap();
        assert!(
            directory.ends_with(format!("snapshots/{commit}")),
            "{revision}"
        );
    }
    for revision in ["v1.0", "refs/pr/7"] {
        let reference = place.cached(&format!("models--owner--name/refs/{revision}"));
        assert_eq!(std::fs::read_to_string(reference).unwrap(), commit);
    }
    assert!(!place.cached("models--owner--name/refs/main").exists());
    let missing = model("owner/name").at_revision("v2").unwrap();
    let error = remote(place.client().model(&missing));
    assert!(
        matches!(&error, RemoteError::RevisionNotFound { revision, .. } if revision == "v2"),
        "{error:?}"
    );
}

#[test]
fn hostile_listings_do_not_reach_the_disk() {
    let commit = "0123456789012345678901234567890123456789";
    for (body, expected) in [
        ("not json", "does not answer as the Hugging Face Hub does"),
        ("{}", "missing field"),
        (r#"{"sha": "../../x", "siblings": []}"#, "names no commit"),
        (
            &format!(r#"{{"sha": "{commit}", "siblings": [{{"rfilename": "../config.json"}}]}}"#),
            "neither model.safetensors",
        ),
    ] {
        let place = Place::new();
        place.server.add(Repo::model("owner/name"));
        place.server.plant(Fault::body("/api/", body));
        let error = remote(place.client().model(&model("owner/name")));
        assert!(error.to_string().contains(expected), "{body}: {error}");
        assert!(tree(place.cache.path()).is_empty());
    }
}

#[test]
fn a_mistyped_id_is_answered_with_the_nearest_cached_one() {
    let (place, source) = (Place::new(), tempfile::tempdir().unwrap());
    place
        .server
        .add(sharded("owner/SmolLM2-135M", source.path()));
    place.client().model(&model("owner/SmolLM2-135M")).unwrap();
    let offline = place.builder().offline(true).build().unwrap();
    for client in [place.client(), offline] {
        let message = client
            .model(&model("owner/SmoLLM2-135"))
            .unwrap_err()
            .to_string();
        assert!(
            message.ends_with("; did you mean `owner/SmolLM2-135M`?"),
            "{message}"
        );
        let message = client.model(&model("else/where")).unwrap_err().to_string();
        assert!(!message.contains("did you mean"), "{message}");
    }
}
