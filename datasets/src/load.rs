//! From the files of a dataset to token streams.

use std::cell::OnceCell;
use std::ops::{ControlFlow, Range};
use std::path::Path;

use tokenizers::Tokenizer;

use crate::encode::{Encoder, without_limits};
use crate::error::{DataError, list};
use crate::layout::{CARD, DataFiles, Format, choose_files, read_card};
use crate::options::{LoadEvent, LoadOptions, RowKind};
use crate::repository::Repository;
use crate::rows::{DataFile, LineProbe, Part, RowSink, hold_out_point};
use crate::split::SplitSelection;
use crate::tokens::{Fingerprint, Tokens};

const TRAIN: &str = "train";

/// Splits to validate on, tried in this order.
const VALIDATION: &[&str] = &["validation", "valid", "val", "dev", "eval", "test"];

/// Longest dataset card that is looked at.
const LONGEST_CARD: u64 = 4 << 20;

/// Bytes of text between two events.
const EVENT_BYTES: u64 = 1 << 20;

/// Bytes of a file that are hashed in the time that one token takes: where fewer tokens are wanted, the cache is slower.
const HASHED_BYTES: usize = 64;

/// Loads datasets with one tokenizer.
pub(crate) struct Loader<'a> {
    pub(crate) tokenizer: &'a Tokenizer,
    pub(crate) options: &'a LoadOptions,
    pub(crate) separator: Vec<u32>,
    pub(crate) events: &'a mut dyn FnMut(LoadEvent<'_>),
    pub(crate) fingerprint: OnceCell<Fingerprint>,
    /// Whether the cache could not be written.
    pub(crate) cache_failed: bool,
}

/// How the files of a dataset are read.
struct Reading {
    format: Format,
    column: Option<String>,
    documents: bool,
}

impl Loader<'_> {
    /// The streams to train and to validate on of a repository whose splits have to be found.
    pub(crate) fn repository(
        &mut self,
        repository: &dyn Repository,
        configuration: Option<&str>,
    ) -> Result<(Tokens, Tokens), DataError> {
        let names = repository.files()?;
        let mut card = Vec::new();
        if names.iter().any(|name| name == CARD) {
            let path = repository.fetch(CARD)?;
            match read_front_matter(&path) {
                Ok(found) => card = found,
                Err(reason) => (self.events)(LoadEvent::Note(&format!(
                    "{}: the front matter of its card cannot be read ({reason}); the splits are told from file names",
                    repository.name()
                ))),
            }
        }
        let files = choose_files(&repository.name(), &names, &card, configuration)?;
        if !files.left_out.is_empty() {
            (self.events)(LoadEvent::Note(&format!(
                "{}: left out, as most files have another format: {}",
                repository.name(),
                list(&files.left_out)
            )));
        }
        self.splits(repository, &files)
    }

    /// The streams to train and to validate on of files whose splits are known.
    pub(crate) fn splits(
        &mut self,
        repository: &dyn Repository,
        files: &DataFiles,
    ) -> Result<(Tokens, Tokens), DataError> {
        let options = self.options;
        let train_limit = options.token_limit(options.max_train_samples);
        let validation_limit = options.token_limit(options.max_validation_samples);
        let train = selection(
            repository,
            files,
            options.train_split.as_deref().unwrap_or(TRAIN),
        )?;
        let train_files = files.split(&train.name).unwrap_or_default();
        let validation = match (&options.validation_file, &options.validation_split) {
            (Some(_), _) => None,
            (None, Some(asked)) => Some(selection(repository, files, asked)?),
            (None, None) => VALIDATION
                .iter()
                .find(|name| **name != train.name && files.split(name).is_some())
                .map(|name| SplitSelection::whole(name)),
        };
        let Some(first) = train_files.first() else {
            return Err(unknown_split(repository, files, &train.name));
        };
        let first = DataFile::open(first, &repository.fetch(first)?)?;
        let reading = self.reading(&first)?;
        if let Some(path) = &options.validation_file {
            let validation = self.file(path, validation_limit)?;
            let train = self.stream(repository, train_files, &train, &reading, train_limit)?;
            return Ok((train, validation));
        }
        if let Some(validation) = validation {
            let names = files.split(&validation.name).unwrap_or_default();
            let validation =
                self.stream(repository, names, &validation, &reading, validation_limit)?;
            let train = self.stream(repository, train_files, &train, &reading, train_limit)?;
            return Ok((train, validation));
        }
        let fraction = options.validation_fraction;
        if !(fraction > 0.0 && fraction < 1.0) {
            return Err(DataError::ValidationFraction { fraction });
        }
        if train_files.len() == 1 && train.is_whole() && first.is_plain_text() {
            return self.ends_of_text(&first, train_limit, validation_limit);
        }
        let limit = train_limit.saturating_add(validation_limit);
        let all = self.stream(repository, train_files, &train, &reading, limit)?;
        Ok(hold_out(&all, limit, validation_limit, fraction))
    }

    /// All of a file that the user named, up to a number of tokens.
    pub(crate) fn file(&mut self, path: &Path, limit: usize) -> Result<Tokens, DataError> {
        let file = DataFile::open(&path.display().to_string(), path)?;
        let reading = self.reading(&file)?;
        let mut parts = self.beginning(&reading);
        let tokens = self.tokens(&file, &reading, left(limit, &parts))?;
        if tokens.is_empty() && left(limit, &parts) > 0 {
            return Err(DataError::NoText {
                dataset: file.name,
                column: reading.column,
            });
        }
        parts.push(tokens);
        Ok(Tokens::concat(&parts).slice(0..limit))
    }

    /// The first and the last part of a text.
    fn ends_of_text(
        &mut self,
        file: &DataFile,
        train_limit: usize,
        validation_limit: usize,
    ) -> Result<(Tokens, Tokens), DataError> {
        let (point, length) = hold_out_point(&file.path, self.options.validation_fraction)?;
        let point = point.ok_or_else(|| DataError::NoValidationSplit {
            path: file.path.clone(),
        })?;
        let reading = Reading {
            format: Format::Text,
            column: None,
            documents: false,
        };
        let part = |bytes: Range<u64>| DataFile {
            part: Part::Bytes(bytes),
            ..file.clone()
        };
        let train = self.tokens(&part(0..point), &reading, train_limit)?;
        let validation = self.tokens(&part(point..length), &reading, validation_limit)?;
        Ok((train, validation))
    }

    /// Column and kind of the rows, told from the first file.
    fn reading(&mut self, first: &DataFile) -> Result<Reading, DataError> {
        let column = first.text_column(self.options.text_column.as_deref())?;
        if let Some(column) = &column {
            (self.events)(LoadEvent::TextColumn {
                file: &first.name,
                column,
            });
        }
        let documents = match (&column, self.options.rows) {
            (None, _) | (_, RowKind::Lines) => false,
            (_, RowKind::Documents) => true,
            (_, RowKind::Auto) => !LineProbe::probe(first, column.as_deref())?,
        };
        Ok(Reading {
            format: first.kind.format,
            column,
            documents,
        })
    }

    /// What stands before the first document.
    fn beginning(&self, reading: &Reading) -> Vec<Tokens> {
        if reading.documents {
            vec![Tokens::from(self.separator.clone())]
        } else {
            Vec::new()
        }
    }

    /// The tokens of a split, file by file, until there are `limit`: later files are not even fetched.
    fn stream(
        &mut self,
        repository: &dyn Repository,
        names: &[String],
        selection: &SplitSelection,
        reading: &Reading,
        limit: usize,
    ) -> Result<Tokens, DataError> {
        let open = |name: &String| {
            let file = DataFile::open(name, &repository.fetch(name)?)?;
            if file.kind.format == reading.format {
                Ok(file)
            } else {
                Err(DataError::MixedFormats { path: file.path })
            }
        };
        let column = reading.column.as_deref();
        let mut total = u64::MAX;
        if selection.needs_total() {
            total = 0;
            for name in names {
                total += open(name)?.count_rows(column)?;
            }
        }
        let wanted = selection.rows(total);
        let mut parts = self.beginning(reading);
        // A slice may have no rows.
        let mut has_text = left(limit, &parts) == 0 || !selection.is_whole();
        let mut rows_before = 0;
        for (index, name) in names.iter().enumerate() {
            if left(limit, &parts) == 0 || rows_before >= wanted.end {
                break;
            }
            let mut file = open(name)?;
            if !selection.is_whole() {
                let rows = file.count_rows(column)?;
                let within = |row: u64| row.saturating_sub(rows_before).min(rows);
                file.part = Part::Rows(within(wanted.start)..within(wanted.end));
                rows_before += rows;
            }
            if file.kind.format == Format::Text && index > 0 {
                parts.push(Tokens::from(self.separator.clone()));
            }
            let tokens = self.tokens(&file, reading, left(limit, &parts))?;
            has_text |= !tokens.is_empty();
            parts.push(tokens);
        }
        if !has_text {
            return Err(DataError::NoText {
                dataset: repository.name(),
                column: reading.column.clone(),
            });
        }
        Ok(Tokens::concat(&parts).slice(0..limit))
    }

    /// The first `limit` tokens of a file, from the cache if they are there.
    fn tokens(
        &mut self,
        file: &DataFile,
        reading: &Reading,
        limit: usize,
    ) -> Result<Tokens, DataError> {
        let cache = match &self.options.cache {
            Some(cache) if is_worth_hashing(file, limit) && !self.cache_failed => cache,
            _ => return self.tokenize_in_memory(file, reading, limit),
        };
        let facts = self.facts(file, reading)?;
        let key = |limit: usize| Fingerprint::of(&[&facts, &(limit as u64).to_le_bytes()]);
        for known in [usize::MAX, limit] {
            if let Some(tokens) = cache.find(key(known)) {
                let tokens = tokens.slice(0..limit);
                (self.events)(LoadEvent::Cached {
                    file: &file.name,
                    tokens: tokens.len(),
                });
                return Ok(tokens);
            }
        }
        let mut writer = match cache.writer(self.tokenizer) {
            Ok(writer) => writer,
            Err(error) => return self.without_cache(file, reading, limit, &error),
        };
        let kept = self
            .tokenize(file, reading, limit, &mut |tokens| writer.push(tokens))
            .and_then(|whole| writer.finish(key(if whole { usize::MAX } else { limit })));
        let tokens = match kept {
            Err(error @ DataError::Cache { .. }) => {
                return self.without_cache(file, reading, limit, &error);
            }
            kept => kept?,
        };
        (self.events)(LoadEvent::Tokenized {
            file: &file.name,
            tokens: tokens.len(),
        });
        Ok(tokens)
    }

    /// The tokens of a file where the cache cannot be written, which is not tried again.
    fn without_cache(
        &mut self,
        file: &DataFile,
        reading: &Reading,
        limit: usize,
        error: &DataError,
    ) -> Result<Tokens, DataError> {
        self.cache_failed = true;
        (self.events)(LoadEvent::Note(&format!("tokens are not kept: {error}")));
        self.tokenize_in_memory(file, reading, limit)
    }

    /// All that the tokens of a file follow from, but for their number.
    fn facts(&self, file: &DataFile, reading: &Reading) -> Result<Vec<u8>, DataError> {
        let tokenizer = match self.fingerprint.get() {
            Some(known) => *known,
            None => {
                let text = without_limits(self.tokenizer)?
                    .to_string(false)
                    .map_err(DataError::tokenizer)?;
                *self
                    .fingerprint
                    .get_or_init(|| Fingerprint::of(&[text.as_bytes()]))
            }
        };
        let separator: Vec<u8> = match reading.documents {
            true => self
                .separator
                .iter()
                .flat_map(|id| id.to_le_bytes())
                .collect(),
            false => Vec::new(),
        };
        let how = format!(
            "{} {:?} {:?} {:?} {}",
            env!("CARGO_PKG_VERSION"),
            file.kind,
            file.part,
            reading.column,
            reading.documents
        );
        let contents = Fingerprint::of_file(&file.path)?;
        let facts = Fingerprint::of(&[
            &contents.bytes(),
            &tokenizer.bytes(),
            how.as_bytes(),
            &separator,
        ]);
        Ok(facts.bytes().to_vec())
    }

    fn tokenize_in_memory(
        &mut self,
        file: &DataFile,
        reading: &Reading,
        limit: usize,
    ) -> Result<Tokens, DataError> {
        let mut all = Vec::new();
        self.tokenize(file, reading, limit, &mut |tokens| {
            all.extend_from_slice(tokens);
            Ok(())
        })?;
        (self.events)(LoadEvent::Tokenized {
            file: &file.name,
            tokens: all.len(),
        });
        Ok(Tokens::from(all))
    }

    /// Hands at most `limit` tokens of a file to `sink`; whether that was the whole file.
    fn tokenize(
        &mut self,
        file: &DataFile,
        reading: &Reading,
        limit: usize,
        sink: &mut dyn FnMut(&[u32]) -> Result<(), DataError>,
    ) -> Result<bool, DataError> {
        let separator: &[u32] = if reading.documents {
            &self.separator
        } else {
            &[]
        };
        let mut rows = EncodedRows {
            encoder: Encoder::documents(self.tokenizer, separator, limit)?,
            sink,
            events: self.events,
            file: &file.name,
            documents: reading.documents,
            row: RowText::Missing,
            rows: 0,
            rows_without_text: 0,
            text_bytes: 0,
            reported: 0,
        };
        file.read(reading.column.as_deref(), &mut rows)?;
        rows.encoder.finish(rows.sink)?;
        if let Some(column) = &reading.column
            && rows.rows_without_text > 0
        {
            let note = format!(
                "{}: {} of {} rows have no text in the column `{column}` and are left out",
                file.name, rows.rows_without_text, rows.rows
            );
            (rows.events)(LoadEvent::Note(&note));
        }
        Ok(!rows.encoder.is_full())
    }
}

/// Encodes rows as they come.
struct EncodedRows<'e, 't> {
    encoder: Encoder<'t>,
    sink: &'e mut dyn FnMut(&[u32]) -> Result<(), DataError>,
    events: &'e mut dyn FnMut(LoadEvent<'_>),
    file: &'e str,
    documents: bool,
    row: RowText,
    rows: u64,
    rows_without_text: u64,
    text_bytes: u64,
    reported: u64,
}

/// What the current row has had so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RowText {
    Missing,
    Empty,
    Some,
}

impl EncodedRows<'_, '_> {
    fn flow(&self) -> ControlFlow<()> {
        if self.encoder.is_full() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

impl RowSink for EncodedRows<'_, '_> {
    fn text(&mut self, text: &str) -> Result<ControlFlow<()>, DataError> {
        self.encoder.text(text, self.sink)?;
        if !text.is_empty() {
            self.row = RowText::Some;
        } else if self.row == RowText::Missing {
            self.row = RowText::Empty;
        }
        self.text_bytes += text.len() as u64;
        if self.text_bytes - self.reported >= EVENT_BYTES {
            self.reported = self.text_bytes;
            (self.events)(LoadEvent::Tokenizing {
                file: self.file,
                text_bytes: self.text_bytes,
            });
        }
        Ok(self.flow())
    }

    fn end_row(&mut self) -> Result<ControlFlow<()>, DataError> {
        if self.documents && self.row == RowText::Some {
            self.encoder.end_document(self.sink)?;
        }
        // Of lines, many are empty.
        let has_text = self.row == RowText::Some || (self.row == RowText::Empty && !self.documents);
        self.rows += 1;
        self.rows_without_text += u64::from(!has_text);
        self.row = RowText::Missing;
        Ok(self.flow())
    }
}

/// Tokens that may still come after `parts`.
fn left(limit: usize, parts: &[Tokens]) -> usize {
    parts
        .iter()
        .fold(limit, |left, part| left.saturating_sub(part.len()))
}

fn is_worth_hashing(file: &DataFile, limit: usize) -> bool {
    let length = std::fs::metadata(&file.path).map_or(0, |metadata| metadata.len());
    limit.saturating_mul(HASHED_BYTES) as u64 >= length
}

/// Parts a stream of at most `limit` tokens into one to train and one to validate on: the first `validation_limit` tokens
/// are held out, but no more than the fraction of a stream that ended before its limit.
fn hold_out(
    all: &Tokens,
    limit: usize,
    validation_limit: usize,
    fraction: f64,
) -> (Tokens, Tokens) {
    let held_out = if all.len() == limit {
        validation_limit
    } else {
        validation_limit.min((fraction * all.len() as f64) as usize)
    };
    (all.slice(held_out..all.len()), all.slice(0..held_out))
}

fn selection(
    repository: &dyn Repository,
    files: &DataFiles,
    text: &str,
) -> Result<SplitSelection, DataError> {
    let selection = SplitSelection::parse(text)?;
    match files.split(&selection.name) {
        Some(_) => Ok(selection),
        None => Err(unknown_split(repository, files, &selection.name)),
    }
}

fn unknown_split(repository: &dyn Repository, files: &DataFiles, split: &str) -> DataError {
    DataError::UnknownSplit {
        dataset: repository.name(),
        split: split.to_owned(),
        known: files.split_names(),
    }
}

fn read_front_matter(path: &Path) -> Result<Vec<crate::layout::CardConfiguration>, String> {
    let length = std::fs::metadata(path)
        .map_err(|error| error.to_string())?
        .len();
    if length > LONGEST_CARD {
        return Err(format!("it is longer than {LONGEST_CARD} bytes"));
    }
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    read_card(&String::from_utf8_lossy(&text))
}
