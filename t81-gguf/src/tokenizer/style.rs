//! Which of llama.cpp's tokenizers a tokenizer.json is for.

use serde_json::Value;
use t81_hub::{Tokenizer, TokenizerKind};

use super::{TokenizerError, flatten, step_type};

/// A tokenizer of llama.cpp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Bytes written as printable characters (GPT-2's), split by expressions, merged by rank.
    ByteLevel,
    /// Text with `▁` for spaces, merged by score, with byte tokens for the rest.
    SentencePiece { space_prefix: bool },
}

impl Style {
    pub(super) fn of(tokenizer: &Tokenizer) -> Result<Self, TokenizerError> {
        let normalizers = flatten(tokenizer.normalizer.as_ref(), "normalizers");
        let refused = |step: &Value| TokenizerError::Normalizer {
            normalizer: step.to_string(),
        };
        if tokenizer.kind() == TokenizerKind::ByteLevel {
            // llama.cpp normalizes nothing; NFC changes rare text only, so it is a note (see `differences`).
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
}

fn splits_at_space(step: &Value) -> bool {
    step_type(step) == Some("Split")
        && step.pointer("/pattern/String").and_then(Value::as_str) == Some(" ")
}

fn replaces_space(step: &Value) -> bool {
    step.pointer("/pattern/String").and_then(Value::as_str) == Some(" ")
        && step.get("content").and_then(Value::as_str) == Some("▁")
}
