//! `MODEL`: a checkpoint directory, or a fresh model from a preset.

use std::path::Path;

use burn::tensor::Device;
use serde_json::{Value, json};
use t81_burn::models::llama::{AttentionBiases, LlamaConfig};
use t81_burn::models::{Decoder, DecoderConfig};
use t81_core::Granularity;
use t81_datasets::{load_tokenizer, save_tokenizer, story_tokenizer};
use t81_hub::terminal::print_error;
use t81_hub::{
    Checkpoint, ModelConfig, ResolveOptions, TensorSpec, companion_files, read_if_exists,
};
use tokenizers::Tokenizer;

use crate::architecture::decoder_config;
use crate::error::QatError;
use crate::generate::TextBounds;

/// A fresh model of the llama architecture whose rows divide by 256, so that every ternary format holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Preset {
    /// 2.1 million parameters: trains in minutes on a laptop.
    Tiny,
    /// 13.6 million parameters.
    Small,
}

impl Preset {
    fn config(self) -> LlamaConfig {
        let config = match self {
            Self::Tiny => LlamaConfig::new(2048, 256, 768, 2, 4).with_num_key_value_heads(Some(2)),
            Self::Small => {
                LlamaConfig::new(2048, 512, 1536, 4, 8).with_num_key_value_heads(Some(4))
            }
        };
        config
            .with_tie_word_embeddings(true)
            .with_max_position_embeddings(self.context())
    }

    fn context(self) -> usize {
        match self {
            Self::Tiny => 512,
            Self::Small => 1024,
        }
    }

    fn block_size(self) -> usize {
        match self {
            Self::Tiny => 128,
            Self::Small => 256,
        }
    }
}

/// Where the model of a run comes from, opened.
pub(crate) struct Source {
    /// What the user typed.
    pub(crate) name: String,
    /// Sizes of the decoder.
    pub(crate) config: DecoderConfig,
    /// The `config.json` that goes with it.
    pub(crate) config_json: Value,
    /// The tokenizer, as the training data is cut by.
    pub(crate) tokenizer: Tokenizer,
    /// Pretrained weights; none for a preset.
    pub(crate) checkpoint: Option<Checkpoint>,
    preset: Option<Preset>,
}

impl Source {
    /// Opens `model`: a preset by name, a directory, or an id of the Hub at a revision.
    pub(crate) fn open(model: &str, revision: Option<&str>) -> Result<Self, QatError> {
        match model {
            "tiny" | "small" if revision.is_some() => Err(QatError::RevisionOfPreset {
                preset: model.to_string(),
                revision: revision.unwrap_or_default().to_string(),
            }),
            "tiny" => Self::preset(model, Preset::Tiny),
            "small" => Self::preset(model, Preset::Small),
            _ => Self::checkpoint(model, revision),
        }
    }

    fn preset(name: &str, preset: Preset) -> Result<Self, QatError> {
        let config = preset.config();
        let tokenizer = story_tokenizer(config.vocab_size)?;
        Ok(Self {
            name: name.to_string(),
            config_json: config_json(&config),
            config: DecoderConfig::Llama(config),
            tokenizer,
            checkpoint: None,
            preset: Some(preset),
        })
    }

    fn checkpoint(model: &str, revision: Option<&str>) -> Result<Self, QatError> {
        // Ctrl-C ends the program at once here; the next run goes on with what was downloaded.
        let downloads = ResolveOptions::for_terminal(revision.map(str::to_owned), false, || false);
        let directory = t81_hub::resolve(model, &downloads)?;
        let checkpoint = Checkpoint::open(&directory)?;
        let config = decoder_config(checkpoint.config(), &directory)?;
        checkpoint.config().check(&checkpoint)?;
        report_differences(&checkpoint);
        let tokenizer = load_tokenizer(&directory, config.vocab_size())?;
        let ids = tokenizer.get_vocab_size(true);
        if ids > config.vocab_size() {
            return Err(QatError::Vocabulary {
                directory,
                tokenizer: ids,
                model: config.vocab_size(),
            });
        }
        Ok(Self {
            name: t81_hub::model_name(Path::new(model), revision, &directory),
            config_json: checkpoint.config().raw.clone(),
            config,
            tokenizer,
            checkpoint: Some(checkpoint),
            preset: None,
        })
    }

    /// The `model_type` of its `config.json`.
    pub(crate) fn model_type(&self) -> &'static str {
        match &self.checkpoint {
            Some(checkpoint) => checkpoint.config().model_type,
            None => "llama",
        }
    }

    /// Tokens a block when the user names none.
    pub(crate) fn default_block_size(&self) -> usize {
        match self.preset {
            Some(preset) => preset.block_size(),
            None => self.config.context_length().min(512),
        }
    }

    /// Tokens that begin and end a text.
    pub(crate) fn text_bounds(&self) -> Result<TextBounds, QatError> {
        match &self.checkpoint {
            Some(checkpoint) => TextBounds::read(checkpoint.directory(), checkpoint.config()),
            None => Ok(TextBounds::of(&ModelConfig::from_json(
                self.config_json.clone(),
            )?)),
        }
    }

    /// The narrowest groups of weights that are ternary already, if the automatic granularity does not keep their codes.
    pub(crate) fn ternary_groups(&self) -> Result<Option<Granularity>, QatError> {
        let Some(checkpoint) = &self.checkpoint else {
            return Ok(None);
        };
        let weights: Vec<TensorSpec> = checkpoint.config().ternary_weights().collect();
        let automatic = Granularity::auto(weights.iter().map(|weight| weight.shape[1]));
        let mut narrowest = None;
        for weight in &weights {
            let Some(pattern) = checkpoint.ternary_pattern(weight)? else {
                continue;
            };
            if let (false, Granularity::Group(size)) = (
                pattern.keeps(automatic, weight.shape[1]),
                pattern.granularity(),
            ) {
                narrowest = Some(narrowest.map_or(size, |other| size.min(other)));
            }
        }
        Ok(narrowest.map(Granularity::Group))
    }

    /// Builds the decoder on `device`: the checkpoint's weights, or random ones by the device's seed.
    pub(crate) fn decoder(&self, device: &Device) -> Result<Decoder, QatError> {
        let decoder = self.config.init(device);
        match &self.checkpoint {
            None => Ok(decoder),
            Some(checkpoint) => decoder
                .load_weights(|name| {
                    let tensor = checkpoint.tensor(name)?;
                    tensor.check_finite()?;
                    Ok::<_, t81_hub::HubError>((tensor.shape.clone(), tensor.to_f32()))
                })
                .map_err(|source| QatError::LoadWeights {
                    directory: checkpoint.directory().to_path_buf(),
                    source,
                }),
        }
    }

    /// The tokenizer and configuration files that go with the weights: names and contents.
    pub(crate) fn companion_files(&self) -> Result<Vec<(String, Vec<u8>)>, QatError> {
        match &self.checkpoint {
            Some(checkpoint) => existing_files(checkpoint.directory()),
            None => {
                let directory = tempfile::tempdir()
                    .map_err(QatError::file("write to", std::env::temp_dir()))?;
                let context = self.config.context_length();
                save_tokenizer(&self.tokenizer, directory.path(), context)?;
                let mut files = existing_files(directory.path())?;
                let generation = json!({"bos_token_id": 0, "eos_token_id": 0});
                let generation = format!("{generation:#}\n").into_bytes();
                files.push(("generation_config.json".to_string(), generation));
                Ok(files)
            }
        }
    }
}

/// Says what of a checkpoint is read otherwise than it lies there, and names the tensors that no decoder has a place for.
fn report_differences(checkpoint: &Checkpoint) {
    for note in checkpoint.notes() {
        print_error(format_args!("note: {note}"));
    }
    let unexpected = checkpoint.unexpected();
    if !unexpected.is_empty() {
        print_error(format_args!(
            "warning: {} tensors of `{}` have no place in a {} model with its config.json and are left out: {}",
            unexpected.len(),
            checkpoint.directory().display(),
            checkpoint.config().model_type,
            unexpected.join(", ")
        ));
    }
}

fn existing_files(directory: &Path) -> Result<Vec<(String, Vec<u8>)>, QatError> {
    let mut files = Vec::new();
    for name in companion_files(directory)? {
        if let Some(bytes) = read_if_exists(&directory.join(&name))? {
            files.push((name, bytes));
        }
    }
    Ok(files)
}

/// The `config.json` of a fresh model.
fn config_json(config: &LlamaConfig) -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "num_key_value_heads": config.key_value_heads(),
        "head_dim": config.head_width(),
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.max_position_embeddings,
        "rope_theta": config.rope_theta,
        "rope_scaling": null,
        "rms_norm_eps": config.rms_norm_eps,
        "hidden_act": "silu",
        "attention_bias": config.attention_bias == AttentionBiases::ALL,
        "mlp_bias": config.mlp_bias,
        "tie_word_embeddings": config.tie_word_embeddings,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": null,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_hold_every_ternary_format() {
        for preset in [Preset::Tiny, Preset::Small] {
            let config = preset.config();
            config.validate().unwrap();
            for width in [config.hidden_size, config.intermediate_size] {
                assert_eq!(width % 256, 0);
            }
            assert!(preset.block_size() <= preset.context());
            let json = config_json(&config);
            let parsed = t81_hub::ModelConfig::from_json(json).unwrap();
            let (heads, width) = (config.key_value_heads(), config.head_width());
            let config = config
                .with_num_key_value_heads(Some(heads))
                .with_head_dim(Some(width));
            let back = decoder_config(&parsed, Path::new("x")).unwrap();
            assert_eq!(back, DecoderConfig::Llama(config));
        }
    }
}
