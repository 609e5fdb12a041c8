//! The built command on datasets in files and on a server that speaks as the Hugging Face Hub does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

#[path = "../../t81-hub/tests/hub_server/mod.rs"]
mod hub_server;
use hub_server::{HubServer, Repo};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../datasets/tests/fixtures")
        .join(name)
}

/// A run of one step, whose caches and output are in `scratch`.
fn run(scratch: &Path, run: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_t81-qat"));
    command
        .args(["tiny", "--block-size", "16", "--max-steps", "1"])
        .args([
            "--per-device-train-batch-size",
            "2",
            "--max-eval-samples",
            "2",
        ])
        .arg("--output-dir")
        .arg(scratch.join(run))
        .env("T81_CACHE", scratch.join("t81"))
        .env("HF_HOME", scratch.join("huggingface"))
        .env_remove("HF_HUB_CACHE")
        .env_remove("HF_TOKEN")
        .env_remove("HF_HUB_OFFLINE");
    command
}

fn finish(command: &mut Command) -> (bool, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.success(), text(stdout), text(stderr))
}

#[test]
fn wikitext_is_downloaded_and_tokenized_once() {
    let server = HubServer::start();
    server.add(
        Repo::dataset("Salesforce/wikitext")
            .files_of(&fixture("wikitext"))
            .alias("wikitext"),
    );
    let scratch = tempfile::tempdir().unwrap();
    let train = |name| {
        let mut command = run(scratch.path(), name);
        command.args(["--dataset-name", "wikitext", "--max-train-samples", "5"]);
        command.env("HF_ENDPOINT", server.url());
        command
    };
    let (success, said, progress) = finish(&mut train("first"));
    assert!(success, "{progress}");
    assert!(
        said.contains("5 to train on") || said.contains("5 blocks to train on"),
        "{said}"
    );
    let file = "wikitext-2-raw-v1/train-00000-of-00001.parquet: 81 tokens";
    assert!(progress.lines().any(|line| line == file), "{progress}");

    server.forget();
    let (success, _, progress) = finish(&mut train("second"));
    assert!(success, "{progress}");
    let cached = format!("{file}, from the cache");
    assert!(progress.lines().any(|line| line == cached), "{progress}");
    assert_eq!(server.served(), [""; 0]);

    let settings = fs::read_to_string(scratch.path().join("second/settings.json")).unwrap();
    let settings: Value = serde_json::from_str(&settings).unwrap();
    assert_eq!(settings["dataset"], "wikitext");
    assert_eq!(settings["train_samples"], 5);

    let (success, _, said) = finish(train("third").args(["--dataset-config-name", "wikitext-3"]));
    assert!(!success);
    assert!(
        said.contains(
            "has no configuration `wikitext-3`; it has `wikitext-103-raw-v1`, `wikitext-2-raw-v1`"
        ),
        "{said}"
    );
}

#[test]
fn files_of_every_format_are_trained_on() {
    let scratch = tempfile::tempdir().unwrap();
    let row = "{\"title\": \"The ball\", \"story\": \"Tom gave Mia the red ball.\"}\n";
    let [one, other] = ["one.jsonl", "other.jsonl"].map(|name| scratch.path().join(name));
    for path in [&one, &other] {
        fs::write(path, row.repeat(20)).unwrap();
    }
    let both = |command: &mut Command| {
        command.arg("--train-file").arg(&one);
        command.arg("--train-file").arg(&other);
    };
    let mut ambiguous = run(scratch.path(), "ambiguous");
    both(&mut ambiguous);
    let (success, _, said) = finish(&mut ambiguous);
    assert!(!success);
    assert!(
        said.contains("choose one with --text-column: `title`, `story`"),
        "{said}"
    );

    let mut command = run(scratch.path(), "run");
    both(&mut command);
    command.args([
        "--text-column",
        "story",
        "--validation-split",
        "train[:10%]",
    ]);
    command.args(["--train-split", "train[10%:]", "--no-token-cache"]);
    let (success, said, progress) = finish(&mut command);
    assert!(success, "{progress}");
    assert!(said.contains("2 to evaluate on"), "{said}");
    assert!(!scratch.path().join("t81").exists());
    let settings = fs::read_to_string(scratch.path().join("run/settings.json")).unwrap();
    assert!(
        settings.contains("split train[10%:], validation split train[:10%], column story"),
        "{settings}"
    );

    let mut directory = run(scratch.path(), "parquet");
    directory.arg("--dataset-name").arg(fixture("wikitext"));
    directory.args(["--dataset-config-name", "wikitext-103-raw-v1"]);
    let (success, _, progress) = finish(&mut directory);
    assert!(success, "{progress}");
}
