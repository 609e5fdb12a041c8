//! Parquet files: one column, page by page.

use std::fs::File;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use parquet::basic::{ConvertedType, LogicalType, Type};
use parquet::column::reader::ColumnReader;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::FOOTER_SIZE;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{FileReader, RowGroupReader};
use parquet::file::serialized_reader::SerializedFileReader;
use parquet::schema::types::{ColumnDescPtr, ColumnDescriptor};

use super::RowSink;
use super::columns::{Column, ColumnSample, Holds, SAMPLED_ROWS, is_usual};
use super::parquet_pages::check_pages;
use crate::error::DataError;

/// Rows decoded at once.
const BATCH_ROWS: usize = 256;

/// Bytes of the largest file description: its reader takes many times its size.
const LARGEST_METADATA: u32 = 32 << 20;

/// The columns of a file; nested ones have dots in their names. Those of text are judged by their first rows, unless one of
/// them has a usual name or is `asked`.
pub(super) fn columns(path: &Path, asked: Option<&str>) -> Result<Vec<Column>, DataError> {
    let reader = open(path)?;
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let is_found = |column: &ColumnDescPtr| {
        let name = column.path().string();
        is_text(column) && asked.map_or(is_usual(&name), |asked| name == asked)
    };
    let found = schema.columns().iter().any(is_found);
    let mut columns = Vec::new();
    for column in schema.columns() {
        let name = column.path().string();
        let holds = match is_text(column) {
            false => Holds::Other,
            true if found => Holds::Text,
            true => {
                let mut sample = FirstRows::default();
                read(path, &name, &mut sample)?;
                sample.holds()
            }
        };
        columns.push(Column { name, holds });
    }
    Ok(columns)
}

/// Samples one column.
#[derive(Default)]
struct FirstRows {
    sample: ColumnSample,
    rows: usize,
}

impl FirstRows {
    fn holds(self) -> Holds {
        let columns = self.sample.finish();
        columns
            .first()
            .map_or(Holds::Nothing, |column| column.holds)
    }
}

impl RowSink for FirstRows {
    fn text(&mut self, text: &str) -> Result<ControlFlow<()>, DataError> {
        self.sample.text("", text);
        Ok(ControlFlow::Continue(()))
    }

    fn end_row(&mut self) -> Result<ControlFlow<()>, DataError> {
        self.rows += 1;
        Ok(if self.rows < SAMPLED_ROWS {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        })
    }
}

/// The rows of a file, as its description says.
pub(super) fn count_rows(path: &Path) -> Result<u64, DataError> {
    let rows = open(path)?.metadata().file_metadata().num_rows();
    u64::try_from(rows).map_err(|_| damaged(path, "it has a negative number of rows"))
}

/// Hands the texts of `column` to `sink`. A row whose text is null has none.
pub(super) fn read(path: &Path, column: &str, sink: &mut dyn RowSink) -> Result<(), DataError> {
    let reader = open(path)?;
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let index = schema
        .columns()
        .iter()
        .position(|descriptor| descriptor.path().string() == column && is_text(descriptor))
        .ok_or_else(|| DataError::UnknownColumn {
            path: path.to_owned(),
            column: column.to_owned(),
            columns: (schema.columns().iter())
                .map(|descriptor| descriptor.path().string())
                .collect(),
        })?;
    let defined = schema.column(index).max_def_level();
    for group in 0..reader.num_row_groups() {
        let rows = guarded(path, || reader.get_row_group(group))?;
        if read_group(path, rows.as_ref(), index, defined, sink)?.is_break() {
            break;
        }
    }
    Ok(())
}

fn read_group(
    path: &Path,
    group: &dyn RowGroupReader,
    column: usize,
    defined: i16,
    sink: &mut dyn RowSink,
) -> Result<ControlFlow<()>, DataError> {
    let chunk = group
        .metadata()
        .columns()
        .get(column)
        .ok_or_else(|| damaged(path, "a row group lacks the column"))?;
    check_chunk(path, chunk)?;
    let ColumnReader::ByteArrayColumnReader(mut reader) =
        guarded(path, || group.get_column_reader(column))?
    else {
        return Err(damaged(path, "a row group has another type than the file"));
    };
    let (mut levels, mut values) = (Vec::new(), Vec::<ByteArray>::new());
    let mut left = u64::try_from(group.metadata().num_rows())
        .map_err(|_| damaged(path, "a row group has a negative number of rows"))?;
    while left > 0 {
        levels.clear();
        values.clear();
        let batch = left.min(BATCH_ROWS as u64) as usize;
        let (rows, _, _) = guarded(path, || {
            reader.read_records(batch, Some(&mut levels), None, &mut values)
        })?;
        if rows == 0 || rows > batch {
            return Err(damaged(path, "a row group has fewer rows than it says"));
        }
        left -= rows as u64;
        let mut texts = values.iter();
        for row in 0..rows {
            if defined == 0 || levels.get(row) == Some(&defined) {
                let bytes = texts
                    .next()
                    .ok_or_else(|| damaged(path, "a row group has fewer values than it says"))?;
                let text = std::str::from_utf8(bytes.data())
                    .map_err(|_| damaged(path, "a text in it is not UTF-8"))?;
                if sink.text(text)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            if sink.end_row()?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Checks what the page headers of a column claim.
fn check_chunk(path: &Path, chunk: &ColumnChunkMetaData) -> Result<(), DataError> {
    let start = chunk
        .dictionary_page_offset()
        .unwrap_or(chunk.data_page_offset());
    let file = File::open(path).map_err(|source| DataError::io(path, source))?;
    let length = file
        .metadata()
        .map_err(|source| DataError::io(path, source))?
        .len();
    let range = u64::try_from(start)
        .ok()
        .zip(u64::try_from(chunk.compressed_size()).ok())
        .and_then(|(start, size)| Some(start..start.checked_add(size)?))
        .filter(|range| range.end <= length)
        .ok_or_else(|| damaged(path, "a column lies outside of it"))?;
    check_pages(file, range).map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidData => damaged(path, &format!("it has {error}")),
        std::io::ErrorKind::UnexpectedEof => damaged(path, "a page header is cut off"),
        _ => DataError::io(path, error),
    })
}

/// Opens a file and reads its description.
fn open(path: &Path) -> Result<SerializedFileReader<File>, DataError> {
    let file = File::open(path).map_err(|source| DataError::io(path, source))?;
    check_metadata_size(path, &file)?;
    let reader = guarded(path, || SerializedFileReader::new(file))?;
    Ok(reader)
}

fn check_metadata_size(path: &Path, mut file: &File) -> Result<(), DataError> {
    use std::io::{Read, Seek, SeekFrom};
    let io = |source| DataError::io(path, source);
    let length = file.metadata().map_err(io)?.len();
    if length < FOOTER_SIZE as u64 {
        return Err(damaged(path, "it is too short"));
    }
    let mut footer = [0; FOOTER_SIZE];
    file.seek(SeekFrom::End(-(FOOTER_SIZE as i64)))
        .map_err(io)?;
    file.read_exact(&mut footer).map_err(io)?;
    let size = u32::from_le_bytes([footer[0], footer[1], footer[2], footer[3]]);
    if &footer[4..] != b"PAR1" {
        return Err(damaged(path, "it does not end as such a file does"));
    }
    if size > LARGEST_METADATA {
        return Err(damaged(path, "its description is longer than 32 MiB"));
    }
    Ok(())
}

/// Whether a column has one text a row.
fn is_text(column: &ColumnDescriptor) -> bool {
    column.physical_type() == Type::BYTE_ARRAY
        && column.max_rep_level() == 0
        && (matches!(column.logical_type_ref(), Some(LogicalType::String))
            || column.converted_type() == ConvertedType::UTF8)
}

fn damaged(path: &Path, reason: &str) -> DataError {
    DataError::Parquet {
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}

/// Calls the `parquet` crate, some of whose checks are assertions.
fn guarded<T>(path: &Path, call: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, DataError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(damaged(
            path,
            error.to_string().lines().next().unwrap_or(""),
        )),
        Err(_) => Err(damaged(path, "its contents contradict each other")),
    }
}
