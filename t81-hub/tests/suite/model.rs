//! A tiny llama checkpoint made on the spot.

use std::collections::BTreeMap;
use std::path::Path;

use half::{bf16, f16};
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use t81_hub::{Dtype, ModelConfig};

/// `config.json` of a model of two blocks whose row lengths (20 and 36) fill no group and no byte evenly.
pub(crate) fn config_json() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "torch_dtype": "bfloat16",
        "hidden_size": 20,
        "intermediate_size": 36,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 6,
        "vocab_size": 11,
        "max_position_embeddings": 64,
        "rope_theta": 10000.0,
        "rms_norm_eps": 1e-5,
        "hidden_act": "silu",
        "attention_bias": true,
        "tie_word_embeddings": false,
        "bos_token_id": 1,
        "eos_token_id": [2, 3],
        "pad_token_id": -1,
    })
}

pub(crate) fn llama(config: &Value) -> ModelConfig {
    ModelConfig::from_json(config.clone()).unwrap()
}

/// Values that differ from tensor to tensor and element to element, of both signs.
pub(crate) fn values(name: &str, count: usize) -> Vec<f32> {
    let seed = name.bytes().fold(17u32, |hash, byte| {
        hash.wrapping_mul(31).wrapping_add(byte.into())
    });
    (0..count)
        .map(|index| {
            let bits = (index as u32)
                .wrapping_add(seed)
                .wrapping_mul(2_654_435_761);
            bf16::from_f32((bits >> 8) as f32 / (1 << 23) as f32 - 1.0).to_f32()
        })
        .collect()
}

pub(crate) fn encode(values: &[f32], dtype: Dtype) -> Vec<u8> {
    match dtype {
        Dtype::F32 => values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect(),
        Dtype::F16 => values
            .iter()
            .flat_map(|value| f16::from_f32(*value).to_le_bytes())
            .collect(),
        Dtype::BF16 => values
            .iter()
            .flat_map(|value| bf16::from_f32(*value).to_le_bytes())
            .collect(),
    }
}

/// Name, dtype, shape and bytes of a stored tensor.
pub(crate) type Stored = (String, safetensors::Dtype, Vec<usize>, Vec<u8>);

pub(crate) fn tensors(config: &ModelConfig, dtype: Dtype) -> Vec<Stored> {
    config
        .expected_tensors()
        .into_iter()
        .map(|(name, shape)| {
            let count = shape.iter().product();
            let bytes = encode(&values(&name, count), dtype);
            let dtype = match dtype {
                Dtype::F32 => safetensors::Dtype::F32,
                Dtype::F16 => safetensors::Dtype::F16,
                Dtype::BF16 => safetensors::Dtype::BF16,
            };
            (name, dtype, shape, bytes)
        })
        .collect()
}

pub(crate) fn write_safetensors(path: &Path, tensors: &[Stored]) {
    let views: BTreeMap<&str, TensorView<'_>> = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| {
            (
                name.as_str(),
                TensorView::new(*dtype, shape.clone(), bytes).unwrap(),
            )
        })
        .collect();
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// A whole checkpoint in one file.
pub(crate) fn write_single(directory: &Path, dtype: Dtype) {
    let config = config_json();
    std::fs::write(directory.join("config.json"), config.to_string()).unwrap();
    write_safetensors(
        &directory.join("model.safetensors"),
        &tensors(&llama(&config), dtype),
    );
}

pub(crate) const SHARDS: [&str; 2] = [
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
];

/// A whole checkpoint in two shards.
pub(crate) fn write_sharded(directory: &Path) {
    let config = config_json();
    std::fs::write(directory.join("config.json"), config.to_string()).unwrap();
    let tensors = tensors(&llama(&config), Dtype::BF16);
    let mut weight_map = serde_json::Map::new();
    for (part, shard) in tensors.chunks(tensors.len().div_ceil(2)).zip(SHARDS) {
        write_safetensors(&directory.join(shard), part);
        weight_map.extend(part.iter().map(|(name, ..)| (name.clone(), shard.into())));
    }
    let index = json!({"metadata": {"total_size": 1}, "weight_map": weight_map});
    std::fs::write(
        directory.join("model.safetensors.index.json"),
        index.to_string(),
    )
    .unwrap();
}

/// Replaces the JSON header of a safetensors file, leaving the data as it is.
pub(crate) fn edit_header(path: &Path, edit: impl FnOnce(&mut Value)) {
    let bytes = std::fs::read(path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    edit(&mut header);
    let header = header.to_string();
    let mut edited = (header.len() as u64).to_le_bytes().to_vec();
    edited.extend_from_slice(header.as_bytes());
    edited.extend_from_slice(&bytes[8 + length..]);
    std::fs::write(path, edited).unwrap();
}

pub(crate) fn edit_json(path: &Path, edit: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    edit(&mut value);
    std::fs::write(path, value.to_string()).unwrap();
}

/// The error and all its causes, as a command line shows them.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
