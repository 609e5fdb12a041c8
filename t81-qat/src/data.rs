//! The training and evaluation blocks of a run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::data::dataset::Dataset;
use t81_datasets::{DatasetSource, LoadEvent, LoadOptions, RowKind, TokenBlocks, TokenCache};
use t81_hub::terminal::print_error;
use t81_hub::{HubClient, TerminalDownloads};

use crate::cli::{TextRows, TrainArguments};
use crate::error::QatError;
use crate::source::Source;

/// How often a line says how far the tokenization of a file is.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Blocks to train and to evaluate on.
pub(crate) struct Data {
    pub(crate) train: TokenBlocks,
    pub(crate) train_samples: usize,
    pub(crate) evaluation: TokenBlocks,
    pub(crate) eval_samples: usize,
}

impl Data {
    /// Fingerprints of the tokens to train and to evaluate on, in hexadecimal.
    pub(crate) fn fingerprints(&self) -> [String; 2] {
        [&self.train, &self.evaluation]
            .map(|blocks| format!("{:032x}", blocks.tokens().fingerprint()))
    }

    pub(crate) fn load(
        arguments: &TrainArguments,
        source: &Source,
        block_size: usize,
    ) -> Result<Self, QatError> {
        let dataset = dataset(arguments)?;
        let options = LoadOptions {
            block_size,
            max_train_samples: arguments.max_train_samples,
            max_validation_samples: Some(arguments.max_eval_samples),
            vocabulary_size: Some(source.config.vocab_size()),
            ..options(arguments)
        };
        let client = match dataset {
            DatasetSource::Hub(_) => Some(
                HubClient::builder()
                    .progress(Arc::new(TerminalDownloads::new(false, || false)))
                    .build()?,
            ),
            _ => None,
        };
        let mut last = Instant::now();
        let tokens =
            dataset.load_with(&source.tokenizer, &options, client.as_ref(), &mut |event| {
                report(event, &mut last)
            })?;
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

fn dataset(arguments: &TrainArguments) -> Result<DatasetSource, QatError> {
    Ok(match &arguments.dataset_name {
        Some(name) => name.parse()?,
        None => DatasetSource::Files(arguments.train_file.clone()),
    })
}

/// The data of a run that lies on this machine.
pub(crate) fn local_files(arguments: &TrainArguments) -> Result<Vec<PathBuf>, QatError> {
    let mut paths = match dataset(arguments)? {
        DatasetSource::Files(files) => files,
        DatasetSource::Directory(directory) => vec![directory],
        DatasetSource::Stories | DatasetSource::Hub(_) => Vec::new(),
    };
    paths.extend(arguments.validation_file.clone());
    Ok(paths)
}

/// What the command line asks for of any dataset.
fn options(arguments: &TrainArguments) -> LoadOptions {
    LoadOptions {
        validation_file: arguments.validation_file.clone(),
        configuration: arguments.dataset_config_name.clone(),
        revision: arguments.dataset_revision.clone(),
        train_split: arguments.train_split.clone(),
        validation_split: arguments.validation_split.clone(),
        text_column: arguments.text_column.clone(),
        rows: match arguments.text_rows {
            TextRows::Auto => RowKind::Auto,
            TextRows::Lines => RowKind::Lines,
            TextRows::Documents => RowKind::Documents,
        },
        cache: if arguments.no_token_cache {
            None
        } else {
            TokenCache::from_environment()
        },
        ..LoadOptions::default()
    }
}

/// Says on standard error how far the tokenization is. `last` is when a line said so last.
fn report(event: LoadEvent<'_>, last: &mut Instant) {
    match event {
        LoadEvent::Tokenizing { file, text_bytes } if last.elapsed() >= LINE_INTERVAL => {
            *last = Instant::now();
            print_error(format_args!(
                "{file}: {} MB of text tokenized",
                text_bytes / 1_000_000
            ));
        }
        LoadEvent::Tokenized { file, tokens } => {
            print_error(format_args!("{file}: {tokens} tokens"))
        }
        LoadEvent::Cached { file, tokens } => {
            print_error(format_args!("{file}: {tokens} tokens, from the cache"));
        }
        LoadEvent::TextColumn { file, column } => {
            print_error(format_args!("{file}: the text is in the column `{column}`"));
        }
        LoadEvent::Note(note) => print_error(format_args!("note: {note}")),
        _ => {}
    }
}
