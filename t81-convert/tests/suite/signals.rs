//! Ends that come from outside, at any moment.
#![cfg(unix)]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use t81_hub::T81Directory;

use crate::model::{config, names, write_with};

fn start(place: &Path, threshold: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_t81-convert"))
        .current_dir(place)
        .args([
            "source",
            "out",
            "--overwrite",
            "--quiet",
            "--threshold",
            threshold,
        ])
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// A model large enough that a conversion takes some ten milliseconds, with a first result of threshold 0.25.
fn place() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    write_with(&place.path().join("source"), &config(60), |_, _| ());
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

#[test]
fn a_kill_at_any_moment_leaves_a_whole_result() {
    let place = place();
    for step in 0..12 {
        let mut child = start(place.path(), "0.75");
        std::thread::sleep(Duration::from_millis(4 * step));
        child.kill().unwrap();
        child.wait().unwrap();
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
}

#[test]
fn ctrl_c_at_any_moment_leaves_no_trace() {
    let place = place();
    let mut last = 0.25;
    for step in 0..12u32 {
        let wanted = 0.3 + 0.05 * step as f32;
        let mut child = start(place.path(), &wanted.to_string());
        std::thread::sleep(Duration::from_millis(4 * u64::from(step)));
        let sent = Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .stderr(Stdio::null())
            .status();
        assert!(sent.is_ok());
        if child.wait().unwrap().success() {
            last = wanted;
        }
        assert_eq!(threshold(place.path()), last);
        assert_eq!(names(place.path()), ["out", "source"]);
    }
    assert!(fs::metadata(place.path().join("out/model.safetensors")).is_ok());
}
