//! Models by their id, from a server on this machine that speaks the endpoints of the Hugging Face Hub.

#[path = "../../t81-hub/tests/hub_server/mod.rs"]
mod hub_server;
mod tiny_model;

use std::path::Path;
use std::process::{Command, Output};

use hub_server::{HubServer, Repo};
use t81_gguf::{GgufFile, TensorType};
use t81_hub::OutputFormat;
use tiny_model::TinyModel;

const ID: &str = "meta-llama/Llama-3.2-3B-Instruct";

fn run(place: &Path, server: &HubServer, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_t81-gguf"));
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
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A dense t81 directory is an ordinary checkpoint; its files are in `model`, too.
fn published() -> (tempfile::TempDir, HubServer) {
    let place = tempfile::tempdir().unwrap();
    let model = TinyModel {
        format: OutputFormat::Dense,
        ..TinyModel::default()
    };
    let (directory, _) = model.write(place.path());
    std::fs::remove_file(directory.join("t81_metadata.json")).unwrap();
    let server = HubServer::start();
    server.add(
        Repo::model(ID)
            .files_of(&directory)
            .file("model.gguf", "another")
            .tag("v1"),
    );
    (place, server)
}

#[test]
fn the_documented_command_line_exports_a_model_of_the_hub() {
    let (place, server) = published();
    let arguments = ["out.3.t81.gguf", "--from-hf", ID, "--quant", "TQ2_0"];
    let output = run(place.path(), &server, &arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let told = text(&output.stderr);
    assert!(told.contains("downloading model.safetensors: "), "{told}");
    assert!(!server.served().contains(&"model.gguf".to_owned()));
    let from_hub = GgufFile::open(place.path().join("out.3.t81.gguf")).unwrap();
    let gate = from_hub.tensor("blk.0.ffn_gate.weight").unwrap();
    assert_eq!(gate.info.tensor_type, TensorType::TQ2_0);
    // The same tensors as from the directory.
    let local = ["local.gguf", "--from-hf", "model", "--quant", "TQ2_0"];
    assert!(run(place.path(), &server, &local).status.success());
    let output = run(
        place.path(),
        &server,
        &["diff", "out.3.t81.gguf", "local.gguf"],
    );
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    // The file says where it came from: the id, not the cache.
    let bytes = std::fs::read(place.path().join("out.3.t81.gguf")).unwrap();
    let holds = |needle: &str| {
        bytes
            .windows(needle.len())
            .any(|window| window == needle.as_bytes())
    };
    assert!(holds(ID) && !holds("snapshots"));
}

#[test]
fn revisions_and_refusals() {
    let (place, server) = published();
    let arguments = ["v1.gguf", "--from-hf", ID, "--revision", "v1", "--quiet"];
    let output = run(place.path(), &server, &arguments);
    assert_eq!((output.status.success(), text(&output.stderr)), (true, ""));
    for (arguments, expected) in [
        (
            &["e.gguf", "--from-hf", ID, "--revision", "v2"][..],
            "has no branch, tag or commit `v2`",
        ),
        (
            &["e.gguf", "--from-hf", "model", "--revision", "v1"],
            "leave --revision out",
        ),
        (
            &["e.gguf", "--from-hf", "owner/misspelt"],
            "has no model `owner/misspelt`",
        ),
        (
            &["e.gguf", "--from-hf", "./absent"],
            "directory `./absent` was not found",
        ),
    ] {
        let output = run(place.path(), &server, arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let stderr = text(&output.stderr);
        assert!(stderr.contains(expected), "{arguments:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(!place.path().join("e.gguf").exists());
    }
}
