//! `--gradient-checkpointing` through the built command: the run is the same, bit for bit, in less memory.

mod runs;

use std::fs;
use std::path::Path;
use std::process::Command;

use runs::{command, metrics, scratch, short_run, succeed};
use serde_json::Value;

fn losses(run: &Path) -> Vec<Value> {
    let lines = metrics(run).into_iter();
    lines.filter_map(|line| line.get("loss").cloned()).collect()
}

fn weights(run: &Path) -> Vec<u8> {
    fs::read(run.join("t81/model.safetensors")).unwrap()
}

/// A run that uses what there is besides: several batches a step, drawn weights, weakened gradients, a lambda that rises.
fn varied(run: &Path) -> Command {
    let mut command = short_run(run, 6);
    command
        .args(["--ternary-stochastic-rounding"])
        .args(["--ternary-zero-gain", "0.25"])
        .args(["--lambda-warmup-steps", "3", "--save-steps", "3"])
        .args(["--gradient-accumulation-steps", "2"]);
    command
}

#[test]
fn a_run_has_the_same_losses_and_weights_and_can_be_resumed_either_way() {
    let (scratch, plain) = scratch();
    succeed(&mut varied(&plain));
    let checkpointed = scratch.path().join("checkpointed");
    succeed(varied(&checkpointed).arg("--gradient-checkpointing"));
    assert_eq!(losses(&plain).len(), 6);
    assert_eq!(losses(&checkpointed), losses(&plain));
    assert!(weights(&checkpointed) == weights(&plain));

    for flags in [&[][..], &["--gradient-checkpointing"]] {
        fs::remove_dir_all(checkpointed.join("checkpoints/step-00000006")).unwrap();
        let said = succeed(varied(&checkpointed).arg("--resume").args(flags));
        assert!(said.contains("resuming after step 3"), "{said}");
        assert_eq!(losses(&checkpointed), losses(&plain));
        assert!(weights(&checkpointed) == weights(&plain));
    }
}

#[test]
fn a_run_in_float16_has_the_same_losses() {
    let (scratch, plain) = scratch();
    let half = |run: &Path| {
        let mut command = short_run(run, 4);
        command.args(["--torch-dtype", "float16", "--device", "cpu"]);
        command
    };
    succeed(&mut half(&plain));
    let checkpointed = scratch.path().join("checkpointed");
    succeed(half(&checkpointed).arg("--gradient-checkpointing"));
    assert_eq!(losses(&checkpointed), losses(&plain));
    assert!(weights(&checkpointed) == weights(&plain));
}

#[test]
fn a_taught_run_is_the_same() {
    let (scratch, float) = scratch();
    succeed(short_run(&float, 2).args(["--recipe", "float", "--gradient-checkpointing"]));
    let taught = |name: &str, flags: &[&str]| {
        let run = scratch.path().join(name);
        let checkpoint = float.join("t81");
        let mut command = command();
        command
            .arg(&checkpoint)
            .args(["--dataset-name", "stories", "--block-size", "32"])
            .args(["--max-train-samples", "40", "--max-eval-samples", "4"])
            .args(["--max-steps", "3", "--logging-steps", "1"])
            .arg("--teacher")
            .arg(&checkpoint)
            .args(flags)
            .arg("--output-dir")
            .arg(&run);
        succeed(&mut command);
        run
    };
    let plain = taught("plain", &[]);
    let checkpointed = taught("checkpointed", &["--gradient-checkpointing"]);
    assert_eq!(losses(&checkpointed), losses(&plain));
    assert!(weights(&checkpointed) == weights(&plain));
}

/// Of four layers, whose activations one after the other are held.
#[cfg(target_os = "linux")]
#[test]
fn a_run_takes_less_memory() {
    let (scratch, plain) = scratch();
    let peak = |run: &Path, flags: &[&str]| {
        let mut command = command();
        command
            .args(["small", "--dataset-name", "stories", "--max-steps", "1"])
            .args(["--max-train-samples", "8", "--max-eval-samples", "1"])
            .args(flags)
            .arg("--output-dir")
            .arg(run);
        succeed(&mut command);
        let summary = fs::read_to_string(run.join("summary.json")).unwrap();
        let summary: Value = serde_json::from_str(&summary).unwrap();
        summary["peak_memory"]["host"].as_u64().unwrap()
    };
    let checkpointed = scratch.path().join("checkpointed");
    let less = peak(&checkpointed, &["--gradient-checkpointing"]);
    let all = peak(&plain, &[]);
    // Measured: 0.6.
    assert!(4 * less < 3 * all, "{less} of {all} bytes");
    assert_eq!(losses(&checkpointed), losses(&plain));
}
