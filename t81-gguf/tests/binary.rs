//! The `t81-gguf` program: what it prints, what it returns, what it leaves behind.

mod tiny_model;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use t81_gguf::{GgufFile, GgufWriter, Metadata, TensorPlan, TensorType};
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

/// A directory with the default model in `model`.
fn prepared(model: &TinyModel) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    model.write(directory.path());
    directory
}

#[test]
fn exports_and_summarises() {
    let directory = prepared(&TinyModel::default());
    let output = run(&["out.gguf", "--from-t81", "model"], directory.path());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let summary = text(&output.stdout);
    assert!(summary.starts_with("out.gguf (TQ2_0)\n"), "{summary}");
    assert!(summary.contains("TQ2_0          14"), "{summary}");
    assert_eq!(text(&output.stderr), "");
    let file = GgufFile::open(directory.path().join("out.gguf")).unwrap();
    assert_eq!(file.metadata().u32("general.file_type"), Some(37));

    // A training output holds its t81 directory in `t81`.
    fs::create_dir(directory.path().join("training")).unwrap();
    fs::rename(
        directory.path().join("model"),
        directory.path().join("training/t81"),
    )
    .unwrap();
    let arguments = [
        "two.gguf",
        "--from-t81",
        "training",
        "--quant",
        "tq1_0",
        "--embedding-type",
        "f32",
        "--quiet",
    ];
    let output = run(&arguments, directory.path());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(
        (text(&output.stdout), text(&output.stderr)),
        (String::new(), String::new())
    );
    let file = GgufFile::open(directory.path().join("two.gguf")).unwrap();
    assert_eq!(file.metadata().u32("general.file_type"), Some(36));
    assert_eq!(
        file.tensor("token_embd.weight")
            .unwrap()
            .info
            .tensor_type
            .name(),
        "F32"
    );
}

#[test]
fn an_existing_output_is_replaced_on_request_only() {
    let directory = prepared(&TinyModel::default());
    let path = directory.path().join("out.gguf");
    fs::write(&path, "precious").unwrap();
    let output = run(&["out.gguf", "--from-t81", "model"], directory.path());
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        "error: `out.gguf` exists already; pass --overwrite to replace it\n"
    );
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    let output = run(
        &["out.gguf", "--from-t81", "model", "--overwrite"],
        directory.path(),
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(GgufFile::open(&path).is_ok());
}

#[test]
fn errors_are_one_line_with_their_cause() {
    let directory = prepared(&TinyModel::default());
    fs::write(directory.path().join("bad.gguf"), "GGUF").unwrap();
    let cases: [(&[&str], &[&str]); 7] = [
        (&["out.gguf", "--from-t81", "absent"], &["absent"]),
        (&["out.gguf", "--from-t81", "."], &["t81"]),
        (
            &["bad.gguf/out.gguf", "--from-t81", "model"],
            &["cannot write to", "bad.gguf", "Not a directory"],
        ),
        (&["info", "bad.gguf"], &["bad.gguf", "ends inside"]),
        (&["info", "absent.gguf"], &["absent.gguf", "No such file"]),
        (&["info", "model"], &["model", "not a regular file"]),
        (&["diff", "bad.gguf", "bad.gguf"], &["bad.gguf"]),
    ];
    for (arguments, expected) in cases {
        let output = run(arguments, directory.path());
        let code = if arguments[0] == "diff" { 2 } else { 1 };
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        let error = text(&output.stderr);
        assert_eq!(error.lines().count(), 1, "{arguments:?}: {error}");
        assert!(
            error.starts_with("error: ") && expected.iter().all(|part| error.contains(part)),
            "{arguments:?}: {error}"
        );
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
    }
    assert!(!directory.path().join("out.gguf").exists());
}

#[test]
fn wrong_usage_is_explained() {
    let directory = tempfile::tempdir().unwrap();
    for (arguments, expected) in [
        (&[][..], "--from-t81"),
        (&["out.gguf"], "--from-t81"),
        (&["--from-t81", "model"], "<OUT>"),
        (
            &["out.gguf", "--from-t81", "model", "--quant", "Q4_0"],
            "TQ1_0, TQ2_0, Q2_0, F16 and F32",
        ),
        (
            &[
                "out.gguf",
                "--from-t81",
                "model",
                "--embedding-type",
                "Q2_0",
            ],
            "F32, F16, BF16 and Q8_0",
        ),
        (&["info"], "<FILE>"),
        (&["--quiet", "info", "file.gguf"], "cannot be used with"),
    ] {
        let output = run(arguments, directory.path());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            text(&output.stderr).contains(expected),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
    }
    let help = text(&run(&["--help"], directory.path()).stdout);
    for word in ["--from-t81", "--quant", "--tokenizer-pre", "info", "diff"] {
        assert!(help.contains(word), "{help}");
    }
}

#[test]
fn info_shows_metadata_and_tensors() {
    let directory = prepared(&TinyModel::default());
    run(&["out.gguf", "--from-t81", "model"], directory.path());
    let output = run(&["info", "out.gguf"], directory.path());
    let shown = text(&output.stdout);
    assert!(output.status.success());
    for part in [
        "GGUF version 3",
        "general.architecture = \"llama\"",
        "264 in all",
        "blk.1.ffn_down.weight",
        "TQ2_0          14",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }

    let json: Value =
        serde_json::from_slice(&run(&["info", "out.gguf", "--json"], directory.path()).stdout)
            .unwrap();
    assert_eq!(json["metadata"]["general.architecture"], "llama");
    assert_eq!(
        json["metadata"]["tokenizer.ggml.tokens"]
            .as_array()
            .unwrap()
            .len(),
        264
    );
    assert_eq!(json["types"]["TQ2_0"]["tensors"], 14);
    assert_eq!(json["tensors"][0]["name"], "token_embd.weight");
    assert_eq!(
        json["tensors"][0]["dimensions"],
        serde_json::json!([256, 264])
    );
    assert_eq!(
        json["bytes"].as_u64(),
        Some(
            fs::metadata(directory.path().join("out.gguf"))
                .unwrap()
                .len()
        )
    );
}

#[test]
fn control_characters_of_a_file_do_not_reach_the_terminal() {
    let directory = tempfile::tempdir().unwrap();
    let mut metadata = Metadata::new();
    metadata.set("key\u{1b}[31m", "value\u{1b}[0m\u{9b}2J");
    let tensor = TensorPlan {
        name: "name\u{1b}]0;title\u{7}".into(),
        tensor_type: TensorType::I8,
        dimensions: vec![1],
    };
    for (file, value) in [("a.gguf", 1), ("b.gguf", 2)] {
        let path = directory.path().join(file);
        let mut writer =
            GgufWriter::create(path, &metadata, std::slice::from_ref(&tensor), false).unwrap();
        writer.write_tensor(&tensor.name, &[value]).unwrap();
        writer.finish().unwrap();
    }
    for arguments in [&["info", "a.gguf"][..], &["diff", "a.gguf", "b.gguf"]] {
        let shown = text(&run(arguments, directory.path()).stdout);
        assert!(shown.contains("title"), "{shown}");
        assert!(
            !shown.contains(|character: char| character.is_control() && character != '\n'),
            "{shown:?}"
        );
    }
}

#[test]
fn diff_returns_0_for_equal_tensors_and_1_for_others() {
    let directory = prepared(&TinyModel::default());
    run(&["a.gguf", "--from-t81", "model"], directory.path());
    run(
        &["b.gguf", "--from-t81", "model", "--tokenizer-pre", "olmo"],
        directory.path(),
    );
    run(
        &["c.gguf", "--from-t81", "model", "--quant", "Q2_0"],
        directory.path(),
    );
    let same = run(&["diff", "a.gguf", "b.gguf"], directory.path());
    assert_eq!(same.status.code(), Some(0));
    assert_eq!(
        text(&same.stdout),
        "equal tensors: 5 F32, 1 F16, 14 TQ2_0; different or missing: 0\n"
    );
    let other = run(&["diff", "a.gguf", "c.gguf"], directory.path());
    assert_eq!(other.status.code(), Some(1));
    let shown = text(&other.stdout);
    assert!(
        shown.contains("blk.0.attn_q.weight: TQ2_0 in the first file, Q2_0 in the second"),
        "{shown}"
    );
    assert!(
        shown.ends_with("equal tensors: 5 F32, 1 F16; different or missing: 14\n"),
        "{shown}"
    );

    let path = directory.path().join("b.gguf");
    let mut bytes = fs::read(&path).unwrap();
    let file = GgufFile::open(&path).unwrap();
    let at = file.header().data_start + file.tensor("blk.0.ffn_up.weight").unwrap().info.offset + 7;
    drop(file);
    bytes[at as usize] ^= 1;
    fs::write(&path, bytes).unwrap();
    let shown = text(&run(&["diff", "a.gguf", "b.gguf"], directory.path()).stdout);
    assert!(
        shown.starts_with("blk.0.ffn_up.weight: 1 of 33792 bytes differ, the first at 7\n"),
        "{shown}"
    );
}

/// A full disk, played by the limit on file sizes (of 512-byte blocks; its signal ignored, writes fail with an error).
#[cfg(unix)]
#[test]
fn a_full_disk_is_named_and_leaves_the_previous_file() {
    let directory = prepared(&TinyModel::default());
    fs::write(directory.path().join("out.gguf"), "precious").unwrap();
    let script = format!(
        "trap '' XFSZ; ulimit -f 64; exec '{}' out.gguf --from-t81 model --overwrite",
        env!("CARGO_BIN_EXE_t81-gguf")
    );
    let output = Command::new("sh")
        .args(["-c", &script])
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(
        error.starts_with("error: cannot write `out.gguf`: ") && error.lines().count() == 1,
        "{error}"
    );
    assert_eq!(
        fs::read(directory.path().join("out.gguf")).unwrap(),
        b"precious"
    );
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}

/// A reader that closes the pipe early (`t81-gguf info FILE | head`) is no error.
#[cfg(unix)]
#[test]
fn a_closed_pipe_is_no_error() {
    let directory = prepared(&TinyModel::default());
    run(&["out.gguf", "--from-t81", "model"], directory.path());
    let script = format!(
        "'{}' info out.gguf --json | head -c 1",
        env!("CARGO_BIN_EXE_t81-gguf")
    );
    let output = Command::new("sh")
        .args(["-c", &script])
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert_eq!(
        (text(&output.stdout), text(&output.stderr)),
        ("{".to_owned(), String::new())
    );
}

/// Outputs of a program that take nothing: a reader that went away, and a disk without room.
#[cfg(target_os = "linux")]
fn closed_and_full() -> [std::process::Stdio; 2] {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    [writer.into(), full.into()]
}

#[cfg(target_os = "linux")]
#[test]
fn an_output_that_goes_away_changes_no_file_and_no_verdict() {
    let directory = prepared(&TinyModel::default());
    run(&["good.gguf", "--from-t81", "model"], directory.path());
    let mut bytes = fs::read(directory.path().join("good.gguf")).unwrap();
    // A tensor type that no file has.
    let name = b"output_norm.weight";
    let at = bytes.windows(name.len()).position(|found| found == name);
    let at = at.unwrap() + name.len() + 4 + 8;
    bytes[at..at + 4].copy_from_slice(&30_u32.to_le_bytes());
    fs::write(directory.path().join("bad.gguf"), &bytes).unwrap();
    let found = run(&["check", "bad.gguf"], directory.path()).status.code();
    assert_eq!(found, Some(1));

    for (arguments, closed, full) in [
        (&["check", "good.gguf"][..], 0, 2),
        (&["check", "bad.gguf"], 1, 2),
        (&["check", "bad.gguf", "--json"], 1, 2),
        (&["check", "nowhere.gguf"], 2, 2),
        (&["diff", "good.gguf", "bad.gguf"], 1, 2),
        (&["diff", "good.gguf", "good.gguf"], 0, 2),
        (&["info", "good.gguf"], 0, 1),
        (&["info", "good.gguf", "--json"], 0, 1),
        (&["info", "nowhere.gguf"], 1, 1),
        (&["--help"], 0, 0),
        // The file is what these make.
        (&["a.gguf", "--from-t81", "model", "--overwrite"], 0, 0),
        (&["dequant", "good.gguf", "b.gguf", "--overwrite"], 0, 0),
    ] {
        let codes = [closed, full];
        let outputs = closed_and_full().into_iter().zip(closed_and_full());
        for ((stdout, stderr), expected) in outputs.zip(codes) {
            let status = Command::new(env!("CARGO_BIN_EXE_t81-gguf"))
                .args(arguments)
                .current_dir(directory.path())
                .stdout(stdout)
                .stderr(stderr)
                .status()
                .unwrap();
            assert_eq!(status.code(), Some(expected), "{arguments:?}");
        }
    }
    for written in ["a.gguf", "b.gguf"] {
        GgufFile::open(directory.path().join(written)).unwrap();
    }
}

#[test]
fn a_checkpoint_is_quantized_on_the_way() {
    let model = TinyModel {
        format: OutputFormat::Dense,
        ..TinyModel::default()
    };
    let directory = prepared(&model);
    for (arguments, first_line) in [
        (&["a.gguf"][..], "a.gguf (TQ2_0)"),
        (
            &["b.gguf", "--quant", "Q2_0", "--threshold", "0.7"],
            "b.gguf (Q2_0)",
        ),
        (
            &[
                "c.gguf",
                "--quant",
                "TQ1_0",
                "--granularity",
                "row",
                "--device-map",
                "auto",
            ],
            "c.gguf (TQ1_0)",
        ),
        (
            &[
                "d.gguf",
                "--granularity",
                "32",
                "--reference",
                "abs-max",
                "--scale",
                "reference",
            ],
            "d.gguf (Q2_0)",
        ),
    ] {
        let arguments = [arguments, &["--from-hf", "model"]].concat();
        let output = run(&arguments, directory.path());
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
        let shown = text(&output.stdout);
        assert_eq!(shown.lines().next(), Some(first_line));
        assert!(shown.contains("train it with t81-qat"), "{shown}");
    }
    let info = |name: &str| -> Value {
        serde_json::from_slice(&run(&["info", name, "--json"], directory.path()).stdout).unwrap()
    };
    assert_eq!(
        info("a.gguf")["metadata"]["t81.quantizer.granularity"],
        "group:256"
    );
    assert_eq!(
        info("b.gguf")["metadata"]["t81.quantizer.granularity"],
        "group:64"
    );
    assert_eq!(
        info("c.gguf")["metadata"]["t81.quantizer.granularity"],
        "row"
    );
    assert_eq!(info("c.gguf")["types"]["TQ1_0"]["tensors"], 14);
    assert_eq!(
        info("d.gguf")["metadata"]["t81.quantizer.reference"],
        "abs-max"
    );
    assert_eq!(info("d.gguf")["types"]["F16"]["tensors"], 15);

    let both = run(
        &["e.gguf", "--from-hf", "model", "--from-t81", "model"],
        directory.path(),
    );
    assert_eq!(both.status.code(), Some(2));
    let idle = run(
        &["e.gguf", "--from-t81", "model", "--threshold", "0.5"],
        directory.path(),
    );
    assert!(
        text(&idle.stderr).contains("cannot be used with"),
        "{}",
        text(&idle.stderr)
    );
    let wrong = run(
        &["e.gguf", "--from-hf", "model", "--threshold", "1.5"],
        directory.path(),
    );
    assert_eq!(wrong.status.code(), Some(1));
    assert!(
        text(&wrong.stderr).contains("1.5"),
        "{}",
        text(&wrong.stderr)
    );
}
