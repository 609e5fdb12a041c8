//! The built command trains with int8 activations, and evaluates what it trained.

mod runs;

use std::fs;
use std::path::Path;

use runs::{command, fail, metrics, scratch, short_run, succeed};
use serde_json::Value;
use t81_core::ActivationPrecision;
use t81_hub::T81Directory;

const VOCABULARY: usize = 2048;
/// Predictions of the one block that a run evaluates on.
const BLOCK: usize = 128;

/// A run that evaluates on the first block of `text`.
fn run(directory: &Path, text: &Path, steps: usize, activations: &str) {
    let mut command = command();
    command
        .args(["tiny", "--dataset-name", "stories"])
        .args(["--block-size", &BLOCK.to_string()])
        .args(["--per-device-train-batch-size", "4"])
        .args(["--max-train-samples", "40", "--max-eval-samples", "1"])
        .args(["--learning-rate", "0.003", "--lambda-warmup-steps", "2"])
        .args(["--logging-steps", "1", "--max-steps", &steps.to_string()])
        .args(["--activations", activations, "--device", "cpu"])
        .arg("--validation-file")
        .arg(text)
        .arg("--output-dir")
        .arg(directory);
    succeed(&mut command);
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Perplexity of the first block of `text`, all of its predictions, from the logits that `evaluate` writes; and what it prints.
fn evaluate(model: &Path, text: &Path, flags: &[&str]) -> (f64, String) {
    let folder = tempfile::tempdir().unwrap();
    let (logits, ids) = (folder.path().join("logits"), folder.path().join("ids"));
    let mut command = command();
    command
        .arg("evaluate")
        .arg(model)
        .arg("--text")
        .arg(text)
        .args(["--block-size", &(BLOCK + 1).to_string()])
        .args(["--max-windows", "1"])
        .args(flags)
        .arg("--logits-out")
        .arg(&logits)
        .arg("--ids-out")
        .arg(&ids);
    let said = succeed(&mut command);
    let logits = fs::read(logits).unwrap();
    let logits: Vec<f64> = logits
        .as_chunks::<4>()
        .0
        .iter()
        .map(|bytes| f64::from(f32::from_le_bytes(*bytes)))
        .collect();
    let ids = fs::read_to_string(ids).unwrap();
    let ids: Vec<usize> = ids
        .split_whitespace()
        .map(|id| id.parse().unwrap())
        .collect();
    assert_eq!(ids.len(), BLOCK + 1);
    let losses = logits
        .chunks_exact(VOCABULARY)
        .zip(&ids[1..])
        .map(|(row, &target)| {
            let total: f64 = row.iter().map(|logit| logit.exp()).sum();
            total.ln() - row[target]
        });
    let perplexity = (losses.sum::<f64>() / BLOCK as f64).exp();
    (perplexity, said)
}

#[test]
fn evaluation_without_flags_is_that_of_the_run() {
    let (scratch, directory) = scratch();
    let text = scratch.path().join("text.txt");
    fs::write(
        &text,
        "Tom went to the garden. He had a red ball. Lily saw the dog and gave it a big apple. "
            .repeat(20),
    )
    .unwrap();
    run(&directory, &text, 40, "int8");

    let losses: Vec<f64> = metrics(&directory)
        .iter()
        .filter_map(|line| line["loss"].as_f64())
        .collect();
    assert_eq!(losses.len(), 40);
    assert!(losses[39] < losses[0] - 2.0, "{losses:?}");
    assert_eq!(
        json(&directory.join("settings.json"))["activations"],
        "int8"
    );
    let t81 = T81Directory::open(&directory).unwrap();
    assert_eq!(t81.metadata().activations, Some(ActivationPrecision::Int8));

    let summary = json(&directory.join("summary.json"));
    assert_eq!(summary["eval_tokens"], BLOCK);
    let trained = summary["perplexity"].as_f64().unwrap();
    let relative = |perplexity: f64| (perplexity - trained).abs() / trained;
    let (plain, said) = evaluate(&directory, &text, &[]);
    let (int8, said_int8) = evaluate(&directory, &text, &["--activations", "int8"]);
    let (float, said_float) = evaluate(&directory, &text, &["--activations", "float32"]);
    assert!(relative(plain) < 2e-5, "{plain} after {trained}");
    assert!(relative(float) > 8e-5, "{float} after {trained}");
    assert_eq!((plain, &said), (int8, &said_int8));
    assert_ne!(said, said_float);
}

#[test]
fn a_float_run_is_evaluated_as_it_was_trained_too() {
    let (scratch, directory) = scratch();
    let text = scratch.path().join("text.txt");
    fs::write(
        &text,
        "Tom went to the garden. He had a red ball. ".repeat(40),
    )
    .unwrap();
    run(&directory, &text, 8, "float32");
    let t81 = T81Directory::open(&directory).unwrap();
    let float32 = ActivationPrecision::Float32;
    assert_eq!(t81.metadata().activations, Some(float32));
    let trained = json(&directory.join("summary.json"))["perplexity"].as_f64();
    let (plain, said) = evaluate(&directory, &text, &[]);
    assert!((plain / trained.unwrap() - 1.0).abs() < 1e-4, "{plain}");
    let (_, said_int8) = evaluate(&directory, &text, &["--activations", "int8"]);
    assert_ne!(said, said_int8);
}

#[test]
fn a_resumed_run_keeps_its_activations() {
    let (_scratch, directory) = scratch();
    succeed(short_run(&directory, 2).args(["--activations", "int8"]));
    let said = fail(short_run(&directory, 2).arg("--resume"));
    assert!(said.contains("another activations"), "{said}");
    assert!(
        said.contains("has \"int8\", the command line asks for \"float32\""),
        "{said}"
    );
}
