//! Models by their id, from a server on this machine that speaks the endpoints of the Hugging Face Hub.

#[path = "../../t81-hub/tests/hub_server/mod.rs"]
mod hub_server;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use hub_server::{HubServer, Repo};
use serde_json::{Value, json};
use t81_datasets::{save_tokenizer, story_tokenizer};
use t81_hub::{ModelConfig, T81Directory};

const VOCABULARY: usize = 512;
const CONTEXT: usize = 32;

/// The program in `place`, with the server for the Hub.
fn run(place: &Path, server: &HubServer, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_t81-qat"));
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
        .env("T81_CACHE", place.join("tokens"))
        .env("NO_PROXY", "127.0.0.1")
        .args(arguments)
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// A checkpoint of small random weights.
fn write_checkpoint(directory: &Path, config: Value) {
    fs::create_dir_all(directory).unwrap();
    fs::write(directory.join("config.json"), config.to_string()).unwrap();
    save_tokenizer(&story_tokenizer(VOCABULARY).unwrap(), directory, CONTEXT).unwrap();
    let mut header = serde_json::Map::new();
    let mut bytes = Vec::new();
    for (name, shape) in ModelConfig::from_json(config).unwrap().expected_tensors() {
        let start = bytes.len();
        for index in 0..shape.iter().product::<usize>() {
            let noise = ((start + index) as u32).wrapping_mul(2_654_435_761);
            let value = (noise as f32 / u32::MAX as f32 - 0.5) * 0.1;
            let value = if shape.len() == 1 && name.ends_with("weight") {
                1.0
            } else {
                value
            };
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        let tensor = json!({"dtype": "F32", "shape": shape, "data_offsets": [start, bytes.len()]});
        header.insert(name, tensor);
    }
    let header = Value::Object(header).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(&bytes);
    fs::write(directory.join("model.safetensors"), file).unwrap();
}

fn llama() -> Value {
    json!({
        "model_type": "llama", "vocab_size": VOCABULARY, "hidden_size": 64, "intermediate_size": 128,
        "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_act": "silu",
        "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-5, "rope_theta": 1e4, "tie_word_embeddings": true,
    })
}

#[test]
fn a_model_of_the_hub_is_trained_at_a_revision() {
    let place = tempfile::tempdir().unwrap();
    write_checkpoint(&place.path().join("source"), llama());
    let server = HubServer::start();
    server.add(
        Repo::model("owner/tiny-llama")
            .files_of(&place.path().join("source"))
            .file("pytorch_model.bin", "the same once more")
            .tag("v1"),
    );
    fs::write(
        place.path().join("text.txt"),
        "Tom went to the river. ".repeat(200),
    )
    .unwrap();
    let data = [
        "--train-file",
        "text.txt",
        "--output-dir",
        "out",
        "--max-steps",
        "1",
    ];
    let model = ["owner/tiny-llama", "--revision", "v1"];
    let output = run(place.path(), &server, &[&model[..], &data[..]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let told = stderr(&output);
    assert!(told.contains("downloading model.safetensors: "), "{told}");
    assert!(!server.served().contains(&"pytorch_model.bin".to_owned()));
    let directory = T81Directory::open(place.path().join("out/t81")).unwrap();
    assert_eq!(directory.metadata().source, "owner/tiny-llama@v1");

    for (model, expected) in [
        (
            &["owner/misspelt"][..],
            "has no model `owner/misspelt` that may be seen",
        ),
        (
            &["owner/tiny-llama", "--revision", "v2"],
            "has no branch, tag or commit `v2`",
        ),
        (&["source", "--revision", "v1"], "leave --revision out"),
        (
            &["tiny", "--revision", "v1"],
            "`tiny` is a fresh model without revisions",
        ),
        (&["./absent"], "directory `./absent` was not found"),
    ] {
        let data = ["--train-file", "text.txt", "--output-dir", "failed"];
        let output = run(place.path(), &server, &[model, &data[..]].concat());
        assert_eq!(output.status.code(), Some(1), "{model:?}");
        assert!(
            stderr(&output).contains(expected),
            "{model:?}: {}",
            stderr(&output)
        );
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    }
}

#[test]
fn the_documented_command_line_trains_gpt2_on_wikitext() {
    let place = tempfile::tempdir().unwrap();
    let gpt2 = json!({
        "model_type": "gpt2", "vocab_size": VOCABULARY, "n_embd": 64, "n_layer": 1, "n_head": 4,
        "n_positions": CONTEXT, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5,
    });
    write_checkpoint(&place.path().join("source"), gpt2);
    let wikitext =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../datasets/tests/fixtures/wikitext");
    let server = HubServer::start();
    let model = Repo::model("openai-community/gpt2").files_of(&place.path().join("source"));
    server.add(
        model
            .file("pytorch_model.bin", "the same once more")
            .alias("gpt2"),
    );
    server.add(
        Repo::dataset("Salesforce/wikitext")
            .files_of(&wikitext)
            .alias("wikitext"),
    );
    let line = "gpt2 --dataset-name wikitext --output-dir ternary-gpt2 --per-device-train-batch-size 4 \
        --learning-rate 5e-5 --max-train-samples 1000";
    let arguments: Vec<&str> = line.split_whitespace().collect();
    let output = run(place.path(), &server, &arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    let directory = T81Directory::open(place.path().join("ternary-gpt2/t81")).unwrap();
    assert_eq!(directory.metadata().source, "gpt2");
    assert_eq!(directory.config().model_type, "gpt2");
    let served = server.served();
    assert!(served.contains(&"wikitext-2-raw-v1/train-00000-of-00001.parquet".to_owned()));
    let unneeded = |file: &String| file.ends_with(".bin") || file.contains("wikitext-103");
    assert!(!served.iter().any(unneeded), "{served:?}");
}
