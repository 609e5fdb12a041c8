//! `Phi3ForCausalLM`: Phi-3, Phi-3.5, Phi-4. Queries, keys and values are one matrix, gate and up projection another.

use super::table::Width::{GateUp, Hidden, Inner, Queries, QueriesKeysValues};
use super::table::{embedding, head, linear, norm};
use super::{Defaults, Family, Normalisation, silu_only};

#[rustfmt::skip]
pub(super) const PHI3: Family = Family {
    model_types: &["phi3"],
    gguf: "phi3",
    prefix: "model.",
    renamed: &[],
    defaults: |_| Defaults { key_value_heads: None, head_dim: None, positions: 4096, norm_eps: 1e-5, tied: false, window: None },
    normalisation: Normalisation::RootMeanSquare,
    tensors: &[
        embedding("model.embed_tokens", "token_embd"),
        norm("model.layers.{}.input_layernorm", "blk.{}.attn_norm", Hidden),
        norm("model.layers.{}.post_attention_layernorm", "blk.{}.ffn_norm", Hidden),
        linear("model.layers.{}.self_attn.qkv_proj", "blk.{}.attn_qkv", QueriesKeysValues, Hidden),
        linear("model.layers.{}.self_attn.o_proj", "blk.{}.attn_output", Hidden, Queries),
        linear("model.layers.{}.mlp.gate_up_proj", "blk.{}.ffn_up", GateUp, Hidden),
        linear("model.layers.{}.mlp.down_proj", "blk.{}.ffn_down", Hidden, Inner),
        norm("model.norm", "output_norm", Hidden),
        head("lm_head", "output"),
    ],
    complete: |fields, config| {
        silu_only(fields, config)?;
        fields.must_not_be_set("attention_bias")?;
        config.slide_all_blocks(fields)
    },
};
