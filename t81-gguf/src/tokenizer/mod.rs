//! The tokenizer of a model as GGUF metadata.

mod chat_template;
mod differences;
mod name;
mod pre_tokenizer;
mod pre_tokenizer_name;
mod sentence_piece;
mod style;
mod vocabulary;

use serde_json::Value;
use t81_hub::{ModelConfig, SpecialTokens, Tokenizer};
use thiserror::Error;

use crate::metadata::Metadata;

pub(crate) use name::avoid_misleading_name;
pub use pre_tokenizer_name::{PreTokenizerName, UnknownPreTokenizerName};
use style::Style;
use vocabulary::Vocabulary;

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
}

/// Writes the tokenizer's keys into `metadata` and returns remarks on what llama.cpp will do otherwise.
///
/// `rows` is the number of embedding rows: llama.cpp requires exactly that many tokens, so rows without a token become
/// `[PADn]`. `pre_override` replaces the name that the pre-tokenizer's structure implies.
pub(crate) fn describe(
    tokenizer: &Tokenizer,
    config: &ModelConfig,
    rows: usize,
    pre_override: Option<&str>,
    metadata: &mut Metadata,
) -> Result<Vec<String>, TokenizerError> {
    let style = Style::of(tokenizer)?;
    let vocabulary = Vocabulary::collect(tokenizer, style, rows)?;
    let special = SpecialTokens::new(tokenizer, config);
    let end = special.end.ok_or(TokenizerError::NoEndOfText)?;
    let phi_3 = name::is_phi_3(metadata.string("general.name"), &vocabulary.texts);
    let mut notes = differences::notes(tokenizer, style, phi_3);
    notes.extend_from_slice(&vocabulary.notes);
    notes.extend_from_slice(&special.notes);

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
    write_special(&special, end, metadata);
    notes.extend(chat_template::write(
        &tokenizer.settings.chat_templates,
        metadata,
    ));
    Ok(notes)
}

fn write_special(special: &SpecialTokens, end: u32, metadata: &mut Metadata) {
    // Without a beginning of text of its own (Qwen2), the id is never used but must be there: missing, it would be 11.
    metadata.set("tokenizer.ggml.bos_token_id", special.begin.unwrap_or(end));
    metadata.set("tokenizer.ggml.eos_token_id", end);
    if let Some(id) = special.unknown {
        metadata.set("tokenizer.ggml.unknown_token_id", id);
    }
    if let Some(id) = special.padding {
        metadata.set("tokenizer.ggml.padding_token_id", id);
    }
    metadata.set("tokenizer.ggml.add_bos_token", special.adds_begin);
    metadata.set("tokenizer.ggml.add_eos_token", special.adds_end);
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

/// A merge as llama.cpp reads it: two texts with one space between, so a space inside takes its byte-level form `Ġ`.
fn merge_text((left, right): &(String, String)) -> String {
    format!("{} {}", left.replace(' ', "Ġ"), right.replace(' ', "Ġ"))
}

#[cfg(test)]
mod tests;
