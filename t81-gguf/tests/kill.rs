//! Killed at any moment, the program leaves no half-written file under the final name and an existing file as it was.

#![cfg(unix)]

mod rewrite;
mod tiny_model;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rewrite::{Contents, exported};
use t81_gguf::{GgufFile, TensorPlan, TensorType};
use tiny_model::TinyModel;

/// A file with matrices enough that repacking takes a while: the tiny model's with larger layers added.
fn source(directory: &Path) -> GgufFile {
    let file = exported(&TinyModel::default(), directory, "tiny.gguf", "F32");
    let mut contents = Contents::of(&file);
    let halves = half::f16::from_f32(0.5).to_le_bytes().repeat(2048 * 1024);
    for layer in 10..18 {
        let plan = TensorPlan {
            name: format!("blk.{layer}.ffn_up.weight"),
            tensor_type: TensorType::F16,
            dimensions: vec![2048, 1024],
        };
        contents.tensors.push((plan, halves.clone()));
    }
    contents.write(&directory.join("in.gguf"))
}

fn start(directory: &Path, output: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_t81-gguf"))
        .args([output, "--from-gguf", "in.gguf", "--overwrite", "--quiet"])
        .current_dir(directory)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_killed_program_leaves_the_final_name_alone() {
    let directory = tempfile::tempdir().unwrap();
    drop(source(directory.path()));
    let started = Instant::now();
    assert!(
        start(directory.path(), "whole.gguf")
            .wait()
            .unwrap()
            .success()
    );
    let duration = started.elapsed();
    let whole = fs::read(directory.path().join("whole.gguf")).unwrap();

    let kills = 12;
    let mut killed = 0;
    for kill in 0..kills {
        let precious = directory.path().join("precious.gguf");
        fs::write(&precious, "precious").unwrap();
        let mut writers = [
            start(directory.path(), "precious.gguf"),
            start(directory.path(), "new.gguf"),
        ];
        thread::sleep(duration * kill / kills + Duration::from_millis(1));
        for writer in &mut writers {
            // SIGKILL: nothing of the program runs any more.
            writer.kill().unwrap();
            killed += u32::from(!writer.wait().unwrap().success());
        }
        // Either the old contents or the whole new ones, byte for byte.
        let found = fs::read(&precious).unwrap();
        assert!(found == b"precious" || found == whole, "kill {kill}");
        match fs::read(directory.path().join("new.gguf")) {
            Ok(found) => assert!(found == whole, "kill {kill}"),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
        }
        let _ = fs::remove_file(directory.path().join("new.gguf"));
    }
    assert!(
        killed > kills,
        "{killed} of {} were killed in time",
        2 * kills
    );

    // What a killed program leaves beside does not disturb the next one.
    assert!(
        start(directory.path(), "precious.gguf")
            .wait()
            .unwrap()
            .success()
    );
    assert!(fs::read(directory.path().join("precious.gguf")).unwrap() == whole);
}
