//! What can be wrong with a text, a tokenizer or a request for a dataset.

use std::path::{Path, PathBuf};

/// Why a dataset cannot be had, with the file at fault and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file does not exist.
    #[error("{} does not exist", path.display())]
    MissingFile {
        /// The file.
        path: PathBuf,
    },
    /// A file holds no text.
    #[error("{} is empty", path.display())]
    EmptyFile {
        /// The file.
        path: PathBuf,
    },
    /// A text file is not UTF-8.
    #[error(
        "{} is not UTF-8 text: the byte at offset {offset} is no part of a character; convert the file, for example \
         with `iconv -f latin1 -t utf-8`",
        path.display()
    )]
    InvalidUtf8 {
        /// The file.
        path: PathBuf,
        /// Bytes before the first that is no part of a character.
        offset: usize,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A directory has no `tokenizer.json`.
    #[error(
        "{} does not exist: copy the tokenizer.json of the model there (with transformers: \
         `AutoTokenizer.from_pretrained(MODEL).save_pretrained(DIRECTORY)`)",
        path.display()
    )]
    MissingTokenizer {
        /// The file that was expected.
        path: PathBuf,
    },
    /// A `tokenizer.json` cannot be understood.
    #[error("{} is not a tokenizer that can be read ({reason}): fetch the file anew", path.display())]
    CorruptTokenizer {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        reason: String,
    },
    /// The `tokenizers` library failed on a text.
    #[error("the tokenizer failed: {reason}")]
    Tokenizer {
        /// What the library says.
        reason: String,
    },
    /// A byte-level vocabulary without all bytes.
    #[error(
        "a byte-level vocabulary has at least {smallest} tokens (the bytes and the end of text), not {asked}"
    )]
    VocabularyTooSmall {
        /// What was asked for.
        asked: usize,
        /// The bytes and the end of text.
        smallest: usize,
    },
    /// A vocabulary for which the text has too few different words.
    #[error(
        "a vocabulary trained on this text can have no more than {largest} tokens, not {asked}"
    )]
    VocabularyTooLarge {
        /// What was asked for.
        asked: usize,
        /// As many as the text has merges for.
        largest: usize,
    },
    /// The text has a token for which the model has no embedding.
    #[error(
        "token {token} at position {position} is outside of the model's vocabulary of {vocabulary_size}: the tokenizer \
         is not the model's own"
    )]
    VocabularyMismatch {
        /// The token id.
        token: u32,
        /// Tokens before it in the stream.
        position: usize,
        /// Rows of the model's embedding.
        vocabulary_size: usize,
    },
    /// A dataset that would have to be downloaded.
    #[error(
        "`{name}` is neither `stories` nor a text file that exists; datasets of the Hugging Face Hub are not downloaded: \
         save its text to a file and give the file's path (with the Python package datasets: \
         `open(\"train.txt\", \"w\").writelines(load_dataset(...)[\"train\"][\"text\"])`)"
    )]
    HubDataset {
        /// The name as given.
        name: String,
    },
    /// A single text has no place to cut off its validation part.
    #[error(
        "{} has no line or word boundary where its last part could be split off for validation: give a validation file",
        path.display()
    )]
    NoValidationSplit {
        /// The file.
        path: PathBuf,
    },
    /// The part of the text to split off is not between 0 and 1.
    #[error("the validation fraction must be above 0 and below 1, not {fraction}")]
    ValidationFraction {
        /// What was asked for.
        fraction: f64,
    },
    /// A block or window of no tokens.
    #[error("the block size must be at least 1 token")]
    ZeroBlockSize,
    /// A stream too short for what was asked.
    #[error(
        "the text has {found} tokens, but at least {needed} are needed: use a longer text or a smaller block"
    )]
    TooFewTokens {
        /// Tokens in the stream.
        found: usize,
        /// Tokens that are needed.
        needed: usize,
    },
}

impl DataError {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            std::io::ErrorKind::NotFound => Self::MissingFile { path },
            _ => Self::Io { path, source },
        }
    }

    pub(crate) fn tokenizer(error: tokenizers::Error) -> Self {
        Self::Tokenizer {
            reason: error.to_string(),
        }
    }
}
