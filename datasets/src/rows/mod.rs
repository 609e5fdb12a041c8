//! The rows of data files, one after another: their text goes to a [`RowSink`], so that no file is ever in memory as a
//! whole.

mod columns;
mod csv;
mod json;
mod parquet;
mod parquet_pages;
mod row_limit;
mod text;

use std::io::{BufRead, BufReader, Read};
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};

use crate::encoding::{BEGINNING_BYTES, Encoding, beginning};
use crate::error::DataError;
use crate::foreign::check_foreign;
use crate::layout::{Compression, FileKind, Format};

pub(crate) use text::hold_out_point;

/// Takes the text of rows.
pub(crate) trait RowSink {
    /// Takes a part of the row's text; `Break` asks for no more.
    fn text(&mut self, text: &str) -> Result<ControlFlow<()>, DataError>;

    /// Ends the row; `Break` asks for no more.
    fn end_row(&mut self) -> Result<ControlFlow<()>, DataError>;
}

/// A data file on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DataFile {
    /// How it is called in messages.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) kind: FileKind,
    /// That of the decompressed contents, where they are text.
    pub(crate) encoding: Encoding,
    pub(crate) part: Part,
}

/// What to read of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    All,
    /// Rows, counted from 0.
    Rows(Range<u64>),
    /// Bytes of an uncompressed text file.
    Bytes(Range<u64>),
}

impl DataFile {
    /// The file at `path`; what it holds is told from `name`, or from its first bytes, and is text if nothing speaks
    /// against it.
    pub(crate) fn open(name: &str, path: &Path) -> Result<Self, DataError> {
        let io = |source| DataError::io(path, source);
        let mut raw = BufReader::with_capacity(BEGINNING_BYTES, DataError::open(path)?);
        let first = beginning(&mut raw).map_err(io)?;
        let text = FileKind {
            format: Format::Text,
            compression: Compression::None,
        };
        let kind = match first {
            [b'P', b'A', b'R', b'1', ..] => FileKind {
                format: Format::Parquet,
                compression: Compression::None,
            },
            _ => FileKind::of(name).unwrap_or(text),
        };
        check_foreign(path, first, kind.format)?;
        let mut file = Self {
            name: name.to_owned(),
            path: path.to_owned(),
            kind,
            encoding: Encoding::Utf8,
            part: Part::All,
        };
        if kind.format != Format::Parquet {
            let mut contents = BufReader::with_capacity(BEGINNING_BYTES, file.decompressed()?);
            file.encoding = Encoding::recognize(path, beginning(&mut contents).map_err(io)?)?;
        }
        Ok(file)
    }

    /// The column that holds the text: `asked`, or the one that stands out. Text files have none.
    pub(crate) fn text_column(&self, asked: Option<&str>) -> Result<Option<String>, DataError> {
        let columns = match self.kind.format {
            Format::Text => return Ok(None),
            Format::Json => json::columns(self)?,
            Format::Parquet => parquet::columns(&self.path, asked)?,
            Format::Csv | Format::Tsv => {
                if asked.is_none() {
                    csv::check_separator(self)?;
                }
                csv::columns(self)?
            }
        };
        // Any row of a JSON file may have the first value of a column.
        if let (Format::Json, Some(asked)) = (self.kind.format, asked)
            && columns.iter().all(|column| column.name != asked)
        {
            return Ok(Some(asked.to_owned()));
        }
        columns::choose(&self.path, &columns, asked).map(Some)
    }

    /// Hands the rows to `sink`, in order. `column` is that of [`text_column`](Self::text_column).
    pub(crate) fn read(
        &self,
        column: Option<&str>,
        sink: &mut dyn RowSink,
    ) -> Result<(), DataError> {
        let column = column.unwrap_or_default();
        match &self.part {
            Part::Rows(rows) => {
                let mut part = SomeRows {
                    sink,
                    next: 0,
                    rows: rows.clone(),
                };
                if rows.is_empty() {
                    return Ok(());
                }
                self.read_whole(column, None, &mut part)
            }
            Part::Bytes(bytes) => self.read_whole(column, Some(bytes.clone()), sink),
            Part::All => self.read_whole(column, None, sink),
        }
    }

    /// The number of rows in the file.
    pub(crate) fn count_rows(&self, column: Option<&str>) -> Result<u64, DataError> {
        match self.kind.format {
            Format::Parquet => parquet::count_rows(&self.path),
            Format::Json | Format::Csv | Format::Tsv => {
                let mut count = Count(0);
                self.read_whole(column.unwrap_or_default(), None, &mut count)?;
                Ok(count.0)
            }
            Format::Text => Err(DataError::SliceOfText {
                name: self.name.clone(),
            }),
        }
    }

    fn read_whole(
        &self,
        column: &str,
        bytes: Option<Range<u64>>,
        sink: &mut dyn RowSink,
    ) -> Result<(), DataError> {
        match self.kind.format {
            Format::Text => text::read(self, bytes, sink),
            Format::Json => json::read(self, column, sink),
            Format::Csv | Format::Tsv => csv::read(self, column, sink),
            Format::Parquet => parquet::read(&self.path, column, sink),
        }
    }

    /// Whether the file is text in which bytes can be found by their offset.
    pub(crate) fn is_plain_text(&self) -> bool {
        self.kind.format == Format::Text
            && self.kind.compression == Compression::None
            && self.encoding == Encoding::Utf8
    }

    /// The contents as UTF-8.
    fn contents(&self) -> Result<Box<dyn Read>, DataError> {
        Ok(self.encoding.decode(self.decompressed()?))
    }

    /// The contents without a byte-order mark.
    fn unmarked_contents(&self) -> Result<Box<dyn Read>, DataError> {
        const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
        let mut contents = BufReader::new(self.contents()?);
        let first = beginning(&mut contents).map_err(|source| DataError::io(&self.path, source))?;
        if first.starts_with(BYTE_ORDER_MARK) {
            contents.consume(BYTE_ORDER_MARK.len());
        }
        Ok(Box::new(contents))
    }

    fn decompressed(&self) -> Result<Box<dyn Read>, DataError> {
        let file = DataError::open(&self.path)?;
        Ok(match self.kind.compression {
            Compression::None => Box::new(file),
            Compression::Gzip => {
                Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::new(file)))
            }
            Compression::Zstd => Box::new(
                zstd::stream::read::Decoder::new(file)
                    .map_err(|source| DataError::io(&self.path, source))?,
            ),
        })
    }
}

/// Passes some of the rows on.
struct SomeRows<'s> {
    sink: &'s mut dyn RowSink,
    next: u64,
    rows: Range<u64>,
}

impl RowSink for SomeRows<'_> {
    fn text(&mut self, text: &str) -> Result<ControlFlow<()>, DataError> {
        if self.rows.contains(&self.next) {
            self.sink.text(text)
        } else {
            Ok(ControlFlow::Continue(()))
        }
    }

    fn end_row(&mut self) -> Result<ControlFlow<()>, DataError> {
        let wanted = self.rows.contains(&self.next);
        self.next += 1;
        if wanted && self.sink.end_row()?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        if self.next >= self.rows.end {
            return Ok(ControlFlow::Break(()));
        }
        Ok(ControlFlow::Continue(()))
    }
}

struct Count(u64);

impl RowSink for Count {
    fn text(&mut self, _text: &str) -> Result<ControlFlow<()>, DataError> {
        Ok(ControlFlow::Continue(()))
    }

    fn end_row(&mut self) -> Result<ControlFlow<()>, DataError> {
        self.0 += 1;
        Ok(ControlFlow::Continue(()))
    }
}

/// Tells whether rows are lines of one text rather than documents.
#[derive(Default)]
pub(crate) struct LineProbe {
    rows: usize,
    row: String,
    any_line: bool,
    all_lines: bool,
}

/// Rows on which the decision rests, and bytes of a row that are looked at.
const PROBED_ROWS: usize = 100;
const PROBED_BYTES: usize = 1 << 20;

impl LineProbe {
    /// Whether each of the first rows of `file` is empty or one line with its line end.
    pub(crate) fn probe(file: &DataFile, column: Option<&str>) -> Result<bool, DataError> {
        let mut probe = Self {
            all_lines: true,
            ..Self::default()
        };
        file.read(column, &mut probe)?;
        Ok(probe.all_lines && probe.any_line)
    }
}

impl RowSink for LineProbe {
    fn text(&mut self, text: &str) -> Result<ControlFlow<()>, DataError> {
        self.row.push_str(text);
        if self.row.len() > PROBED_BYTES {
            self.all_lines = false;
            return Ok(ControlFlow::Break(()));
        }
        Ok(ControlFlow::Continue(()))
    }

    fn end_row(&mut self) -> Result<ControlFlow<()>, DataError> {
        let is_line = self.row.find('\n') == self.row.len().checked_sub(1);
        self.any_line |= is_line && !self.row.is_empty();
        self.all_lines &= is_line || self.row.is_empty();
        self.row.clear();
        self.rows += 1;
        if self.all_lines && self.rows < PROBED_ROWS {
            Ok(ControlFlow::Continue(()))
        } else {
            Ok(ControlFlow::Break(()))
        }
    }
}
