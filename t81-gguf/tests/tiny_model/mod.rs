//! Small random models, written as t81 directories.

#![allow(dead_code)] // Each test binary uses a part.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use half::bf16;
use serde_json::{Value, json};
use t81_core::{Granularity, Layout, Quantizer, TernaryMatrix};
use t81_hub::{Dtype, ModelConfig, OutputFormat, Storage, T81Metadata, T81Writer, TensorPlan};

/// Dimensions and traits of a model.
#[derive(Clone, Debug)]
pub(crate) struct TinyModel {
    pub(crate) hidden: usize,
    pub(crate) inner: usize,
    pub(crate) heads: usize,
    pub(crate) key_value_heads: usize,
    pub(crate) granularity: Granularity,
    pub(crate) tied: bool,
    pub(crate) bias: bool,
    pub(crate) rope_scaling: Value,
    /// Tokens beyond those of the tokenizer.
    pub(crate) spare_rows: usize,
    pub(crate) tokenizer: Value,
    pub(crate) tokenizer_config: Value,
    /// Linear weights that stay floats.
    pub(crate) dense: Vec<String>,
    /// Values that replace those of a tensor.
    pub(crate) planted: BTreeMap<String, f32>,
    pub(crate) format: OutputFormat,
}

/// What a model's tensors hold, by their checkpoint names.
#[derive(Debug, Default)]
pub(crate) struct Weights {
    pub(crate) ternary: BTreeMap<String, TernaryMatrix>,
    pub(crate) dense: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Default for TinyModel {
    fn default() -> Self {
        Self {
            hidden: 256,
            inner: 512,
            heads: 4,
            key_value_heads: 2,
            granularity: Granularity::group(256).unwrap(),
            tied: true,
            bias: false,
            rope_scaling: Value::Null,
            spare_rows: 3,
            tokenizer: tokenizer(),
            tokenizer_config: json!({"tokenizer_class": "GPT2Tokenizer", "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}),
            dense: Vec::new(),
            planted: BTreeMap::new(),
            format: OutputFormat::Packed,
        }
    }
}

pub(crate) const LAYERS: usize = 2;

impl TinyModel {
    /// Rows of 192 and 320 with groups of 64: nothing that TQ1_0 and TQ2_0 could hold.
    pub(crate) fn narrow() -> Self {
        Self {
            hidden: 192,
            inner: 320,
            heads: 6,
            key_value_heads: 3,
            granularity: Granularity::group(64).unwrap(),
            ..Self::default()
        }
    }

    pub(crate) fn vocabulary_size(&self) -> usize {
        let added = self.tokenizer["added_tokens"]
            .as_array()
            .unwrap()
            .iter()
            .map(|token| token["id"].as_u64().unwrap() + 1);
        let vocabulary = self.tokenizer["model"]["vocab"]
            .as_object()
            .unwrap()
            .values()
            .map(|id| id.as_u64().unwrap() + 1);
        added.chain(vocabulary).max().unwrap() as usize + self.spare_rows
    }

    pub(crate) fn config(&self) -> Value {
        json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama",
            "hidden_size": self.hidden, "intermediate_size": self.inner, "num_hidden_layers": LAYERS,
            "num_attention_heads": self.heads, "num_key_value_heads": self.key_value_heads,
            "vocab_size": self.vocabulary_size(), "max_position_embeddings": 128, "rope_theta": 10000.0,
            "rope_scaling": self.rope_scaling, "rms_norm_eps": 1e-5, "hidden_act": "silu",
            "attention_bias": self.bias, "mlp_bias": self.bias, "tie_word_embeddings": self.tied,
        })
    }

    /// Writes the model to `directory/model` and returns that path with what the tensors hold.
    pub(crate) fn write(&self, directory: &Path) -> (PathBuf, Weights) {
        let config = ModelConfig::from_json(self.config()).unwrap();
        let ternary = config.ternary_weight_names();
        let is_ternary = |name: &String| ternary.contains(name) && !self.dense.contains(name);
        let plan: Vec<TensorPlan> = config
            .expected_tensors()
            .into_iter()
            .map(|(name, shape)| TensorPlan {
                storage: if is_ternary(&name) {
                    Storage::Ternary {
                        granularity: self.granularity,
                        transposed: false,
                    }
                } else if name.contains("norm") {
                    Storage::Dense(Dtype::F32)
                } else {
                    Storage::Dense(Dtype::BF16)
                },
                name,
                shape,
            })
            .collect();
        let path = directory.join("model");
        let mut writer = T81Writer::create(&path, plan.clone(), false, self.format).unwrap();
        writer
            .write_file("config.json", self.config().to_string().as_bytes())
            .unwrap();
        writer
            .write_file("tokenizer.json", self.tokenizer.to_string().as_bytes())
            .unwrap();
        writer
            .write_file(
                "tokenizer_config.json",
                self.tokenizer_config.to_string().as_bytes(),
            )
            .unwrap();
        let quantizer = Quantizer::new(self.granularity, 0.7).unwrap();
        let mut weights = Weights::default();
        let mut random = Random(1);
        for TensorPlan {
            name,
            shape,
            storage,
        } in plan
        {
            let count = shape.iter().product();
            let mut values: Vec<f32> = (0..count).map(|_| random.next() * 0.1).collect();
            if name.contains("norm") {
                values.iter_mut().for_each(|value| *value += 1.0);
            }
            if let Some(&value) = self.planted.get(&name) {
                values[count / 2] = value;
            }
            match storage {
                Storage::Ternary { .. } => {
                    // One block of zeros, whose scale a GGUF file writes as 0.
                    values[..64].fill(0.0);
                    let matrix = quantizer
                        .quantize(&values, shape[0], shape[1], Layout::OutIn)
                        .unwrap();
                    writer.write_ternary(&name, &matrix).unwrap();
                    weights.ternary.insert(name, matrix);
                }
                Storage::Dense(Dtype::F32) => {
                    let bytes: Vec<u8> = values
                        .iter()
                        .flat_map(|value| value.to_le_bytes())
                        .collect();
                    writer.write_dense(&name, &bytes).unwrap();
                    weights.dense.insert(name, (shape, values));
                }
                Storage::Dense(_) => {
                    let rounded: Vec<bf16> =
                        values.iter().map(|&value| bf16::from_f32(value)).collect();
                    let bytes: Vec<u8> = rounded
                        .iter()
                        .flat_map(|value| value.to_le_bytes())
                        .collect();
                    writer.write_dense(&name, &bytes).unwrap();
                    weights.dense.insert(
                        name,
                        (shape, rounded.iter().map(|value| value.to_f32()).collect()),
                    );
                }
            }
        }
        let metadata = T81Metadata::new(
            "t81-convert",
            "0.1.0",
            "someone/tiny-model",
            quantizer,
            "llama",
        );
        writer.finish(metadata).unwrap();
        (path, weights)
    }
}

/// Uniform in -1..1, from Knuth's 64-bit linear congruential generator.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// A byte-level tokenizer: `<|endoftext|>`, the 256 bytes, three merges, an added word.
pub(crate) fn tokenizer() -> Value {
    let mut vocabulary = serde_json::Map::new();
    let mut add = |text: String| {
        let id = vocabulary.len();
        vocabulary.insert(text, json!(id));
    };
    add("<|endoftext|>".to_owned());
    (0..=255).for_each(|byte| add(byte_character(byte).to_string()));
    ["th", "Ġth", "the"]
        .into_iter()
        .for_each(|text| add(text.to_owned()));
    let added = |id: usize, content: &str, special: bool| json!({"id": id, "content": content, "special": special, "normalized": false, "lstrip": false, "rstrip": false, "single_word": false});
    json!({
        "version": "1.0", "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true},
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "added_tokens": [added(0, "<|endoftext|>", true), added(260, "<word>", false)],
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocabulary, "merges": [["t", "h"], ["Ġ", "th"], ["th", "e"]],
        },
    })
}

/// The printable character that GPT-2's tokenizer writes for a byte.
fn byte_character(byte: u8) -> char {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if printable(byte) {
        return byte as char;
    }
    let position = (0..byte).filter(|&other| !printable(other)).count();
    char::from_u32(256 + position as u32).unwrap()
}
