//! `report` through the built command: the page's numbers are those of the run, and no damage is a panic.

mod runs;

use std::fs;
use std::path::Path;

use runs::{command, fail, metrics, scratch, short_run, succeed};
use serde_json::Value;

const PROMPT: &str = "Tom <b> & \"Lily\"";

fn page(run: &Path) -> String {
    succeed(command().arg("report").arg(run));
    fs::read_to_string(run.join("report.html")).unwrap()
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

/// A count as the page shows it.
fn grouped(count: u64) -> String {
    match count {
        0..1000 => count.to_string(),
        _ => format!("{}\u{202f}{:03}", grouped(count / 1000), count % 1000),
    }
}

#[test]
fn the_numbers_of_the_page_are_the_logged_ones() {
    let (_scratch, run) = scratch();
    succeed(
        short_run(&run, 4)
            .args(["--eval-steps", "2", "--lambda-warmup-steps", "1"])
            .args(["--sample-prompt", PROMPT, "--sample-tokens", "8"]),
    );
    let page = page(&run);
    let mut rows = 0;
    for line in metrics(&run) {
        let step = &line["step"];
        let row = if line.get("eval_loss").is_some() {
            format!(
                "<tr><td>{step}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                line["tokens"], line["eval_loss"], line["eval_perplexity"], line["eval_tokens"]
            )
        } else if let Some(sample) = line.get("sample") {
            format!(
                "<tr><td>{step}</td><td><span class=\"prompt\">{}</span>{}</td></tr>",
                escaped(PROMPT),
                escaped(sample.as_str().unwrap())
            )
        } else {
            format!(
                "<tr><td>{step}</td><td>{}</td><td>{}</td>",
                line["loss"], line["learning_rate"]
            )
        };
        assert!(page.contains(&row), "{row}");
        rows += 1;
    }
    assert_eq!(rows, 4 + 2 + 2);

    let summary = json(&run.join("summary.json"));
    let perplexity = format!(
        "<td>{:.4} on {} tokens</td>",
        summary["perplexity"].as_f64().unwrap(),
        summary["eval_tokens"]
    );
    assert!(page.contains(&perplexity), "{perplexity}");
    let metadata = json(&run.join("t81/t81_metadata.json"));
    let statistics = &metadata["statistics"];
    let count = |name: &str| statistics[name].as_u64().unwrap();
    for bytes in [
        count("stored_bytes"),
        2 * count("ternary_weights"),
        2 * (count("ternary_weights") + count("dense_weights")),
    ] {
        let bytes = format!(">{} bytes</text>", grouped(bytes));
        assert!(page.contains(&bytes), "{bytes}");
    }
    let tensors = metadata["tensors"].as_object().unwrap();
    assert_eq!(
        page.matches("<section class=\"layer\">").count(),
        tensors.len()
    );
    for (name, tensor) in tensors {
        // Counted from the codes, and as the directory's metadata says.
        let zeros = format!(
            "{:.1} %</text>",
            100.0 * tensor["sparsity"].as_f64().unwrap()
        );
        assert!(
            page.contains(name) && page.contains(&zeros),
            "{name} {zeros}"
        );
    }
    assert!(
        page.contains("Before: the saved training state of step 4."),
        "{page}"
    );
    // Nothing from elsewhere, nothing that runs, and nothing that is no number.
    for absent in ["<script", "http", "NaN", "inf ", "src="] {
        assert!(!page.contains(absent), "{absent}");
    }
}

#[test]
fn the_weights_before_are_those_of_the_checkpoint_while_it_is_there() {
    let (scratch, float) = scratch();
    succeed(short_run(&float, 2).args(["--recipe", "float"]));
    assert!(page(&float).contains("The result has no ternary weights."));
    let (checkpoint, run) = (float.join("t81"), scratch.path().join("fine-tuned"));
    succeed(
        command()
            .arg(&checkpoint)
            .args([
                "--dataset-name",
                "stories",
                "--block-size",
                "32",
                "--max-steps",
                "2",
            ])
            .args([
                "--max-train-samples",
                "40",
                "--max-eval-samples",
                "4",
                "--output-dir",
            ])
            .arg(&run),
    );
    let with = page(&run);
    assert!(with.contains("that the run started from."), "{with}");
    assert!(with.contains(">float before<"));
    fs::remove_dir_all(&checkpoint).unwrap();
    assert!(page(&run).contains("Before: the saved training state of step 2."));
    fs::remove_dir_all(run.join("checkpoints")).unwrap();
    let without = page(&run);
    assert!(
        without.contains("There are no float weights to show"),
        "{without}"
    );
    assert!(without.contains("is no directory here; no training state is saved"));
}

#[test]
fn what_is_missing_or_damaged_is_said_and_never_a_panic() {
    let (scratch, run) = scratch();
    succeed(&mut short_run(&run, 2));
    let model = run.join("checkpoints/step-00000002/model.bpk");
    let damage: [(&str, &str); 5] = [
        ("settings.json", "settings.json is damaged and left out"),
        ("summary.json", "summary.json is damaged and left out"),
        ("baseline.json", "baseline.json is damaged and left out"),
        ("metrics.jsonl", "metrics.jsonl: 1 line cannot be read"),
        ("t81/model.safetensors", "t81: "),
    ];
    for (name, note) in damage {
        let whole = fs::read(run.join(name)).unwrap();
        // As a full disk leaves it, and as nobody wrote it.
        for bytes in [&whole[..whole.len() / 2 + 1], b"\xff\xfe\x00{"] {
            fs::write(run.join(name), bytes).unwrap();
            let page = page(&run);
            assert!(page.contains(note), "{name}");
        }
        fs::write(run.join(name), whole).unwrap();
    }
    let whole = fs::read(&model).unwrap();
    fs::write(&model, &whole[..whole.len() / 2]).unwrap();
    let without = page(&run);
    assert!(
        without.contains("There are no float weights to be had."),
        "{without}"
    );
    assert!(without.contains("model.bpk is damaged"), "{without}");
    fs::write(&model, whole).unwrap();

    // Elsewhere and in place of another page; nothing else appears beside it.
    let elsewhere = scratch.path().join("pages");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("x.html"), "old").unwrap();
    let mut other = command();
    other.arg("report").arg(&run).arg("--output");
    succeed(other.arg(elsewhere.join("x.html")));
    assert!(
        fs::read_to_string(elsewhere.join("x.html"))
            .unwrap()
            .ends_with("</html>\n")
    );
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 1);
    fs::write(scratch.path().join("no"), "a file").unwrap();
    let mut nowhere = command();
    nowhere.arg("report").arg(&run).arg("--output");
    let said = fail(nowhere.arg(scratch.path().join("no/x.html")));
    assert!(
        said.contains("cannot write") && said.contains("/no"),
        "{said}"
    );

    for name in [
        "settings.json",
        "summary.json",
        "baseline.json",
        "metrics.jsonl",
    ] {
        fs::remove_file(run.join(name)).unwrap();
        assert!(
            page(&run).contains(&format!("{name} is not there")),
            "{name}"
        );
    }
    fs::remove_dir_all(run.join("t81")).unwrap();
    let said = fail(command().arg("report").arg(&run));
    assert!(said.contains("--output-dir of a run"), "{said}");
    let said = fail(command().arg("report").arg(scratch.path().join("nowhere")));
    assert!(
        said.contains("was not found") && said.contains("nowhere"),
        "{said}"
    );
}
