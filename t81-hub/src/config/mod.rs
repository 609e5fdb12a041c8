//! `config.json`: which architecture a model has, and its dimensions.

mod fields;
mod llama;
mod rope;

use std::path::Path;

use serde_json::Value;

use crate::files::MAX_JSON_BYTES;
use crate::json::read_json;
use crate::{Checkpoint, HubError};

pub use llama::LlamaConfig;
pub use rope::RopeScaling;

/// The `model_type`s that [`ModelConfig`] accepts.
const SUPPORTED: &str = "llama";

/// A validated `config.json`.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// The architecture and its dimensions.
    pub architecture: Architecture,
    /// The file's contents, whole.
    pub raw: Value,
}

/// The architectures that T81 knows.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Architecture {
    /// `LlamaForCausalLM`: Llama, TinyLlama, SmolLM, SmolLM2 and others.
    Llama(LlamaConfig),
}

impl ModelConfig {
    /// Reads and validates a `config.json`.
    ///
    /// # Errors
    /// If the file cannot be read, is not JSON, is out of range or describes an unsupported architecture.
    pub fn from_file(path: &Path) -> Result<Self, HubError> {
        Self::from_json_at(read_json(path, MAX_JSON_BYTES)?, path)
    }

    /// Validates the contents of a `config.json`. Errors call the file `config.json`.
    ///
    /// # Errors
    /// If a field is out of range or the architecture is unsupported.
    pub fn from_json(raw: Value) -> Result<Self, HubError> {
        Self::from_json_at(raw, Path::new("config.json"))
    }

    fn from_json_at(raw: Value, path: &Path) -> Result<Self, HubError> {
        let fields = fields::Fields::new(&raw, path)?;
        let model_type = fields.text("model_type")?.unwrap_or_default().to_owned();
        if raw
            .get("quantization_config")
            .is_some_and(|value| !value.is_null())
        {
            return Err(fields.error(
                "quantization_config",
                "says that the weights are quantized already; pass the float checkpoint",
            ));
        }
        let architecture = match model_type.as_str() {
            "llama" => Architecture::Llama(LlamaConfig::parse(&fields)?),
            "" => return Err(fields.error("model_type", "is missing")),
            _ => {
                return Err(HubError::UnsupportedModelType {
                    path: path.to_path_buf(),
                    model_type,
                    supported: SUPPORTED,
                });
            }
        };
        Ok(Self { architecture, raw })
    }

    /// The `model_type` of `config.json`.
    pub fn model_type(&self) -> &'static str {
        match self.architecture {
            Architecture::Llama(_) => "llama",
        }
    }

    /// Names of the weights that are made ternary: the linear layers of every block; see
    /// [`LlamaConfig::ternary_weight_names`].
    pub fn ternary_weight_names(&self) -> Vec<String> {
        match &self.architecture {
            Architecture::Llama(config) => config.ternary_weight_names(),
        }
    }

    /// Names and shapes of all tensors that the architecture needs.
    pub fn expected_tensors(&self) -> Vec<(String, Vec<usize>)> {
        match &self.architecture {
            Architecture::Llama(config) => config.expected_tensors(),
        }
    }

    /// True for a tensor that old checkpoints carry and that no loader needs: stored rotary frequencies, and the
    /// output matrix of a model whose configuration ties it to the embedding.
    pub fn is_redundant(&self, name: &str) -> bool {
        match &self.architecture {
            Architecture::Llama(config) => {
                name.ends_with(".rotary_emb.inv_freq")
                    || (config.tie_word_embeddings && name == "lm_head.weight")
            }
        }
    }

    /// Checks that a checkpoint holds every tensor of the architecture in the right shape.
    ///
    /// # Errors
    /// [`HubError::MissingTensor`] or [`HubError::Shape`] for the first tensor at fault.
    pub fn check(&self, checkpoint: &Checkpoint) -> Result<(), HubError> {
        match &self.architecture {
            Architecture::Llama(config) => config.check(checkpoint),
        }
    }
}

/// Compares the shapes that `place` holds with the expected ones; the first difference is the error.
pub(crate) fn check_shapes(
    expected: Vec<(String, Vec<usize>)>,
    place: &Path,
    shape_of: impl Fn(&str) -> Option<Vec<usize>>,
) -> Result<(), HubError> {
    for (name, expected) in expected {
        match shape_of(&name) {
            None => {
                return Err(HubError::MissingTensor {
                    name,
                    place: place.to_path_buf(),
                });
            }
            Some(found) if found != expected => {
                return Err(HubError::Shape {
                    name,
                    found,
                    expected,
                });
            }
            Some(_) => {}
        }
    }
    Ok(())
}
