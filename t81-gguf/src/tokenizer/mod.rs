//! The tokenizer of a model as GGUF metadata.

mod name;
mod pre_tokenizer;
mod sentence_piece;
mod special;

use std::collections::HashMap;

use serde_json::Value;
use t81_hub::{ModelConfig, Tokenizer, TokenizerKind};
use thiserror::Error;

use crate::metadata::Metadata;

pub(crate) use name::avoid_misleading_name;

/// Why llama.cpp could not tokenize as a model's tokenizer.json does.
#[derive(Debug, Error, Clone, PartialEq)]
#[non_exhaustive]
pub enum TokenizerError {
    /// Text is split in a way that llama.cpp has no name for.
    #[error(
        "its pre-tokenizer is none that llama.cpp is known to have ({description}); if llama.cpp has one that splits alike, name it \
         with --tokenizer-pre (known here: {})",
        pre_tokenizer::known_names().collect::<Vec<_>>().join(", ")
    )]
    UnknownPreTokenizer {
        /// What the tokenizer.json holds.
        description: String,
    },
    /// Text is rewritten before it is split, in a way that llama.cpp does not follow.
    #[error("its normalizer has no counterpart in llama.cpp: {normalizer}")]
    Normalizer {
        /// The normalizer, as JSON.
        normalizer: String,
    },
    /// Two ids share one text, which llama.cpp aborts on.
    #[error("token {text:?} has the ids {first} and {second}; llama.cpp needs distinct texts")]
    DuplicateToken {
        /// The text.
        text: String,
        /// The lower id.
        first: u32,
        /// The higher id.
        second: u32,
    },
    /// Two texts share one id.
    #[error("id {id} belongs to the tokens {first:?} and {second:?}")]
    DuplicateId {
        /// The id.
        id: u32,
        /// One text.
        first: String,
        /// The other text.
        second: String,
    },
    /// A token without an embedding.
    #[error("token {text:?} has the id {id}, but the embedding has {rows} rows")]
    TokenOutOfRange {
        /// The text.
        text: String,
        /// Its id.
        id: u32,
        /// Rows of the embedding.
        rows: usize,
    },
    /// A SentencePiece-style vocabulary that cannot spell every byte.
    #[error(
        "the vocabulary has no token <0x{value:02X}>, on which llama.cpp falls back for unknown text"
    )]
    MissingByte {
        /// The byte.
        value: u8,
    },
    /// No token ends a text; llama.cpp would take token 11 for it.
    #[error(
        "it names no end-of-text token; set eos_token in tokenizer_config.json or eos_token_id in config.json"
    )]
    NoEndOfText,
    /// A special token that is not in the vocabulary.
    #[error("{key} is {text:?}, which is not in the vocabulary")]
    UnknownSpecialToken {
        /// The key in tokenizer_config.json.
        key: String,
        /// The text.
        text: String,
    },
}

/// `llama_token_type` of llama.cpp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TokenType {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

/// Writes the tokenizer's keys into `metadata` and returns remarks on what llama.cpp will do otherwise.
///
/// `rows` is the number of embedding rows: llama.cpp wants exactly that many tokens, so rows without a token get `[PADn]`.
/// `pre_override` replaces the name that the pre-tokenizer's structure tells.
pub(crate) fn describe(
    tokenizer: &Tokenizer,
    config: &ModelConfig,
    rows: usize,
    pre_override: Option<&str>,
    metadata: &mut Metadata,
) -> Result<Vec<String>, TokenizerError> {
    let style = Style::of(tokenizer)?;
    let mut notes = style.notes(tokenizer);
    let vocabulary = Vocabulary::collect(tokenizer, style, rows)?;

    match style {
        Style::ByteLevel => {
            let pre = match pre_override {
                Some(name) => name,
                None => pre_tokenizer::identify(
                    tokenizer.pre_tokenizer.as_ref().unwrap_or(&Value::Null),
                    tokenizer.model.ignore_merges,
                )?,
            };
            notes.extend(pre_tokenizer::remark(pre).map(str::to_owned));
            metadata.set("tokenizer.ggml.model", "gpt2");
            metadata.set("tokenizer.ggml.pre", pre);
        }
        Style::SentencePiece { space_prefix } => {
            sentence_piece::check_bytes(&vocabulary.texts)?;
            metadata.set("tokenizer.ggml.model", "llama");
            metadata.set("tokenizer.ggml.pre", pre_override.unwrap_or("default"));
            metadata.set("tokenizer.ggml.add_space_prefix", space_prefix);
        }
    }
    let special = special::special_tokens(tokenizer, config, &vocabulary.ids)?;
    let scores = match style {
        Style::ByteLevel => None,
        Style::SentencePiece { .. } => {
            let missing =
                sentence_piece::missing_merges(&vocabulary.texts, &tokenizer.model.merges);
            if missing > 0 {
                notes.push(format!(
                    "tokenizer.json lacks {missing} merges that llama.cpp's SentencePiece tokenizer makes; some text may be tokenized otherwise"
                ));
            }
            Some(sentence_piece::scores(
                &vocabulary.texts,
                &tokenizer.model.merges,
            ))
        }
    };
    metadata.set("tokenizer.ggml.tokens", vocabulary.texts);
    if let Some(scores) = scores {
        metadata.set("tokenizer.ggml.scores", scores);
    }
    metadata.set(
        "tokenizer.ggml.token_type",
        vocabulary
            .types
            .iter()
            .map(|&kind| kind as i32)
            .collect::<Vec<_>>(),
    );
    if style == Style::ByteLevel {
        metadata.set(
            "tokenizer.ggml.merges",
            tokenizer
                .model
                .merges
                .iter()
                .map(merge_text)
                .collect::<Vec<_>>(),
        );
    }
    special.write(metadata);
    if let Some(template) = &tokenizer.settings.chat_template {
        metadata.set("tokenizer.chat_template", template.as_str());
    }
    Ok(notes)
}

/// Which of llama.cpp's tokenizers a tokenizer.json is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// Bytes written as printable characters (GPT-2's), split by expressions, merged by rank.
    ByteLevel,
    /// Text with `▁` for spaces, merged by score, with byte tokens for the rest.
    SentencePiece { space_prefix: bool },
}

impl Style {
    fn of(tokenizer: &Tokenizer) -> Result<Self, TokenizerError> {
        let normalizers = flatten(tokenizer.normalizer.as_ref(), "normalizers");
        let refused = |step: &Value| TokenizerError::Normalizer {
            normalizer: step.to_string(),
        };
        if tokenizer.kind() == TokenizerKind::ByteLevel {
            // llama.cpp normalizes nothing; NFC changes rare text only, so it is a remark (see `notes`).
            return match normalizers
                .iter()
                .find(|step| step_type(step) != Some("NFC"))
            {
                None => Ok(Style::ByteLevel),
                Some(step) => Err(refused(step)),
            };
        }
        let mut space_prefix = false;
        let no_spaces = normalizers.iter().any(|step| replaces_space(step));
        for step in normalizers {
            match step_type(step) {
                Some("Prepend") if step.get("prepend").and_then(Value::as_str) == Some("▁") => {
                    space_prefix = true
                }
                Some("Replace") if replaces_space(step) => {}
                _ => return Err(refused(step)),
            }
        }
        for step in flatten(tokenizer.pre_tokenizer.as_ref(), "pretokenizers") {
            // Gemma's: without a space left to split at, it does nothing.
            if no_spaces && splits_at_space(step) {
                continue;
            }
            if step_type(step) != Some("Metaspace") {
                return Err(TokenizerError::UnknownPreTokenizer {
                    description: step.to_string(),
                });
            }
            let scheme = step.get("prepend_scheme").and_then(Value::as_str);
            let flag = step.get("add_prefix_space").and_then(Value::as_bool);
            space_prefix |= scheme.map_or(flag.unwrap_or(true), |scheme| scheme != "never");
        }
        Ok(Style::SentencePiece { space_prefix })
    }

    fn notes(self, tokenizer: &Tokenizer) -> Vec<String> {
        let mut notes = Vec::new();
        if self == Style::ByteLevel
            && !flatten(tokenizer.normalizer.as_ref(), "normalizers").is_empty()
        {
            notes.push(
                "llama.cpp does not normalize text to NFC, as tokenizer.json asks".to_owned(),
            );
        }
        notes
    }
}

/// The steps of a normalizer or pre-tokenizer, a sequence unfolded; none for null.
fn flatten<'a>(component: Option<&'a Value>, members: &str) -> Vec<&'a Value> {
    match component {
        None | Some(Value::Null) => Vec::new(),
        // A sequence within a sequence stays a step, of a type that nothing here accepts.
        Some(component) => match component.get(members).and_then(Value::as_array) {
            Some(steps) => steps.iter().collect(),
            None => vec![component],
        },
    }
}

fn step_type(step: &Value) -> Option<&str> {
    step.get("type").and_then(Value::as_str)
}

fn splits_at_space(step: &Value) -> bool {
    step_type(step) == Some("Split")
        && step.pointer("/pattern/String").and_then(Value::as_str) == Some(" ")
}

fn replaces_space(step: &Value) -> bool {
    step.pointer("/pattern/String").and_then(Value::as_str) == Some(" ")
        && step.get("content").and_then(Value::as_str) == Some("▁")
}

/// One text and type for every embedding row.
struct Vocabulary {
    texts: Vec<String>,
    types: Vec<TokenType>,
    /// Ids by the text in tokenizer.json.
    ids: HashMap<String, u32>,
}

impl Vocabulary {
    fn collect(tokenizer: &Tokenizer, style: Style, rows: usize) -> Result<Self, TokenizerError> {
        let mut slots: Vec<Option<(String, TokenType)>> = vec![None; rows];
        let mut ids = HashMap::new();
        let mut place = |text: &str, stored: String, id: u32, kind: TokenType, replace: bool| {
            let slot =
                slots
                    .get_mut(id as usize)
                    .ok_or_else(|| TokenizerError::TokenOutOfRange {
                        text: text.to_owned(),
                        id,
                        rows,
                    })?;
            match slot {
                Some((present, _)) if !(replace && *present == text) => {
                    Err(TokenizerError::DuplicateId {
                        id,
                        first: present.clone(),
                        second: text.to_owned(),
                    })
                }
                _ => {
                    *slot = Some((stored, kind));
                    ids.insert(text.to_owned(), id);
                    Ok(())
                }
            }
        };
        for (text, id) in &tokenizer.model.vocab {
            let kind = match style {
                Style::SentencePiece { .. } if sentence_piece::byte_value(text).is_some() => {
                    TokenType::Byte
                }
                _ => TokenType::Normal,
            };
            place(text, text.clone(), *id, kind, false)?;
        }
        for token in &tokenizer.added_tokens {
            let unknown = matches!(style, Style::SentencePiece { .. })
                && tokenizer.model.unk_token.as_deref() == Some(token.content.as_str());
            let (kind, stored) = if unknown {
                (TokenType::Unknown, token.content.clone())
            } else if token.special || looks_special(&token.content) {
                (TokenType::Control, token.content.clone())
            } else {
                // llama.cpp looks these up in the raw text, before spaces become `▁`.
                (TokenType::UserDefined, token.content.replace('▁', " "))
            };
            place(&token.content, stored, token.id, kind, true)?;
        }
        let (texts, types) = slots
            .into_iter()
            .enumerate()
            .map(|(row, slot)| slot.unwrap_or_else(|| (format!("[PAD{row}]"), TokenType::Unused)))
            .unzip();
        let vocabulary = Self { texts, types, ids };
        vocabulary.check_distinct()?;
        Ok(vocabulary)
    }

    fn check_distinct(&self) -> Result<(), TokenizerError> {
        let mut seen = HashMap::with_capacity(self.texts.len());
        for (id, text) in self.texts.iter().enumerate() {
            if let Some(first) = seen.insert(text, id as u32) {
                return Err(TokenizerError::DuplicateToken {
                    text: text.clone(),
                    first,
                    second: id as u32,
                });
            }
        }
        Ok(())
    }
}

/// Control tokens that some tokenizers forget to mark as special; the list of convert_hf_to_gguf.py.
fn looks_special(text: &str) -> bool {
    matches!(text, "<pad>" | "<mask>" | "<2mass>" | "[@BOS@]")
        || (text.starts_with("<|") && text.ends_with("|>"))
        || (text.starts_with("<｜") && text.ends_with("｜>"))
        || (text.starts_with("<unused") && text.ends_with('>'))
}

/// A merge as llama.cpp reads it: two texts with one space between, so a space inside takes its byte-level form `Ġ`.
fn merge_text((left, right): &(String, String)) -> String {
    format!("{} {}", left.replace(' ', "Ġ"), right.replace(' ', "Ġ"))
}

#[cfg(test)]
mod tests;
