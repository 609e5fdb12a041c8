//! Typed, range-checked access to the fields of a JSON object.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;

use serde_json::{Map, Value};

use crate::HubError;

/// A JSON object of a configuration file. An absent field and a `null` are the same thing, but for [`Fields::is_null`].
pub(crate) struct Fields<'a> {
    object: &'a Map<String, Value>,
    path: &'a Path,
    /// What stands before the names of a nested object's fields in a message; ends with a point or is empty.
    prefix: String,
    renamed: &'static [(&'static str, &'static str)],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(value: &'a Value, path: &'a Path) -> Result<Self, HubError> {
        match value {
            Value::Object(object) => Ok(Self {
                object,
                path,
                prefix: String::new(),
                renamed: &[],
            }),
            _ => Err(HubError::Config {
                path: path.to_path_buf(),
                field: "the document".into(),
                problem: "is not an object".into(),
            }),
        }
    }

    /// Whether the object has no field at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.object.is_empty()
    }

    /// The nested object `name`, if it is there.
    pub(crate) fn nested(&self, name: &str) -> Result<Option<Fields<'a>>, HubError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(Fields {
                object,
                path: self.path,
                prefix: format!("{}{name}.", self.prefix),
                renamed: &[],
            })),
            Some(_) => Err(self.error(name, "is not an object")),
        }
    }

    /// The same object, some of whose fields have names of their own: the usual name and the one in the file.
    pub(crate) fn renamed(self, renamed: &'static [(&'static str, &'static str)]) -> Self {
        Self { renamed, ..self }
    }

    /// The name in the file of what is usually called `name`.
    fn own_name<'n>(&self, name: &'n str) -> &'n str {
        let mut renamed = self.renamed.iter();
        renamed
            .find(|(usual, _)| *usual == name)
            .map_or(name, |(_, own)| own)
    }

    pub(crate) fn path(&self) -> &'a Path {
        self.path
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'a Value> {
        self.object
            .get(self.own_name(name))
            .filter(|value| !value.is_null())
    }

    /// Whether the file says `null`, where transformers takes no default of its own.
    pub(crate) fn is_null(&self, name: &str) -> bool {
        self.object
            .get(self.own_name(name))
            .is_some_and(Value::is_null)
    }

    /// Refuses a field that switches on something unsupported: it must be absent, null or false.
    pub(crate) fn must_not_be_set(&self, name: &str) -> Result<(), HubError> {
        match self.get(name) {
            None | Some(Value::Bool(false)) => Ok(()),
            Some(other) => {
                Err(self.error(name, format!("is {}, which is not supported", brief(other))))
            }
        }
    }

    pub(crate) fn integer(
        &self,
        name: &str,
        range: RangeInclusive<usize>,
    ) -> Result<Option<usize>, HubError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        match value.as_u64().and_then(|value| usize::try_from(value).ok()) {
            Some(value) if range.contains(&value) => Ok(Some(value)),
            _ => Err(self.error(
                name,
                format!(
                    "is {}; it must be an integer from {} to {}",
                    brief(value),
                    range.start(),
                    range.end()
                ),
            )),
        }
    }

    pub(crate) fn required(
        &self,
        name: &str,
        range: RangeInclusive<usize>,
    ) -> Result<usize, HubError> {
        self.integer(name, range)?
            .ok_or_else(|| self.error(name, "is missing"))
    }

    pub(crate) fn float(
        &self,
        name: &str,
        range: RangeInclusive<f64>,
    ) -> Result<Option<f64>, HubError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        match value.as_f64() {
            Some(number) if range.contains(&number) => Ok(Some(number)),
            _ => Err(self.error(
                name,
                format!(
                    "is {}; it must be a number from {} to {}",
                    brief(value),
                    range.start(),
                    range.end()
                ),
            )),
        }
    }

    pub(crate) fn required_float(
        &self,
        name: &str,
        range: RangeInclusive<f64>,
    ) -> Result<f64, HubError> {
        self.float(name, range)?
            .ok_or_else(|| self.error(name, "is missing"))
    }

    pub(crate) fn boolean(&self, name: &str) -> Result<Option<bool>, HubError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(other) => Err(self.error(name, format!("is {}, not true or false", brief(other)))),
        }
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<&'a str>, HubError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.error(name, format!("is {}, not a string", brief(other)))),
        }
    }

    pub(crate) fn error(&self, name: &str, problem: impl Display) -> HubError {
        let name = self.own_name(name);
        HubError::Config {
            path: self.path.to_path_buf(),
            field: format!("{}{name}", self.prefix),
            problem: problem.to_string(),
        }
    }
}

/// The value as JSON, cut to a length that fits a message.
pub(crate) fn brief(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
