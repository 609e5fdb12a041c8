//! A small llama checkpoint with a tokenizer, made on the spot.

use std::collections::BTreeMap;
use std::path::Path;

use half::bf16;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use t81_hub::ModelConfig;

/// `config.json` of a model whose MLP rows (256 down, 64 up) divide by different blocks.
pub(crate) fn config(layers: usize) -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16",
        "hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": layers,
        "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 260,
        "max_position_embeddings": 64, "rope_theta": 10000.0, "rms_norm_eps": 1e-5,
        "hidden_act": "silu", "attention_bias": true, "tie_word_embeddings": true,
        "bos_token_id": 0, "eos_token_id": 0,
    })
}

pub(crate) fn llama(config: &Value) -> ModelConfig {
    ModelConfig::from_json(config.clone()).unwrap()
}

/// BF16 values that differ from tensor to tensor and element to element, of both signs.
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

pub(crate) fn bf16_bytes(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| bf16::from_f32(*value).to_le_bytes())
        .collect()
}

/// Writes a whole BF16 checkpoint; `edit` may change the values of a tensor.
pub(crate) fn write_with(directory: &Path, config: &Value, edit: impl Fn(&str, &mut [f32])) {
    std::fs::create_dir_all(directory).unwrap();
    std::fs::write(directory.join("config.json"), config.to_string()).unwrap();
    std::fs::write(
        directory.join("generation_config.json"),
        r#"{"eos_token_id": 0}"#,
    )
    .unwrap();
    std::fs::write(directory.join("tokenizer.json"), tokenizer().to_string()).unwrap();
    std::fs::write(
        directory.join("tokenizer_config.json"),
        r#"{"bos_token": "<|endoftext|>"}"#,
    )
    .unwrap();
    std::fs::write(directory.join("LICENSE"), "Apache-2.0").unwrap();
    std::fs::write(directory.join("training_log.txt"), "not part of the model").unwrap();
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = llama(config)
        .expected_tensors()
        .into_iter()
        .map(|(name, shape)| {
            let mut values = values(&name, shape.iter().product());
            edit(&name, &mut values);
            (name, shape, bf16_bytes(&values))
        })
        .collect();
    let views: BTreeMap<&str, TensorView<'_>> = tensors
        .iter()
        .map(|(name, shape, bytes)| {
            let view = TensorView::new(safetensors::Dtype::BF16, shape.clone(), bytes).unwrap();
            (name.as_str(), view)
        })
        .collect();
    std::fs::write(
        directory.join("model.safetensors"),
        safetensors::serialize(views, None).unwrap(),
    )
    .unwrap();
}

pub(crate) fn write(directory: &Path) {
    write_with(directory, &config(2), |_, _| ());
}

/// Byte-level BPE over the 256 bytes, as GPT-2 spells them.
fn tokenizer() -> Value {
    let mut vocab = serde_json::Map::new();
    vocab.insert("<|endoftext|>".into(), json!(0));
    let mut next = 256;
    for byte in 0..=255u32 {
        let printable = matches!(byte, 33..=126 | 161..=172 | 174..=255);
        let spelt = if printable { byte } else { next };
        next += u32::from(!printable);
        vocab.insert(char::from_u32(spelt).unwrap().to_string(), json!(byte + 1));
    }
    json!({
        "added_tokens": [{"id": 0, "content": "<|endoftext|>", "special": true}],
        "normalizer": null,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        ]},
        "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
    })
}

/// Sorted names of a directory's entries.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
