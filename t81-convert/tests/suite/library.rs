//! `convert` as a function.

use std::fs;

use regex::Regex;
use serde_json::json;
use t81_convert::{ConvertError, ConvertOptions, convert};
use t81_core::{BlockFormat, Granularity, Layout, Quantizer, Reference, ScaleRule};
use t81_hub::{Checkpoint, Dtype, OutputFormat, T81Directory, T81Tensor};

use crate::model::{bf16_bytes, config, llama, names, values, write_with};
use crate::place::{Place, group};

#[test]
fn every_weight_is_what_the_quantizer_makes_of_it() {
    let settings = [
        (
            ConvertOptions::default(),
            Quantizer::new(group(64), 0.45).unwrap(),
        ),
        (
            ConvertOptions {
                threshold: 0.5,
                granularity: Some(Granularity::Tensor),
                scale: ScaleRule::Reference,
                ..Default::default()
            },
            Quantizer::bitnet(),
        ),
        (
            ConvertOptions {
                granularity: Some(Granularity::Tensor),
                scale: ScaleRule::Reference,
                reference: Reference::AbsMax,
                format: OutputFormat::Dense,
                ..Default::default()
            },
            Quantizer::t81lib(),
        ),
        (
            ConvertOptions {
                threshold: 0.7,
                granularity: Some(Granularity::Row),
                ..Default::default()
            },
            Quantizer::twn(Granularity::Row),
        ),
    ];
    for (options, quantizer) in settings {
        let place = Place::new();
        let directory = place.open(&options);
        assert_eq!(directory.metadata().quantizer, quantizer);
        let llama = llama(&config(2));
        let ternary = llama.ternary_weight_names();
        for (name, shape) in llama.expected_tensors() {
            let values = values(&name, shape.iter().product());
            match directory.get(&name).unwrap() {
                T81Tensor::Ternary(matrix) => {
                    assert!(ternary.contains(&name));
                    let expected = quantizer
                        .quantize(&values, shape[0], shape[1], Layout::OutIn)
                        .unwrap();
                    assert_eq!(matrix, expected, "{name}");
                }
                T81Tensor::Dense(view) => {
                    assert!(!ternary.contains(&name));
                    assert_eq!(
                        (view.dtype, view.bytes),
                        (Dtype::BF16, &bf16_bytes(&values)[..]),
                        "{name}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_report_counts_what_was_done() {
    let place = Place::new();
    let report = convert(place.source(), place.out(), &ConvertOptions::default()).unwrap();
    assert_eq!(report.directory, place.out().canonicalize().unwrap());
    assert_eq!((report.ternary.len(), report.dense.tensors), (14, 14));
    let ternary_weights = 2 * (64 * 64 * 2 + 32 * 64 * 2 + 3 * 64 * 256);
    let dense_weights = 260 * 64 + 64 + 2 * (2 * 64 + 64 + 32 + 32 + 64);
    assert_eq!(report.source_bytes, 2 * (ternary_weights + dense_weights));
    assert_eq!(
        report.stored_bytes,
        ternary_weights * 9 / 32 + 2 * dense_weights
    );
    assert_eq!(report.dense.bytes_before, 2 * dense_weights);
    assert_eq!(report.bits_per_weight(), 2.25);

    let directory = T81Directory::open(place.out()).unwrap();
    let (mut error, mut total, mut zeros) = (0.0, 0.0, 0.0);
    for tensor in &report.ternary {
        let T81Tensor::Ternary(matrix) = directory.get(&tensor.name).unwrap() else {
            panic!("ternary")
        };
        let weights = values(&tensor.name, tensor.rows * tensor.columns);
        let (mut own_error, mut own_total) = (0.0, 0.0);
        for (weight, value) in weights.iter().zip(matrix.dequantize()) {
            own_error += (f64::from(*weight) - f64::from(value)).powi(2);
            own_total += f64::from(*weight).powi(2);
        }
        assert!((tensor.relative_error() - (own_error / own_total).sqrt()).abs() < 1e-12);
        let recorded = directory.metadata().tensors[&tensor.name]
            .relative_error
            .unwrap();
        assert!((recorded - tensor.relative_error()).abs() < 1e-12);
        error += own_error;
        total += own_total;
        zeros += matrix.sparsity() * weights.len() as f64;
    }
    assert!((report.relative_error() - (error / total).sqrt()).abs() < 1e-12);
    assert!((report.sparsity() - zeros / ternary_weights as f64).abs() < 1e-12);
    let statistics = &directory.metadata().statistics;
    assert_eq!(statistics.source_bytes, Some(report.source_bytes));
    assert_eq!(
        (statistics.ternary_weights, statistics.dense_weights),
        (ternary_weights, dense_weights)
    );
    assert!((statistics.relative_error.unwrap() - report.relative_error()).abs() < 1e-12);
    assert_eq!(
        statistics.ratio.unwrap(),
        report.source_bytes as f64 / statistics.stored_bytes as f64
    );
    let down = &directory.metadata().tensors["model.layers.1.mlp.down_proj.weight"];
    assert_eq!(
        (down.source_bytes, down.stored_bytes, down.ratio),
        (Some(32_768), 4096 + 512, Some(32_768.0 / 4608.0))
    );
    let norm = &directory.metadata().dense_tensors["model.norm.weight"];
    assert_eq!(
        (norm.source_bytes, norm.stored_bytes, norm.ratio),
        (Some(128), 128, Some(1.0))
    );
    assert_eq!(norm.dtype, Dtype::BF16);
    let note = directory.metadata().extra["note"].as_str().unwrap();
    assert!(
        note.contains("unusable") && note.contains("t81-qat"),
        "{note}"
    );
    let text = report.to_string();
    for expected in [
        "layers.1.mlp.down_proj ",
        "layers.0.self_attn.q_proj ",
        "\nmlp.down_proj ",
        "\nself_attn.q_proj ",
        "kept as floats",
        "group:64",
        "2.250",
        "unusable",
        "t81-qat",
    ] {
        assert!(text.contains(expected), "{text} lacks {expected}");
    }
}

#[test]
fn the_files_of_the_model_go_along_unchanged() {
    let place = Place::new();
    let templates = place.source().join("additional_chat_templates");
    fs::create_dir(&templates).unwrap();
    fs::write(templates.join("tool_use.jinja"), "tools").unwrap();
    fs::write(templates.join("notes.txt"), "not a template").unwrap();
    fs::write(place.source().join("chat_template.json"), "{}").unwrap();
    place.open(&ConvertOptions::default());
    assert_eq!(
        names(&place.out().join("additional_chat_templates")),
        ["tool_use.jinja"]
    );
    let expected = [
        "LICENSE",
        "additional_chat_templates",
        "additional_chat_templates/tool_use.jinja",
        "chat_template.json",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "t81_metadata.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    let whole = expected.iter().filter(|name| !name.contains('/'));
    assert!(names(&place.out()).iter().eq(whole));
    for name in expected.iter().filter(|name| {
        !matches!(
            **name,
            "model.safetensors" | "t81_metadata.json" | "additional_chat_templates"
        )
    }) {
        assert_eq!(
            fs::read(place.out().join(name)).unwrap(),
            fs::read(place.source().join(name)).unwrap()
        );
    }
}

#[test]
fn the_result_depends_on_the_settings_alone() {
    let place = Place::new();
    let bytes = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            place.open(&ConvertOptions {
                overwrite: true,
                ..Default::default()
            })
        });
        ["model.safetensors", "t81_metadata.json"]
            .map(|name| fs::read(place.out().join(name)).unwrap())
    };
    assert_eq!(bytes(1), bytes(3));
}

#[test]
fn dtypes_of_what_stays_float() {
    let table: [(ConvertOptions, Dtype, Dtype); 4] = [
        (ConvertOptions::default(), Dtype::BF16, Dtype::BF16),
        (
            ConvertOptions {
                dtype: Some(Dtype::F32),
                ..Default::default()
            },
            Dtype::F32,
            Dtype::BF16,
        ),
        (
            ConvertOptions {
                keep_biases_bf16: false,
                ..Default::default()
            },
            Dtype::BF16,
            Dtype::F32,
        ),
        (
            ConvertOptions {
                dtype: Some(Dtype::F16),
                keep_biases_bf16: false,
                ..Default::default()
            },
            Dtype::F16,
            Dtype::F32,
        ),
    ];
    for (options, expected, expected_bias) in table {
        let place = Place::new();
        let directory = place.open(&options);
        let dense = |name| match directory.get(name).unwrap() {
            T81Tensor::Dense(view) => view,
            T81Tensor::Ternary(_) => panic!("{name} is dense"),
        };
        let (norm, bias) = (
            dense("model.norm.weight"),
            dense("model.layers.1.self_attn.k_proj.bias"),
        );
        assert_eq!((norm.dtype, bias.dtype), (expected, expected_bias));
        let exact = |value: &f32| match expected {
            Dtype::F16 => half::f16::from_f32(*value).to_f32(),
            _ => *value,
        };
        assert_eq!(
            norm.to_f32(),
            values("model.norm.weight", 64)
                .iter()
                .map(exact)
                .collect::<Vec<_>>()
        );
        assert_eq!(
            bias.to_f32(),
            values("model.layers.1.self_attn.k_proj.bias", 32)
        );
    }
}

#[test]
fn patterns_select_what_becomes_ternary() {
    let patterns = |list: &[&str]| {
        list.iter()
            .map(|text| Regex::new(text).unwrap())
            .collect::<Vec<_>>()
    };
    let count = |include: &[&str], exclude: &[&str]| {
        let options = ConvertOptions {
            include: patterns(include),
            exclude: patterns(exclude),
            ..Default::default()
        };
        let place = Place::new();
        convert(place.source(), place.out(), &options).map(|report| {
            let directory = T81Directory::open(place.out()).unwrap();
            assert_eq!(directory.metadata().tensors.len(), report.ternary.len());
            report.ternary.len()
        })
    };
    assert_eq!(count(&["mlp"], &[]).unwrap(), 6);
    assert_eq!(count(&["mlp", "q_proj"], &[]).unwrap(), 8);
    assert_eq!(count(&[], &["layers\\.0\\.", "down_proj"]).unwrap(), 6);
    assert_eq!(count(&["self_attn"], &["[qk]_proj"]).unwrap(), 4);
    // Embeddings, norms and biases are no candidates.
    let error = count(&["embed_tokens", "norm", "bias"], &[]).unwrap_err();
    assert!(
        matches!(error, ConvertError::NothingSelected { candidates: 14 }),
        "{error}"
    );
}

#[test]
fn automatic_groups_follow_the_rows_and_the_gguf_format() {
    let granularity_of = |options: ConvertOptions| {
        let place = Place::new();
        let report = convert(place.source(), place.out(), &options).unwrap();
        let directory = T81Directory::open(place.out()).unwrap();
        let of = |name: &str| directory.metadata().tensors[name].granularity;
        let down = of("model.layers.0.mlp.down_proj.weight");
        (down, of("model.layers.0.mlp.up_proj.weight"), report)
    };
    let (down, up, report) = granularity_of(ConvertOptions::default());
    assert_eq!((down, up), (group(64), group(64)));
    assert!(report.unheld.is_empty());
    let only_down = vec![Regex::new("down_proj").unwrap()];
    let place = Place::new();
    let options = ConvertOptions {
        include: only_down,
        ..Default::default()
    };
    convert(place.source(), place.out(), &options).unwrap();
    assert_eq!(
        T81Directory::open(place.out())
            .unwrap()
            .metadata()
            .quantizer
            .granularity(),
        group(256)
    );

    let tq = |granularity| ConvertOptions {
        gguf_format: Some(BlockFormat::Tq2_0),
        granularity,
        ..Default::default()
    };
    let (down, up, report) = granularity_of(tq(None));
    assert_eq!((down, up), (group(256), group(64)));
    assert_eq!(report.unheld.len(), 12);
    assert!(
        report
            .unheld
            .iter()
            .all(|tensor| tensor.instead == Some(BlockFormat::Q2_0))
    );
    let text = report.to_string();
    assert!(
        text.contains(
            "warning: 12 tensors with rows of 64 weights (scales per group:64) do not fit TQ2_0"
        ),
        "{text}"
    );
    assert!(text.contains("group:64 and group:256"), "{text}");

    let (down, up, report) = granularity_of(tq(Some(group(48))));
    assert_eq!((down, up), (group(48), group(48)));
    assert_eq!(report.unheld.len(), 14);
    assert!(report.unheld.iter().all(|tensor| tensor.instead.is_none()));
    assert!(report.to_string().contains("write them as F16"));

    let q2 = ConvertOptions {
        gguf_format: Some(BlockFormat::Q2_0),
        ..Default::default()
    };
    let (down, up, report) = granularity_of(q2);
    assert_eq!((down, up), (group(64), group(64)));
    assert!(report.unheld.is_empty());
}

#[test]
fn a_dense_result_is_an_ordinary_checkpoint_of_the_same_values() {
    let place = Place::new();
    place.open(&ConvertOptions {
        format: OutputFormat::Dense,
        ..Default::default()
    });
    let packed = tempfile::tempdir().unwrap();
    convert(place.source(), packed.path(), &ConvertOptions::default()).unwrap();
    let packed = T81Directory::open(packed.path()).unwrap();
    let checkpoint = Checkpoint::open(place.out()).unwrap();
    checkpoint.config().check(&checkpoint).unwrap();
    assert_eq!(checkpoint.config().raw["torch_dtype"], "float16");
    for name in packed.names() {
        let expected = match packed.get(name).unwrap() {
            T81Tensor::Ternary(matrix) => matrix.dequantize(),
            T81Tensor::Dense(view) => view.to_f32(),
        };
        assert_eq!(
            checkpoint.tensor(name).unwrap().to_f32(),
            expected,
            "{name}"
        );
    }
}

#[test]
fn surplus_tensors_are_reported() {
    let place = Place::new();
    let mut three = config(3);
    write_with(&place.source(), &three, |_, _| ());
    three["num_hidden_layers"] = json!(2);
    fs::write(place.source().join("config.json"), three.to_string()).unwrap();
    let report = convert(place.source(), place.out(), &ConvertOptions::default()).unwrap();
    assert_eq!(report.unexpected.len(), 13);
    assert!(
        report
            .to_string()
            .contains("warning: unknown to the architecture"),
        "{report}"
    );
}
