//! The `llama` architecture: Llama 1 to 3, SmolLM, TinyLlama and every model whose config says `llama`.

use std::f64::consts::PI;

use t81_hub::{LlamaConfig, RopeScaling};

use super::{Architecture, MappedTensor, Role, RowOrder, Source};
use crate::error::GgufError;
use crate::metadata::Metadata;

#[derive(Debug)]
pub(super) struct Llama<'a> {
    config: &'a LlamaConfig,
}

impl<'a> Llama<'a> {
    pub(super) fn new(config: &'a LlamaConfig) -> Self {
        Self { config }
    }

    fn attention_width(&self) -> usize {
        self.config.num_attention_heads * self.config.head_dim
    }

    fn key_value_width(&self) -> usize {
        self.config.num_key_value_heads * self.config.head_dim
    }

    fn layer(&self, layer: usize, tensors: &mut Vec<MappedTensor>) {
        let config = self.config;
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let (queries, keys) = (self.attention_width(), self.key_value_width());
        let query_rows = RowOrder::RotaryPairs {
            heads: config.num_attention_heads,
        };
        let key_rows = RowOrder::RotaryPairs {
            heads: config.num_key_value_heads,
        };
        let norm = |gguf: &str, checkpoint: &str| {
            checkpoint_tensor(
                format!("blk.{layer}.{gguf}.weight"),
                format!("model.layers.{layer}.{checkpoint}.weight"),
                vec![hidden],
                Role::Vector,
                RowOrder::Unchanged,
            )
        };
        let mut linear =
            |gguf: &str, checkpoint: &str, out: usize, input: usize, rows: RowOrder, bias: bool| {
                let (gguf, checkpoint) = (
                    format!("blk.{layer}.{gguf}"),
                    format!("model.layers.{layer}.{checkpoint}"),
                );
                tensors.push(checkpoint_tensor(
                    format!("{gguf}.weight"),
                    format!("{checkpoint}.weight"),
                    vec![out, input],
                    Role::Linear,
                    rows,
                ));
                if bias {
                    tensors.push(checkpoint_tensor(
                        format!("{gguf}.bias"),
                        format!("{checkpoint}.bias"),
                        vec![out],
                        Role::Vector,
                        rows,
                    ));
                }
            };
        let (attention_bias, mlp_bias) = (config.attention_bias, config.mlp_bias);
        linear(
            "attn_q",
            "self_attn.q_proj",
            queries,
            hidden,
            query_rows,
            attention_bias,
        );
        linear(
            "attn_k",
            "self_attn.k_proj",
            keys,
            hidden,
            key_rows,
            attention_bias,
        );
        linear(
            "attn_v",
            "self_attn.v_proj",
            keys,
            hidden,
            RowOrder::Unchanged,
            attention_bias,
        );
        linear(
            "attn_output",
            "self_attn.o_proj",
            hidden,
            queries,
            RowOrder::Unchanged,
            attention_bias,
        );
        linear(
            "ffn_gate",
            "mlp.gate_proj",
            inner,
            hidden,
            RowOrder::Unchanged,
            mlp_bias,
        );
        linear(
            "ffn_up",
            "mlp.up_proj",
            inner,
            hidden,
            RowOrder::Unchanged,
            mlp_bias,
        );
        linear(
            "ffn_down",
            "mlp.down_proj",
            hidden,
            inner,
            RowOrder::Unchanged,
            mlp_bias,
        );
        tensors.push(norm("attn_norm", "input_layernorm"));
        tensors.push(norm("ffn_norm", "post_attention_layernorm"));
    }
}

fn checkpoint_tensor(
    name: String,
    checkpoint: String,
    shape: Vec<usize>,
    role: Role,
    rows: RowOrder,
) -> MappedTensor {
    MappedTensor {
        name,
        shape,
        role,
        source: Source::Checkpoint {
            name: checkpoint,
            rows,
        },
    }
}

impl Architecture for Llama<'_> {
    fn name(&self) -> &'static str {
        "llama"
    }

    fn describe(&self, metadata: &mut Metadata) -> Result<(), GgufError> {
        let config = self.config;
        if !matches!(config.hidden_act.as_str(), "silu" | "swish") {
            let reason = format!(
                "its `llama` architecture uses SiLU, but config.json has hidden_act `{}`",
                config.hidden_act
            );
            return Err(GgufError::UnsupportedModel { reason });
        }
        if !config.head_dim.is_multiple_of(2) {
            let reason = format!(
                "heads of {} features cannot be rotated in pairs",
                config.head_dim
            );
            return Err(GgufError::UnsupportedModel { reason });
        }
        let mut count = |key: &str, value: usize| -> Result<(), GgufError> {
            let value = u32::try_from(value).map_err(|_| GgufError::UnsupportedModel {
                reason: format!("llama.{key} is {value}, more than 32 bits hold"),
            })?;
            metadata.set(format!("llama.{key}"), value);
            Ok(())
        };
        count("block_count", config.num_hidden_layers)?;
        count("context_length", config.max_position_embeddings)?;
        count("embedding_length", config.hidden_size)?;
        count("feed_forward_length", config.intermediate_size)?;
        count("attention.head_count", config.num_attention_heads)?;
        count("attention.head_count_kv", config.num_key_value_heads)?;
        count("attention.key_length", config.head_dim)?;
        count("attention.value_length", config.head_dim)?;
        count("rope.dimension_count", config.head_dim)?;
        count("vocab_size", config.vocab_size)?;
        metadata.set(
            "llama.attention.layer_norm_rms_epsilon",
            config.rms_norm_eps as f32,
        );
        metadata.set("llama.rope.freq_base", config.rope_theta as f32);
        match config.rope_scaling {
            // Llama 3's scaling is a tensor, not a key.
            None | Some(RopeScaling::Llama3 { .. }) => Ok(()),
            Some(RopeScaling::Linear { factor }) => {
                metadata.set("llama.rope.scaling.type", "linear");
                metadata.set("llama.rope.scaling.factor", factor as f32);
                Ok(())
            }
            Some(other) => Err(GgufError::UnsupportedModel {
                reason: format!("its rotary scaling is {other:?}"),
            }),
        }
    }

    fn tensors(&self) -> Vec<MappedTensor> {
        let config = self.config;
        let embedding = |name: &str, checkpoint: &str| {
            checkpoint_tensor(
                name.to_owned(),
                checkpoint.to_owned(),
                vec![config.vocab_size, config.hidden_size],
                Role::Embedding,
                RowOrder::Unchanged,
            )
        };
        let mut tensors = vec![embedding("token_embd.weight", "model.embed_tokens.weight")];
        if let Some(factors) = rotary_factors(config) {
            tensors.push(MappedTensor {
                name: "rope_freqs.weight".to_owned(),
                shape: vec![factors.len()],
                role: Role::Vector,
                source: Source::Computed(factors),
            });
        }
        for layer in 0..config.num_hidden_layers {
            self.layer(layer, &mut tensors);
        }
        tensors.push(checkpoint_tensor(
            "output_norm.weight".to_owned(),
            "model.norm.weight".to_owned(),
            vec![config.hidden_size],
            Role::Vector,
            RowOrder::Unchanged,
        ));
        // Without an output matrix llama.cpp uses the token embedding, which is what tied embeddings are.
        if !config.tie_word_embeddings {
            tensors.push(embedding("output.weight", "lm_head.weight"));
        }
        tensors
    }

    fn vocabulary_size(&self) -> usize {
        self.config.vocab_size
    }
}

/// What llama.cpp divides each rotary frequency by, for Llama 3's scaling; `[head_dim / 2]`.
///
/// Long wavelengths are stretched by `factor`, short ones stay, those between are blended (Llama 3.1's
/// `apply_scaling`; Hugging Face's `_compute_llama3_parameters`).
fn rotary_factors(config: &LlamaConfig) -> Option<Vec<f32>> {
    let Some(RopeScaling::Llama3 {
        factor,
        low_freq_factor,
        high_freq_factor,
        original_max_position_embeddings,
    }) = config.rope_scaling
    else {
        return None;
    };
    let original = original_max_position_embeddings as f64;
    let factor_of = |pair: usize| {
        let frequency = config
            .rope_theta
            .powf(-2.0 * pair as f64 / config.head_dim as f64);
        let wavelength = 2.0 * PI / frequency;
        if wavelength < original / high_freq_factor {
            1.0
        } else if wavelength > original / low_freq_factor {
            factor
        } else {
            let blend =
                (original / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
            1.0 / ((1.0 - blend) / factor + blend)
        }
    };
    Some(
        (0..config.head_dim / 2)
            .map(|pair| factor_of(pair) as f32)
            .collect(),
    )
}
