//! The tables of tensors against what transformers saves and what gguf-py calls it (`fixtures/make_architectures.py`).

use std::collections::BTreeMap;

use serde_json::Value;
use t81_core::{Granularity, Layout, Quantizer};
use t81_hub::{
    Architecture, Checkpoint, Dtype, ModelConfig, OutputFormat, QuantizedCheckpoint, T81Directory,
    T81Metadata, T81Tensor, T81Writer, TensorRole, TernarySource,
};

use crate::model::{Stored, encode, values, write_safetensors};

type Tensors = BTreeMap<String, (Vec<usize>, String)>;

/// Every model of the fixture: its name, `config.json`, and tensors with shapes and GGUF names.
fn models() -> Vec<(String, Value, Tensors)> {
    let fixture: BTreeMap<String, Value> =
        serde_json::from_str(include_str!("../fixtures/architectures.json")).unwrap();
    fixture
        .into_iter()
        .map(|(name, model)| {
            let tensors = serde_json::from_value(model["tensors"].clone()).unwrap();
            (name, model["config"].clone(), tensors)
        })
        .collect()
}

fn model(name: &str) -> (Value, Tensors) {
    let (_, config, tensors) = models().into_iter().find(|model| model.0 == name).unwrap();
    (config, tensors)
}

#[test]
fn tables_agree_with_transformers_and_gguf_py() {
    let mut seen = Vec::new();
    for (name, config, expected) in models() {
        let config = ModelConfig::from_json(config).unwrap();
        seen.push(config.architecture);
        let found: Tensors = config
            .tensors()
            .into_iter()
            .map(|spec| (spec.name.clone(), (spec.stored_shape(), spec.gguf)))
            .collect();
        assert_eq!(found, expected, "{name}");
        for spec in config.tensors() {
            let linear = spec.shape.len() == 2
                && !["embed_tokens", "lm_head", "wte", "wpe"]
                    .iter()
                    .any(|part| spec.name.contains(part));
            assert_eq!(spec.role == TensorRole::Linear, linear, "{}", spec.name);
        }
    }
    for architecture in Architecture::ALL {
        assert!(
            seen.contains(&architecture),
            "{architecture:?} is not in the fixture"
        );
    }
}

#[test]
fn what_is_special_about_a_configuration_is_read() {
    let parse = |name| ModelConfig::from_json(model(name).0).unwrap();
    let gemma = parse("gemma3");
    let window = gemma.sliding_window.unwrap();
    assert_eq!(
        (window.width, window.blocks),
        (8, vec![true, true, true, true, true, false, true])
    );
    assert_eq!(gemma.query_scale, 32f64.powf(-0.5));
    let rope = gemma.rope.unwrap();
    assert_eq!(
        (rope.theta, rope.local_theta),
        (1_000_000.0, Some(10_000.0))
    );
    assert_eq!(gemma.hidden_act, "gelu_pytorch_tanh");
    assert!(gemma.tie_word_embeddings);

    let qwen = parse("qwen2 windows");
    assert_eq!(qwen.sliding_window.unwrap().blocks, [false, true]);
    assert_eq!(parse("qwen2").sliding_window, None);
    assert_eq!(parse("mistral").model_type, "mistral");
    assert_eq!(parse("mistral").sliding_window.unwrap().width, 16);

    let gpt2 = parse("gpt2 narrow");
    assert_eq!((gpt2.intermediate_size, gpt2.rope), (256, None));
    assert_eq!((gpt2.hidden_act, gpt2.norm_eps), ("gelu_new", 1e-5));
    assert_eq!(parse("gpt2").intermediate_size, 96);
}

#[test]
fn settings_without_an_implementation_are_refused_by_name() {
    for (name, field, value, expected) in [
        (
            "gemma3",
            "final_logit_softcapping",
            Value::from(30.0),
            "final_logit_softcapping is 30.0",
        ),
        (
            "gemma3",
            "hidden_activation",
            Value::from("gelu"),
            "hidden_activation is `gelu`",
        ),
        (
            "gemma3",
            "layer_types",
            Value::from(vec!["full_attention"]),
            "layer_types is no list of 7",
        ),
        (
            "qwen3",
            "attention_bias",
            Value::from(true),
            "attention_bias is true",
        ),
        (
            "mistral",
            "sliding_window",
            Value::from(0),
            "sliding_window is 0",
        ),
        ("gpt2", "n_head", Value::from(0), "n_head is 0"),
        (
            "gpt2",
            "activation_function",
            Value::from("relu"),
            "activation_function is `relu`",
        ),
        (
            "gpt2",
            "scale_attn_weights",
            Value::from(false),
            "scale_attn_weights is false",
        ),
        (
            "phi3",
            "partial_rotary_factor",
            Value::from(0.01),
            "head_dim is 16",
        ),
    ] {
        let (mut config, _) = model(name);
        config[field] = value;
        if field == "partial_rotary_factor" {
            config["rope_parameters"] = Value::Null;
        }
        let message = ModelConfig::from_json(config).unwrap_err().to_string();
        assert!(message.contains(expected), "{name}: {message}");
    }
}

/// A checkpoint of random values, its names without what stands before the first dot.
fn write_bare(directory: &std::path::Path, config: &Value, tensors: &Tensors) {
    let mut stored: Vec<Stored> = tensors
        .iter()
        .map(|(name, (shape, _))| {
            let bytes = encode(&values(name, shape.iter().product()), Dtype::BF16);
            let bare = name.split_once('.').unwrap().1.to_owned();
            (bare, safetensors::Dtype::BF16, shape.clone(), bytes)
        })
        .collect();
    // Attention masks, which old checkpoints of GPT-2 carry, of whatever type.
    stored.push((
        "h.0.attn.bias".into(),
        safetensors::Dtype::U8,
        vec![1, 1, 2, 2],
        vec![0; 4],
    ));
    stored.push((
        "h.1.attn.bias".into(),
        safetensors::Dtype::BOOL,
        vec![1, 1, 2, 2],
        vec![1; 4],
    ));
    write_safetensors(&directory.join("model.safetensors"), &stored);
    std::fs::write(directory.join("config.json"), config.to_string()).unwrap();
}

#[test]
fn the_bare_model_has_its_prefix_supplied() {
    let (config, tensors) = model("gpt2");
    let directory = tempfile::tempdir().unwrap();
    write_bare(directory.path(), &config, &tensors);
    let checkpoint = Checkpoint::open(directory.path()).unwrap();
    checkpoint.config().check(&checkpoint).unwrap();
    assert!(checkpoint.contains("transformer.h.0.attn.bias"));
    assert!(
        checkpoint
            .config()
            .is_redundant("transformer.h.0.attn.bias")
    );
    let name = "transformer.h.1.mlp.c_fc.weight";
    assert_eq!(
        checkpoint.tensor(name).unwrap().to_f32(),
        values(name, 64 * 96)
    );
}

#[test]
fn matrices_stored_in_out_become_ternary_along_their_inputs() {
    let (config, tensors) = model("gpt2");
    let directory = tempfile::tempdir().unwrap();
    write_bare(directory.path(), &config, &tensors);
    let checkpoint = Checkpoint::open(directory.path()).unwrap();
    let granularity = Granularity::group(32).unwrap();
    let quantizer = Quantizer::new(granularity, 0.5).unwrap();
    let source = QuantizedCheckpoint::new(&checkpoint, quantizer.clone()).unwrap();
    for format in [OutputFormat::Packed, OutputFormat::Dense] {
        let output = directory.path().join(format.to_string());
        let mut writer = T81Writer::create(&output, source.plan(), false, format).unwrap();
        writer
            .write_file("config.json", config.to_string().as_bytes())
            .unwrap();
        for tensor in source.plan() {
            match source.get(&tensor.name).unwrap() {
                T81Tensor::Ternary(matrix) => writer.write_ternary(&tensor.name, &matrix).unwrap(),
                T81Tensor::Dense(view) => writer.write_dense(&tensor.name, view.bytes).unwrap(),
            }
        }
        let metadata = T81Metadata::new("test", "0", "bare", quantizer.clone(), "gpt2");
        writer.finish(metadata).unwrap();
        let written = T81Directory::open(&output).unwrap();
        let name = "transformer.h.1.mlp.c_fc.weight";
        let T81Tensor::Ternary(matrix) = written.get(name).unwrap() else {
            panic!("{name} is not ternary");
        };
        // By hand: 64 inputs, 96 outputs, stored an input at a time.
        let stored = values(name, 64 * 96);
        let by_output: Vec<f32> = (0..96 * 64)
            .map(|at| stored[at % 64 * 96 + at / 64])
            .collect();
        let expected = quantizer
            .quantize(&by_output, 96, 64, Layout::OutIn)
            .unwrap();
        assert_eq!(matrix, expected, "{format}");
        assert!(written.metadata().tensors[name].transposed);
    }
    // The dense format is what transformers reads: the same shape and order as the float checkpoint.
    let dense = std::fs::read(directory.path().join("dense/model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&dense).unwrap();
    let tensor = file.tensor("transformer.h.0.attn.c_attn.weight").unwrap();
    assert_eq!(tensor.shape(), [64, 192]);
}
