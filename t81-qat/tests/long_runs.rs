//! What keeps a long run safe: the best checkpoint, early stopping, checkpoints that survive a failed save.

mod runs;

use std::fs;
use std::path::Path;
use std::process::Command;

use runs::{fail, metrics, scratch, short_run, succeed};
use serde_json::Value;

fn summary(run: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(run.join("summary.json")).unwrap()).unwrap()
}

fn checkpoints(run: &Path) -> Vec<u64> {
    let mut steps: Vec<u64> = fs::read_dir(run.join("checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .map(|name| name.strip_prefix("step-").unwrap().parse().unwrap())
        .collect();
    steps.sort_unstable();
    steps
}

/// The evaluations of a run: step and loss.
fn evaluations(run: &Path) -> Vec<(u64, f64)> {
    let lines = metrics(run).into_iter();
    lines
        .filter_map(|line| Some((line["step"].as_u64()?, line["eval_loss"].as_f64()?)))
        .collect()
}

/// A run whose every step is the same however long the run is, and whose loss soon rises.
fn overshooting(run: &Path, steps: usize) -> Command {
    let mut command = short_run(run, steps);
    command
        .args(["--lr-scheduler-type", "constant", "--warmup-steps", "0"])
        .args(["--lambda-warmup-steps", "0", "--eval-steps", "1"])
        .args(["--learning-rate", "0.05", "--load-best-model-at-end"]);
    command
}

#[test]
fn the_best_model_is_kept_and_becomes_the_result() {
    let (scratch, run) = scratch();
    let said = succeed(overshooting(&run, 8).args(["--save-total-limit", "1"]));
    let losses = evaluations(&run);
    assert_eq!(losses.len(), 8);
    let (best, loss) = losses
        .into_iter()
        .min_by(|left, right| left.1.total_cmp(&right.1))
        .unwrap();
    assert!(best < 8, "the run is meant to overshoot: {said}");

    let summary = summary(&run);
    assert_eq!(summary["best"]["step"], best);
    assert_eq!(summary["result_step"], best);
    assert_eq!(summary["steps"], 8);
    assert_eq!(summary["loss"].as_f64().unwrap(), loss);
    assert_eq!(checkpoints(&run), [best, 8]);
    let line = format!("Best evaluation after step {best}");
    assert!(said.contains(&line), "{said}");

    // The same weights as those of a run that ends there.
    let short = scratch.path().join("short");
    succeed(&mut overshooting(&short, best as usize));
    let weights = |run: &Path| fs::read(run.join("t81/model.safetensors")).unwrap();
    assert!(weights(&run) == weights(&short));
}

#[test]
fn a_run_without_improvement_ends_and_its_patience_outlives_it() {
    let (_scratch, run) = scratch();
    // No evaluation improves by that much.
    let stopping = |patience: &str| {
        let mut command = short_run(&run, 12);
        command
            .args(["--lambda-warmup-steps", "1", "--eval-steps", "2"])
            .args(["--early-stopping-threshold", "100"])
            .args(["--early-stopping-patience", patience]);
        command
    };
    let said = succeed(&mut stopping("2"));
    assert!(said.contains("Stopped early after step 6 of 12"), "{said}");
    assert_eq!(summary(&run)["steps"], 6);
    assert_eq!(summary(&run)["stopped_early"], true);
    assert_eq!(checkpoints(&run), [6]);

    // Nothing left to do, and with more patience one more evaluation.
    succeed(stopping("2").arg("--resume"));
    assert_eq!(summary(&run)["steps"], 6);
    let said = succeed(stopping("3").arg("--resume"));
    assert!(said.contains("Stopped early after step 8 of 12"), "{said}");
    assert_eq!(evaluations(&run).len(), 4);
}

#[test]
fn steps_that_a_kill_lost_are_repeated_bit_for_bit() {
    let (_scratch, run) = scratch();
    let random = || {
        let mut command = short_run(&run, 6);
        command
            .args(["--ternary-stochastic-rounding", "--save-steps", "3"])
            .args(["--gradient-accumulation-steps", "2"]);
        command
    };
    succeed(&mut random());
    let whole = metrics(&run);
    let weights = || fs::read(run.join("t81/model.safetensors")).unwrap();
    let result = weights();
    fs::remove_dir_all(run.join("checkpoints/step-00000006")).unwrap();
    // What a kill in the middle of a save leaves.
    fs::create_dir(run.join("checkpoints/step-00000006.partial")).unwrap();
    succeed(random().arg("--resume"));
    let losses =
        |lines: &[Value]| -> Vec<Value> { lines.iter().map(|line| line["loss"].clone()).collect() };
    assert_eq!(losses(&metrics(&run)), losses(&whole));
    assert!(weights() == result);
    assert_eq!(checkpoints(&run), [3, 6]);
}

#[test]
fn a_loss_that_explodes_ends_the_run() {
    let (_scratch, run) = scratch();
    let said = fail(
        short_run(&run, 20)
            .args(["--learning-rate", "1", "--warmup-steps", "0"])
            .args(["--lambda-warmup-steps", "0", "--save-steps", "1"]),
    );
    assert!(said.contains("exploded"), "{said}");
    assert!(said.contains("last good checkpoint is"), "{said}");
    assert!(said.contains("smaller --learning-rate"), "{said}");
}

#[cfg(unix)]
#[test]
fn a_full_disk_costs_no_checkpoint() {
    let (_scratch, run) = scratch();
    succeed(short_run(&run, 6).args(["--save-steps", "2"]));
    assert_eq!(checkpoints(&run), [4, 6]);
    fs::remove_dir_all(run.join("checkpoints/step-00000006")).unwrap();
    fs::remove_dir_all(run.join("t81")).unwrap();

    // No file beyond 10 MiB: the model's 8 MB fit, the optimizer's 17 MB do not.
    let resumed = |limit: &str| {
        let mut training = short_run(&run, 6);
        training.args(["--save-steps", "2", "--save-total-limit", "1", "--resume"]);
        let mut shell = Command::new("bash");
        shell
            .args(["-c", "trap '' XFSZ; ulimit -f $0; exec \"$@\"", limit])
            .arg(training.get_program())
            .args(training.get_args());
        shell
    };
    let said = fail(&mut resumed("10240"));
    assert!(said.contains("optimizer.bpk"), "{said}");
    assert!(
        said.contains("make room and go on with --resume from")
            && said.trim_end().ends_with("step-00000004"),
        "{said}"
    );
    assert_eq!(checkpoints(&run), [4]);
    assert!(!run.join("t81").exists());

    // With room again the run goes on from there.
    succeed(&mut resumed("unlimited"));
    assert_eq!(*checkpoints(&run).last().unwrap(), 6);
    assert!(run.join("t81").exists());
}
