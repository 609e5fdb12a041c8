//! JSON: an object a line, or one array of objects.

use std::cell::Cell;
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::rc::Rc;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::columns::Column;
use super::{DataFile, RowSink};
use crate::error::DataError;

/// Bytes of the longest row: a file without line ends must not be read into memory.
const LONGEST_ROW: u64 = 64 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The columns of the first row.
pub(super) fn columns(file: &DataFile) -> Result<Vec<Column>, DataError> {
    let mut first = None;
    for_each_row(file, AllColumns, &mut |row| {
        first = Some(row);
        Ok(ControlFlow::Break(()))
    })?;
    first.ok_or_else(|| DataError::EmptyFile {
        path: file.path.clone(),
    })
}

/// Hands the texts of `column` to `sink`. A row whose text is null has none.
pub(super) fn read(file: &DataFile, column: &str, sink: &mut dyn RowSink) -> Result<(), DataError> {
    for_each_row(file, OneText(column), &mut |text| {
        if let Some(text) = text
            && sink.text(&text)?.is_break()
        {
            return Ok(ControlFlow::Break(()));
        }
        sink.end_row()
    })
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
    type Row = Option<String>;

    fn take<'de, A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Row, A::Error> {
        let mut text = None;
        let mut others = Vec::new();
        while let Some(name) = fields.next_key::<String>()? {
            if name == self.0 {
                text = Some(fields.next_value::<Option<String>>()?);
            } else {
                fields.next_value::<IgnoredAny>()?;
                if others.len() < 20 {
                    others.push(name);
                }
            }
        }
        text.ok_or_else(|| {
            let others = others.join("`, `");
            A::Error::custom(format!("no field `{}`; it has `{others}`", self.0))
        })
    }
}

/// The names of all columns.
#[derive(Clone, Copy)]
struct AllColumns;

impl TakeRow for AllColumns {
    type Row = Vec<Column>;

    fn take<'de, A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Row, A::Error> {
        let mut columns = Vec::new();
        while let Some(name) = fields.next_key::<String>()? {
            let is_text = matches!(
                fields.next_value::<Value>()?,
                Value::String(_) | Value::Null
            );
            columns.push(Column { name, is_text });
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
    let mut contents = BufReader::with_capacity(1 << 20, file.contents()?);
    if contents
        .fill_buf()
        .map_err(io)?
        .starts_with(BYTE_ORDER_MARK)
    {
        contents.consume(BYTE_ORDER_MARK.len());
    }
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
            .map_err(|error| malformed(without_line(&error)))?;
        if callback(row)?.is_break() {
            break;
        }
    }
    Ok(())
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
    let left = Rc::new(Cell::new(LONGEST_ROW));
    let mut outcome = None;
    let metered = Metered {
        contents,
        left: left.clone(),
    };
    let mut deserializer = serde_json::Deserializer::from_reader(metered);
    let result = deserializer.deserialize_seq(Elements {
        take,
        callback,
        left,
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
    left: Rc<Cell<u64>>,
    outcome: &'e mut Option<Result<(), DataError>>,
}

impl<'de, T: TakeRow> Visitor<'de> for Elements<'_, T> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(row) = elements.next_element_seed(RowSeed(self.take))? {
            self.left.set(LONGEST_ROW);
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

const TOO_LONG: std::io::ErrorKind = std::io::ErrorKind::FileTooLarge;

/// Fails when a row goes on for too long.
struct Metered<R> {
    contents: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.contents.read(buffer)?;
        let left = self.left.get().checked_sub(read as u64).ok_or_else(|| {
            std::io::Error::new(TOO_LONG, format!("a row longer than {LONGEST_ROW} bytes"))
        })?;
        self.left.set(left);
        Ok(read)
    }
}
