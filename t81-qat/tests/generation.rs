//! `generate` through the built command: text, flags and errors, and samples during training.

mod runs;

use std::fs;
use std::process::{Command, Stdio};

use burn::tensor::{Device, Int, Tensor, TensorData};
use runs::{command, fail, metrics, scratch, short_run, succeed};

const PROMPT: &str = "Tom went to the garden";

fn generate(model: &std::path::Path, prompt: &str, flags: &[&str]) -> Command {
    let mut command = command();
    command.arg("generate").arg(model);
    command.args(["--prompt", prompt, "--device", "cpu"]);
    command.args(flags);
    command
}

#[test]
fn greedy_text_is_the_argmax_of_the_directory() {
    let (_scratch, run) = scratch();
    succeed(short_run(&run, 4).args(["--learning-rate", "0.003"]));
    let flags = ["--max-new-tokens", "20", "--stop-at-eos=false"];
    let output = generate(&run, PROMPT, &flags).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let statistics = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.success() && said.starts_with(PROMPT) && said.ends_with('\n'),
        "{said}"
    );
    assert!(statistics.contains("generated: 20 tokens,"), "{statistics}");
    assert!(statistics.contains("tokens/s"), "{statistics}");

    // The same by the library's forward pass over the whole text, without a cache.
    let device = Device::flex();
    let model = t81_qat::from_pretrained_t81(&run, &device).unwrap();
    let tokenizer = t81_datasets::load_tokenizer(run.join("t81"), 2048).unwrap();
    let mut ids: Vec<i32> = tokenizer
        .encode(PROMPT, true)
        .unwrap()
        .get_ids()
        .iter()
        .map(|&id| id as i32)
        .collect();
    for _ in 0..20 {
        let shape = [1, ids.len()];
        let tokens = Tensor::<2, Int>::from_data(TensorData::new(ids.clone(), shape), &device);
        let next = model.forward(tokens).argmax(2).into_data();
        ids.push(next.iter::<i32>().last().unwrap());
    }
    let ids: Vec<u32> = ids.into_iter().map(|id| id as u32).collect();
    assert_eq!(tokenizer.decode(&ids, true).unwrap() + "\n", said);

    // A seed draws the same text again, another seed another one; the t81 directory itself is as good as the run's.
    let draw = |seed| {
        let flags = ["--temperature", "1.5", "--top-p", "0.99", "--seed", seed];
        succeed(&mut generate(&run.join("t81"), PROMPT, &flags))
    };
    assert_eq!(draw("1"), draw("1"));
    assert_ne!(draw("1"), draw("2"));
    // The one token that is drawn from.
    let flags = [
        "--temperature",
        "2",
        "--top-k",
        "1",
        "--max-new-tokens",
        "20",
    ];
    let only = succeed(&mut generate(&run, PROMPT, &flags));
    assert!(said.starts_with(only.trim_end()), "{only}{said}");
}

#[test]
fn a_float_checkpoint_writes_and_stops_at_the_end_of_its_text_or_context() {
    let (_scratch, run) = scratch();
    succeed(short_run(&run, 3).args(["--recipe", "float"]));
    let checkpoint = run.join("t81");
    // Whatever it says first ends the text now.
    let first = |flags: &[&str]| {
        let output = generate(&checkpoint, PROMPT, flags).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let every: Vec<String> = (0..2048).map(|id| id.to_string()).collect();
    let every = format!("{{\"eos_token_id\": [{}]}}", every.join(", "));
    fs::write(checkpoint.join("generation_config.json"), every).unwrap();
    let statistics = first(&[]);
    assert!(statistics.contains("generated: 1 tokens"), "{statistics}");
    let statistics = first(&["--stop-at-eos=false", "--max-new-tokens", "9"]);
    assert!(statistics.contains("generated: 9 tokens"), "{statistics}");
    let statistics = first(&["--stop-at-eos=false", "--max-new-tokens", "600"]);
    assert!(
        statistics.contains("context of 512 tokens is full"),
        "{statistics}"
    );

    let text = succeed(&mut generate(&checkpoint, "- Tom", &[]));
    assert!(text.starts_with("- Tom"), "{text}");
    let statistics = first(&["--top-p", "0.9"]);
    assert!(statistics.contains("note: --top-p"), "{statistics}");

    let long = "Tom went to the garden. ".repeat(200);
    let said = fail(&mut generate(&checkpoint, &long, &[]));
    assert!(said.contains("exceed the context of 512"), "{said}");
    // A text that begins with the token between texts.
    let flags = ["--max-new-tokens", "20", "--stop-at-eos=false"];
    let said = succeed(&mut generate(&checkpoint, "", &flags));
    // Without T81's metadata it is a checkpoint as any other.
    fs::remove_file(checkpoint.join("t81_metadata.json")).unwrap();
    assert_eq!(succeed(&mut generate(&checkpoint, "", &flags)), said);
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let (_scratch, run) = scratch();
    succeed(&mut short_run(&run, 1));
    let flags = ["--stop-at-eos=false", "--max-new-tokens", "400"];
    let mut child = generate(&run, PROMPT, &flags)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn what_cannot_write_is_named() {
    let (scratch, _) = scratch();
    let said = fail(&mut generate("tiny".as_ref(), PROMPT, &[]));
    assert!(said.contains("`tiny` is a fresh model"), "{said}");
    let said = fail(&mut generate(&scratch.path().join("nowhere"), PROMPT, &[]));
    assert!(said.contains("nowhere"), "{said}");
    let said = fail(&mut generate(scratch.path(), PROMPT, &[]));
    assert!(said.contains("config.json"), "{said}");
    for flags in [
        ["--temperature", "-1"],
        ["--top-p", "0"],
        ["--top-p", "1.1"],
        ["--repetition-penalty", "0"],
        ["--max-new-tokens", "0"],
    ] {
        let output = generate(scratch.path(), PROMPT, &flags).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
    }
}

#[test]
fn samples_are_printed_and_logged_with_each_evaluation() {
    let (_scratch, run) = scratch();
    let said = succeed(
        short_run(&run, 4)
            .args(["--eval-steps", "2", "--lambda-warmup-steps", "1"])
            .args(["--sample-prompt", PROMPT, "--sample-prompt", "Lily \"saw\""])
            .args(["--sample-tokens", "8"]),
    );
    let samples: Vec<(u64, String, String)> = metrics(&run)
        .iter()
        .filter_map(|line| {
            let text = |name: &str| Some(line[name].as_str()?.to_string());
            Some((
                line["step"].as_u64()?,
                text("sample_prompt")?,
                text("sample")?,
            ))
        })
        .collect();
    let steps: Vec<u64> = samples.iter().map(|sample| sample.0).collect();
    assert_eq!(steps, [2, 2, 4, 4]);
    assert_eq!(samples[3].1, "Lily \"saw\"");
    let shown = said.lines().filter(|line| line.starts_with("sample "));
    assert_eq!(shown.count(), 4, "{said}");

    // The last ones are what the result says.
    for (_, prompt, sample) in &samples[2..] {
        let flags = ["--max-new-tokens", "8"];
        let text = succeed(&mut generate(&run, prompt, &flags));
        assert_eq!(text, format!("{prompt}{sample}\n"));
    }

    let said = fail(
        short_run(&run, 4)
            .arg("--overwrite")
            .args(["--sample-prompt", &PROMPT.repeat(200)]),
    );
    assert!(said.contains("--sample-prompt"), "{said}");
}
