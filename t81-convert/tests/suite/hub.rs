//! Models by their id, from a server on this machine that speaks the endpoints of the Hugging Face Hub.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use t81_gguf::GgufFile;
use t81_hub::T81Directory;

use crate::hub_server::{Fault, HubServer, Repo};
use crate::model::{config, write, write_with};

const ID: &str = "meta-llama/Llama-3.2-3B-Instruct";

/// The program in `place`, with the server for the Hub and `place/home` for the cache.
fn command(place: &Path, server: &HubServer, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_t81-convert"));
    for variable in [
        "HF_HUB_CACHE",
        "HUGGINGFACE_HUB_CACHE",
        "HF_TOKEN",
        "HF_TOKEN_PATH",
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_OFFLINE",
    ] {
        command.env_remove(variable);
    }
    command
        .current_dir(place)
        .env("HF_ENDPOINT", server.url())
        .env("HF_HOME", place.join("home"))
        .env("NO_PROXY", "127.0.0.1")
        .args(arguments);
    command
}

fn run(place: &Path, server: &HubServer, arguments: &[&str]) -> Output {
    command(place, server, arguments).output().unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// A place with a published model, whose files are also in `place/source`.
fn published() -> (tempfile::TempDir, HubServer) {
    let place = tempfile::tempdir().unwrap();
    write(&place.path().join("source"));
    let server = HubServer::start();
    server.add(
        Repo::model(ID)
            .files_of(&place.path().join("source"))
            .file("pytorch_model.bin", "the same once more")
            .tag("v1"),
    );
    (place, server)
}

#[test]
fn the_documented_command_line_converts_a_model_of_the_hub() {
    let (place, server) = published();
    let arguments = [
        ID,
        "path/to/converted",
        "--quant",
        "TQ1_0",
        "--torch-dtype",
        "bfloat16",
    ];
    let output = run(place.path(), &server, &arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    let told = stderr(&output);
    assert!(told.contains("downloading model.safetensors: "), "{told}");
    let directory = T81Directory::open(place.path().join("path/to/converted")).unwrap();
    assert_eq!(directory.metadata().source, ID);
    assert_eq!(
        server.served(),
        [
            "LICENSE",
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
        ]
    );
    // The same as from the local directory, which takes no network.
    let local = [
        "source",
        "local",
        "--quant",
        "TQ1_0",
        "--torch-dtype",
        "bfloat16",
    ];
    server.forget();
    assert!(run(place.path(), &server, &local).status.success());
    assert!(server.requests().is_empty());
    for file in [
        "model.safetensors",
        "config.json",
        "tokenizer.json",
        "LICENSE",
    ] {
        assert_eq!(
            fs::read(place.path().join("path/to/converted").join(file)).unwrap(),
            fs::read(place.path().join("local").join(file)).unwrap(),
            "{file}"
        );
    }
}

#[test]
fn revisions_tokens_and_the_cache_reach_the_client() {
    let (place, server) = published();
    let output = run(
        place.path(),
        &server,
        &[ID, "out", "--revision", "v1", "--quiet"],
    );
    assert_eq!((output.status.success(), stderr(&output)), (true, ""));
    let directory = T81Directory::open(place.path().join("out")).unwrap();
    assert_eq!(directory.metadata().source, format!("{ID}@v1"));
    server.forget();
    let offline = command(
        place.path(),
        &server,
        &[
            ID,
            "again",
            "--revision",
            "v1",
            "--output-gguf",
            "again.gguf",
        ],
    )
    .env("HF_HUB_OFFLINE", "1")
    .output()
    .unwrap();
    assert!(offline.status.success(), "{}", stderr(&offline));
    assert!(server.requests().is_empty());
    let gguf = GgufFile::open(place.path().join("again.gguf")).unwrap();
    assert_eq!(
        gguf.metadata().string("general.architecture"),
        Some("llama")
    );

    server.add(
        Repo::model("owner/gated")
            .files_of(&place.path().join("source"))
            .gated("hf_yes"),
    );
    let refused = run(place.path(), &server, &["owner/gated", "gated"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).starts_with("error: `owner/gated` is gated: accept its terms at http"),
        "{}",
        stderr(&refused)
    );
    assert!(!place.path().join("gated").exists());
    fs::write(place.path().join("home/token"), "hf_yes\n").unwrap();
    let allowed = run(place.path(), &server, &["owner/gated", "gated", "--quiet"]);
    assert!(allowed.status.success(), "{}", stderr(&allowed));
}

#[test]
fn failures_say_what_to_do() {
    let (place, server) = published();
    server.add(
        Repo::model("owner/pickled")
            .file("config.json", "{}")
            .file("pytorch_model.bin", "x"),
    );
    for (arguments, expected) in [
        (
            &["owner/misspelt", "out"][..],
            "has no model `owner/misspelt` that may be seen: check the spelling",
        ),
        (&["owner/pickled", "out"], "convert it once: python -c"),
        (
            &[ID, "out", "--revision", "v2"],
            "has no branch, tag or commit `v2`",
        ),
        (
            &["source", "out", "--revision", "v1"],
            "leave --revision out",
        ),
        (
            &["no such id", "out"],
            "neither a directory of this machine nor an id",
        ),
        (
            &["models/llama/3b", "out"],
            "directory `models/llama/3b` was not found",
        ),
    ] {
        let output = run(place.path(), &server, arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(
            stderr(&output).contains(expected),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(!place.path().join("out").exists());
    }
    assert!(server.served().is_empty());
    // An existing output stops the program before anything is downloaded.
    fs::write(place.path().join("old.gguf"), "old").unwrap();
    let output = run(
        place.path(),
        &server,
        &[ID, "out", "--output-gguf", "old.gguf"],
    );
    assert!(
        stderr(&output).contains("exists already"),
        "{}",
        stderr(&output)
    );
    assert!(server.served().is_empty());
}

#[cfg(unix)]
#[test]
fn a_download_that_ended_early_goes_on_where_it_was() {
    use std::time::{Duration, Instant};

    for signal in ["-INT", "-KILL"] {
        let place = tempfile::tempdir().unwrap();
        write_with(&place.path().join("source"), &config(40), |_, _| ());
        let server = HubServer::start();
        let repo = Repo::model("owner/large").files_of(&place.path().join("source"));
        let blob = format!(
            "home/hub/models--owner--large/blobs/{}",
            repo.hash_of("model.safetensors")
        );
        let partial = place.path().join(format!("{blob}.incomplete"));
        server.add(repo);
        server.plant(Fault::slow("lfs", 100_000, Duration::from_millis(20)));
        let mut child = command(place.path(), &server, &["owner/large", "out", "--quiet"])
            .spawn()
            .unwrap();
        let started = Instant::now();
        let have = || fs::metadata(&partial).map_or(0, |metadata| metadata.len());
        while have() < 300_000 {
            assert!(started.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(5));
        }
        let killed = Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status()
            .unwrap();
        assert!(killed.success());
        let status = child.wait().unwrap();
        if signal == "-INT" {
            assert_eq!(status.code(), Some(130));
        }
        assert!(!place.path().join("out").exists() && !place.path().join(&blob).exists());
        let left = have();
        assert!(left >= 300_000);
        server.heal();
        server.forget();
        let output = run(place.path(), &server, &["owner/large", "out", "--quiet"]);
        assert!(output.status.success(), "{}", stderr(&output));
        let starts: Vec<usize> = server
            .bodies("model.safetensors")
            .iter()
            .map(|request| request.start())
            .collect();
        assert_eq!(starts, [left as usize], "{signal}");
    }
}
