//! From the name of a dataset to its token streams.

use std::cell::OnceCell;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use t81_hub::{HubClient, RepoId};
use tokenizers::Tokenizer;

use crate::encode::{encode_documents, tokenize_text};
use crate::error::DataError;
use crate::hub::{HubDataset, default_configuration};
use crate::layout::DataFiles;
use crate::load::Loader;
use crate::options::{LoadEvent, LoadOptions};
use crate::repository::{Directory, Files, Repository};
use crate::stories::{END_OF_TEXT, Split, StoryCorpus};
use crate::tokenizer::check_vocabulary;
use crate::tokens::Tokens;

const STORIES: &str = "stories";

/// Ends of documents in the vocabularies of common models, tried in this order.
const SEPARATORS: &[&str] = &[
    END_OF_TEXT,
    "<|end_of_text|>",
    "<|im_end|>",
    "</s>",
    "<eos>",
];

/// Where the text of a dataset comes from.
///
/// Parsed from `stories`, the path of a file or directory that exists, or the id of a dataset on the Hugging Face Hub
/// (`wikitext`, `owner/name`).
///
/// ```
/// use t81_datasets::DatasetSource;
///
/// assert_eq!("stories".parse::<DatasetSource>()?, DatasetSource::Stories);
/// assert_eq!("wikitext".parse::<DatasetSource>()?, DatasetSource::Hub("wikitext".to_owned()));
/// let error = "./no-such-file".parse::<DatasetSource>().unwrap_err();
/// assert!(error.to_string().contains("does not exist"));
/// # Ok::<(), t81_datasets::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatasetSource {
    /// The generated [`StoryCorpus`].
    Stories,
    /// Files of parquet, JSON lines, comma- or tab-separated values or text, all of one format, to train on in this order. A
    /// single text is split into a first part to train and a last part to validate on.
    Files(Vec<PathBuf>),
    /// A directory that is laid out as a dataset repository.
    Directory(PathBuf),
    /// A dataset of the Hugging Face Hub.
    Hub(String),
}

/// The token streams of a dataset, each of at least two tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenStreams {
    /// To train on.
    pub train: Tokens,
    /// To validate on.
    pub validation: Tokens,
}

impl DatasetSource {
    /// Reads or makes the text and tokenizes it. Of a long text or a large dataset, no more is read than the options ask
    /// for.
    ///
    /// ```
    /// use t81_datasets::{DatasetSource, LoadOptions, story_tokenizer};
    ///
    /// let options = LoadOptions { block_size: 64, max_train_samples: Some(10), ..LoadOptions::default() };
    /// let streams = DatasetSource::Stories.load(&story_tokenizer(512)?, &options)?;
    /// assert_eq!(streams.train.len(), 10 * 64 + 1);
    /// # Ok::<(), t81_datasets::DataError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A [`DataError`] that names the file and the way out.
    pub fn load(
        &self,
        tokenizer: &Tokenizer,
        options: &LoadOptions,
    ) -> Result<TokenStreams, DataError> {
        self.load_with(tokenizer, options, None, &mut |_| {})
    }

    /// [`load`](Self::load) with a client of the Hub in place of the one that the environment describes, telling `events`
    /// what happens.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load).
    pub fn load_with(
        &self,
        tokenizer: &Tokenizer,
        options: &LoadOptions,
        hub: Option<&HubClient>,
        events: &mut dyn FnMut(LoadEvent<'_>),
    ) -> Result<TokenStreams, DataError> {
        if options.block_size == 0 {
            return Err(DataError::ZeroBlockSize);
        }
        self.check_choices(options)?;
        let mut loader = Loader {
            tokenizer,
            options,
            separator: separator(tokenizer, options)?,
            events,
            fingerprint: OnceCell::new(),
            cache_failed: false,
        };
        let (train, validation) = match self {
            Self::Stories => stories(&mut loader)?,
            Self::Files(paths) => {
                let repository = Files(paths);
                let files = DataFiles {
                    configuration: None,
                    splits: vec![("train".to_owned(), repository.files()?)],
                    left_out: Vec::new(),
                };
                loader.splits(&repository, &files)?
            }
            Self::Directory(path) => {
                loader.repository(&Directory(path), options.configuration.as_deref())?
            }
            Self::Hub(id) => {
                let from_environment;
                let client = match hub {
                    Some(client) => client,
                    None => {
                        from_environment = HubClient::from_env()?;
                        &from_environment
                    }
                };
                let dataset = HubDataset::open(client, id, options.revision.as_deref())?;
                let configuration = options.configuration.as_deref();
                let streams =
                    loader.repository(&dataset, configuration.or(default_configuration(id)))?;
                dataset.record_revision();
                streams
            }
        };
        if train.len() >= 2 && validation.len() < 2 {
            return Err(DataError::ShortValidation {
                dataset: self.to_string(),
                tokens: validation.len(),
            });
        }
        for tokens in [&train, &validation] {
            if tokens.len() < 2 {
                return Err(DataError::TooFewTokens {
                    found: tokens.len(),
                    needed: 2,
                });
            }
            if let Some(vocabulary_size) = options.vocabulary_size {
                check_stream(tokens, vocabulary_size)?;
            }
        }
        Ok(TokenStreams { train, validation })
    }

    /// Refuses choices that the source does not have.
    fn check_choices(&self, options: &LoadOptions) -> Result<(), DataError> {
        let has_splits = !matches!(self, Self::Stories);
        let has_configurations = matches!(self, Self::Directory(_) | Self::Hub(_));
        let has_revisions = matches!(self, Self::Hub(_));
        let choices = [
            ("configuration", &options.configuration, has_configurations),
            ("revision", &options.revision, has_revisions),
            ("training split", &options.train_split, has_splits),
            ("validation split", &options.validation_split, has_splits),
            ("text column", &options.text_column, has_splits),
        ];
        for (what, asked, has) in choices {
            if let (Some(asked), false) = (asked, has) {
                return Err(DataError::NoSuchChoice {
                    dataset: self.to_string(),
                    what,
                    asked: asked.clone(),
                });
            }
        }
        Ok(())
    }
}

/// The token or tokens between documents.
fn separator(tokenizer: &Tokenizer, options: &LoadOptions) -> Result<Vec<u32>, DataError> {
    let named = || {
        SEPARATORS
            .iter()
            .find_map(|name| tokenizer.token_to_id(name))
    };
    match options.separator.or_else(named) {
        Some(token) => Ok(vec![token]),
        None => tokenize_text(tokenizer, "\n\n"),
    }
}

fn stories(loader: &mut Loader<'_>) -> Result<(Tokens, Tokens), DataError> {
    let options = loader.options;
    let train = story_stream(
        loader,
        Split::Train,
        options.token_limit(options.max_train_samples),
    )?;
    let limit = options.token_limit(options.max_validation_samples);
    let validation = match &options.validation_file {
        Some(file) => loader.file(file, limit)?,
        None => story_stream(loader, Split::Validation, limit)?,
    };
    Ok((train, validation))
}

fn story_stream(loader: &Loader<'_>, split: Split, limit: usize) -> Result<Tokens, DataError> {
    let options = loader.options;
    let count = match split {
        Split::Train => options.train_stories,
        Split::Validation => options.validation_stories,
    };
    let stories = StoryCorpus::new(options.story_seed)
        .stories(split)
        .take(count);
    let mut tokens = loader.separator.clone();
    tokens.extend(encode_documents(
        loader.tokenizer,
        stories,
        &loader.separator,
        limit,
    )?);
    tokens.truncate(limit);
    Ok(tokens.into())
}

/// [`check_vocabulary`] for a long stream.
fn check_stream(tokens: &Tokens, vocabulary_size: usize) -> Result<(), DataError> {
    const CHUNK: usize = 1 << 16;
    let mut chunk = Vec::with_capacity(CHUNK);
    for start in (0..tokens.len()).step_by(CHUNK) {
        chunk.clear();
        tokens.copy_to(start..tokens.len().min(start + CHUNK), &mut chunk);
        check_vocabulary(&chunk, vocabulary_size).map_err(|error| match error {
            DataError::VocabularyMismatch {
                token,
                position,
                vocabulary_size,
            } => DataError::VocabularyMismatch {
                token,
                position: start + position,
                vocabulary_size,
            },
            other => other,
        })?;
    }
    Ok(())
}

impl FromStr for DatasetSource {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        let path = Path::new(name);
        if name == STORIES {
            return Ok(Self::Stories);
        }
        if path.is_dir() {
            return Ok(Self::Directory(path.to_owned()));
        }
        if path.exists() {
            return Ok(Self::Files(vec![path.to_owned()]));
        }
        let is_file_name = path.extension().is_some_and(|extension| {
            [
                "txt", "jsonl", "json", "ndjson", "csv", "tsv", "parquet", "gz", "zst",
            ]
            .iter()
            .any(|known| extension == *known)
        });
        if path.is_absolute() || name.starts_with('.') || is_file_name {
            Err(DataError::missing(path.to_owned()))
        } else if RepoId::dataset(name).is_ok() {
            Ok(Self::Hub(name.to_owned()))
        } else {
            Err(DataError::UnknownDataset {
                name: name.to_owned(),
            })
        }
    }
}

impl fmt::Display for DatasetSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stories => formatter.write_str(STORIES),
            Self::Files(paths) => formatter.write_str(&Files(paths).name()),
            Self::Directory(path) => path.display().fmt(formatter),
            Self::Hub(id) => formatter.write_str(id),
        }
    }
}
