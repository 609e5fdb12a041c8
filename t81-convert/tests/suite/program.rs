//! The built program.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use t81_core::{BlockFormat, Granularity};
use t81_gguf::{GgufFile, TensorType};
use t81_hub::{Checkpoint, Dtype, OutputFormat, T81Directory, T81Tensor};

use crate::model::{names, write};

pub(crate) fn run(place: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_t81-convert"))
        .current_dir(place)
        .args(arguments)
        .output()
        .unwrap()
}

fn place() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    write(&place.path().join("source"));
    place
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

pub(crate) fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

pub(crate) fn succeed(place: &Path, arguments: &[&str]) -> String {
    let output = run(place, arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        stderr(&output)
    );
    assert_eq!(stderr(&output), "", "{arguments:?}");
    stdout(&output).to_owned()
}

#[test]
fn a_plain_conversion_prints_a_table_and_the_truth() {
    let place = place();
    let text = succeed(place.path(), &["source", "out"]);
    for expected in [
        "threshold 0.45 of abs-mean",
        "least-squares",
        "all ternary",
        "total",
        "unusable",
        "t81-qat",
    ] {
        assert!(text.contains(expected), "{text} lacks {expected}");
    }
    let directory = T81Directory::open(place.path().join("out")).unwrap();
    assert_eq!(directory.metadata().source, "source");
    assert_eq!(directory.metadata().tool, "t81-convert");
    assert_eq!(names(place.path()), ["out", "source"]);
}

#[test]
fn every_flag_reaches_the_conversion() {
    let place = place();
    let text = succeed(
        place.path(),
        &[
            "source",
            "out",
            "--threshold",
            "0.7",
            "--granularity",
            "group:32",
            "--scale",
            "reference",
            "--reference",
            "abs-max",
            "--torch-dtype",
            "float32",
            "--no-keep-biases-bf16",
            "--exclude",
            "layers\\.0\\.",
            "--include",
            "mlp",
            "--format",
            "dense",
            "--device-map",
            "none",
            "--force-cpu-device-map",
            "--quiet",
        ],
    );
    assert_eq!(text, "");
    let directory = T81Directory::open(place.path().join("out")).unwrap();
    let quantizer = &directory.metadata().quantizer;
    assert_eq!(quantizer.threshold(), 0.7);
    assert_eq!(quantizer.granularity(), Granularity::group(32).unwrap());
    assert_eq!(
        (
            quantizer.scale().to_string(),
            quantizer.reference().to_string()
        ),
        ("reference".into(), "abs-max".into())
    );
    assert_eq!(directory.metadata().format, OutputFormat::Dense);
    let ternary: Vec<&String> = directory.metadata().tensors.keys().collect();
    assert_eq!(ternary.len(), 3);
    assert!(
        ternary
            .iter()
            .all(|name| name.starts_with("model.layers.1.mlp."))
    );
    let checkpoint = Checkpoint::open(place.path().join("out")).unwrap();
    assert_eq!(
        checkpoint.tensor("model.norm.weight").unwrap().dtype,
        Dtype::F32
    );
    assert_eq!(
        checkpoint
            .tensor("model.layers.0.self_attn.q_proj.bias")
            .unwrap()
            .dtype,
        Dtype::F32
    );
}

#[test]
fn aliases_and_the_last_of_opposite_flags() {
    let place = place();
    succeed(
        place.path(),
        &[
            "source",
            "out",
            "--dtype",
            "bf16",
            "--no-keep-biases-bf16",
            "--keep-biases-bf16",
            "--gguf-quant",
            "q2_0",
        ],
    );
    let directory = T81Directory::open(place.path().join("out")).unwrap();
    let T81Tensor::Dense(bias) = directory
        .get("model.layers.0.self_attn.q_proj.bias")
        .unwrap()
    else {
        panic!("a bias is dense");
    };
    assert_eq!(bias.dtype, Dtype::BF16);
    let text = succeed(place.path(), &["source", "other", "--device-map", "cuda:0"]);
    assert!(text.contains("--device-map cuda:0 has no effect"), "{text}");
}

#[test]
fn a_gguf_file_holds_the_directory_s_codes() {
    let place = place();
    let text = succeed(
        place.path(),
        &[
            "source",
            "out",
            "--quant",
            "TQ2_0",
            "--output-gguf",
            "model.gguf",
        ],
    );
    assert!(
        text.contains("12 tensors with rows of 64 weights") && text.contains("Q2_0"),
        "{text}"
    );
    let directory = T81Directory::open(place.path().join("out")).unwrap();
    let file = GgufFile::open(place.path().join("model.gguf")).unwrap();
    let expectations = [
        (
            "blk.1.ffn_down.weight",
            "model.layers.1.mlp.down_proj.weight",
            TensorType::TQ2_0,
            BlockFormat::Tq2_0,
        ),
        (
            "blk.1.ffn_up.weight",
            "model.layers.1.mlp.up_proj.weight",
            TensorType::Q2_0,
            BlockFormat::Q2_0,
        ),
    ];
    for (gguf_name, name, tensor_type, format) in expectations {
        let tensor = file.tensor(gguf_name).unwrap();
        assert_eq!(tensor.info.tensor_type, tensor_type, "{gguf_name}");
        let T81Tensor::Ternary(matrix) = directory.get(name).unwrap() else {
            panic!("{name} is ternary")
        };
        assert_eq!(tensor.bytes, format.encode(&matrix).unwrap(), "{gguf_name}");
    }
}

#[test]
fn a_gguf_file_may_lie_in_the_directory_itself() {
    let place = place();
    for overwrite in [&[][..], &["--overwrite"]] {
        let arguments = [
            &["source", "out", "--output-gguf", "out/model.gguf", "-q"],
            overwrite,
        ]
        .concat();
        assert_eq!(succeed(place.path(), &arguments), "");
        assert!(GgufFile::open(place.path().join("out/model.gguf")).is_ok());
        assert!(T81Directory::open(place.path().join("out")).is_ok());
    }
}

#[test]
fn failures_are_one_line_and_a_cause_and_change_nothing() {
    let place = place();
    fs::create_dir(place.path().join("pickled")).unwrap();
    fs::copy(
        place.path().join("source/config.json"),
        place.path().join("pickled/config.json"),
    )
    .unwrap();
    fs::write(place.path().join("pickled/pytorch_model.bin"), b"").unwrap();
    fs::create_dir(place.path().join("documents")).unwrap();
    fs::write(place.path().join("documents/thesis.tex"), b"").unwrap();
    fs::write(place.path().join("old.gguf"), b"old").unwrap();
    let before = names(place.path());
    let table: &[(&[&str], &str)] = &[
        (
            &["./owner/model", "out"],
            "error: directory `./owner/model` was not found",
        ),
        (&["pickled", "out"], "convert it once: python -c"),
        (
            &["source", "documents", "--overwrite"],
            "is not a t81 directory, so it will not be replaced",
        ),
        (
            &["source", "source", "--overwrite"],
            "is or contains `source`",
        ),
        (
            &["source", "out", "--include", "nothing"],
            "leave none of the 14 linear weights",
        ),
        (
            &["source", "out", "--output-gguf", "old.gguf"],
            "`old.gguf` exists already; pass --overwrite",
        ),
        (
            &["source", "out", "--output-gguf", "old.gguf/new.gguf"],
            "cannot write to",
        ),
        (
            &["source", "out", "--output-gguf", "documents", "--overwrite"],
            "not a regular file",
        ),
        (
            &["source", "out", "--threshold", "2"],
            "it must be a number from 0 to 1",
        ),
        (
            &["source", "out", "--threshold", "NaN"],
            "it must be a number from 0 to 1",
        ),
        (
            &["source", "out", "--granularity", "group:0"],
            "granularity",
        ),
        (&["source", "out", "--granularity", "column"], "or auto"),
        (&["source", "out", "--exclude", "("], "regex"),
        (&["source", "out", "--quant", "Q4_K"], "Q4_K"),
        (
            &["source", "out", "--torch-dtype", "int8"],
            "unknown dtype `int8`",
        ),
        (
            &["source", "out", "--format", "zip"],
            "unknown format `zip`",
        ),
        (&["source"], "OUT"),
    ];
    for (arguments, expected) in table {
        let output = run(place.path(), arguments);
        let message = stderr(&output);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(message.contains(expected), "{arguments:?}: {message}");
        assert!(!message.contains("panicked"), "{message}");
        assert_eq!(stdout(&output), "", "{arguments:?}");
        assert_eq!(names(place.path()), before, "{arguments:?}");
    }
    fs::write(place.path().join("source/config.json"), b"{").unwrap();
    let output = run(place.path(), &["source", "out"]);
    let lines: Vec<&str> = stderr(&output).lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].starts_with("error: `source/config.json` cannot be parsed"),
        "{lines:?}"
    );
    assert!(lines[1].starts_with("  cause: EOF"), "{lines:?}");
    assert_eq!(fs::read(place.path().join("old.gguf")).unwrap(), b"old");
}

#[test]
fn a_second_run_replaces_only_on_request() {
    let place = place();
    succeed(place.path(), &["source", "out"]);
    let output = run(place.path(), &["source", "out"]);
    assert!(
        stderr(&output).contains("exists already; pass --overwrite"),
        "{}",
        stderr(&output)
    );
    succeed(
        place.path(),
        &["source", "out", "--overwrite", "--threshold", "0.9"],
    );
    assert_eq!(
        T81Directory::open(place.path().join("out"))
            .unwrap()
            .metadata()
            .quantizer
            .threshold(),
        0.9
    );
}
