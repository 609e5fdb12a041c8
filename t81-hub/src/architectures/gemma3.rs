//! `Gemma3ForCausalLM`: norms before and after each part, most blocks see a window only, and the gains are stored less 1.

use super::table::Width::{Head, Hidden, Inner, Keys, Queries};
use super::table::{embedding, head, linear, norm};
use super::{Defaults, Family, Normalisation};

#[rustfmt::skip]
pub(super) const GEMMA3: Family = Family {
    model_types: &["gemma3_text"],
    gguf: "gemma3",
    prefix: "model.",
    renamed: &[("hidden_act", "hidden_activation")],
    defaults: |_| Defaults { key_value_heads: Some(4), head_dim: Some(256), positions: 131_072, norm_eps: 1e-6, tied: true, window: Some(4096) },
    normalisation: Normalisation::RootMeanSquare,
    tensors: &[
        embedding("model.embed_tokens", "token_embd"),
        norm("model.layers.{}.input_layernorm", "blk.{}.attn_norm", Hidden).plus(1.0),
        norm("model.layers.{}.post_attention_layernorm", "blk.{}.post_attention_norm", Hidden).plus(1.0),
        norm("model.layers.{}.pre_feedforward_layernorm", "blk.{}.ffn_norm", Hidden).plus(1.0),
        norm("model.layers.{}.post_feedforward_layernorm", "blk.{}.post_ffw_norm", Hidden).plus(1.0),
        linear("model.layers.{}.self_attn.q_proj", "blk.{}.attn_q", Queries, Hidden),
        linear("model.layers.{}.self_attn.k_proj", "blk.{}.attn_k", Keys, Hidden),
        linear("model.layers.{}.self_attn.v_proj", "blk.{}.attn_v", Keys, Hidden),
        linear("model.layers.{}.self_attn.o_proj", "blk.{}.attn_output", Hidden, Queries),
        norm("model.layers.{}.self_attn.q_norm", "blk.{}.attn_q_norm", Head).plus(1.0),
        norm("model.layers.{}.self_attn.k_norm", "blk.{}.attn_k_norm", Head).plus(1.0),
        linear("model.layers.{}.mlp.gate_proj", "blk.{}.ffn_gate", Inner, Hidden),
        linear("model.layers.{}.mlp.up_proj", "blk.{}.ffn_up", Inner, Hidden),
        linear("model.layers.{}.mlp.down_proj", "blk.{}.ffn_down", Hidden, Inner),
        norm("model.norm", "output_norm", Hidden).plus(1.0),
        head("lm_head", "output"),
    ],
    complete: |fields, config| {
        config.activation(fields, "gelu_pytorch_tanh", &["gelu_pytorch_tanh"])?;
        for absent in ["attention_bias", "attn_logit_softcapping", "final_logit_softcapping", "use_bidirectional_attention"] {
            fields.must_not_be_set(absent)?;
        }
        let scalar = fields.float("query_pre_attn_scalar", 1e-6..=1e6)?.unwrap_or(256.0);
        config.query_scale = scalar.powf(-0.5);
        config.slide_by_pattern(fields, 6)
    },
};
