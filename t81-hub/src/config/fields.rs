//! Typed, range-checked access to the fields of a JSON object.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;

use serde_json::{Map, Value};

use crate::HubError;

/// A JSON object of a configuration file. An absent field and a `null` are the same thing.
pub(super) struct Fields<'a> {
    object: &'a Map<String, Value>,
    path: &'a Path,
    prefix: &'static str,
}

impl<'a> Fields<'a> {
    pub(super) fn new(value: &'a Value, path: &'a Path) -> Result<Self, HubError> {
        match value {
            Value::Object(object) => Ok(Self {
                object,
                path,
                prefix: "",
            }),
            _ => Err(HubError::Config {
                path: path.to_path_buf(),
                field: "the document".into(),
                problem: "is not an object".into(),
            }),
        }
    }

    /// The nested object `name`, if it is there.
    pub(super) fn nested(&self, name: &'static str) -> Result<Option<Fields<'a>>, HubError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(Fields {
                object,
                path: self.path,
                prefix: name,
            })),
            Some(_) => Err(self.error(name, "is not an object")),
        }
    }

    pub(super) fn path(&self) -> &'a Path {
        self.path
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn integer(
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

    pub(super) fn required(
        &self,
        name: &str,
        range: RangeInclusive<usize>,
    ) -> Result<usize, HubError> {
        self.integer(name, range)?
            .ok_or_else(|| self.error(name, "is missing"))
    }

    pub(super) fn float(
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

    pub(super) fn required_float(
        &self,
        name: &str,
        range: RangeInclusive<f64>,
    ) -> Result<f64, HubError> {
        self.float(name, range)?
            .ok_or_else(|| self.error(name, "is missing"))
    }

    pub(super) fn boolean(&self, name: &str) -> Result<Option<bool>, HubError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(other) => Err(self.error(name, format!("is {}, not true or false", brief(other)))),
        }
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>, HubError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.error(name, format!("is {}, not a string", brief(other)))),
        }
    }

    pub(super) fn error(&self, name: &str, problem: impl Display) -> HubError {
        let field = if self.prefix.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.prefix)
        };
        HubError::Config {
            path: self.path.to_path_buf(),
            field,
            problem: problem.to_string(),
        }
    }
}

/// The value as JSON, cut to a length that fits a message.
pub(super) fn brief(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
