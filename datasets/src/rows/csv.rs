//! Tables: rows of values separated by commas or tabs; the first row names the columns (RFC 4180).

use std::io::{BufReader, Read};

use csv::{ByteRecord, ErrorKind, Reader, ReaderBuilder};

use super::columns::{Column, ColumnSample, SAMPLED_ROWS};
use super::row_limit::{LONGEST_ROW, RowLimit, TOO_LONG};
use super::{DataFile, RowSink};
use crate::error::DataError;
use crate::layout::Format;

/// Comes after the end of the contents as a row of its own, unless a quote is still open: then it is found in that field. It
/// is also what DOS programs ended files with.
const END: &[u8] = b"\n\x1A";

/// The columns, judged by the first rows.
pub(super) fn columns(file: &DataFile) -> Result<Vec<Column>, DataError> {
    let mut table = Table::open(file)?;
    let mut sample = ColumnSample::default();
    for name in &table.header {
        sample.declare(name);
    }
    for _ in 0..SAMPLED_ROWS {
        if !table.next_row()? {
            break;
        }
        for (name, value) in table.header.iter().zip(table.row.iter()) {
            sample.text(name, &String::from_utf8_lossy(value));
        }
    }
    Ok(sample.finish())
}

/// Fails if the header looks as if other characters than the expected separate the columns.
pub(super) fn check_separator(file: &DataFile) -> Result<(), DataError> {
    let table = Table::open(file)?;
    let [only] = table.header.as_slice() else {
        return Ok(());
    };
    match only.chars().find(|character| ";\t|,".contains(*character)) {
        None => Ok(()),
        Some(found) => Err(malformed(
            file,
            1,
            format!(
                "the only column is `{}`; if {found:?} separates the columns, convert the file to .csv with commas or .tsv \
                 with tabs, else name the column with --text-column",
                crate::error::shortened(only)
            ),
        )),
    }
}

/// Hands the texts of `column` to `sink`. A row whose value is empty has none.
pub(super) fn read(file: &DataFile, column: &str, sink: &mut dyn RowSink) -> Result<(), DataError> {
    let mut table = Table::open(file)?;
    let mut named = (0..table.header.len()).filter(|&index| table.header[index] == column);
    let index = named.next().ok_or_else(|| DataError::UnknownColumn {
        path: file.path.clone(),
        column: column.to_owned(),
        columns: table.header.clone(),
    })?;
    if named.next().is_some() {
        let reason = format!("several columns are called `{column}`; rename all but one");
        return Err(malformed(file, 1, reason));
    }
    while table.next_row()? {
        let value = table.row.get(index).unwrap_or_default();
        let text = std::str::from_utf8(value).map_err(|_| {
            table.malformed_row(
                "the text is not UTF-8; convert the file, for example with `iconv -f latin1 -t utf-8`",
            )
        })?;
        if !text.is_empty() && sink.text(text)?.is_break() {
            break;
        }
        if sink.end_row()?.is_break() {
            break;
        }
    }
    Ok(())
}

/// A file being read row by row.
struct Table<'f> {
    file: &'f DataFile,
    reader: Reader<Box<dyn Read>>,
    limit: RowLimit,
    header: Vec<String>,
    row: ByteRecord,
}

impl<'f> Table<'f> {
    /// Reads the header.
    fn open(file: &'f DataFile) -> Result<Self, DataError> {
        let limit = RowLimit::new();
        let contents: Box<dyn Read> = Box::new(limit.apply(file.unmarked_contents()?).chain(END));
        let reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(match file.kind.format {
                Format::Tsv => b'\t',
                _ => b',',
            })
            .from_reader(contents);
        let mut table = Self {
            file,
            reader,
            limit,
            header: Vec::new(),
            row: ByteRecord::new(),
        };
        if !table.next_row()? {
            return Err(DataError::EmptyFile {
                path: file.path.clone(),
            });
        }
        let names = table
            .row
            .iter()
            .map(|name| String::from_utf8_lossy(name).trim().to_owned());
        table.header = names.collect();
        Ok(table)
    }

    /// Reads the next row, which has as many values as the header, and returns whether there was one; empty lines are skipped.
    fn next_row(&mut self) -> Result<bool, DataError> {
        loop {
            match self.reader.read_byte_record(&mut self.row) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) => return Err(self.failed(error)),
            }
            self.limit.reset();
            if self.row.len() == 1 && self.row.get(0) == END.get(1..) {
                continue;
            }
            if self
                .row
                .iter()
                .next_back()
                .is_some_and(|value| value.ends_with(END))
            {
                return Err(self.malformed_row("a quote in this row is never closed"));
            }
            break;
        }
        let (expected, found) = (self.header.len(), self.row.len());
        if expected != 0 && found != expected {
            let reason = format!(
                "{found} values, but the header names {expected} columns; a value that contains the separator needs quotes"
            );
            return Err(self.malformed_row(&reason));
        }
        Ok(true)
    }

    fn failed(&self, error: csv::Error) -> DataError {
        match error.into_kind() {
            ErrorKind::Io(error) if error.kind() == TOO_LONG => {
                self.malformed_row(&format!("longer than {LONGEST_ROW} bytes"))
            }
            ErrorKind::Io(error) => DataError::io(&self.file.path, error),
            other => self.malformed_row(&format!("{other:?}")),
        }
    }

    /// What is wrong with the row that was read last.
    fn malformed_row(&self, reason: &str) -> DataError {
        let start = self.row.position().map_or(0, csv::Position::byte);
        match line_at(self.file, start) {
            Ok(line) => malformed(self.file, line, reason.to_owned()),
            Err(error) => error,
        }
    }
}

/// The line on which the row begins that is found from the byte `start` on. The reader's own count is wrong after empty lines
/// and Windows line ends.
fn line_at(file: &DataFile, start: u64) -> Result<u64, DataError> {
    let mut line = 1;
    let mut before = b'\n';
    for (at, byte) in (0..).zip(BufReader::new(file.unmarked_contents()?).bytes()) {
        let byte = byte.map_err(|source| DataError::io(&file.path, source))?;
        if at >= start && !matches!(byte, b'\r' | b'\n') {
            break;
        }
        // A carriage return alone ends a line, too.
        line += u64::from(byte == b'\n') + u64::from(before == b'\r' && byte != b'\n');
        before = byte;
    }
    Ok(line + u64::from(before == b'\r'))
}

fn malformed(file: &DataFile, line: u64, reason: String) -> DataError {
    DataError::TableRow {
        path: file.path.clone(),
        line,
        reason,
    }
}
