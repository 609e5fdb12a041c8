//! `bench` through the built command: the fields of `benchmarks.json`, and losses that fall.

mod runs;

use std::fs;
use std::path::Path;

use runs::{command, fail, metrics, scratch, short_run, succeed};
use serde_json::Value;

fn read(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn positive(value: &Value, fields: &[&str]) {
    for field in fields {
        let number = value[*field].as_f64();
        assert!(
            number.is_some_and(|number| number > 0.0),
            "{field}: {value}"
        );
    }
}

#[test]
fn the_figures_are_complete_and_the_losses_fall() {
    let (scratch, _) = scratch();
    let path = scratch.path().join("figures.json");
    let said = succeed(
        command()
            .args(["bench", "--steps", "20", "--seconds", "0.01"])
            .args([
                "--shape", "96x64", "--shape", "40x300", "--batch", "1", "--batch", "5",
            ])
            .args(["--blob-bytes", "1000", "--output"])
            .arg(&path),
    );
    assert!(said.contains("figures.json: the figures"), "{said}");
    let figures = read(&path);
    assert_eq!(figures["tool_version"], env!("CARGO_PKG_VERSION"));
    positive(&figures["machine"], &["cores"]);
    let best = t81_core::Instructions::best().to_string();
    assert_eq!(figures["machine"]["instructions"], best);
    assert!(figures["model"].is_null());

    let [trip] = figures["serialization"].as_array().unwrap().as_slice() else {
        panic!("{figures}")
    };
    assert_eq!(
        (&trip["blob_bytes"], &trip["limbs"]),
        (&1013.into(), &63.into())
    );
    positive(
        trip,
        &[
            "to_bytes_gb_per_second",
            "from_bytes_gb_per_second",
            "round_trip_gb_per_second",
        ],
    );

    let products = figures["gemm"].as_array().unwrap();
    assert_eq!(products.len(), 4);
    for product in products {
        positive(
            product,
            &[
                "rows",
                "columns",
                "batch",
                "speedup_int8",
                "speedup_float32",
            ],
        );
        for kind in ["ternary_int8", "ternary_float32", "dense_float32"] {
            let fields = [
                "best_seconds",
                "median_seconds",
                "weight_gb_per_second",
                "gflop_per_second",
            ];
            positive(&product[kind], &fields);
        }
        // All three compute the same product.
        assert!(
            product["relative_error_float32"].as_f64().unwrap() < 1e-5,
            "{product}"
        );
        assert!(
            product["relative_error_int8"].as_f64().unwrap() < 0.05,
            "{product}"
        );
    }

    let convergence = &figures["convergence"];
    let number = |field: &str| convergence[field].as_f64().unwrap();
    assert!(
        number("last_loss") < number("first_loss") - 0.2,
        "{convergence}"
    );
    assert!(
        number("last_eval_loss") < number("first_eval_loss") - 0.2,
        "{convergence}"
    );
    let evaluations = convergence["evaluations"].as_array().unwrap();
    assert_eq!(evaluations.len(), 5);
    let curve = |field: &str| -> Vec<f64> {
        evaluations
            .iter()
            .map(|line| line[field].as_f64().unwrap())
            .collect()
    };
    let (thresholds, lambdas) = (curve("threshold"), curve("lambda"));
    assert!(thresholds.is_sorted_by(|a, b| a >= b) && lambdas.is_sorted());
    assert!(
        thresholds[0] > 0.7 && lambdas[0] < 1.0,
        "{thresholds:?} {lambdas:?}"
    );
    assert_eq!((thresholds[4] as f32, lambdas[4]), (0.7, 1.0));
}

#[test]
fn the_figures_of_a_model_lie_beside_its_metadata() {
    let (_scratch, run) = scratch();
    succeed(&mut short_run(&run, 1));
    let logged = metrics(&run);
    succeed(
        command()
            .args([
                "bench",
                "--steps",
                "2",
                "--seconds",
                "0.001",
                "--batch",
                "2",
            ])
            .arg(&run),
    );
    let figures = read(&run.join("t81/benchmarks.json"));
    assert_eq!(figures["model"]["source"], "tiny");
    let shapes: Vec<(u64, u64)> = figures["gemm"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| {
            (
                line["rows"].as_u64().unwrap(),
                line["columns"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(shapes, [(128, 256), (256, 256), (256, 768), (768, 256)]);
    // The run is what it was.
    assert_eq!(metrics(&run), logged);
    succeed(
        command()
            .args(["generate", "--prompt", "Tom", "--max-new-tokens", "1"])
            .arg(&run),
    );
}

#[test]
fn a_place_that_cannot_be_written_is_named_before_the_work() {
    let (scratch, _) = scratch();
    std::fs::write(scratch.path().join("no"), "a file").unwrap();
    let nowhere = scratch.path().join("no/figures.json");
    let said = fail(command().args(["bench", "--output"]).arg(nowhere));
    assert!(
        said.contains("cannot write to") && said.contains("/no"),
        "{said}"
    );
    let said = fail(command().arg("bench").arg(scratch.path()));
    assert!(said.contains("t81"), "{said}");
    for shape in ["0x5", "5", "axb", "99999999999x99999999999"] {
        let output = command()
            .args(["bench", "--shape", shape])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{shape}");
    }
}
