//! The model that writes: a t81 directory or a checkpoint, with its tokenizer.

use std::path::Path;

use burn::tensor::Device;
use t81_burn::models::DecoderConfig;
use t81_datasets::load_tokenizer;
use t81_hub::T81Directory;
use tokenizers::Tokenizer;

use super::prompt::TextBounds;
use crate::architecture::decoder_config;
use crate::cli::ActivationChoice;
use crate::error::QatError;
use crate::inference::{Floats, InferenceModel, activation_precision};
use crate::source::Source;

/// The metadata of a t81 directory.
const T81_METADATA: &str = "t81_metadata.json";

pub(crate) struct GenerationModel {
    pub(crate) model: InferenceModel,
    pub(crate) config: DecoderConfig,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) bounds: TextBounds,
}

impl GenerationModel {
    /// Opens a t81 directory with its exact weights, the output directory of a run, a checkpoint directory, or an id of the
    /// Hub at a revision. `activations` is for the products with packed ternary weights.
    pub(crate) fn open(
        model: &str,
        revision: Option<&str>,
        activations: Option<ActivationChoice>,
        device: &Device,
    ) -> Result<Self, QatError> {
        let path = Path::new(model);
        let is_t81 = [path.to_path_buf(), path.join("t81")]
            .iter()
            .any(|directory| directory.join(T81_METADATA).is_file());
        match is_t81 && revision.is_none() {
            true => Self::t81(path, activations, device),
            false => Self::checkpoint(model, revision, device),
        }
    }

    fn t81(
        path: &Path,
        activations: Option<ActivationChoice>,
        device: &Device,
    ) -> Result<Self, QatError> {
        let directory = T81Directory::open(path)?;
        let config = decoder_config(directory.config(), directory.directory())?;
        let tokenizer = load_tokenizer(directory.directory(), config.vocab_size())?;
        let ids = tokenizer.get_vocab_size(true);
        if ids > config.vocab_size() {
            return Err(QatError::Vocabulary {
                directory: directory.directory().to_path_buf(),
                tokenizer: ids,
                model: config.vocab_size(),
            });
        }
        let precision = activation_precision(activations, &directory);
        Ok(Self {
            model: InferenceModel::open(&directory, &config, precision, Floats::Quick, device)?,
            bounds: TextBounds::read(directory.directory(), directory.config())?,
            config,
            tokenizer,
        })
    }

    fn checkpoint(model: &str, revision: Option<&str>, device: &Device) -> Result<Self, QatError> {
        let source = Source::open(model, revision)?;
        if source.checkpoint.is_none() {
            return Err(QatError::FreshGeneration {
                preset: model.to_string(),
            });
        }
        Ok(Self {
            model: InferenceModel::Decoder(source.decoder(device)?, device.clone()),
            bounds: source.text_bounds()?,
            config: source.config,
            tokenizer: source.tokenizer,
        })
    }
}
