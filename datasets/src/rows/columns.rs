//! Which column holds the text.

use std::path::Path;

use crate::error::DataError;

/// A column of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    /// Its name; that of a nested one has dots.
    pub(super) name: String,
    /// Whether it holds a text in each row.
    pub(super) is_text: bool,
}

/// Names under which datasets keep their text.
const USUAL: &[&str] = &["text", "content"];

/// The column `asked`, or else `text`, `content`, or the only one that holds text.
pub(super) fn choose(
    path: &Path,
    columns: &[Column],
    asked: Option<&str>,
) -> Result<String, DataError> {
    let names = |columns: &mut dyn Iterator<Item = &Column>| {
        columns.map(|column| column.name.clone()).collect()
    };
    if let Some(asked) = asked {
        return match columns.iter().find(|column| column.name == asked) {
            Some(column) if column.is_text => Ok(asked.to_owned()),
            Some(_) => Err(DataError::NotText {
                path: path.to_owned(),
                column: asked.to_owned(),
            }),
            None => Err(DataError::UnknownColumn {
                path: path.to_owned(),
                column: asked.to_owned(),
                columns: names(&mut columns.iter()),
            }),
        };
    }
    let texts: Vec<&Column> = columns.iter().filter(|column| column.is_text).collect();
    let usual = USUAL
        .iter()
        .find_map(|name| texts.iter().find(|column| column.name == *name));
    match (usual, texts.as_slice()) {
        (Some(column), _) => Ok(column.name.clone()),
        (None, [only]) => Ok(only.name.clone()),
        (None, []) => Err(DataError::NoTextColumn {
            path: path.to_owned(),
            columns: names(&mut columns.iter()),
        }),
        (None, several) => Err(DataError::SeveralTextColumns {
            path: path.to_owned(),
            columns: names(&mut several.iter().copied()),
        }),
    }
}
