//! What can be wrong with a text, a tokenizer or a request for a dataset.

use std::fs::File;
use std::path::{Path, PathBuf};

use t81_hub::{HubError, open_regular_file};

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
    /// A link leads to nothing.
    #[error("{} is a link to {}, where there is no file", path.display(), target.display())]
    BrokenLink {
        /// The link.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// A pattern in place of a file's name.
    #[error(
        "{} does not exist, and patterns are not expanded: name the directory, or each file with --train-file",
        path.display()
    )]
    Pattern {
        /// The pattern.
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
    /// A text file has an encoding that is not read.
    #[error(
        "{} is {encoding} text; convert it: `iconv -f {encoding} -t UTF-8 OLD > NEW`",
        path.display()
    )]
    Encoding {
        /// The file.
        path: PathBuf,
        /// The encoding, as `iconv` calls it.
        encoding: &'static str,
    },
    /// A file that should be text is something else.
    #[error("{} is {kind}", path.display())]
    Binary {
        /// The file.
        path: PathBuf,
        /// What it is, and what to do about it.
        kind: String,
    },
    /// A file cannot be read or written.
    #[error("{}: {reason}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        reason: std::io::Error,
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
    /// A name that is neither a source of text nor can be that of one.
    #[error(
        "`{name}` is neither `stories`, a file or directory that exists, nor the id of a dataset on the Hugging Face Hub \
         (`name` or `owner/name`)"
    )]
    UnknownDataset {
        /// The name as given.
        name: String,
    },
    /// A dataset cannot be had from the Hugging Face Hub.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// A choice between what the source of the text does not have.
    #[error("{dataset} has no {what} to choose; leave `{asked}` out")]
    NoSuchChoice {
        /// The source.
        dataset: String,
        /// What was to be chosen.
        what: &'static str,
        /// The choice.
        asked: String,
    },
    /// A repository without files that can be read.
    #[error("{dataset} has no data that can be read: {hint}")]
    NoDataFiles {
        /// The repository.
        dataset: String,
        /// What it has instead, and the way out.
        hint: String,
    },
    /// Files of different formats in one dataset.
    #[error("{} has another format than the first file of the dataset: give files of one format", path.display())]
    MixedFormats {
        /// The file.
        path: PathBuf,
    },
    /// A configuration that the dataset does not have.
    #[error(
        "{dataset} has no configuration `{configuration}`; it has {}",
        list(known)
    )]
    UnknownConfiguration {
        /// The repository.
        dataset: String,
        /// What was asked for.
        configuration: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A dataset with several configurations, none of which is the default.
    #[error("{dataset} has several configurations; choose one: {}", list(known))]
    SeveralConfigurations {
        /// The repository.
        dataset: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A pattern of the dataset card that matches no file.
    #[error(
        "{dataset}: its card names `{pattern}` for configuration `{configuration}`, but no file matches that"
    )]
    CardPattern {
        /// The repository.
        dataset: String,
        /// The configuration.
        configuration: String,
        /// The pattern.
        pattern: String,
    },
    /// A split that the dataset does not have.
    #[error("{dataset} has no split `{split}`; it has {}", list(known))]
    UnknownSplit {
        /// The repository.
        dataset: String,
        /// What was asked for.
        split: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A split that cannot be understood.
    #[error("`{split}` is no split such as train, train[:1000] or train[10%:20%]: {reason}")]
    SplitSyntax {
        /// What was asked for.
        split: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A slice of a split of text files, which have no rows.
    #[error("{name} is text without rows, of which no slice can be taken; leave out the brackets")]
    SliceOfText {
        /// The file.
        name: String,
    },
    /// A column that the file does not have.
    #[error("{} has no column `{column}`; it has {}", path.display(), list(columns))]
    UnknownColumn {
        /// The file.
        path: PathBuf,
        /// What was asked for.
        column: String,
        /// What there is.
        columns: Vec<String>,
    },
    /// A column that does not hold text.
    #[error(
        "the column `{column}` of {} does not hold a text in each row{}",
        path.display(), choose_of(others)
    )]
    NotText {
        /// The file.
        path: PathBuf,
        /// What was asked for, or the column that is called as those of text are.
        column: String,
        /// Columns that do hold text.
        others: Vec<String>,
    },
    /// No column of the file reads as text.
    #[error("{} has no column that reads as text; it has {}; {}", path.display(), list(columns), way_to_text(strings))]
    NoTextColumn {
        /// The file.
        path: PathBuf,
        /// What there is.
        columns: Vec<String>,
        /// Those of strings, which may be chosen.
        strings: Vec<String>,
    },
    /// A file with several columns of text, none of which stands out.
    #[error("{} has several columns of text; choose one with --text-column: {}", path.display(), list(columns))]
    SeveralTextColumns {
        /// The file.
        path: PathBuf,
        /// Those of text.
        columns: Vec<String>,
    },
    /// A parquet file cannot be read.
    #[error("{} is no parquet file that can be read ({reason}): fetch the file anew", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A row of a JSON file cannot be read.
    #[error(
        "{}, {place}: {reason}; a file of rows has a JSON object a line, or one array of objects",
        path.display()
    )]
    JsonRow {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A row of a table cannot be read.
    #[error("{}, line {line}: {reason}", path.display())]
    TableRow {
        /// The file.
        path: PathBuf,
        /// The line on which the row begins, counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// No row of a dataset has text.
    #[error("{dataset} has no text{}", in_column(column))]
    NoText {
        /// The file or repository.
        dataset: String,
        /// The column that was read, of files that have columns.
        column: Option<String>,
    },
    /// What is held out of a dataset to validate on is too short to predict anything.
    #[error(
        "{dataset} has only {tokens} tokens to validate on, but at least 2 are needed: use more text, or name a \
         validation file or split"
    )]
    ShortValidation {
        /// The source.
        dataset: String,
        /// Tokens that there are.
        tokens: usize,
    },
    /// Tokens cannot be kept.
    #[error(
        "cannot write the token cache {}: {reason}; make room there or name another directory in T81_CACHE",
        directory.display()
    )]
    Cache {
        /// The directory of the cache.
        directory: PathBuf,
        /// What the operating system says.
        reason: std::io::Error,
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

/// Names in a sentence, not all of very many.
pub(crate) fn list(names: &[String]) -> String {
    const SHOWN: usize = 24;
    let shown = names
        .iter()
        .take(SHOWN)
        .map(|name| format!("`{}`", shortened(name)));
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if names.is_empty() {
        text.push_str("none");
    } else if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}

/// A name that fits into a sentence.
pub(crate) fn shortened(name: &str) -> String {
    const SHOWN: usize = 60;
    match name.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &name[..end]),
        None => name.to_owned(),
    }
}

/// What to do about a file without a column that reads as text.
fn way_to_text(strings: &[String]) -> String {
    if strings.is_empty() {
        "write the text of each row as one string into a column of its own (lists, chat messages and token ids are not read)"
            .to_owned()
    } else {
        format!(
            "if the text is one of {}, name it with --text-column",
            list(strings)
        )
    }
}

/// What else could be chosen; empty if nothing could.
fn choose_of(others: &[String]) -> String {
    if others.is_empty() {
        String::new()
    } else {
        format!("; choose one with --text-column: {}", list(others))
    }
}

fn in_column(column: &Option<String>) -> String {
    match column {
        Some(column) => format!(" in the column `{column}`"),
        None => String::new(),
    }
}

impl DataError {
    /// Opens a file for reading if it is a regular one.
    pub(crate) fn open(path: &Path) -> Result<File, Self> {
        open_regular_file(path).map_err(Self::file)
    }

    /// What a file of this machine met that was opened or read by `t81_hub`.
    pub(crate) fn file(error: HubError) -> Self {
        match error {
            HubError::Io { path, source, .. } => Self::io(&path, source),
            other => Self::Hub(other),
        }
    }

    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            std::io::ErrorKind::NotFound => Self::missing(path),
            _ => Self::Io {
                path,
                reason: source,
            },
        }
    }

    /// Why there is nothing at a path.
    pub(crate) fn missing(path: PathBuf) -> Self {
        if let Ok(target) = std::fs::read_link(&path) {
            Self::BrokenLink { path, target }
        } else if path.to_string_lossy().contains(['*', '?', '[']) {
            Self::Pattern { path }
        } else {
            Self::MissingFile { path }
        }
    }

    pub(crate) fn tokenizer(error: tokenizers::Error) -> Self {
        Self::Tokenizer {
            reason: error.to_string(),
        }
    }
}
