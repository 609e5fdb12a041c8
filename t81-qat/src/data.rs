//! The training and evaluation blocks of a run.

use burn::data::dataset::Dataset;
use t81_datasets::{DatasetSource, LoadOptions, TokenBlocks};

use crate::cli::TrainArguments;
use crate::error::QatError;
use crate::source::Source;

/// Blocks to train and to evaluate on.
pub(crate) struct Data {
    pub(crate) train: TokenBlocks,
    pub(crate) train_samples: usize,
    pub(crate) evaluation: TokenBlocks,
    pub(crate) eval_samples: usize,
}

impl Data {
    pub(crate) fn load(
        arguments: &TrainArguments,
        source: &Source,
        block_size: usize,
    ) -> Result<Self, QatError> {
        let dataset = match (&arguments.train_file, &arguments.dataset_name) {
            (Some(file), _) => DatasetSource::TextFile(file.clone()),
            (None, Some(name)) => name.parse()?,
            (None, None) => DatasetSource::Stories,
        };
        if let Some(configuration) = &arguments.dataset_config_name {
            return Err(QatError::NoConfigurations {
                configuration: configuration.clone(),
            });
        }
        let tokens = dataset.load(
            &source.tokenizer,
            &LoadOptions {
                block_size,
                max_train_samples: arguments.max_train_samples,
                max_validation_samples: Some(arguments.max_eval_samples),
                validation_file: arguments.validation_file.clone(),
                vocabulary_size: Some(source.config.vocab_size),
                ..LoadOptions::default()
            },
        )?;
        let train = TokenBlocks::new(tokens.train, block_size)?;
        let evaluation = TokenBlocks::new(tokens.validation, block_size)?;
        Ok(Self {
            train_samples: train.len(),
            eval_samples: evaluation.len(),
            train,
            evaluation,
        })
    }
}
