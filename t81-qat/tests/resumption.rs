//! What may not happen between two parts of a run: another run in its directory, damage, a lost evaluation.
#![cfg(unix)]

mod runs;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use runs::{fail, metrics, scratch, short_run, succeed};

/// A run in the background, once it has written `lines` lines of metrics.
fn started(command: &mut Command, run: &Path, lines: usize) -> Child {
    let child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(300);
    let written =
        || fs::read_to_string(run.join("metrics.jsonl")).map_or(0, |text| text.lines().count());
    while written() < lines {
        assert!(Instant::now() < deadline, "the run wrote no metrics");
        sleep(Duration::from_millis(5));
    }
    child
}

#[test]
fn a_second_run_in_the_directory_is_refused_while_the_first_lives() {
    let (_scratch, run) = scratch();
    let mut first = started(&mut short_run(&run, 100_000), &run, 1);
    for flag in [None, Some("--overwrite"), Some("--resume")] {
        let said = fail(short_run(&run, 3).args(flag));
        let named = said.contains(&format!("(process {})", first.id()))
            && said.contains(&run.display().to_string());
        assert!(named, "{flag:?}: {said}");
    }
    // What a killed run leaves is no obstacle.
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(run.join("run.lock").exists());
    succeed(short_run(&run, 3).arg("--overwrite"));
    assert!(!run.join("run.lock").exists());
}

#[test]
fn a_flipped_byte_in_a_checkpoint_is_found_and_the_older_one_named() {
    let (_scratch, run) = scratch();
    let training = || {
        let mut command = short_run(&run, 6);
        command.args(["--save-steps", "2"]);
        command
    };
    succeed(&mut training());
    let newest = run.join("checkpoints/step-00000006");
    for (name, at) in [("optimizer.bpk", 1_000_000), ("state.json", 20)] {
        let path = newest.join(name);
        let whole = fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let said = fail(training().arg("--resume"));
        assert!(
            said.contains(name) && said.contains("step-00000004"),
            "{said}"
        );
        fs::write(&path, &whole).unwrap();
    }
    // A file that a disk lost the end of, in a checkpoint from before there were checksums.
    fs::remove_file(newest.join("checksums.xxh128")).unwrap();
    succeed(training().arg("--resume"));
    fs::File::options()
        .write(true)
        .open(newest.join("model.bpk"))
        .and_then(|file| file.set_len(5000))
        .unwrap();
    let said = fail(training().arg("--resume"));
    assert!(
        said.contains("model.bpk") && said.contains("step-00000004"),
        "{said}"
    );
    // The way that it names.
    fs::remove_dir_all(&newest).unwrap();
    succeed(training().arg("--resume"));
    assert!(newest.join("checksums.xxh128").exists());
}

#[test]
fn an_update_that_is_not_a_number_is_not_saved() {
    let (_scratch, run) = scratch();
    // A decay beyond float32: the first loss is finite, no weight after it is.
    let said = fail(
        short_run(&run, 5)
            .args(["--recipe", "float", "--weight-decay", "1e39"])
            .args(["--warmup-steps", "0", "--save-steps", "1"]),
    );
    assert!(said.contains("optimizer step 1 made `model."), "{said}");
    assert!(said.contains("smaller --learning-rate"), "{said}");
    assert!(!said.contains("last good checkpoint"), "{said}");
    let checkpoints = fs::read_dir(run.join("checkpoints"));
    assert_eq!(checkpoints.into_iter().flatten().count(), 0);
}

#[test]
fn an_interruption_loses_no_evaluation() {
    const STEPS: usize = 12;
    let training = |run: &Path| {
        let mut command = short_run(run, STEPS);
        command.args(["--eval-steps", "1", "--load-best-model-at-end"]);
        command
    };
    let evaluations = |run: &Path| -> Vec<(u64, f64)> {
        let lines = metrics(run).into_iter();
        lines
            .filter_map(|line| Some((line["step"].as_u64()?, line["eval_loss"].as_f64()?)))
            .collect()
    };
    let (_whole, whole) = scratch();
    succeed(&mut training(&whole));
    let (_parted, parted) = scratch();
    let mut child = started(&mut training(&parted), &parted, 2);
    let sent = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
    let code = child.wait().unwrap().code();
    let at = metrics(&parted).last().unwrap()["step"].as_u64().unwrap();
    assert_eq!(code, Some(130), "the run was meant to be interrupted");
    assert!(!evaluations(&parted).iter().any(|(step, _)| *step == at));
    succeed(training(&parted).arg("--resume"));
    let (whole, parted) = (evaluations(&whole), evaluations(&parted));
    assert_eq!(parted.len(), STEPS);
    for ((step, expected), (same, found)) in whole.iter().zip(&parted) {
        assert_eq!(step, same);
        assert!(
            (expected - found).abs() < 1e-4,
            "step {step}: {expected} {found}"
        );
    }
}
