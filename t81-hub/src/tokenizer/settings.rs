//! `tokenizer_config.json` and its companions: special tokens, added tokens and chat templates.

use std::path::Path;

use serde_json::Value;

use super::MAX_SETTINGS_BYTES;
use super::added::{self, AddedToken};
use super::chat_templates::ChatTemplates;
use crate::HubError;
use crate::json::read_json;

/// The contents of `tokenizer_config.json`, `special_tokens_map.json`, `added_tokens.json` and the files of chat
/// templates; each may be absent.
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
    /// Tokens that `transformers` adds to those of `tokenizer.json`, or whose flags it takes from here: those of
    /// `added_tokens_decoder`, else of `added_tokens.json`, by id.
    pub added_tokens: Vec<AddedToken>,
    /// Templates of a conversation.
    pub chat_templates: ChatTemplates,
    /// `tokenizer_config.json`, whole.
    pub raw: Option<Value>,
}

impl TokenizerSettings {
    /// Reads the settings of a model directory.
    ///
    /// # Errors
    /// If one of the files cannot be read or is not JSON or, for a template, UTF-8.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, HubError> {
        let directory = directory.as_ref();
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
        let legacy = optional("added_tokens.json")?;
        let processor = optional("chat_template.json")?;
        let files = [&raw, &special];
        let token = |name: &str| {
            files
                .into_iter()
                .flatten()
                .find_map(|file| token_text(&file[name]))
        };
        let flag = |name: &str| raw.as_ref().and_then(|raw| raw[name].as_bool());
        let decoder = raw
            .as_ref()
            .and_then(|raw| raw["added_tokens_decoder"].as_object());
        let added_tokens = match (decoder, legacy.as_ref().and_then(Value::as_object)) {
            (Some(decoder), _) => added::of_decoder(decoder),
            (None, Some(legacy)) => added::of_legacy_file(legacy, |content| {
                let files = files.into_iter().flatten();
                files.into_iter().any(|file| names_special(file, content))
            }),
            (None, None) => Vec::new(),
        };
        Ok(Self {
            bos_token: token("bos_token"),
            eos_token: token("eos_token"),
            unk_token: token("unk_token"),
            pad_token: token("pad_token"),
            add_bos_token: flag("add_bos_token"),
            add_eos_token: flag("add_eos_token"),
            add_prefix_space: flag("add_prefix_space"),
            added_tokens,
            chat_templates: ChatTemplates::open(directory, raw.as_ref(), processor.as_ref())?,
            raw,
        })
    }

    /// Whether the beginning-of-text token is put in front of a text if `tokenizer.json` has no post-processor:
    /// `add_bos_token`, else only the Llama classes of `transformers` do so.
    pub fn adds_bos_without_post_processor(&self) -> bool {
        let class = self
            .raw
            .as_ref()
            .and_then(|raw| raw["tokenizer_class"].as_str());
        let llama = class.is_some_and(|class| class.starts_with("LlamaTokenizer"));
        self.add_bos_token.unwrap_or(llama)
    }

    /// Whether the end-of-text token is appended to a text if `tokenizer.json` has no post-processor.
    pub fn adds_eos_without_post_processor(&self) -> bool {
        self.add_eos_token.unwrap_or(false)
    }
}

/// A token is a string or an object with its `content`.
fn token_text(value: &Value) -> Option<String> {
    value
        .as_str()
        .or_else(|| value["content"].as_str())
        .map(str::to_owned)
}

/// Whether a file names `content` as one of its special tokens.
fn names_special(file: &Value, content: &str) -> bool {
    let is_it = |value: &Value| token_text(value).as_deref() == Some(content);
    let Some(fields) = file.as_object() else {
        return false;
    };
    fields.iter().any(|(key, value)| match key.as_str() {
        "additional_special_tokens" | "extra_special_tokens" => value
            .as_array()
            .is_some_and(|tokens| tokens.iter().any(is_it)),
        key => key.ends_with("_token") && is_it(value),
    })
}
