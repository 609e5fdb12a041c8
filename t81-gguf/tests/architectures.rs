//! Exporting a checkpoint of every architecture: names, values and hyper-parameters, against what transformers and gguf-py
//! say of its tensors (`t81-hub/tests/fixtures/make_architectures.py`).

mod tiny_model;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use t81_core::{Granularity, Layout, Quantizer};
use t81_gguf::{ExportOptions, ExportType, GgufFile, Origin, TensorType, check, export};
use t81_hub::{Checkpoint, QuantizedCheckpoint};

const VOCABULARY: usize = 40;
const GROUP: usize = 32;

fn models() -> BTreeMap<String, Value> {
    serde_json::from_str(include_str!(
        "../../t81-hub/tests/fixtures/architectures.json"
    ))
    .unwrap()
}

/// Values that differ from tensor to tensor and element to element, of both signs.
fn values(name: &str, count: usize) -> Vec<f32> {
    let seed = name.bytes().fold(17u32, |hash, byte| {
        hash.wrapping_mul(31).wrapping_add(byte.into())
    });
    (0..count as u32)
        .map(|index| {
            let bits = index.wrapping_add(seed).wrapping_mul(2_654_435_761);
            (bits >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// A byte-level tokenizer of single characters; enough to be described.
fn tokenizer() -> Value {
    let mut tokenizer = tiny_model::tokenizer();
    let vocabulary: serde_json::Map<String, Value> = (0..VOCABULARY as u32)
        .map(|id| match id {
            0 => ("<|endoftext|>".to_owned(), json!(0)),
            _ => (char::from(b'!' + id as u8).to_string(), json!(id)),
        })
        .collect();
    tokenizer["model"]["vocab"] = vocabulary.into();
    tokenizer["model"]["merges"] = json!([]);
    tokenizer["added_tokens"] =
        json!([{"id": 0, "content": "<|endoftext|>", "special": true, "normalized": false}]);
    tokenizer
}

fn write_checkpoint(model: &Value, directory: &Path) {
    let stored: BTreeMap<&str, (Vec<usize>, Vec<u8>)> = model["tensors"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, described)| {
            let shape: Vec<usize> = serde_json::from_value(described[0].clone()).unwrap();
            let values = values(name, shape.iter().product());
            let bytes = values.iter().flat_map(|value| value.to_le_bytes());
            (name.as_str(), (shape, bytes.collect()))
        })
        .collect();
    let views = stored.iter().map(|(name, (shape, bytes))| {
        let view = TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).unwrap();
        (*name, view)
    });
    let file = safetensors::serialize(views, None).unwrap();
    std::fs::write(directory.join("model.safetensors"), file).unwrap();
    let write = |name: &str, contents: &Value| {
        std::fs::write(directory.join(name), contents.to_string()).unwrap();
    };
    write("config.json", &model["config"]);
    write("tokenizer.json", &tokenizer());
    write(
        "tokenizer_config.json",
        &json!({"eos_token": "<|endoftext|>"}),
    );
}

struct Exported {
    _directory: tempfile::TempDir,
    file: GgufFile,
    notes: Vec<String>,
}

/// Exports `model`, all its linear weights ternary but those in `dense`.
fn exported(model: &Value, quant: ExportType, dense: &[&str]) -> Exported {
    let directory = tempfile::tempdir().unwrap();
    write_checkpoint(model, directory.path());
    let checkpoint = Checkpoint::open(directory.path()).unwrap();
    let quantizer = quantizer();
    let names = checkpoint.config().ternary_weight_names().into_iter();
    let ternary = names.filter(|name| !dense.contains(&name.as_str()));
    let granularity = quantizer.granularity();
    let source = QuantizedCheckpoint::with_granularities(
        &checkpoint,
        quantizer.clone(),
        ternary.map(|name| (name, granularity)).collect(),
    )
    .unwrap();
    let origin = Origin {
        source: "test".into(),
        tool: "test".into(),
        quantizer,
    };
    let output = directory.path().join("model.gguf");
    let options = ExportOptions {
        quant: Some(quant),
        validate: true,
        ..ExportOptions::default()
    };
    let summary = export(&source, &origin, &output, &options, &mut |_| {
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    Exported {
        file: GgufFile::open(&output).unwrap(),
        notes: summary.notes,
        _directory: directory,
    }
}

fn quantizer() -> Quantizer {
    Quantizer::new(Granularity::group(GROUP).unwrap(), 0.5).unwrap()
}

/// Columns of a `[rows, columns]` matrix as rows.
fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns)
        .flat_map(|column| (0..rows).map(move |row| values[row * columns + column]))
        .collect()
}

/// llama.cpp's order of rotated rows, straight from `reshape(heads, 2, half, in).swapaxes(1, 2)`.
fn interleaved(values: &[f32], heads: usize, columns: usize) -> Vec<f32> {
    let head_rows = values.len() / columns / heads;
    let mut output = Vec::with_capacity(values.len());
    for head in 0..heads {
        for pair in 0..head_rows / 2 {
            for side in 0..2 {
                let row = head * head_rows + side * head_rows / 2 + pair;
                output.extend_from_slice(&values[row * columns..(row + 1) * columns]);
            }
        }
    }
    output
}

/// What a GGUF tensor must hold, by a rule for each exception rather than by the tables.
fn expected(model: &Value, name: &str, shape: &[usize], ternary: bool) -> Vec<f32> {
    let kind = model["config"]["model_type"].as_str().unwrap();
    let mut values = values(name, shape.iter().product());
    let (mut rows, mut columns) = (shape[0], shape.iter().skip(1).product());
    if kind == "gpt2" && name.contains(".h.") && shape.len() == 2 {
        values = transposed(&values, rows, columns);
        (rows, columns) = (columns, rows);
    }
    if ternary {
        let matrix = quantizer().quantize(&values, rows, columns, Layout::OutIn);
        values = matrix.unwrap().dequantize();
    }
    let config = &model["config"];
    let heads = |field: &str| config[field].as_u64().unwrap() as usize;
    if kind == "llama" || kind == "mistral" {
        if name.contains("q_proj") {
            values = interleaved(&values, heads("num_attention_heads"), columns);
        } else if name.contains("k_proj") {
            values = interleaved(&values, heads("num_key_value_heads"), columns);
        }
    }
    if kind == "gemma3_text" && name.contains("norm") {
        values.iter_mut().for_each(|value| *value += 1.0);
    }
    values
}

fn is_linear(name: &str, shape: &[usize]) -> bool {
    let outside = ["embed_tokens", "lm_head", "wte", "wpe"];
    shape.len() == 2 && !outside.iter().any(|part| name.contains(part))
}

#[test]
fn an_f32_file_holds_the_ternary_values_in_llama_cpps_order() {
    for (label, model) in models() {
        let exported = exported(&model, ExportType::F32, &[]);
        let file = &exported.file;
        let mut names = BTreeSet::new();
        for (name, described) in model["tensors"].as_object().unwrap() {
            let shape: Vec<usize> = serde_json::from_value(described[0].clone()).unwrap();
            let gguf = described[1].as_str().unwrap();
            let tensor = file
                .tensor(gguf)
                .unwrap_or_else(|| panic!("{label}: no {gguf}"));
            let expected = expected(&model, name, &shape, is_linear(name, &shape));
            assert_eq!(tensor.to_f32().unwrap(), expected, "{label}: {name}");
            names.insert(gguf.to_owned());
        }
        let found: BTreeSet<String> = file
            .tensors()
            .map(|tensor| tensor.info.name.clone())
            .collect();
        assert_eq!(found, names, "{label}");
        let report = check(file.path()).unwrap();
        assert!(report.problems.is_empty(), "{label}: {:?}", report.problems);
    }
}

#[test]
fn a_matrix_that_stays_float_is_turned_round_too() {
    let model = &models()["gpt2"];
    let name = "transformer.h.1.attn.c_attn.weight";
    let Exported { file, .. } = exported(model, ExportType::F32, &[name]);
    let tensor = file.tensor("blk.1.attn_qkv.weight").unwrap();
    assert_eq!(tensor.info.dimensions, [64, 192]);
    assert_eq!(
        tensor.to_f32().unwrap(),
        expected(model, name, &[64, 192], false)
    );
}

#[test]
fn norms_biases_and_positions_are_f32_whatever_is_asked_for() {
    for (label, model) in models() {
        let Exported { file, .. } = exported(&model, ExportType::F16, &[]);
        for tensor in file.tensors() {
            let name = tensor.info.name.as_str();
            let vector = tensor.info.dimensions.len() == 1 || name == "position_embd.weight";
            let expected = if vector {
                TensorType::F32
            } else {
                TensorType::F16
            };
            assert_eq!(tensor.info.tensor_type, expected, "{label}: {name}");
        }
    }
}

#[test]
fn hyper_parameters_have_llama_cpps_keys() {
    let models = models();
    let file = |name: &str| exported(&models[name], ExportType::F16, &[]);
    let Exported { file: gemma, .. } = file("gemma3");
    let metadata = gemma.metadata();
    assert_eq!(metadata.string("general.architecture"), Some("gemma3"));
    assert_eq!(metadata.u32("gemma3.block_count"), Some(7));
    assert_eq!(metadata.u32("gemma3.attention.key_length"), Some(32));
    assert_eq!(metadata.u32("gemma3.attention.sliding_window"), Some(8));
    // The usual pattern is llama.cpp's default.
    assert_eq!(
        metadata.get("gemma3.attention.sliding_window_pattern"),
        None
    );
    assert_eq!(
        metadata.get("gemma3.rope.freq_base"),
        Some(&1_000_000f32.into())
    );
    assert_eq!(
        metadata.get("gemma3.rope.freq_base_swa"),
        Some(&10_000f32.into())
    );

    let Exported { file: gpt2, .. } = file("gpt2 narrow");
    let metadata = gpt2.metadata();
    assert_eq!(metadata.u32("gpt2.context_length"), Some(32));
    assert_eq!(metadata.u32("gpt2.feed_forward_length"), Some(256));
    assert_eq!(
        metadata.get("gpt2.attention.layer_norm_epsilon"),
        Some(&1e-5f32.into())
    );
    assert_eq!(metadata.get("gpt2.rope.freq_base"), None);

    let Exported { file: phi3, .. } = file("phi3");
    assert_eq!(
        phi3.metadata().u32("phi3.attention.sliding_window"),
        Some(0)
    );
    let Exported {
        file: mistral,
        notes,
        ..
    } = file("mistral");
    assert_eq!(
        mistral.metadata().string("general.architecture"),
        Some("llama")
    );
    assert!(
        notes
            .iter()
            .any(|note| note.contains("window of 16 tokens")),
        "{notes:?}"
    );
}

#[test]
fn unusual_blocks_and_long_contexts_are_written_down() {
    let models = models();
    let mut gemma = models["gemma3"].clone();
    let kinds = ["full_attention"; 7].map(|kind| kind.replace("full", "sliding"));
    gemma["config"]["layer_types"] = json!(kinds);
    let Exported { file, .. } = exported(&gemma, ExportType::F16, &[]);
    let pattern = file
        .metadata()
        .get("gemma3.attention.sliding_window_pattern");
    assert_eq!(pattern, Some(&vec![true; 7].into()));

    let mut phi3 = models["phi3"].clone();
    let factors = |start: f64| {
        (0..6)
            .map(|pair| start + f64::from(pair))
            .collect::<Vec<_>>()
    };
    phi3["config"]["max_position_embeddings"] = json!(4096);
    phi3["config"]["original_max_position_embeddings"] = json!(1024);
    phi3["config"]["rope_parameters"] = json!({
        "rope_type": "longrope", "rope_theta": 10000.0, "partial_rotary_factor": 0.75,
        "short_factor": factors(1.0), "long_factor": factors(2.0),
    });
    let Exported { file, .. } = exported(&phi3, ExportType::F16, &[]);
    let metadata = file.metadata();
    assert_eq!(metadata.u32("phi3.rope.dimension_count"), Some(12));
    assert_eq!(
        metadata.u32("phi3.rope.scaling.original_context_length"),
        Some(1024)
    );
    // sqrt(1 + ln(4096 / 1024) / ln(1024)), ln(4) / ln(1024) being 1/5.
    assert_eq!(
        metadata.get("phi3.rope.scaling.attn_factor"),
        Some(&(1.2f64.sqrt() as f32).into())
    );
    let long = file
        .tensor("rope_factors_long.weight")
        .unwrap()
        .to_f32()
        .unwrap();
    assert_eq!(long, [2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
    let short = file
        .tensor("rope_factors_short.weight")
        .unwrap()
        .to_f32()
        .unwrap();
    assert_eq!(short, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
}
