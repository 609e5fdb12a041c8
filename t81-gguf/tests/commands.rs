//! The `t81-gguf` program: repacking, dequantizing, checking, and flags that do not go together.

mod rewrite;
mod tiny_model;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use rewrite::{Contents, exported};
use serde_json::Value;
use t81_gguf::{GgufFile, TensorType};
use t81_hub::OutputFormat;
use tiny_model::TinyModel;

fn run(arguments: &[&str], directory: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_t81-gguf"))
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs the program, which must succeed, and returns what it printed.
#[track_caller]
fn succeeds(arguments: &[&str], directory: &Path) -> String {
    let output = run(arguments, directory);
    let error = text(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    text(&output.stdout)
}

/// A directory with the model's t81 directory and its F32 file.
fn prepared(model: &TinyModel) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    exported(model, directory.path(), "f32.gguf", "F32");
    directory
}

fn tensor_type(path: &Path, name: &str) -> TensorType {
    let file = GgufFile::open(path).unwrap();
    file.tensor(name).unwrap().info.tensor_type
}

#[test]
fn a_gguf_file_is_repacked_and_dequantized_again() {
    let directory = prepared(&TinyModel::default());
    let shown = succeeds(
        &[
            "out.gguf",
            "--from-gguf",
            "f32.gguf",
            "--quant",
            "TQ1_0",
            "--validate",
        ],
        directory.path(),
    );
    assert!(shown.starts_with("out.gguf (TQ1_0)\n"), "{shown}");
    assert!(shown.contains("train it with t81-qat"), "{shown}");
    succeeds(
        &["dequant", "out.gguf", "float.gguf", "--type", "f32"],
        directory.path(),
    );
    // The model was ternary in groups of 256 before: nothing is lost on the way.
    succeeds(&["diff", "f32.gguf", "float.gguf"], directory.path());

    let again = run(&["dequant", "out.gguf", "float.gguf"], directory.path());
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("--overwrite"));
    succeeds(
        &[
            "dequant",
            "out.gguf",
            "float.gguf",
            "--overwrite",
            "--quiet",
        ],
        directory.path(),
    );
    let float = directory.path().join("float.gguf");
    assert_eq!(tensor_type(&float, "blk.0.attn_q.weight"), TensorType::F16);
    assert_eq!(tensor_type(&float, "output_norm.weight"), TensorType::F32);
}

#[test]
fn flags_that_do_not_go_together_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    for (arguments, expected) in [
        (
            &["--from-t81", "a", "--from-gguf", "b"][..],
            "cannot be used with",
        ),
        (
            &["--from-hf", "a", "--from-gguf", "b"],
            "cannot be used with",
        ),
        (
            &["--from-hf", "a", "--from-t81", "b"],
            "cannot be used with",
        ),
        (
            &["--from-t81", "a", "--threshold", "0.5"],
            "cannot be used with",
        ),
        (
            &["--from-t81", "a", "--granularity", "row"],
            "cannot be used with",
        ),
        (
            &["--from-t81", "a", "--scale", "reference"],
            "cannot be used with",
        ),
        (
            &["--from-t81", "a", "--reference", "abs-max"],
            "cannot be used with",
        ),
        (
            &["--from-t81", "a", "--include", "x"],
            "cannot be used with",
        ),
        (
            &["--from-t81", "a", "--exclude", "x"],
            "cannot be used with",
        ),
        (
            &["--from-gguf", "a", "--tokenizer-pre", "olmo"],
            "cannot be used with",
        ),
        (&["--from-gguf", "a", "--profile", "x"], "compression-first"),
        (&["--from-gguf", "a", "--include", "("], "regex"),
        (&["--from-gguf", "a", "--from-gguf", "b"], "multiple times"),
        (&[], "--from-gguf"),
    ] {
        let arguments = [&["out.gguf"], arguments].concat();
        let output = run(&arguments, directory.path());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let error = text(&output.stderr);
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
    for arguments in [
        &["dequant", "a", "b", "--type", "Q8_0"][..],
        &["check"],
        &["dequant", "a"],
    ] {
        let output = run(arguments, directory.path());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn every_source_is_validated_on_request() {
    let model = TinyModel {
        format: OutputFormat::Dense,
        ..TinyModel::default()
    };
    let directory = tempfile::tempdir().unwrap();
    model.write(directory.path());
    let packed = tempfile::tempdir().unwrap();
    TinyModel::narrow().write(packed.path());
    for quant in ["TQ1_0", "TQ2_0", "Q2_0", "F16", "F32"] {
        succeeds(
            &[
                "out.gguf",
                "--from-hf",
                "model",
                "--quant",
                quant,
                "--validate",
                "--overwrite",
            ],
            directory.path(),
        );
        succeeds(
            &[
                "out.gguf",
                "--from-t81",
                "model",
                "--quant",
                quant,
                "--validate",
                "--overwrite",
            ],
            packed.path(),
        );
        for directory in [&directory, &packed] {
            succeeds(&["check", "out.gguf"], directory.path());
        }
    }
}

#[test]
fn the_smallest_profile_can_be_overridden() {
    let directory = prepared(&TinyModel::default());
    let path = directory.path().join("out.gguf");
    for (arguments, linear, embedding) in [
        (&[][..], TensorType::TQ1_0, TensorType::Q8_0),
        (&["--quant", "Q2_0"], TensorType::Q2_0, TensorType::Q8_0),
        (
            &["--embedding-type", "BF16"],
            TensorType::TQ1_0,
            TensorType::BF16,
        ),
    ] {
        for source in [["--from-gguf", "f32.gguf"], ["--from-t81", "model"]] {
            let common = [
                "out.gguf",
                "--profile",
                "compression-first",
                "--overwrite",
                "--validate",
            ];
            let arguments = [&common[..], &source, arguments].concat();
            succeeds(&arguments, directory.path());
            assert_eq!(
                tensor_type(&path, "blk.0.ffn_up.weight"),
                linear,
                "{arguments:?}"
            );
            assert_eq!(
                tensor_type(&path, "token_embd.weight"),
                embedding,
                "{arguments:?}"
            );
        }
    }
}

#[test]
fn names_select_what_a_checkpoint_makes_ternary() {
    let model = TinyModel {
        format: OutputFormat::Dense,
        ..TinyModel::default()
    };
    let directory = tempfile::tempdir().unwrap();
    model.write(directory.path());
    let shown = succeeds(
        &[
            "out.gguf",
            "--from-hf",
            "model",
            "--include",
            "mlp",
            "--exclude",
            "layers\\.0\\.",
        ],
        directory.path(),
    );
    assert!(shown.contains("F16 instead of TQ2_0"), "{shown}");
    let path = directory.path().join("out.gguf");
    assert_eq!(tensor_type(&path, "blk.1.ffn_up.weight"), TensorType::TQ2_0);
    assert_eq!(tensor_type(&path, "blk.0.ffn_up.weight"), TensorType::F16);
    assert_eq!(tensor_type(&path, "blk.1.attn_q.weight"), TensorType::F16);
    let none = run(
        &["none.gguf", "--from-hf", "model", "--include", "nothing"],
        directory.path(),
    );
    assert_eq!(none.status.code(), Some(1));
    assert!(
        text(&none.stderr).contains("14 matrices"),
        "{}",
        text(&none.stderr)
    );
}

#[test]
fn check_tells_problems_and_unreadable_files_apart() {
    let directory = prepared(&TinyModel::default());
    let clean = succeeds(&["check", "f32.gguf"], directory.path());
    assert_eq!(clean, "f32.gguf: ok, 20 tensors, architecture llama\n");

    let file = GgufFile::open(directory.path().join("f32.gguf")).unwrap();
    let mut contents = Contents::of(&file);
    contents.metadata.set("tokenizer.ggml.pre", "x\u{1b}[31m");
    contents.tensor("output_norm.weight").1[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    contents.write(&directory.path().join("bad.gguf"));
    let output = run(&["check", "bad.gguf", "f32.gguf"], directory.path());
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 4, "{shown}");
    assert!(
        lines[0].starts_with("bad.gguf: tokenizer: `tokenizer.ggml.pre` is"),
        "{shown}"
    );
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
    assert_eq!(
        lines[1],
        "bad.gguf: values: `output_norm.weight` has 1 values that are not finite, the first at 0"
    );
    assert_eq!(lines[2], "bad.gguf: 2 problems");

    let output = run(
        &["check", "bad.gguf", "absent.gguf", "--json"],
        directory.path(),
    );
    assert_eq!(output.status.code(), Some(2));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json[0]["ok"], false);
    assert_eq!(json[0]["problems"][1]["rule"], "values");
    assert_eq!(json[0]["problems"][1]["subject"], "output_norm.weight");
    assert!(json[1]["error"].as_str().unwrap().contains("absent.gguf"));
}

#[test]
fn info_counts_zeros() {
    let directory = prepared(&TinyModel::default());
    succeeds(
        &["out.gguf", "--from-t81", "model", "--quant", "TQ1_0"],
        directory.path(),
    );
    let file = GgufFile::open(directory.path().join("out.gguf")).unwrap();
    let (mut zeros, mut weights) = (0, 0);
    for tensor in file.tensors() {
        if let Some(matrix) = tensor.to_ternary().unwrap() {
            zeros += matrix
                .dequantize()
                .iter()
                .filter(|&&weight| weight == 0.0)
                .count();
            weights += matrix.rows() * matrix.columns();
        }
    }
    let share = zeros as f64 / weights as f64;
    assert!(share > 0.2 && share < 0.6, "{share}");

    let json: Value =
        serde_json::from_str(&succeeds(&["info", "out.gguf", "--json"], directory.path())).unwrap();
    assert_eq!(json["sparsity"].as_f64(), Some(share));
    assert_eq!(json["ternary_weights"].as_u64(), Some(weights as u64));
    assert_eq!(json["types"]["TQ1_0"]["sparsity"].as_f64(), Some(share));
    assert_eq!(json["types"]["F32"]["sparsity"], Value::Null);
    let shown = succeeds(&["info", "out.gguf"], directory.path());
    let line = format!("{:.2} % of {weights} ternary weights are 0", 100.0 * share);
    assert!(shown.ends_with(&format!("{line}\n")), "{shown}");
    assert!(shown.contains("KiB"), "{shown}");

    let quick = succeeds(
        &["info", "out.gguf", "--no-sparsity", "--no-tensors"],
        directory.path(),
    );
    assert!(!quick.contains('%') && !quick.contains("blk.0."), "{quick}");
    fs::remove_file(directory.path().join("out.gguf")).unwrap();
}
