//! Which column holds the text.

use std::path::Path;

use crate::error::DataError;

/// Rows that columns are judged by.
pub(super) const SAMPLED_ROWS: usize = 100;

/// A column of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    /// Its name; that of a nested one has dots.
    pub(super) name: String,
    pub(super) holds: Holds,
}

/// What the values of a column are, as far as they were looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// Strings that read as text.
    Text,
    /// Strings that are numbers, dates, hashes, addresses or the like.
    Identifiers,
    /// Nothing but null.
    Nothing,
    /// Other types than strings.
    Other,
}

/// The columns of rows whose values come one by one.
#[derive(Debug, Default)]
pub(super) struct ColumnSample(Vec<Column>);

impl ColumnSample {
    /// Adds a column without values.
    pub(super) fn declare(&mut self, name: &str) {
        self.column(name);
    }

    /// Notes a string; an empty one says nothing about its column.
    pub(super) fn text(&mut self, name: &str, text: &str) {
        let holds = &mut self.column(name).holds;
        if reads_as_text(text) {
            *holds = Holds::Text;
        } else if *holds != Holds::Text && !text.trim().is_empty() {
            *holds = Holds::Identifiers;
        }
    }

    /// Notes a value that is neither a string nor null.
    pub(super) fn other(&mut self, name: &str) {
        let holds = &mut self.column(name).holds;
        // Where a column has strings too, reading it fails at the row at fault.
        if *holds == Holds::Nothing {
            *holds = Holds::Other;
        }
    }

    /// The columns in the order in which they came.
    pub(super) fn finish(self) -> Vec<Column> {
        self.0
    }

    fn column(&mut self, name: &str) -> &mut Column {
        let index = self.0.iter().position(|column| column.name == name);
        let index = index.unwrap_or_else(|| {
            self.0.push(Column {
                name: name.to_owned(),
                holds: Holds::Nothing,
            });
            self.0.len() - 1
        });
        &mut self.0[index]
    }
}

/// Names under which datasets keep their text, in order of preference.
const USUAL: &[&str] = &["text", "content"];

/// Whether a column is called as those are that hold the text.
pub(super) fn is_usual(name: &str) -> bool {
    USUAL.contains(&name)
}

/// The column `asked`, or else `text`, `content`, or the only one that reads as text.
pub(super) fn choose(
    path: &Path,
    columns: &[Column],
    asked: Option<&str>,
) -> Result<String, DataError> {
    let names = |wanted: &dyn Fn(&Column) -> bool| -> Vec<String> {
        let wanted = columns.iter().filter(|column| wanted(column));
        wanted.map(|column| column.name.clone()).collect()
    };
    let is_text = |column: &Column| column.holds == Holds::Text && !names_identifiers(&column.name);
    let not_text = |column: &str| DataError::NotText {
        path: path.to_owned(),
        column: column.to_owned(),
        others: names(&|other| other.name != column && is_text(other)),
    };
    let named = |name: &str| columns.iter().find(|column| column.name == name);
    if let Some(asked) = asked {
        return match named(asked) {
            Some(column) if column.holds == Holds::Other => Err(not_text(asked)),
            Some(_) => Ok(asked.to_owned()),
            None => Err(DataError::UnknownColumn {
                path: path.to_owned(),
                column: asked.to_owned(),
                columns: names(&|_| true),
            }),
        };
    }
    let usual: Vec<&Column> = USUAL.iter().filter_map(|name| named(name)).collect();
    if let Some(column) = usual.iter().find(|column| column.holds != Holds::Other) {
        return Ok(column.name.clone());
    }
    if let Some(column) = usual.first() {
        return Err(not_text(&column.name));
    }
    match names(&is_text).as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(DataError::NoTextColumn {
            path: path.to_owned(),
            columns: names(&|_| true),
            strings: names(&|column| column.holds != Holds::Other),
        }),
        several => Err(DataError::SeveralTextColumns {
            path: path.to_owned(),
            columns: several.to_vec(),
        }),
    }
}

/// Whether a value can be a text: it has a letter, and is not a number, date, hash or address.
pub(super) fn reads_as_text(value: &str) -> bool {
    let value = value.trim();
    let is_word = !value.contains(char::is_whitespace);
    let is_code = is_word
        && value.is_ascii()
        && (value.contains(|byte: char| byte.is_ascii_digit()) || value.contains("://"));
    !is_code && value.contains(char::is_alphabetic)
}

/// Whether a column is called as one of identifiers is.
fn names_identifiers(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "",
        "id",
        "ids",
        "idx",
        "index",
        "uuid",
        "guid",
        "key",
        "hash",
        "url",
        "unnamed: 0",
    ];
    let name = name.rsplit('.').next().unwrap_or(name);
    let lower = name.to_ascii_lowercase();
    NAMES.contains(&lower.as_str())
        || ["_id", "-id", " id", "_ids", "_idx", "_key", "_url"]
            .iter()
            .any(|end| lower.ends_with(end))
        || name.ends_with("Id")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_do_not_read_as_text() {
        for text in [
            "Once upon a time",
            "once",
            "\u{4f60}3\u{597d}",
            "3 apples",
            "MKTAY",
        ] {
            assert!(reads_as_text(text), "{text}");
        }
        for code in [
            "",
            " ",
            "17",
            "-1.5e3",
            "2024-01-01",
            "2024-01-01 10:00",
            "train_17",
            "https://a.b/c",
            "550e8400-e29b-41d4-a716-446655440000",
            "d41d8cd98f00b204e9800998ecf8427e",
        ] {
            assert!(!reads_as_text(code), "{code}");
        }
        for name in [
            "id",
            "ID",
            "doc_id",
            "meta.id",
            "pageId",
            "Unnamed: 0",
            "url",
        ] {
            assert!(names_identifiers(name), "{name}");
        }
        for name in ["text", "idea", "story", "valid", "grid"] {
            assert!(!names_identifiers(name), "{name}");
        }
    }

    #[test]
    fn a_text_anywhere_in_the_sample_counts() {
        let mut sample = ColumnSample::default();
        sample.declare("b");
        sample.text("a", "17");
        sample.text("a", "Once upon a time");
        sample.text("a", "18");
        sample.other("a");
        sample.other("c");
        sample.text("d", "");
        let holds = sample
            .finish()
            .into_iter()
            .map(|column| (column.name, column.holds));
        assert!(holds.eq([
            ("b".to_owned(), Holds::Nothing),
            ("a".to_owned(), Holds::Text),
            ("c".to_owned(), Holds::Other),
            ("d".to_owned(), Holds::Nothing),
        ]));
    }
}
