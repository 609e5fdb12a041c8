//! The chat templates of a model: one file, several files, or a key of a JSON file.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::read_text;
use crate::HubError;

/// Directory of the templates other than the default one, each in a file `NAME.jinja`.
pub(crate) const TEMPLATE_DIRECTORY: &str = "additional_chat_templates";
const TEMPLATE_EXTENSION: &str = ".jinja";
/// The name of the template that is used unless another is asked for.
const DEFAULT: &str = "default";

/// Jinja templates of a conversation.
///
/// The files `chat_template.jinja` and `additional_chat_templates/*.jinja` replace the `chat_template` of
/// `tokenizer_config.json`, as in `transformers`; without both, that of `chat_template.json` counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChatTemplates {
    /// The template that is used unless another is asked for.
    pub default: Option<String>,
    /// The others by name, for instance `tool_use`.
    pub named: BTreeMap<String, String>,
    /// Sentences about templates that are not among these.
    pub notes: Vec<String>,
}

impl ChatTemplates {
    /// Reads the templates of a model directory; `settings` is its `tokenizer_config.json`, `processor` its
    /// `chat_template.json`.
    pub(super) fn open(
        directory: &Path,
        settings: Option<&Value>,
        processor: Option<&Value>,
    ) -> Result<Self, HubError> {
        let mut templates = Self::of_files(directory)?;
        for (file, content) in [
            ("tokenizer_config.json", settings),
            ("chat_template.json", processor),
        ] {
            let Some(value) = content.and_then(|content| content.get("chat_template")) else {
                continue;
            };
            let others = Self::of_value(value, file);
            if templates.is_empty() {
                templates = others;
            } else if !others.is_empty() && !others.is_part_of(&templates) {
                templates.notes.push(format!(
                    "the chat template of {file} is left out: other files of the directory define one, which comes first"
                ));
            }
        }
        Ok(templates)
    }

    fn of_files(directory: &Path) -> Result<Self, HubError> {
        let mut templates = Self {
            default: read_text(&directory.join("chat_template.jinja"))?,
            ..Self::default()
        };
        for name in template_files(directory)? {
            let path = directory.join(TEMPLATE_DIRECTORY).join(&name);
            let name = name.strip_suffix(TEMPLATE_EXTENSION).unwrap_or(&name);
            if let Some(text) = read_text(&path)? {
                templates.add(name, &text);
            }
        }
        templates.default = templates.default.filter(|text| !text.is_empty());
        Ok(templates)
    }

    /// A template; or a list of objects with `name` and `template`; or an object of templates by name.
    fn of_value(value: &Value, file: &str) -> Self {
        let mut templates = Self::default();
        let usable = match value {
            Value::Null => true,
            Value::String(text) => {
                templates.add(DEFAULT, text);
                true
            }
            Value::Array(list) => list.iter().fold(true, |usable, entry| {
                match (entry["name"].as_str(), entry["template"].as_str()) {
                    (Some(name), Some(text)) => {
                        templates.add(name, text);
                        usable
                    }
                    _ => false,
                }
            }),
            Value::Object(map) => map.iter().fold(true, |usable, (name, text)| {
                if let Some(text) = text.as_str() {
                    templates.add(name, text);
                }
                usable && text.is_string()
            }),
            _ => false,
        };
        if !usable {
            templates.notes.push(format!(
                "chat_template in {file} is not a text or a list of objects with name and template; what is not is left out"
            ));
        }
        templates
    }

    fn add(&mut self, name: &str, text: &str) {
        if text.is_empty() {
            return;
        }
        if name == DEFAULT {
            self.default = Some(text.to_owned());
        } else {
            self.named.insert(name.to_owned(), text.to_owned());
        }
    }

    fn is_empty(&self) -> bool {
        self.default.is_none() && self.named.is_empty()
    }

    fn is_part_of(&self, other: &Self) -> bool {
        self.default
            .as_ref()
            .is_none_or(|text| other.default.as_ref() == Some(text))
            && self
                .named
                .iter()
                .all(|(name, text)| other.named.get(name) == Some(text))
    }
}

/// Whether a path relative to a model's directory, with `/`, is a template other than the default one.
pub(crate) fn is_template_path(path: &str) -> bool {
    path.strip_prefix(TEMPLATE_DIRECTORY)
        .and_then(|rest| rest.strip_prefix('/'))
        .is_some_and(|name| name.ends_with(TEMPLATE_EXTENSION) && !name.contains(['/', '\\']))
}

/// Names of the templates in the directory of templates, in alphabetical order; none without such a directory.
pub(crate) fn template_files(directory: &Path) -> Result<Vec<String>, HubError> {
    let path = directory.join(TEMPLATE_DIRECTORY);
    if !path.is_dir() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&path).map_err(HubError::io("list", &path))? {
        let entry = entry.map_err(HubError::io("list", &path))?;
        // A name that is not UTF-8 has no counterpart in any format that this is written to.
        if let Ok(name) = entry.file_name().into_string()
            && name.ends_with(TEMPLATE_EXTENSION)
            && entry.path().is_file()
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}
