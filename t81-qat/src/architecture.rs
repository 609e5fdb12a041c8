//! From a checkpoint's configuration to the decoder that trains it.

use std::path::Path;

use t81_burn::models::DecoderConfig;
use t81_burn::models::gpt2::Gpt2Config;
use t81_burn::models::llama::{AttentionBiases, LlamaConfig, RopeScaling};
use t81_hub::{Architecture, AttentionBias, ModelConfig, Rope, SlidingWindow};

use crate::error::QatError;

/// The sizes of the decoder of the checkpoint in `directory`.
pub(crate) fn decoder_config(
    model: &ModelConfig,
    directory: &Path,
) -> Result<DecoderConfig, QatError> {
    let path = directory.join("config.json");
    let config = match model.architecture {
        Architecture::Llama | Architecture::Qwen2 | Architecture::Qwen3 => {
            llama(model).map(DecoderConfig::Llama)
        }
        Architecture::Gpt2 => Ok(DecoderConfig::Gpt2(gpt2(model))),
        _ => Err(format!("model_type {}", model.model_type)),
    };
    let config = config.map_err(|what| QatError::Untrainable {
        path: path.clone(),
        what,
    })?;
    match config.validate() {
        Ok(()) => Ok(config),
        Err(source) => Err(QatError::Configuration { path, source }),
    }
}

/// Checks that the model has a position for each token of a block.
pub(crate) fn check_block_size(block_size: usize, config: &DecoderConfig) -> Result<(), QatError> {
    let positions = config.context_length();
    match block_size > positions {
        true => Err(QatError::BlockSize {
            block_size,
            positions,
        }),
        false => Ok(()),
    }
}

/// Llama, Mistral, Qwen2 or Qwen3; the error is what the decoder does not have.
fn llama(model: &ModelConfig) -> Result<LlamaConfig, String> {
    let Some(rope) = &model.rope else {
        return Err("no rotary positions".to_string());
    };
    let config = LlamaConfig::new(
        model.vocab_size,
        model.hidden_size,
        model.intermediate_size,
        model.num_hidden_layers,
        model.num_attention_heads,
    )
    .with_num_key_value_heads(Some(model.num_key_value_heads))
    .with_head_dim(Some(model.head_dim))
    .with_max_position_embeddings(model.max_position_embeddings)
    .with_rope_theta(rope.theta)
    .with_rope_scaling(rope_scaling(rope)?)
    .with_rms_norm_eps(model.norm_eps)
    .with_tie_word_embeddings(model.tie_word_embeddings)
    .with_attention_bias(attention_biases(model))
    .with_mlp_bias(model.mlp_bias)
    .with_qk_norm(model.architecture == Architecture::Qwen3);
    match &model.sliding_window {
        None => Ok(config),
        Some(window) => Ok(config
            .with_sliding_window(Some(window.width))
            .with_max_window_layers(first_window(window)?)),
    }
}

fn attention_biases(model: &ModelConfig) -> AttentionBiases {
    if model.architecture == Architecture::Qwen2 {
        return AttentionBiases::QUERY_KEY_VALUE;
    }
    let AttentionBias {
        query,
        key,
        value,
        output,
    } = model.attention_bias;
    AttentionBiases {
        query,
        key,
        value,
        output,
    }
}

fn rope_scaling(rope: &Rope) -> Result<Option<RopeScaling>, String> {
    match &rope.scaling {
        None => Ok(None),
        Some(t81_hub::RopeScaling::Linear { factor }) => {
            Ok(Some(RopeScaling::Linear { factor: *factor }))
        }
        Some(t81_hub::RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_position_embeddings,
        }) => Ok(Some(RopeScaling::Llama3 {
            factor: *factor,
            low_freq_factor: *low_freq_factor,
            high_freq_factor: *high_freq_factor,
            original_max_position_embeddings: *original_max_position_embeddings,
        })),
        Some(t81_hub::RopeScaling::Yarn {
            factor,
            original_max_position_embeddings,
            beta_fast,
            beta_slow,
            attention_factor,
            truncate,
        }) => Ok(Some(RopeScaling::Yarn {
            factor: *factor,
            original_max_position_embeddings: *original_max_position_embeddings,
            beta_fast: *beta_fast,
            beta_slow: *beta_slow,
            attention_factor: *attention_factor,
            truncate: *truncate,
        })),
        Some(_) => Err("a longrope scaling".to_string()),
    }
}

/// The first layer with a window, all before it having none and all after it one.
fn first_window(window: &SlidingWindow) -> Result<usize, String> {
    let first = window.blocks.iter().take_while(|slides| !**slides).count();
    if window.blocks[first..].iter().all(|slides| *slides) {
        return Ok(first);
    }
    Err("layers with and without a sliding window in turns".to_string())
}

fn gpt2(model: &ModelConfig) -> Gpt2Config {
    Gpt2Config::new(
        model.vocab_size,
        model.hidden_size,
        model.num_hidden_layers,
        model.num_attention_heads,
    )
    .with_n_inner(Some(model.intermediate_size))
    .with_n_positions(model.max_position_embeddings)
    .with_layer_norm_epsilon(model.norm_eps)
    .with_tie_word_embeddings(model.tie_word_embeddings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use serde_json::{Value, json};

    fn rotary(model_type: &str) -> Value {
        json!({
            "model_type": model_type, "vocab_size": 97, "hidden_size": 64, "intermediate_size": 96,
            "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
        })
    }

    fn decoder(json: Value) -> Result<DecoderConfig, QatError> {
        decoder_config(&ModelConfig::from_json(json).unwrap(), Path::new("x"))
    }

    #[test]
    fn every_decoder_has_the_tensors_of_its_table() {
        let gpt2 = json!({
            "model_type": "gpt2", "vocab_size": 97, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 32,
        });
        let mut untied = gpt2.clone();
        untied["tie_word_embeddings"] = json!(false);
        untied["n_inner"] = json!(100);
        let models = ["llama", "mistral", "qwen2", "qwen3"].map(rotary);
        for json in models.into_iter().chain([gpt2, untied]) {
            let model = ModelConfig::from_json(json.clone()).unwrap();
            let decoder = decoder(json.clone()).unwrap().init(&Device::flex());
            let mut expected = model.expected_tensors();
            let mut found: Vec<(String, Vec<usize>)> = decoder
                .weight_specs()
                .into_iter()
                .map(|spec| (spec.name, spec.shape))
                .collect();
            expected.sort();
            found.sort();
            assert_eq!(found, expected, "{json}");
        }
    }

    #[test]
    fn biases_are_taken_over() {
        let mut json = rotary("llama");
        json["attention_bias"] = json!(true);
        let mut model = ModelConfig::from_json(json).unwrap();
        let biases = |model: &ModelConfig| llama(model).unwrap().attention_bias;
        assert_eq!(biases(&model), AttentionBiases::ALL);
        model.attention_bias.output = false;
        assert_eq!(biases(&model), AttentionBiases::QUERY_KEY_VALUE);
        model.attention_bias = AttentionBias {
            value: true,
            ..AttentionBias::NONE
        };
        let value = AttentionBiases {
            value: true,
            ..AttentionBiases::NONE
        };
        assert_eq!(biases(&model), value);
        let decoder = DecoderConfig::Llama(llama(&model).unwrap()).init(&Device::flex());
        let names: Vec<String> = decoder
            .weight_specs()
            .into_iter()
            .filter(|spec| spec.name.ends_with(".bias"))
            .map(|spec| spec.name)
            .collect();
        assert_eq!(names.len(), 3);
        assert!(names.iter().all(|name| name.ends_with("v_proj.bias")));
        model.attention_bias = AttentionBias::NONE;
        assert_eq!(biases(&model), AttentionBiases::NONE);
    }

    #[test]
    fn windows_are_taken_over() {
        let mut json = rotary("mistral");
        json["sliding_window"] = json!(7);
        let Ok(DecoderConfig::Llama(config)) = decoder(json) else {
            panic!()
        };
        assert_eq!(
            (config.sliding_window, config.max_window_layers),
            (Some(7), 0)
        );
        let mut json = rotary("qwen2");
        json["sliding_window"] = json!(7);
        json["use_sliding_window"] = json!(true);
        json["max_window_layers"] = json!(2);
        let Ok(DecoderConfig::Llama(config)) = decoder(json.clone()) else {
            panic!()
        };
        assert_eq!(
            (config.sliding_window, config.max_window_layers),
            (Some(7), 2)
        );
        json["layer_types"] = json!(["sliding_attention", "full_attention", "sliding_attention"]);
        let error = decoder(json).unwrap_err().to_string();
        assert!(
            error.contains("in turns") && error.contains("config.json"),
            "{error}"
        );
    }

    #[test]
    fn what_cannot_be_trained_is_named() {
        let mut json = rotary("gemma3_text");
        json["sliding_window"] = json!(8);
        let error = decoder(json).unwrap_err();
        assert!(matches!(error, QatError::Untrainable { .. }));
        assert!(error.to_string().contains("gemma3_text"), "{error}");
    }
}
