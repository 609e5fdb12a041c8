//! `GPT2LMHeadModel`: learned positions, layer norms with biases, and linear layers stored `[in, out]` (`Conv1D`).

use super::table::Presence::Always;
use super::table::Width::{Hidden, Inner, Queries, QueriesKeysValues};
use super::table::{embedding, head, linear, norm, positions};
use super::{Defaults, Family, Normalisation};
use crate::AttentionBias;

#[rustfmt::skip]
pub(super) const GPT2: Family = Family {
    model_types: &["gpt2"],
    gguf: "gpt2",
    prefix: "transformer.",
    renamed: &[
        ("hidden_size", "n_embd"),
        ("intermediate_size", "n_inner"),
        ("num_hidden_layers", "n_layer"),
        ("num_attention_heads", "n_head"),
        ("max_position_embeddings", "n_positions"),
        ("hidden_act", "activation_function"),
    ],
    defaults: |_| Defaults { key_value_heads: None, head_dim: None, positions: 1024, norm_eps: 1e-5, tied: true, window: None },
    normalisation: Normalisation::Layer,
    tensors: &[
        embedding("transformer.wte", "token_embd"),
        positions("transformer.wpe", "position_embd"),
        norm("transformer.h.{}.ln_1", "blk.{}.attn_norm", Hidden).bias(Always),
        norm("transformer.h.{}.ln_2", "blk.{}.ffn_norm", Hidden).bias(Always),
        linear("transformer.h.{}.attn.c_attn", "blk.{}.attn_qkv", QueriesKeysValues, Hidden).transposed().bias(Always),
        linear("transformer.h.{}.attn.c_proj", "blk.{}.attn_output", Hidden, Queries).transposed().bias(Always),
        linear("transformer.h.{}.mlp.c_fc", "blk.{}.ffn_up", Inner, Hidden).transposed().bias(Always),
        linear("transformer.h.{}.mlp.c_proj", "blk.{}.ffn_down", Hidden, Inner).transposed().bias(Always),
        norm("transformer.ln_f", "output_norm", Hidden).bias(Always),
        head("lm_head", "output"),
    ],
    complete: |fields, config| {
        config.activation(fields, "gelu_new", &["gelu_new", "gelu_pytorch_tanh"])?;
        config.attention_bias = AttentionBias::ALL;
        config.mlp_bias = true;
        for absent in ["add_cross_attention", "scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn"] {
            fields.must_not_be_set(absent)?;
        }
        if fields.boolean("scale_attn_weights")? == Some(false) {
            return Err(fields.error("scale_attn_weights", "is false, which is not supported"));
        }
        Ok(())
    },
};
