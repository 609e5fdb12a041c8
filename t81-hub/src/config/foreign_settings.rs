//! Settings of other architectures that would change what a model computes.

use serde_json::Value;

use super::ModelConfig;
use super::fields::{Fields, brief};
use crate::HubError;
use crate::architectures::Architecture;

/// Factors, which do nothing if they are 1: Granite's, MiniCPM's, Cohere's, Falcon-H1's.
const FACTORS: [&str; 14] = [
    "embedding_multiplier",
    "residual_multiplier",
    "logits_scaling",
    "logit_scale",
    "lm_head_multiplier",
    "key_multiplier",
    "attention_in_multiplier",
    "attention_out_multiplier",
    "mlp_multipliers",
    "ssm_multipliers",
    "output_multiplier",
    "scale_emb",
    "scale_depth",
    "embedding_scale",
];

/// Settings that do nothing if they are absent, `null`, `false`, 0 or empty.
const SWITCHES: [&str; 16] = [
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "clip_qkv",
    "no_rope_layer_interval",
    "attention_chunk_size",
    "attn_temperature_tuning",
    "use_qk_norm",
    "qk_norm",
    "qk_layernorm",
    "use_bidirectional_attention",
    "use_parallel_residual",
    "parallel_attn",
    "alibi",
    "use_alibi",
    "num_kv_shared_layers",
    "hidden_size_per_layer_input",
];

/// Counts of experts, which do nothing up to 1.
const EXPERTS: [&str; 4] = [
    "num_local_experts",
    "num_experts",
    "n_routed_experts",
    "moe_num_experts",
];

/// Refuses a setting that changes the mathematics of a model and that no architecture here has.
pub(super) fn refuse(fields: &Fields<'_>, config: &ModelConfig) -> Result<(), HubError> {
    let unsupported = |name: &str, value: &Value| {
        Err(fields.error(
            name,
            format!(
                "is {}, which model_type {} does not have here",
                brief(value),
                config.model_type
            ),
        ))
    };
    let refuse_unless = |name: &str, neutral: &dyn Fn(&Value) -> bool| match fields.get(name) {
        Some(value) if !all(value, neutral) => unsupported(name, value),
        _ => Ok(()),
    };
    let is = |number: f64| move |value: &Value| value.as_f64() == Some(number);
    for name in FACTORS {
        refuse_unless(name, &is(1.0))?;
    }
    for name in SWITCHES {
        refuse_unless(name, &|value| {
            is(0.0)(value) || *value == Value::Bool(false)
        })?;
    }
    for name in EXPERTS {
        refuse_unless(name, &|value| is(0.0)(value) || is(1.0)(value))?;
    }
    // 1 for a layer whose queries and keys are rotated.
    refuse_unless("no_rope_layers", &is(1.0))?;
    refuse_unless("is_causal", &|value| *value == Value::Bool(true))?;
    let scale = (config.head_dim as f64).powf(-0.5);
    let is_usual = |value: &Value| {
        let value = value.as_f64();
        value.is_some_and(|value| value == 1.0 || (value / scale - 1.0).abs() < 1e-4)
    };
    refuse_unless("attention_multiplier", &is_usual)?;
    if config.architecture != Architecture::Gemma3 {
        refuse_unless("query_pre_attn_scalar", &is(config.head_dim as f64))?;
    }
    if config.architecture == Architecture::Llama {
        let kind = match &config.sliding_window {
            Some(_) => "sliding_attention",
            None => "full_attention",
        };
        refuse_unless("layer_types", &|value| value.as_str() == Some(kind))?;
        if config.model_type == "llama" {
            refuse_unless("use_sliding_window", &|value| *value == Value::Bool(false))?;
        }
    }
    Ok(())
}

/// Whether the value, or each in a list or object, is neutral.
fn all(value: &Value, neutral: &dyn Fn(&Value) -> bool) -> bool {
    match value {
        Value::Array(values) => values.iter().all(neutral),
        Value::Object(values) => values.values().all(neutral),
        value => neutral(value),
    }
}
