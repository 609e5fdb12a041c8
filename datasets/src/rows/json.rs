//! JSON: an object a line, or one array of objects.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::ops::ControlFlow;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::columns::{Column, ColumnSample, SAMPLED_ROWS};
use super::row_limit::{LONGEST_ROW, RowLimit, TOO_LONG};
use super::{DataFile, RowSink};
use crate::error::DataError;

/// The columns of the first rows; a row may lack some.
pub(super) fn columns(file: &DataFile) -> Result<Vec<Column>, DataError> {
    let mut sample = ColumnSample::default();
    let mut rows = 0;
    for_each_row(file, AllColumns, &mut |row| {
        for (name, value) in row {
            match value {
                Value::String(text) => sample.text(&name, &text),
                Value::Null => sample.declare(&name),
                _ => sample.other(&name),
            }
        }
        rows += 1;
        Ok(if rows < SAMPLED_ROWS {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        })
    })?;
    if rows == 0 {
        return Err(DataError::EmptyFile {
            path: file.path.clone(),
        });
    }
    Ok(sample.finish())
}

/// Hands the texts of `column` to `sink`. A row whose text is null or missing has none, but one row must have the column.
pub(super) fn read(file: &DataFile, column: &str, sink: &mut dyn RowSink) -> Result<(), DataError> {
    let (mut found, mut others) = (false, None);
    let mut ended = true;
    for_each_row(file, OneText(column), &mut |field| {
        let flow = match field {
            Field::Text(text) => {
                found = true;
                sink.text(&text)?
            }
            Field::Null => {
                found = true;
                ControlFlow::Continue(())
            }
            Field::Missing(columns) => {
                others.get_or_insert(columns);
                ControlFlow::Continue(())
            }
        };
        let flow = match flow {
            ControlFlow::Continue(()) => sink.end_row()?,
            stop => stop,
        };
        ended = flow.is_continue();
        Ok(flow)
    })?;
    match others {
        Some(columns) if ended && !found => Err(DataError::UnknownColumn {
            path: file.path.clone(),
            column: column.to_owned(),
            columns,
        }),
        _ => Ok(()),
    }
}

/// What a row has in a column.
enum Field {
    Text(String),
    Null,
    /// No such column, but others.
    Missing(Vec<String>),
}

/// What to take of a row.
trait TakeRow: Copy {
    type Row;
    fn take<'de, A: MapAccess<'de>>(self, fields: A) -> Result<Self::Row, A::Error>;
}

/// The text of one column.
#[derive(Clone, Copy)]
struct OneText<'c>(&'c str);

impl TakeRow for OneText<'_> {
    type Row = Field;

    fn take<'de, A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Row, A::Error> {
        let mut text = None;
        let mut others = Vec::new();
        while let Some(name) = fields.next_key::<String>()? {
            if name == self.0 {
                text = Some(match fields.next_value::<Option<String>>()? {
                    Some(text) => Field::Text(text),
                    None => Field::Null,
                });
            } else {
                fields.next_value::<IgnoredAny>()?;
                if others.len() < 20 {
                    others.push(name);
                }
            }
        }
        Ok(text.unwrap_or(Field::Missing(others)))
    }
}

/// All columns with their values.
#[derive(Clone, Copy)]
struct AllColumns;

impl TakeRow for AllColumns {
    type Row = Vec<(String, Value)>;

    fn take<'de, A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Row, A::Error> {
        let mut columns = Vec::new();
        while let Some(name) = fields.next_key::<String>()? {
            columns.push((name, fields.next_value()?));
        }
        Ok(columns)
    }
}

/// A row as serde reads it.
struct RowSeed<T>(T);

impl<'de, T: TakeRow> DeserializeSeed<'de> for RowSeed<T> {
    type Value = T::Row;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T::Row, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, T: TakeRow> Visitor<'de> for RowSeed<T> {
    type Value = T::Row;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T::Row, A::Error> {
        self.0.take(fields)
    }
}

type RowCallback<'c, R> = &'c mut dyn FnMut(R) -> Result<ControlFlow<()>, DataError>;

fn for_each_row<T: TakeRow>(
    file: &DataFile,
    take: T,
    callback: RowCallback<'_, T::Row>,
) -> Result<(), DataError> {
    let io = |source| DataError::io(&file.path, source);
    let mut contents = BufReader::with_capacity(1 << 20, file.unmarked_contents()?);
    let first = contents
        .fill_buf()
        .map_err(io)?
        .iter()
        .find(|byte| !byte.is_ascii_whitespace());
    if first == Some(&b'[') {
        for_each_element(file, contents, take, callback)
    } else {
        for_each_line(file, contents, take, callback)
    }
}

fn for_each_line<T: TakeRow>(
    file: &DataFile,
    mut contents: impl BufRead,
    take: T,
    callback: RowCallback<'_, T::Row>,
) -> Result<(), DataError> {
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let read = contents
            .by_ref()
            .take(LONGEST_ROW + 1)
            .read_until(b'\n', &mut line)
            .map_err(|source| DataError::io(&file.path, source))?;
        if read == 0 {
            break;
        }
        let malformed = |reason: String| DataError::JsonRow {
            path: file.path.clone(),
            place: format!("line {number}"),
            reason,
        };
        if line.len() as u64 > LONGEST_ROW {
            return Err(malformed(format!("longer than {LONGEST_ROW} bytes")));
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let mut deserializer = serde_json::Deserializer::from_slice(&line);
        let row = RowSeed(take)
            .deserialize(&mut deserializer)
            .and_then(|row| deserializer.end().map(|()| row))
            .map_err(|error| malformed(without_line(&error) + nan_hint(&line)))?;
        if callback(row)?.is_break() {
            break;
        }
    }
    Ok(())
}

/// What to do about a word that Python writes and JSON does not have; may be empty.
fn nan_hint(line: &[u8]) -> &'static str {
    if line
        .windows(4)
        .any(|window| window == b" NaN" || window == b":NaN")
    {
        " (JSON has no NaN; write null)"
    } else {
        ""
    }
}

/// What is wrong, without the line number, which is that within the row.
fn without_line(error: &serde_json::Error) -> String {
    let message = error.to_string();
    match message.rsplit_once(" at line ") {
        Some((reason, _)) => format!("{reason}, at its byte {}", error.column()),
        None => message,
    }
}

fn for_each_element<T: TakeRow>(
    file: &DataFile,
    contents: impl BufRead,
    take: T,
    callback: RowCallback<'_, T::Row>,
) -> Result<(), DataError> {
    let limit = RowLimit::new();
    let mut outcome = None;
    let mut deserializer = serde_json::Deserializer::from_reader(limit.apply(contents));
    let result = deserializer.deserialize_seq(Elements {
        take,
        callback,
        limit,
        outcome: &mut outcome,
    });
    match (outcome, result.and_then(|()| deserializer.end())) {
        (Some(outcome), _) => outcome,
        (None, Ok(())) => Ok(()),
        (None, Err(error)) if error.is_io() && error.io_error_kind() != Some(TOO_LONG) => {
            Err(DataError::io(&file.path, error.into()))
        }
        (None, Err(error)) => Err(DataError::JsonRow {
            path: file.path.clone(),
            place: format!("line {}", error.line()),
            reason: without_line(&error),
        }),
    }
}

/// The elements of an array. `outcome` is set when the callback wants no more.
struct Elements<'e, T: TakeRow> {
    take: T,
    callback: RowCallback<'e, T::Row>,
    limit: RowLimit,
    outcome: &'e mut Option<Result<(), DataError>>,
}

impl<'de, T: TakeRow> Visitor<'de> for Elements<'_, T> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(row) = elements.next_element_seed(RowSeed(self.take))? {
            self.limit.reset();
            *self.outcome = match (self.callback)(row) {
                Ok(ControlFlow::Continue(())) => continue,
                Ok(ControlFlow::Break(())) => Some(Ok(())),
                Err(error) => Some(Err(error)),
            };
            return Err(A::Error::custom("no more rows are wanted"));
        }
        Ok(())
    }
}
