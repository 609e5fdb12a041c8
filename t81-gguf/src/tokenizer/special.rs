//! Special token ids, and whether texts begin and end with them.

use std::collections::HashMap;

use serde_json::Value;
use t81_hub::{ModelConfig, Tokenizer};

use super::TokenizerError;
use crate::metadata::Metadata;

/// The special tokens that llama.cpp asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SpecialTokens {
    begin: u32,
    end: u32,
    unknown: Option<u32>,
    padding: Option<u32>,
    add_begin: bool,
    add_end: bool,
}

impl SpecialTokens {
    pub(super) fn write(&self, metadata: &mut Metadata) {
        metadata.set("tokenizer.ggml.bos_token_id", self.begin);
        metadata.set("tokenizer.ggml.eos_token_id", self.end);
        if let Some(id) = self.unknown {
            metadata.set("tokenizer.ggml.unknown_token_id", id);
        }
        if let Some(id) = self.padding {
            metadata.set("tokenizer.ggml.padding_token_id", id);
        }
        metadata.set("tokenizer.ggml.add_bos_token", self.add_begin);
        metadata.set("tokenizer.ggml.add_eos_token", self.add_end);
    }
}

/// Finds the special tokens: tokenizer_config.json names them by text; config.json gives ids where it does not.
pub(super) fn special_tokens(
    tokenizer: &Tokenizer,
    config: &ModelConfig,
    ids: &HashMap<String, u32>,
) -> Result<SpecialTokens, TokenizerError> {
    let settings = &tokenizer.settings;
    let named =
        |key: &str, text: &Option<String>| match text {
            None => Ok(None),
            Some(text) => ids.get(text).copied().map(Some).ok_or_else(|| {
                TokenizerError::UnknownSpecialToken {
                    key: key.to_owned(),
                    text: text.clone(),
                }
            }),
        };
    let end = named("eos_token", &settings.eos_token)?
        .or(config.eos_token_ids.first().copied())
        .ok_or(TokenizerError::NoEndOfText)?;
    // Without a beginning of text of its own (Qwen2), the id is never used but must be there: missing, it would be 11.
    let begin = named("bos_token", &settings.bos_token)?
        .or(config.bos_token_id)
        .unwrap_or(end);
    let unknown = match named("unk_token", &settings.unk_token)? {
        Some(id) => Some(id),
        None => tokenizer
            .model
            .unk_token
            .as_ref()
            .and_then(|text| ids.get(text).copied()),
    };
    let padding = named("pad_token", &settings.pad_token)?.or(config.pad_token_id);

    // A post-processor says what happens; without one tokenizer_config.json does, and transformers' Llama classes
    // begin texts unless told otherwise.
    let processors = processors(tokenizer.post_processor.as_ref());
    let decided = !processors.is_empty();
    let single = processors
        .iter()
        .find_map(|step| step.get("single")?.as_array())
        .map_or(&[][..], Vec::as_slice);
    let is = |piece: Option<&Value>, id: u32| {
        let text = piece
            .and_then(|piece| piece.pointer("/SpecialToken/id"))
            .and_then(Value::as_str);
        text.is_some_and(|text| ids.get(text) == Some(&id))
    };
    let class = settings
        .raw
        .as_ref()
        .and_then(|raw| raw.get("tokenizer_class"))
        .and_then(Value::as_str);
    let llama_class = class.is_some_and(|class| class.starts_with("LlamaTokenizer"));
    Ok(SpecialTokens {
        begin,
        end,
        unknown,
        padding,
        add_begin: if decided {
            is(single.first(), begin)
        } else {
            settings.add_bos_token.unwrap_or(llama_class)
        },
        add_end: if decided {
            is(single.last(), end)
        } else {
            settings.add_eos_token.unwrap_or(false)
        },
    })
}

/// The steps of a post-processor that decide about special tokens: a template puts them, ByteLevel alone puts none.
fn processors(post_processor: Option<&Value>) -> Vec<&Value> {
    super::flatten(post_processor, "processors")
        .into_iter()
        .filter(|step| {
            matches!(
                super::step_type(step),
                Some("TemplateProcessing" | "ByteLevel")
            )
        })
        .collect()
}
