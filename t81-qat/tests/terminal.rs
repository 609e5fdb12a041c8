//! The built command when the other end of its output goes away: a closed pipe, a full disk, a terminal that hangs up.
#![cfg(target_os = "linux")]

mod runs;

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use runs::{command, metrics, scratch, short_run, succeed};

/// What nobody reads.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// A disk without room.
fn full() -> Stdio {
    File::options()
        .write(true)
        .open("/dev/full")
        .unwrap()
        .into()
}

/// All pairs of outputs of which at least one takes nothing.
fn outputs() -> Vec<(&'static str, Stdio, Stdio)> {
    vec![
        ("closed stdout", closed(), Stdio::null()),
        ("closed stderr", Stdio::null(), closed()),
        ("closed", closed(), closed()),
        ("full", full(), full()),
    ]
}

fn status(command: &mut Command, stdout: Stdio, stderr: Stdio) -> ExitStatus {
    command.stdout(stdout).stderr(stderr).status().unwrap()
}

fn assert_complete(run: &Path, steps: usize) {
    let logged = metrics(run)
        .iter()
        .filter(|line| line.get("loss").is_some())
        .count();
    assert_eq!(logged, steps);
    for file in ["summary.json", "t81/model.safetensors"] {
        assert!(run.join(file).is_file(), "{file}");
    }
}

#[test]
fn training_outlives_its_reader() {
    for (name, stdout, stderr) in outputs() {
        let (scratch, run) = scratch();
        let gguf = scratch.path().join("model.gguf");
        let mut training = short_run(&run, 3);
        training.arg("--output-gguf").arg(&gguf);
        let status = status(&mut training, stdout, stderr);
        assert!(status.success(), "{name}: {status}");
        assert_complete(&run, 3);
        assert!(gguf.is_file());
    }
}

#[test]
fn training_outlives_a_reader_of_one_line() {
    let (_scratch, run) = scratch();
    let mut child = short_run(&run, 5)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    drop(stdout);
    assert!(line.contains("weights ternary"), "{line}");
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}");
    assert_complete(&run, 5);
}

#[test]
fn other_commands_end_quietly_and_an_error_keeps_its_code() {
    let (scratch, run) = scratch();
    succeed(&mut short_run(&run, 1));
    let text = scratch.path().join("text.txt");
    fs::write(&text, "Tom went to the garden with a red ball. ".repeat(40)).unwrap();
    let evaluate = || {
        let mut command = command();
        command.arg("evaluate").arg(&run).arg("--text").arg(&text);
        command.args(["--block-size", "64", "--max-windows", "1"]);
        command
    };
    let generate = || {
        let mut command = command();
        command.arg("generate").arg(&run);
        command.args(["--prompt", "Tom", "--max-new-tokens", "3"]);
        command
    };
    let report = || {
        let mut command = command();
        command.arg("report").arg(&run);
        command
    };
    let bench = || {
        let mut command = command();
        command.args(["bench", "--steps", "1", "--seconds", "0.01"]);
        command.args(["--blob-bytes", "1000", "--shape", "64x64", "--batch", "1"]);
        command
            .arg("--output")
            .arg(scratch.path().join("bench.json"));
        command
    };
    for (name, stdout, stderr) in outputs() {
        let prints = name == "full";
        // What these print is all that they make.
        let expected = if prints { 1 } else { 0 };
        let (second_out, second_err) = match name {
            "full" => (full(), full()),
            _ => (closed(), closed()),
        };
        let found = status(&mut evaluate(), stdout, stderr);
        assert_eq!(found.code(), Some(expected), "evaluate, {name}");
        let found = status(&mut generate(), second_out, second_err);
        assert_eq!(found.code(), Some(expected), "generate, {name}");
    }
    for (name, stdout, stderr) in outputs() {
        let found = status(&mut report(), stdout, stderr);
        assert_eq!(found.code(), Some(0), "report, {name}");
        assert!(run.join("report.html").is_file());
    }
    assert_eq!(status(&mut bench(), closed(), closed()).code(), Some(0));
    assert!(scratch.path().join("bench.json").is_file());
    for (name, stdout, stderr) in outputs() {
        let mut failing = command();
        failing.arg("report").arg(scratch.path().join("nothing"));
        let found = status(&mut failing, stdout, stderr);
        assert_eq!(found.code(), Some(1), "an error, {name}");
    }
    for (name, stdout, stderr) in outputs() {
        let found = status(command().arg("--help"), stdout, stderr);
        assert_eq!(found.code(), Some(0), "--help, {name}");
    }
}

/// Waits until a run has written `lines` lines of metrics.
fn wait_for_metrics(run: &Path, lines: usize) {
    let metrics: PathBuf = run.join("metrics.jsonl");
    let deadline = Instant::now() + Duration::from_secs(300);
    while fs::read_to_string(&metrics).map_or(0, |text| text.lines().count()) < lines {
        assert!(Instant::now() < deadline, "the run wrote no metrics");
        sleep(Duration::from_millis(5));
    }
}

fn signal(name: &str, process: u32) {
    let sent = Command::new("kill")
        .args([name, &process.to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
}

#[test]
fn a_terminal_that_hangs_up_saves_and_stops_the_run() {
    let (_scratch, run) = scratch();
    let training = short_run(&run, 100_000);
    // Tests that run under nohup would hand on an ignored signal.
    let mut child = Command::new("env")
        .arg("--default-signal=HUP")
        .arg(training.get_program())
        .args(training.get_args())
        .stdout(closed())
        .stderr(closed())
        .spawn()
        .unwrap();
    wait_for_metrics(&run, 2);
    // The kernel sends one to the foreground, the shell another one to all of its jobs.
    signal("-HUP", child.id());
    sleep(Duration::from_millis(20));
    signal("-HUP", child.id());
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130), "{status}");
    let last = metrics(&run).last().unwrap()["step"].as_u64().unwrap();
    let checkpoint = run.join(format!("checkpoints/step-{last:08}"));
    assert!(checkpoint.join("state.json").is_file(), "{checkpoint:?}");
}

#[test]
fn a_run_under_nohup_goes_on() {
    let (_scratch, run) = scratch();
    let training = short_run(&run, 12);
    let mut shell = Command::new("bash");
    let mut child = shell
        .args(["-c", "trap '' HUP; exec \"$0\" \"$@\""])
        .arg(training.get_program())
        .args(training.get_args())
        .stdout(closed())
        .stderr(closed())
        .spawn()
        .unwrap();
    wait_for_metrics(&run, 2);
    signal("-HUP", child.id());
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}");
    assert_complete(&run, 12);
}
