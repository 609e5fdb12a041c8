//! What to load of a dataset.

use std::path::PathBuf;

use crate::tokens::TokenCache;

/// What to load of a [`DatasetSource`](crate::DatasetSource). A sample is a block of `block_size` predictions.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadOptions {
    /// Predictions in a block (128).
    pub block_size: usize,
    /// At most so many training blocks (all).
    pub max_train_samples: Option<usize>,
    /// At most so many validation blocks (all).
    pub max_validation_samples: Option<usize>,
    /// A file to validate on, whatever is trained on (none).
    pub validation_file: Option<PathBuf>,
    /// The part of a training text that is held out when there is nothing else to validate on (0.1).
    pub validation_fraction: f64,
    /// Rows of the model's embedding: every token is checked against it (not checked).
    pub vocabulary_size: Option<usize>,
    /// The token that stands before the first document and after each (the tokenizer's end of text).
    pub separator: Option<u32>,
    /// The configuration of a dataset that has several (the dataset's default).
    pub configuration: Option<String>,
    /// The branch, tag or commit of a dataset on the Hub (main).
    pub revision: Option<String>,
    /// The split to train on, or a slice of it as in `train[:10%]` or `train[:1000]` (`train`).
    pub train_split: Option<String>,
    /// The split to validate on, or a slice of it (`validation`, or another one that is called so or for testing).
    pub validation_split: Option<String>,
    /// The column that holds the text (`text`, `content`, or the only one that reads as text).
    pub text_column: Option<String>,
    /// Whether rows are lines or documents (told from the first rows).
    pub rows: RowKind,
    /// Where tokens are kept for the next time (nowhere).
    pub cache: Option<TokenCache>,
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
            configuration: None,
            revision: None,
            train_split: None,
            validation_split: None,
            text_column: None,
            rows: RowKind::Auto,
            cache: None,
            story_seed: 0,
            train_stories: 10_000,
            validation_stories: 500,
        }
    }
}

impl LoadOptions {
    /// The tokens of so many blocks, which share one with each neighbour.
    pub(crate) fn token_limit(&self, samples: Option<usize>) -> usize {
        samples.map_or(usize::MAX, |samples| {
            samples.saturating_mul(self.block_size).saturating_add(1)
        })
    }
}

/// What a row of a parquet file, a JSON file or a table is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RowKind {
    /// Lines if each of the first 100 rows of the training split is empty or a single line that ends in its line end, as in
    /// WikiText; else documents.
    #[default]
    Auto,
    /// Lines of one text, which are joined as they are.
    Lines,
    /// Documents, with the separator between them.
    Documents,
}

/// What happens while a dataset is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadEvent<'a> {
    /// A file is being tokenized; comes again and again.
    Tokenizing {
        /// The file.
        file: &'a str,
        /// Bytes of its text so far.
        text_bytes: u64,
    },
    /// The tokens of a file were made.
    Tokenized {
        /// The file.
        file: &'a str,
        /// Its tokens, or as many as were wanted.
        tokens: usize,
    },
    /// The tokens of a file were in the cache.
    Cached {
        /// The file.
        file: &'a str,
        /// Its tokens, or as many as were wanted.
        tokens: usize,
    },
    /// Text is read from a column.
    TextColumn {
        /// The first file that has it.
        file: &'a str,
        /// The column.
        column: &'a str,
    },
    /// Something that the user may want to know.
    Note(&'a str),
}
