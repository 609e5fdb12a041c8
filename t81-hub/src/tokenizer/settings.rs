//! `tokenizer_config.json`: special tokens and the chat template.

use std::path::Path;

use serde_json::Value;

use super::{MAX_SETTINGS_BYTES, read_text};
use crate::HubError;
use crate::json::read_json;

/// What `tokenizer_config.json`, `special_tokens_map.json` and `chat_template.jinja` say; all three may be absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenizerSettings {
    /// Token that starts a text.
    pub bos_token: Option<String>,
    /// Token that ends a text.
    pub eos_token: Option<String>,
    /// Token for what is unknown.
    pub unk_token: Option<String>,
    /// Token that pads a batch.
    pub pad_token: Option<String>,
    /// Whether the beginning-of-text token is put in front.
    pub add_bos_token: Option<bool>,
    /// Whether the end-of-text token is appended.
    pub add_eos_token: Option<bool>,
    /// Whether a space is put in front of a text.
    pub add_prefix_space: Option<bool>,
    /// Jinja template of a conversation: `chat_template.jinja`, else the string in `tokenizer_config.json`, else the entry
    /// named `default` of the list there.
    pub chat_template: Option<String>,
    /// `tokenizer_config.json`, whole.
    pub raw: Option<Value>,
}

impl TokenizerSettings {
    pub(super) fn open(directory: &Path) -> Result<Self, HubError> {
        let optional = |name: &str| -> Result<Option<Value>, HubError> {
            let path = directory.join(name);
            if path.exists() {
                read_json(&path, MAX_SETTINGS_BYTES).map(Some)
            } else {
                Ok(None)
            }
        };
        let raw = optional("tokenizer_config.json")?;
        let special = optional("special_tokens_map.json")?;
        let token = |name: &str| {
            [&raw, &special]
                .into_iter()
                .flatten()
                .find_map(|file| token_text(&file[name]))
        };
        let flag = |name: &str| raw.as_ref().and_then(|raw| raw[name].as_bool());
        let template = match read_text(&directory.join("chat_template.jinja"))? {
            Some(template) => Some(template),
            None => raw
                .as_ref()
                .and_then(|raw| template_text(&raw["chat_template"])),
        };
        Ok(Self {
            bos_token: token("bos_token"),
            eos_token: token("eos_token"),
            unk_token: token("unk_token"),
            pad_token: token("pad_token"),
            add_bos_token: flag("add_bos_token"),
            add_eos_token: flag("add_eos_token"),
            add_prefix_space: flag("add_prefix_space"),
            chat_template: template,
            raw,
        })
    }
}

/// A token is a string or an object with its `content`.
fn token_text(value: &Value) -> Option<String> {
    value
        .as_str()
        .or_else(|| value["content"].as_str())
        .map(str::to_owned)
}

fn template_text(value: &Value) -> Option<String> {
    let text = match value {
        Value::Array(list) => list
            .iter()
            .find(|entry| entry["name"] == "default")
            .and_then(|entry| entry["template"].as_str()),
        _ => value.as_str(),
    };
    text.map(str::to_owned)
}
