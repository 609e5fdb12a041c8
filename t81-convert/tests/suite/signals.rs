//! Ends that come from outside, at any moment.
#![cfg(unix)]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use t81_gguf::GgufFile;
use t81_hub::T81Directory;

use crate::model::{config, llama, names, write_with};

const LAYERS: usize = 60;

fn command(place: &Path, threshold: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_t81-convert"));
    command
        .current_dir(place)
        .args([
            "source",
            "out",
            "--overwrite",
            "--quiet",
            "--threshold",
            threshold,
        ])
        .stderr(Stdio::null());
    command
}

fn start(place: &Path, threshold: &str) -> Child {
    command(place, threshold).spawn().unwrap()
}

/// A model large enough that a conversion takes some ten milliseconds.
fn source() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    write_with(&place.path().join("source"), &config(LAYERS), |_, _| ());
    place
}

/// The same with a first result of threshold 0.25.
fn place() -> tempfile::TempDir {
    let place = source();
    assert!(start(place.path(), "0.25").wait().unwrap().success());
    place
}

fn threshold(place: &Path) -> f32 {
    T81Directory::open(place.join("out"))
        .unwrap()
        .metadata()
        .quantizer
        .threshold()
}

/// Moments at which processes die: the same in every run of the test, spread over a conversion and beyond.
fn moments(seed: u64) -> impl Iterator<Item = Duration> {
    let mut state = seed;
    (0..12).map(move |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        Duration::from_micros((state >> 33) % 60_000)
    })
}

fn kill(mut child: Child, moment: Duration) {
    std::thread::sleep(moment);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_kill_at_any_moment_leaves_the_old_result_or_the_new_one() {
    let place = place();
    for moment in moments(1) {
        kill(start(place.path(), "0.75"), moment);
        let found = threshold(place.path());
        assert!(found == 0.25 || found == 0.75, "{found}");
        for name in names(place.path()) {
            let known =
                matches!(name.as_str(), "out" | "source") || name.starts_with(".out.t81-partial-");
            assert!(known, "{name}");
        }
    }
    assert!(start(place.path(), "0.5").wait().unwrap().success());
    assert_eq!(threshold(place.path()), 0.5);
    // What the killed processes left, the next one removed.
    assert_eq!(names(place.path()), ["out", "source"]);
}

/// A GGUF that holds every tensor of the source: the checkpoint ties its embeddings and has no other that GGUF drops.
fn assert_whole(gguf: &Path) {
    let tensors = llama(&config(LAYERS)).expected_tensors().len();
    assert_eq!(GgufFile::open(gguf).unwrap().tensors().count(), tensors);
}

#[test]
fn a_kill_of_a_first_conversion_leaves_nothing_half_made() {
    let place = source();
    let (out, gguf) = (place.path().join("out"), place.path().join("model.gguf"));
    let mut finished = 0;
    for moment in moments(2) {
        let mut command = command(place.path(), "0.75");
        kill(
            command
                .args(["--output-gguf", "model.gguf"])
                .spawn()
                .unwrap(),
            // The export follows the conversion.
            2 * moment,
        );
        if out.exists() {
            assert_eq!(threshold(place.path()), 0.75);
            finished += 1;
            fs::remove_dir_all(&out).unwrap();
        }
        if gguf.exists() {
            assert_whole(&gguf);
            fs::remove_file(&gguf).unwrap();
        }
    }
    assert!(finished < 12, "no kill came in time");
    let mut last = command(place.path(), "0.5");
    last.args(["--output-gguf", "model.gguf"]);
    assert!(last.status().unwrap().success());
    assert_eq!(threshold(place.path()), 0.5);
    assert_whole(&gguf);
}

#[test]
fn ctrl_c_at_any_moment_leaves_no_trace() {
    let place = place();
    let mut last = 0.25;
    for (step, moment) in moments(3).enumerate() {
        let wanted = 0.3 + 0.05 * step as f32;
        let mut child = start(place.path(), &wanted.to_string());
        std::thread::sleep(moment);
        let signal = if step % 2 == 0 { "-INT" } else { "-TERM" };
        let sent = Command::new("kill")
            .args([signal, &child.id().to_string()])
            .stderr(Stdio::null())
            .status();
        assert!(sent.is_ok());
        let ended = child.wait().unwrap();
        // A signal that comes before the handler is there ends the program at once; it has written nothing yet.
        if ended.success() {
            last = wanted;
        }
        assert_eq!(threshold(place.path()), last);
        assert_eq!(names(place.path()), ["out", "source"]);
    }
    assert!(fs::metadata(place.path().join("out/model.safetensors")).is_ok());
}

/// A limit on the size of files is what a full disk looks like to a program.
#[test]
fn a_full_disk_is_an_error_and_leaves_the_old_result() {
    let place = place();
    for blocks in ["1", "64", "512"] {
        let output = Command::new("sh")
            .current_dir(place.path())
            .args(["-c", "trap '' XFSZ; ulimit -f $0; exec \"$@\"", blocks])
            .arg(env!("CARGO_BIN_EXE_t81-convert"))
            .args(["source", "out", "--overwrite", "--quiet"])
            .output()
            .unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(
            message.contains("model.safetensors") && message.contains("File too large"),
            "{message}"
        );
        assert_eq!(threshold(place.path()), 0.25);
        assert_eq!(names(place.path()), ["out", "source"]);
    }
}

/// Outputs of a program that take nothing: a reader that went away, and a disk without room.
#[cfg(target_os = "linux")]
fn closed_and_full() -> [Stdio; 2] {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    [writer.into(), full.into()]
}

#[cfg(target_os = "linux")]
#[test]
fn an_output_that_goes_away_ends_no_conversion_and_hides_no_error() {
    let place = source();
    let program = |arguments: &[&str], stdout: Stdio, stderr: Stdio| {
        Command::new(env!("CARGO_BIN_EXE_t81-convert"))
            .current_dir(place.path())
            .args(arguments)
            .stdout(stdout)
            .stderr(stderr)
            .status()
            .unwrap()
            .code()
    };
    for (stdout, stderr) in closed_and_full().into_iter().zip(closed_and_full()) {
        let arguments = ["source", "out", "--overwrite", "--output-gguf", "m.gguf"];
        assert_eq!(program(&arguments, stdout, stderr), Some(0));
        assert_whole(&place.path().join("m.gguf"));
        fs::remove_file(place.path().join("m.gguf")).unwrap();
    }
    for (stdout, stderr) in closed_and_full().into_iter().zip(closed_and_full()) {
        assert_eq!(program(&["nowhere", "out"], stdout, stderr), Some(1));
    }
    for (stdout, stderr) in closed_and_full().into_iter().zip(closed_and_full()) {
        assert_eq!(program(&["--help"], stdout, stderr), Some(0));
    }
}

/// A session that closes sends more than one.
#[test]
fn a_terminal_that_hangs_up_twice_still_lets_the_program_clean_up() {
    let place = place();
    let script = r#""$0" source out --overwrite --quiet --threshold 0.75 & job=$!
        sleep 0.02; kill -HUP $job; kill -HUP $job; wait $job"#;
    for _ in 0..6 {
        let status = Command::new("bash")
            .current_dir(place.path())
            .args(["-c", script])
            .arg(env!("CARGO_BIN_EXE_t81-convert"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        // 129 if the signal came before the handler.
        assert!(matches!(status.code(), Some(0 | 129 | 130)), "{status}");
        if status.code() != Some(129) {
            assert_eq!(names(place.path()), ["out", "source"]);
        }
    }
}

#[test]
fn a_directory_that_cannot_be_written_is_an_error() {
    let place = place();
    // Also for root, whom permissions do not stop.
    let output = Command::new(env!("CARGO_BIN_EXE_t81-convert"))
        .current_dir(place.path())
        .args(["source", "/proc/out", "--quiet"])
        .output()
        .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(
        message.contains("cannot create a directory in `/proc`"),
        "{message}"
    );
    // A file where a directory is needed.
    fs::write(place.path().join("file"), b"mine").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_t81-convert"))
        .current_dir(place.path())
        .args(["source", "file/out", "--quiet"])
        .output()
        .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("cannot create"), "{message}");
    assert_eq!(fs::read(place.path().join("file")).unwrap(), b"mine");
}
