//! `LlamaForCausalLM` and `MistralForCausalLM`: Llama 1 to 3.2, Mistral, TinyLlama, SmolLM, SmolLM2.

use super::table::Presence::{KeyBias, MlpBias, OutputBias, QueryBias, ValueBias};
use super::table::Width::{Hidden, Inner, Keys, Queries};
use super::table::{embedding, head, linear, norm};
use super::{Defaults, Family, Normalisation, silu_only};
use crate::AttentionBias;

#[rustfmt::skip]
pub(super) const LLAMA: Family = Family {
    model_types: &["llama", "mistral"],
    gguf: "llama",
    prefix: "model.",
    renamed: &[],
    defaults: |model_type| match model_type {
        "mistral" => Defaults { key_value_heads: Some(8), head_dim: None, positions: 131_072, norm_eps: 1e-6, tied: false, window: Some(4096) },
        _ => Defaults { key_value_heads: None, head_dim: None, positions: 2048, norm_eps: 1e-6, tied: false, window: None },
    },
    normalisation: Normalisation::RootMeanSquare,
    tensors: &[
        embedding("model.embed_tokens", "token_embd"),
        norm("model.layers.{}.input_layernorm", "blk.{}.attn_norm", Hidden),
        norm("model.layers.{}.post_attention_layernorm", "blk.{}.ffn_norm", Hidden),
        linear("model.layers.{}.self_attn.q_proj", "blk.{}.attn_q", Queries, Hidden).rotary().bias(QueryBias),
        linear("model.layers.{}.self_attn.k_proj", "blk.{}.attn_k", Keys, Hidden).rotary().bias(KeyBias),
        linear("model.layers.{}.self_attn.v_proj", "blk.{}.attn_v", Keys, Hidden).bias(ValueBias),
        linear("model.layers.{}.self_attn.o_proj", "blk.{}.attn_output", Hidden, Queries).bias(OutputBias),
        linear("model.layers.{}.mlp.gate_proj", "blk.{}.ffn_gate", Inner, Hidden).bias(MlpBias),
        linear("model.layers.{}.mlp.up_proj", "blk.{}.ffn_up", Inner, Hidden).bias(MlpBias),
        linear("model.layers.{}.mlp.down_proj", "blk.{}.ffn_down", Hidden, Inner).bias(MlpBias),
        norm("model.norm", "output_norm", Hidden),
        head("lm_head", "output"),
    ],
    complete: |fields, config| {
        silu_only(fields, config)?;
        if fields.boolean("attention_bias")?.unwrap_or(false) {
            config.attention_bias = AttentionBias::ALL;
        }
        config.mlp_bias = fields.boolean("mlp_bias")?.unwrap_or(false);
        // Llama's own class has no window, whatever the file says.
        match config.model_type {
            "mistral" => config.slide_all_blocks(fields),
            _ => Ok(()),
        }
    },
};
