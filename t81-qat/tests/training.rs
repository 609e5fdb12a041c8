//! The built command: a run from the command line to its files, interrupted and resumed, and what it says when it cannot.

mod runs;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use runs::{command, fail, metrics, scratch, short_run, succeed};
use serde_json::Value;
use t81_gguf::GgufFile;
use t81_hub::{T81Directory, T81Tensor};

fn losses(directory: &Path) -> Vec<(u64, f64)> {
    let lines = metrics(directory).into_iter();
    lines
        .filter_map(|line| Some((line["step"].as_u64()?, line["loss"].as_f64()?)))
        .collect()
}

#[test]
fn a_run_ends_in_exact_ternary_weights_and_a_gguf() {
    let (scratch, run) = scratch();
    // A folder that the run makes.
    let gguf = scratch.path().join("files/of/mine/model.gguf");
    let said = succeed(
        short_run(&run, 8)
            .args(["--learning-rate", "0.003", "--lambda-warmup-steps", "2"])
            .arg("--output-gguf")
            .arg(&gguf),
    );
    assert!(said.contains("weights ternary"), "{said}");

    let losses = losses(&run);
    assert_eq!(losses.len(), 8);
    assert!((losses[0].1 - 2048f64.ln()).abs() < 0.2, "{losses:?}");
    assert!(losses[7].1 < losses[0].1 - 0.5, "{losses:?}");

    let summary: Value =
        serde_json::from_str(&fs::read_to_string(run.join("summary.json")).unwrap()).unwrap();
    assert_eq!(summary["steps"], 8);
    assert_eq!(summary["tokens"], 8 * 4 * 32);
    let schedule = fs::read_to_string(run.join("schedule.csv")).unwrap();
    assert_eq!(schedule.lines().count(), 9);
    assert!(
        schedule.lines().nth(2).unwrap().ends_with(",0.7,0.5"),
        "{schedule}"
    );

    // The run's own output directory names its result.
    let directory = T81Directory::open(&run).unwrap();
    let mut ternary = 0;
    for name in directory.names().map(str::to_string).collect::<Vec<_>>() {
        if let T81Tensor::Ternary(matrix) = directory.get(&name).unwrap() {
            assert!(matrix.sparsity() > 0.2 && matrix.sparsity() < 0.8, "{name}");
            ternary += 1;
        }
    }
    assert_eq!(ternary, 2 * 7);
    let file = GgufFile::open(&gguf).unwrap();
    let size = summary["bytes"]["gguf"].as_u64().unwrap();
    assert_eq!(fs::metadata(&gguf).unwrap().len(), size);
    let types: Vec<String> = file
        .tensors()
        .filter(|tensor| tensor.info.name.starts_with("blk.0.ffn_up"))
        .map(|tensor| tensor.info.tensor_type.to_string())
        .collect();
    assert_eq!(types, ["TQ2_0"]);
}

#[test]
fn evaluation_of_the_result_agrees_with_the_run() {
    let (scratch, run) = scratch();
    // One evaluation block that is exactly one window, scored whole by the run and by half by `evaluate`: the logits of
    // the one must give the loss of the other.
    succeed(&mut short_run(&run, 3));
    let text = scratch.path().join("text.txt");
    fs::write(
        &text,
        "Tom went to the garden. He had a red ball. ".repeat(40),
    )
    .unwrap();
    let logits = scratch.path().join("logits.f32");
    let ids = scratch.path().join("ids.txt");
    let said = succeed(
        command()
            .arg("evaluate")
            .arg(&run)
            .arg("--text")
            .arg(&text)
            .args(["--block-size", "64", "--max-windows", "1"])
            .arg("--logits-out")
            .arg(&logits)
            .arg("--ids-out")
            .arg(&ids),
    );
    let logits: Vec<f32> = fs::read(&logits)
        .unwrap()
        .as_chunks::<4>()
        .0
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect();
    let ids: Vec<usize> = fs::read_to_string(&ids)
        .unwrap()
        .split_whitespace()
        .map(|id| id.parse().unwrap())
        .collect();
    assert_eq!((ids.len(), logits.len()), (64, 64 * 2048));
    let mut sum = 0.0;
    for position in 32..63 {
        let row = &logits[position * 2048..(position + 1) * 2048];
        let total: f64 = row.iter().map(|&logit| f64::from(logit).exp()).sum();
        sum += total.ln() - f64::from(row[ids[position + 1]]);
    }
    let loss: f64 = said
        .split_whitespace()
        .skip_while(|&word| word != "loss")
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    assert!((loss - sum / 31.0).abs() < 1e-4, "{loss} {}", sum / 31.0);
    assert!(said.contains("scored tokens 31"), "{said}");
}

#[test]
fn interrupted_and_resumed_is_uninterrupted() {
    let (_scratch, whole) = scratch();
    succeed(&mut short_run(&whole, 10));

    let (_other, parted) = scratch();
    let mut child = short_run(&parted, 10)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let metrics = parted.join("metrics.jsonl");
    let deadline = Instant::now() + Duration::from_secs(300);
    while fs::read_to_string(&metrics).map_or(0, |text| text.lines().count()) < 2 {
        assert!(Instant::now() < deadline, "the run wrote no metrics");
        sleep(Duration::from_millis(5));
    }
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    let status = child.wait().unwrap();
    let reached = losses(&parted).len();
    // A machine fast enough may have finished before the signal came.
    if reached < 10 {
        assert_eq!(status.code(), Some(130));
        assert!(!parted.join("summary.json").exists());
        succeed(short_run(&parted, 10).arg("--resume"));
    }
    let (whole, parted) = (losses(&whole), losses(&parted));
    assert_eq!(whole.len(), 10);
    assert_eq!(parted.len(), 10);
    for ((step, expected), (same, found)) in whole.iter().zip(&parted) {
        assert_eq!(step, same);
        assert!(
            (expected - found).abs() < 1e-4,
            "step {step}: {expected} {found}"
        );
    }
}

#[test]
fn a_finished_run_is_neither_overwritten_nor_resumed_by_accident() {
    let (_scratch, run) = scratch();
    succeed(&mut short_run(&run, 2));
    let said = fail(&mut short_run(&run, 2));
    assert!(
        said.contains("--resume") && said.contains("--overwrite"),
        "{said}"
    );
    let said = fail(short_run(&run, 3).arg("--resume"));
    assert!(
        said.contains("another total_blocks") || said.contains("another total_steps"),
        "{said}"
    );
    succeed(short_run(&run, 3).arg("--overwrite"));
    assert_eq!(losses(&run).len(), 3);
}

#[test]
fn a_run_that_diverges_stops_and_says_what_to_do() {
    let (_scratch, run) = scratch();
    // A decay that multiplies every weight by about -1e27 in the first update.
    let said = fail(
        short_run(&run, 5)
            .args(["--weight-decay", "1e30", "--save-steps", "1"])
            .args(["--lambda-warmup-steps", "0"]),
    );
    assert!(said.contains("optimizer step 1"), "{said}");
    assert!(said.contains("smaller --learning-rate"), "{said}");
    assert!(!run.join("t81").exists());
    let checkpoints = fs::read_dir(run.join("checkpoints"));
    assert_eq!(checkpoints.into_iter().flatten().count(), 0);
}

#[test]
fn a_float_run_becomes_the_teacher_of_a_ternary_one() {
    let (scratch, float) = scratch();
    let said = succeed(short_run(&float, 4).args(["--recipe", "float"]));
    assert!(said.contains("the float model"), "{said}");
    // Not a packed directory but a checkpoint like any other.
    let checkpoint = float.join("t81");
    assert!(t81_hub::Checkpoint::open(&checkpoint).is_ok());

    let student = |name: &str, flags: &[&str]| {
        let run = scratch.path().join(name);
        let mut command = command();
        command
            .arg(&checkpoint)
            .args(["--dataset-name", "stories", "--block-size", "32"])
            .args(["--max-train-samples", "40", "--max-eval-samples", "4"])
            .args(["--max-steps", "6", "--logging-steps", "1"])
            .args(flags)
            .arg("--output-dir")
            .arg(&run);
        succeed(&mut command);
        run
    };
    let teacher = checkpoint.to_str().unwrap();
    let taught = student("taught", &["--teacher", teacher]);
    let untaught = student("untaught", &[]);
    let settings: Value =
        serde_json::from_str(&fs::read_to_string(taught.join("settings.json")).unwrap()).unwrap();
    assert_eq!(settings["distillation_weight"], 0.9);
    // What a pretrained model is trained with, other than a fresh one.
    assert_eq!(settings["learning_rate"], 2e-3);
    assert_eq!(settings["ternary_zero_gain"], 0.25);
    // The same start, then other gradients.
    let (taught, untaught) = (losses(&taught), losses(&untaught));
    assert_eq!(taught[0], untaught[0]);
    assert_ne!(taught[5], untaught[5]);
}

#[test]
fn a_fresh_model_is_no_teacher() {
    let (_scratch, run) = scratch();
    let said = fail(short_run(&run, 2).args(["--teacher", "small"]));
    assert!(
        said.contains("--teacher small: a fresh model has nothing to teach"),
        "{said}"
    );
}

#[test]
fn two_devices_learn_what_one_does() {
    let (scratch, one) = scratch();
    let two = scratch.path().join("two");
    succeed(short_run(&one, 3).args(["--device", "cpu"]));
    succeed(short_run(&two, 3).args(["--device", "cpu", "--devices", "2"]));
    for ((step, one), (_, two)) in losses(&one).into_iter().zip(losses(&two)) {
        assert!((one - two).abs() < 1e-5, "step {step}: {one} and {two}");
    }
}

#[test]
fn errors_name_the_thing_and_the_way_out() {
    let (scratch, run) = scratch();
    let path = scratch.path();
    let with_model = |model: &Path| {
        let mut command = command();
        command
            .arg(model)
            .args(["--dataset-name", "stories", "--output-dir"])
            .arg(&run);
        command
    };

    let said = fail(&mut with_model(&path.join("nowhere")));
    assert!(said.contains("nowhere"), "{said}");

    let empty = path.join("empty");
    fs::create_dir(&empty).unwrap();
    let said = fail(&mut with_model(&empty));
    assert!(said.contains("config.json"), "{said}");

    fs::write(empty.join("config.json"), r#"{"model_type": "mamba"}"#).unwrap();
    let said = fail(&mut with_model(&empty));
    assert!(said.contains("mamba") && said.contains("llama"), "{said}");

    let mut blocked = short_run(&run, 1);
    let said = fail(blocked.args(["--include", "nothing_is_called_this"]));
    assert!(said.contains("--include"), "{said}");
    let said = fail(short_run(&run, 1).args(["--exclude", "("]));
    assert!(
        said.contains("--exclude") && said.contains("regular expression"),
        "{said}"
    );
    let said = fail(short_run(&run, 1).args(["--dataset-config-name", "raw"]));
    assert!(
        said.contains("stories has no configuration to choose; leave `raw` out"),
        "{said}"
    );
    let said = fail(short_run(&run, 1).arg("--resume"));
    assert!(said.contains("no complete checkpoint"), "{said}");

    let train_on = |file: &Path| {
        let mut training = command();
        training.args(["tiny", "--max-steps", "1", "--no-token-cache"]);
        training.arg("--output-dir").arg(&run);
        training.arg("--train-file").arg(file);
        training
    };
    let missing = path.join("missing.txt");
    let said = fail(&mut train_on(&missing));
    assert!(said.contains("missing.txt does not exist"), "{said}");
    let latin = path.join("latin.txt");
    fs::write(&latin, b"caf\xe9 au lait").unwrap();
    let said = fail(&mut train_on(&latin));
    assert!(
        said.contains("not UTF-8") && said.contains("offset 3"),
        "{said}"
    );

    let gguf = path.join("model.gguf");
    fs::write(&gguf, "mine").unwrap();
    let said = fail(short_run(&run, 1).arg("--output-gguf").arg(&gguf));
    assert!(
        said.contains("model.gguf") && said.contains("--overwrite"),
        "{said}"
    );
    assert_eq!(fs::read_to_string(&gguf).unwrap(), "mine");
    assert!(
        !run.exists(),
        "an error before the first step leaves nothing behind"
    );
}
