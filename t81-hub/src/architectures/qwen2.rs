//! `Qwen2ForCausalLM`: Qwen2, Qwen2.5. As Llama, with biases on queries, keys and values alone.

use super::table::Presence::Always;
use super::table::Width::{Hidden, Inner, Keys, Queries};
use super::table::{embedding, head, linear, norm};
use super::{Defaults, Family, Normalisation, silu_only};

#[rustfmt::skip]
pub(super) const QWEN2: Family = Family {
    model_types: &["qwen2"],
    gguf: "qwen2",
    prefix: "model.",
    renamed: &[],
    defaults: |_| Defaults { key_value_heads: Some(32), head_dim: None, positions: 32_768, norm_eps: 1e-6, tied: false, window: Some(4096) },
    normalisation: Normalisation::RootMeanSquare,
    tensors: &[
        embedding("model.embed_tokens", "token_embd"),
        norm("model.layers.{}.input_layernorm", "blk.{}.attn_norm", Hidden),
        norm("model.layers.{}.post_attention_layernorm", "blk.{}.ffn_norm", Hidden),
        linear("model.layers.{}.self_attn.q_proj", "blk.{}.attn_q", Queries, Hidden).bias(Always),
        linear("model.layers.{}.self_attn.k_proj", "blk.{}.attn_k", Keys, Hidden).bias(Always),
        linear("model.layers.{}.self_attn.v_proj", "blk.{}.attn_v", Keys, Hidden).bias(Always),
        linear("model.layers.{}.self_attn.o_proj", "blk.{}.attn_output", Hidden, Queries),
        linear("model.layers.{}.mlp.gate_proj", "blk.{}.ffn_gate", Inner, Hidden),
        linear("model.layers.{}.mlp.up_proj", "blk.{}.ffn_up", Inner, Hidden),
        linear("model.layers.{}.mlp.down_proj", "blk.{}.ffn_down", Hidden, Inner),
        norm("model.norm", "output_norm", Hidden),
        head("lm_head", "output"),
    ],
    complete: |fields, config| {
        silu_only(fields, config)?;
        config.slide_later_blocks(fields)
    },
};
