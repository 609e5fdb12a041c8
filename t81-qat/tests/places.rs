//! The built command: where it writes, what it never writes over, and what it checks before the first step.

mod runs;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use runs::{command, fail, scratch, short_run, succeed};
use serde_json::{Value, json};
use t81_gguf::GgufFile;
use t81_hub::T81Directory;

/// A run on `model`, of two steps.
fn run_on(model: &Path, directory: &Path) -> Command {
    let mut command = command();
    command
        .arg(model)
        .args(["--dataset-name", "stories", "--block-size", "16"])
        .args(["--max-train-samples", "8", "--max-eval-samples", "2"])
        .args(["--max-steps", "2", "--per-device-train-batch-size", "2"])
        .arg("--output-dir")
        .arg(directory);
    command
}

/// What a command that fails, with exit code 1 or clap's 2, says on standard error.
fn refusal(command: &mut Command) -> String {
    let Output { status, stderr, .. } = command.output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(matches!(status.code(), Some(1 | 2)), "{stderr}");
    stderr
}

#[test]
fn what_cannot_be_exported_is_told_before_the_first_step() {
    let (scratch, float) = scratch();
    succeed(short_run(&float, 1).args(["--recipe", "float"]));
    let checkpoint = float.join("t81");
    let path = checkpoint.join("tokenizer.json");
    let mut tokenizer: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    tokenizer["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": "\\d{1,2}"}, "behavior": "Isolated", "invert": false},
        {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
    ]});
    fs::write(&path, tokenizer.to_string()).unwrap();

    let run = scratch.path().join("ternary");
    let gguf = scratch.path().join("new/m.gguf");
    let with_gguf = || {
        let mut command = run_on(&checkpoint, &run);
        command.arg("--output-gguf").arg(&gguf);
        command
    };
    let said = fail(&mut with_gguf());
    assert!(said.contains("--tokenizer-pre"), "{said}");
    assert!(said.contains("t81` to llama.cpp"), "{said}");
    assert!(!run.exists() && !scratch.path().join("new").exists());
    let said = refusal(with_gguf().args(["--tokenizer-pre", "gtp-2"]));
    assert!(said.contains("did you mean `gpt-2`?"), "{said}");
    let said = refusal(run_on(&checkpoint, &run).args(["--tokenizer-pre", "gpt-2"]));
    assert!(said.contains("--output-gguf"), "{said}");
    succeed(with_gguf().args(["--tokenizer-pre", "gpt-2"]));
    let file = GgufFile::open(&gguf).unwrap();
    assert_eq!(file.metadata().string("tokenizer.ggml.pre"), Some("gpt-2"));
    assert_eq!(file.metadata().string("general.name"), Some("t81"));
}

#[test]
fn a_failed_export_costs_the_file_alone() {
    let (scratch, run) = scratch();
    let gguf = scratch.path().join("m.gguf");
    let mut child = short_run(&run, 4)
        .arg("--output-gguf")
        .arg(&gguf)
        .args(["--gguf-quant", "TQ1_0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(300);
    while !run.join("settings.json").exists() {
        assert!(Instant::now() < deadline && child.try_wait().unwrap().is_none());
        sleep(Duration::from_millis(2));
    }
    fs::write(&gguf, "somebody else's").unwrap();
    let output = child.wait_with_output().unwrap();
    let (said, error) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert_eq!(output.status.code(), Some(1), "{error}");
    let command = format!(
        "`t81-gguf {} --from-t81 {} --quant TQ1_0`",
        gguf.display(),
        run.join("t81").display()
    );
    assert!(error.contains(&command), "{error}");
    assert!(error.contains("exists already"), "{error}");
    assert!(said.contains("Perplexity"), "{said}");
    let summary: Value =
        serde_json::from_slice(&fs::read(run.join("summary.json")).unwrap()).unwrap();
    assert_eq!(summary["steps"], 4);
    assert_eq!(summary["bytes"]["gguf"], Value::Null);
    T81Directory::open(&run).unwrap();
    assert_eq!(fs::read(&gguf).unwrap(), b"somebody else's");
}

#[test]
fn no_output_is_written_over_what_is_read() {
    let (scratch, float) = scratch();
    let place = scratch.path();
    succeed(short_run(&float, 1).args(["--recipe", "float"]));
    let checkpoint = float.join("t81");
    let corpus = place.join("corpus.txt");
    fs::write(&corpus, "Tom went to the garden. ".repeat(200)).unwrap();
    let hard = place.join("hard.gguf");
    fs::hard_link(&corpus, &hard).unwrap();
    let run = place.join("ternary");
    let files = [
        checkpoint.join("config.json"),
        checkpoint.join("model.safetensors"),
        corpus.clone(),
    ];
    let before = files.each_ref().map(|file| fs::read(file).unwrap());

    let with = |directory: &Path, arguments: &[&Path]| {
        let mut command = command();
        command.arg(&checkpoint).arg("--train-file").arg(&corpus);
        command.args(["--max-steps", "1", "--overwrite", "--no-token-cache"]);
        command.arg("--output-dir").arg(directory).args(arguments);
        fail(&mut command)
    };
    let flag = Path::new("--output-gguf");
    for gguf in [
        &files[0],
        &files[1],
        &corpus,
        &hard,
        &run,
        &run.join("settings.json"),
        &run.join("t81/model.safetensors"),
    ] {
        let said = with(&run, &[flag, gguf]);
        assert!(
            said.contains("choose another path") || said.contains("not a regular file"),
            "{said}"
        );
    }
    // The run whose result is the model, which is the teacher, too.
    let said = with(&float, &[]);
    assert!(said.contains("choose another path"), "{said}");
    let mut taught = short_run(&float, 1);
    taught.arg("--overwrite").arg("--teacher").arg(&checkpoint);
    let said = fail(&mut taught);
    assert!(said.contains("choose another path"), "{said}");
    assert!(!run.exists());
    assert_eq!(files.each_ref().map(|file| fs::read(file).unwrap()), before);

    let mut evaluate = command();
    evaluate
        .arg("evaluate")
        .arg(&float)
        .arg("--text")
        .arg(&corpus);
    evaluate.arg("--ids-out").arg(&corpus);
    let said = fail(&mut evaluate);
    assert!(said.contains("choose another path"), "{said}");
    let metrics = float.join("metrics.jsonl");
    let mut report = command();
    report
        .arg("report")
        .arg(&float)
        .arg("--output")
        .arg(&metrics);
    let said = fail(&mut report);
    assert!(said.contains("choose another path"), "{said}");
    let kept = fs::read(&metrics).unwrap();
    assert!(kept.starts_with(b"{"));
    for _ in 0..2 {
        let page = float.join("report.html");
        succeed(
            command()
                .arg("report")
                .arg(&float)
                .arg("--output")
                .arg(&page),
        );
    }
}

#[test]
fn the_file_may_lie_in_the_output_directory() {
    let (_scratch, run) = scratch();
    for gguf in ["m.gguf", "t81/../sub/m.gguf"] {
        let gguf = run.join(gguf);
        let mut command = short_run(&run, 1);
        command.arg("--overwrite").arg("--output-gguf").arg(&gguf);
        succeed(&mut command);
        let name = gguf.file_name().unwrap();
        let folder = gguf.components().any(|part| part.as_os_str() == "sub");
        let place = if folder { run.join("sub") } else { run.clone() };
        assert!(GgufFile::open(place.join(name)).is_ok(), "{gguf:?}");
    }
}

#[test]
fn an_evaluation_that_scores_nothing_is_an_error() {
    let (scratch, run) = scratch();
    succeed(&mut short_run(&run, 1));
    let text = scratch.path().join("text.txt");
    fs::write(&text, "Tom went to the garden. ".repeat(20)).unwrap();
    let evaluate = |size: &str| {
        let mut command = command();
        command.arg("evaluate").arg(&run).arg("--text").arg(&text);
        command.args(["--block-size", size, "--max-windows", "2"]);
        command
    };
    for size in ["1", "2"] {
        let said = fail(&mut evaluate(size));
        assert!(said.contains("pass --block-size 3 or more"), "{said}");
    }
    let ids = scratch.path().join("new/deep/ids.txt");
    let said = succeed(evaluate("3").arg("--ids-out").arg(&ids));
    assert!(said.contains("scored tokens 2"), "{said}");
    assert_eq!(fs::read_to_string(ids).unwrap().split(' ').count(), 3);
}

#[test]
fn mistyped_names_are_answered_with_the_nearest() {
    let (scratch, run) = scratch();
    fs::create_dir(&run).unwrap();
    let place = scratch.path();
    let said = |line: &[&str]| {
        let mut command = command();
        command.args(line).current_dir(place);
        command
            .env("HF_HUB_OFFLINE", "1")
            .env("HF_HUB_CACHE", place.join("cache"));
        refusal(&mut command)
    };
    for (word, nearest) in [
        ("generat", "generate"),
        ("evalaute", "evaluate"),
        ("reprot", "report"),
        ("bnech", "bench"),
    ] {
        for line in [&[word, "run"][..], &[word], &[word, "run", "--text", "x"]] {
            let said = said(line);
            assert!(
                said.contains(&format!("exists: '{nearest}'")),
                "{line:?}: {said}"
            );
        }
    }
    for line in [
        &["evaluate", "rnu", "--text", "x"][..],
        &["generate", "rnu", "--prompt", ""],
        &["rnu", "--dataset-name", "stories", "--output-dir", "o"],
    ] {
        let said = said(line);
        assert!(said.contains("did you mean `run`?"), "{line:?}: {said}");
    }
    // A model, not a command.
    let said = said(&["genera/te", "--dataset-name", "stories"]);
    assert!(said.contains("--output-dir"), "{said}");
}
