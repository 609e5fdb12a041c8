//! From the name of a dataset to its token streams.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tokenizers::Tokenizer;

use crate::encode::{encode_documents, tokenize_at_most, tokenize_text};
use crate::error::DataError;
use crate::stories::{END_OF_TEXT, Split, StoryCorpus};
use crate::text::{read_text, split_point};
use crate::tokenizer::check_vocabulary;

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
/// Parsed from `stories` or the path of a text file that exists. A path that does not exist is an error, as is the name
/// of a dataset of the Hugging Face Hub (`wikitext`), which is not downloaded.
///
/// ```
/// use t81_datasets::DatasetSource;
///
/// assert_eq!("stories".parse::<DatasetSource>()?, DatasetSource::Stories);
/// let error = "wikitext-2-raw-v1".parse::<DatasetSource>().unwrap_err();
/// assert!(error.to_string().contains("save its text to a file"));
/// # Ok::<(), t81_datasets::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatasetSource {
    /// The generated [`StoryCorpus`].
    Stories,
    /// A UTF-8 text file.
    TextFile(PathBuf),
}

/// What to load of a [`DatasetSource`]. A sample is a block of `block_size` predictions.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadOptions {
    /// Predictions in a block (128).
    pub block_size: usize,
    /// At most so many training blocks (all).
    pub max_train_samples: Option<usize>,
    /// At most so many validation blocks (all).
    pub max_validation_samples: Option<usize>,
    /// A text file to validate on, whatever is trained on (none).
    pub validation_file: Option<PathBuf>,
    /// The last part of a text file, cut at a line, that is its validation text when there is no file for it (0.1).
    pub validation_fraction: f64,
    /// Rows of the model's embedding: every token is checked against it (not checked).
    pub vocabulary_size: Option<usize>,
    /// The token that stands before the first story and after each (the tokenizer's end of text).
    pub separator: Option<u32>,
    /// The seed of the story corpus (0).
    pub story_seed: u64,
    /// Stories to train on (10 000, about 3.4 million characters).
    pub train_stories: usize,
    /// Stories to validate on (500).
    pub validation_stories: usize,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            block_size: 128,
            max_train_samples: None,
            max_validation_samples: None,
            validation_file: None,
            validation_fraction: 0.1,
            vocabulary_size: None,
            separator: None,
            story_seed: 0,
            train_stories: 10_000,
            validation_stories: 500,
        }
    }
}

/// The token streams of a dataset, each of at least two tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenStreams {
    /// To train on.
    pub train: Vec<u32>,
    /// To validate on.
    pub validation: Vec<u32>,
}

impl DatasetSource {
    /// Reads or makes the text and tokenizes it. Of a long text, no more is tokenized than the options ask for.
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
    /// Those of [`read_text`], [`tokenize_text`] and [`check_vocabulary`]; [`DataError::ZeroBlockSize`],
    /// [`DataError::TooFewTokens`], [`DataError::ValidationFraction`] and [`DataError::NoValidationSplit`].
    pub fn load(
        &self,
        tokenizer: &Tokenizer,
        options: &LoadOptions,
    ) -> Result<TokenStreams, DataError> {
        if options.block_size == 0 {
            return Err(DataError::ZeroBlockSize);
        }
        let train_limit = options.token_limit(options.max_train_samples);
        let validation_limit = options.token_limit(options.max_validation_samples);
        let from_file = |path: &Path, limit| tokenize_at_most(tokenizer, &read_text(path)?, limit);
        let (train, validation) = match (self, &options.validation_file) {
            (Self::Stories, file) => {
                let train = options.stories(tokenizer, Split::Train, train_limit)?;
                let validation = match file {
                    Some(file) => from_file(file, validation_limit)?,
                    None => options.stories(tokenizer, Split::Validation, validation_limit)?,
                };
                (train, validation)
            }
            (Self::TextFile(path), Some(file)) => (
                from_file(path, train_limit)?,
                from_file(file, validation_limit)?,
            ),
            (Self::TextFile(path), None) => {
                let text = read_text(path)?;
                let (train, validation) = options.split(path, &text)?;
                (
                    tokenize_at_most(tokenizer, train, train_limit)?,
                    tokenize_at_most(tokenizer, validation, validation_limit)?,
                )
            }
        };
        for tokens in [&train, &validation] {
            if tokens.len() < 2 {
                return Err(DataError::TooFewTokens {
                    found: tokens.len(),
                    needed: 2,
                });
            }
            if let Some(vocabulary_size) = options.vocabulary_size {
                check_vocabulary(tokens, vocabulary_size)?;
            }
        }
        Ok(TokenStreams { train, validation })
    }
}

impl LoadOptions {
    /// The tokens of so many blocks, which share one with each neighbour.
    fn token_limit(&self, samples: Option<usize>) -> usize {
        samples.map_or(usize::MAX, |samples| {
            samples.saturating_mul(self.block_size).saturating_add(1)
        })
    }

    fn stories(
        &self,
        tokenizer: &Tokenizer,
        split: Split,
        limit: usize,
    ) -> Result<Vec<u32>, DataError> {
        let count = match split {
            Split::Train => self.train_stories,
            Split::Validation => self.validation_stories,
        };
        let named = || {
            SEPARATORS
                .iter()
                .find_map(|name| tokenizer.token_to_id(name))
        };
        let separator = match self.separator.or_else(named) {
            Some(token) => vec![token],
            None => tokenize_text(tokenizer, "\n\n")?,
        };
        let stories = StoryCorpus::new(self.story_seed).stories(split).take(count);
        let mut tokens = separator.clone();
        tokens.extend(encode_documents(tokenizer, stories, &separator, limit)?);
        tokens.truncate(limit);
        Ok(tokens)
    }

    fn split<'text>(
        &self,
        path: &Path,
        text: &'text str,
    ) -> Result<(&'text str, &'text str), DataError> {
        let fraction = self.validation_fraction;
        if !(fraction > 0.0 && fraction < 1.0) {
            return Err(DataError::ValidationFraction { fraction });
        }
        let point = split_point(text, fraction).ok_or_else(|| DataError::NoValidationSplit {
            path: path.to_owned(),
        })?;
        Ok(text.split_at(point))
    }
}

impl FromStr for DatasetSource {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        let path = Path::new(name);
        if name == STORIES {
            Ok(Self::Stories)
        } else if path.exists() {
            Ok(Self::TextFile(path.to_owned()))
        } else if path.is_absolute()
            || name.starts_with('.')
            || path.extension().is_some_and(|e| e == "txt")
        {
            Err(DataError::MissingFile {
                path: path.to_owned(),
            })
        } else {
            Err(DataError::HubDataset {
                name: name.to_owned(),
            })
        }
    }
}

impl fmt::Display for DatasetSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stories => formatter.write_str(STORIES),
            Self::TextFile(path) => path.display().fmt(formatter),
        }
    }
}
