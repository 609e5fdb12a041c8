//! Every example, run as a user runs it, and held to the values that it prints.
//!
//! `cargo test -p t81-examples` builds the examples before it runs this.

use std::path::{Path, PathBuf};
use std::process::Command;

use t81_burn::{RampShape, TernarySchedule};
use t81_gguf::read_gguf;

/// The built example: beside the folder of this test.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let path = profile.join("examples").join(file);
    assert!(path.exists(), "no {}; build the examples", path.display());
    path
}

/// What the example prints.
fn run(name: &str, arguments: &[&Path]) -> String {
    let output = Command::new(example(name))
        .args(arguments)
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}\n{printed}{errors}");
    printed
}

/// The number after `label` in the first line that begins with `line`.
fn number(printed: &str, line: &str, label: &str) -> f64 {
    let number = || {
        let line = printed.lines().find(|text| text.starts_with(line))?;
        let rest = line[line.find(label)? + label.len()..].trim_start();
        let end = rest.find([' ', ',']).unwrap_or(rest.len());
        rest[..end].parse().ok()
    };
    number().unwrap_or_else(|| panic!("no `{line} ... {label} NUMBER` in\n{printed}"))
}

#[test]
fn make_my_model_ternary_tells_the_arms_apart() {
    let printed = run("make_my_model_ternary", &[]);
    let (float, ternary) = printed.split_once("\nternary\n").unwrap();
    let accuracy = |printed| number(printed, "  accuracy", "accuracy");
    assert!(accuracy(float) > 95.0, "{printed}");
    assert!(accuracy(ternary) > 90.0, "{printed}");
    let weights = 2 * 128 + 128 * 128 + 128 * 2;
    assert!(
        ternary.contains(&format!("{weights} of 17154 weights ternary")),
        "{printed}"
    );
}

#[test]
fn classify_digits_reads_nearly_as_well_as_floats() {
    let printed = run("classify_digits", &[]);
    let float = number(&printed, "float  ", "accuracy");
    let ternary = number(&printed, "ternary  ", "accuracy");
    assert!(float > 94.0 && ternary > 94.0, "{printed}");
    assert!(ternary > float - 3.0, "{printed}");
    // Two bits a weight and 16 for each group of 64 (three a row of 144, four a row of 256), against 32.
    let packed = 256 * (144 + 256) / 4 + 2 * 256 * (3 + 4);
    assert_eq!(number(&printed, "ternary  ", "%,"), f64::from(packed));
    assert_eq!(
        number(&printed, "float  ", "%,"),
        f64::from(4 * 256 * (144 + 256))
    );
}

#[test]
fn custom_training_loop_resumes_where_it_stopped() {
    let printed = run("custom_training_loop", &[]);
    let (straight, resumed) = printed.split_once("resumed after step 300\n").unwrap();
    let loss = |printed| number(printed, "step  600", "loss");
    assert_eq!(loss(straight), loss(resumed), "{printed}");
    assert!(
        number(straight, "step  600", "accuracy") > 90.0,
        "{printed}"
    );
    // The exact ternary weights are no better than guessing before training, whatever the blend is.
    assert!(
        number(straight, "step    0", "accuracy") < 25.0,
        "{printed}"
    );
    assert_eq!(number(straight, "step    0", "lambda"), 0.0);
    assert_eq!(number(straight, "step  150", "lambda"), 1.0);
}

#[test]
fn packed_inference_is_that_of_the_trained_weights() {
    let printed = run("ternary_qat_inference_comparison", &[]);
    assert_eq!(number(&printed, "step   50", "threshold"), 0.85);
    assert_eq!(number(&printed, "step   50", "lambda"), 0.5);
    assert_eq!(number(&printed, "step  275", "lambda"), 1.0);

    let loss = |name| number(&printed, name, name);
    let [float, fake, packed, int8] =
        ["float ", "fake-quantized", "packed Float32", "packed Int8"].map(loss);
    // A guess costs ln(128) = 4.9, the frequencies of the letters alone about 2.9.
    assert!(float < 2.1 && fake < 2.2, "{printed}");
    assert!((packed - fake).abs() < 2e-4, "{printed}");
    assert!((int8 - fake).abs() < 1e-2, "{printed}");
    let difference =
        |name: &str| number(&printed[printed.find(name).unwrap()..], "  differs", "by");
    assert!(difference("packed Float32") < 1e-4, "{printed}");
    assert!(difference("packed Int8") < 3e-2, "{printed}");

    let bytes = |name| number(&printed, name, "us");
    let weights = f64::from(256 * 512 + 512 * 512);
    assert_eq!(bytes("float "), 4.0 * weights);
    // Two bits a weight and 16 for each group of 256.
    assert_eq!(
        bytes("packed Float32"),
        weights / 4.0 + 2.0 * weights / 256.0
    );
}

#[test]
fn finetune_and_export_writes_the_trained_weights() {
    let scratch = tempfile::tempdir().unwrap();
    let printed = run("finetune_and_export", &[scratch.path()]);
    let before = number(&printed, "perplexity:", "without training");
    let after = number(&printed, "perplexity:", "steps");
    assert!(after < 0.7 * before, "{printed}");
    assert!(printed.contains("check: 20 tensors, 0 problems"));
    assert!(printed.contains("equal: true"), "{printed}");
    assert!(printed.contains("logits: [1, 4, 2048]"), "{printed}");

    let path = scratch.path().join("model.gguf");
    let inspected = run("inspect_gguf", &[&path]);
    assert!(
        inspected.contains("general.architecture = \"llama\""),
        "{inspected}"
    );
    assert_eq!(inspected.matches("scales (group:256)").count(), 14);
    let file = read_gguf(&path).unwrap();
    assert_eq!(
        file.metadata().string("general.architecture"),
        Some("llama")
    );
    let matrices = ["attn_q", "attn_k", "attn_v", "attn_output"]
        .into_iter()
        .chain(["ffn_gate", "ffn_up", "ffn_down"]);
    for matrix in matrices {
        for block in 0..2 {
            let name = format!("blk.{block}.{matrix}.weight");
            let tensor = file.tensor(&name).unwrap();
            let ternary = tensor.to_ternary().unwrap().unwrap();
            assert!((0.2..0.8).contains(&ternary.sparsity()), "{name}");
        }
    }
}

/// The values of a curve of a plot, from the heights of its points.
fn curve(svg: &str, name: &str) -> Vec<f32> {
    let title = format!("<title>{name}</title>");
    let curve = svg.lines().find(|line| line.contains(&title)).unwrap();
    let points = curve.split("points=\"").nth(1).unwrap();
    let points = points.split('"').next().unwrap();
    // The frame reaches from 370 (value 0) to 40 (value 1).
    let value =
        |point: &str| (370.0 - point.split_once(',').unwrap().1.parse::<f32>().unwrap()) / 330.0;
    points.split(' ').map(value).collect()
}

#[test]
fn schedules_draws_all_curves() {
    let scratch = tempfile::tempdir().unwrap();
    let printed = run("schedules", &[scratch.path()]);
    let picture = |name: &str| {
        let svg = std::fs::read_to_string(scratch.path().join(name)).unwrap();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        svg
    };
    let [threshold, lambda, rate] =
        ["threshold.svg", "lambda.svg", "learning-rate.svg"].map(picture);
    for (name, shape) in [("linear", RampShape::Linear), ("cosine", RampShape::Cosine)] {
        let schedule = TernarySchedule::constant(0.7)
            .with_threshold_warmup(shape, 100)
            .with_blend_warmup(shape, 100);
        for (svg, ramp) in [(&threshold, schedule.threshold), (&lambda, schedule.blend)] {
            let values = curve(svg, name);
            assert_eq!(values.len(), 201);
            for (step, value) in values.into_iter().enumerate() {
                assert!((value - ramp.value_at(step)).abs() < 1e-3, "{name} {step}");
            }
        }
    }
    // The rate rises over 20 steps, is half-way down at step 110, and ends at 0, a tenth or the highest.
    for (name, [middle, end]) in [
        ("linear", [0.5, 0.0]),
        ("cosine", [0.55, 0.1]),
        ("constant", [1.0, 1.0]),
    ] {
        let values = curve(&rate, name);
        for (step, expected) in [(0, 1.0 / 21.0), (20, 1.0), (110, middle), (200, end)] {
            assert!((values[step] - expected).abs() < 1e-3, "{name} {step}");
        }
    }
    assert!(printed.contains("   50    0.8500    0.8500"), "{printed}");
}

#[test]
fn pictures_of_the_book_are_those_that_schedules_writes() {
    let scratch = tempfile::tempdir().unwrap();
    run("schedules", &[scratch.path()]);
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/images");
    for name in ["threshold.svg", "lambda.svg", "learning-rate.svg"] {
        let [committed, written] = [images.as_path(), scratch.path()]
            .map(|directory| std::fs::read_to_string(directory.join(name)).unwrap());
        assert!(
            // A clone may have other line ends.
            committed.replace("\r\n", "\n") == written,
            "docs/images/{name} is out of date: cargo run -p t81-examples --example schedules docs/images"
        );
    }
}

#[test]
fn inspect_gguf_counts_codes() {
    let printed = run("inspect_gguf", &[]);
    let part = |name: &str| printed[printed.find(name).unwrap()..].to_owned();
    for (name, bits, scales) in [
        ("base_three TQ1_0", 1.6875, 64.0),
        ("two_bit TQ2_0", 2.0625, 64.0),
        ("two_bit_fine Q2_0", 2.25, 256.0),
    ] {
        let tensor = part(name);
        assert_eq!(number(&tensor, name, "],"), bits);
        let codes = ["-1:", " 0:", "+1:"].map(|code| number(&tensor, "  codes", code));
        assert_eq!(codes.iter().sum::<f64>(), 32.0 * 512.0, "{printed}");
        // Of normal weights, 0.7 of the mean magnitude cuts off 42 %.
        assert!(
            (codes[1] / (32.0 * 512.0) - 0.424).abs() < 0.02,
            "{printed}"
        );
        assert!(
            tensor.contains(&format!("\n  {scales} scales")),
            "{printed}"
        );
    }
    // One quantization, two formats.
    let codes = |name| part(name).lines().nth(1).unwrap().to_owned();
    assert_eq!(codes("base_three TQ1_0"), codes("two_bit TQ2_0"));
    assert!(printed.contains("float F32 [512, 32], 32.0000 bits a weight"));
}
