//! Runs of seconds through the built command.

#![allow(dead_code, reason = "no file of tests needs all of it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

pub(crate) fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_t81-qat"))
}

/// A run of seconds: few and short blocks.
pub(crate) fn short_run(directory: &Path, steps: usize) -> Command {
    let mut command = command();
    command
        .args(["tiny", "--dataset-name", "stories", "--block-size", "32"])
        .args(["--per-device-train-batch-size", "4"])
        .args(["--max-train-samples", "40", "--max-eval-samples", "4"])
        .args(["--logging-steps", "1"])
        .args(["--max-steps", &steps.to_string()])
        .arg("--output-dir")
        .arg(directory);
    command
}

/// What a command that succeeds prints.
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The one line of an error.
pub(crate) fn fail(command: &mut Command) -> String {
    let Output { status, stderr, .. } = command.output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.starts_with("error: "), "{stderr}");
    stderr
}

/// The lines of a run's `metrics.jsonl`.
pub(crate) fn metrics(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A directory that is removed in the end, and where a run in it may go.
pub(crate) fn scratch() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let run = directory.path().join("run");
    (directory, run)
}
