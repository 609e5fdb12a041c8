//! Where llama.cpp tokenizes some text otherwise than a tokenizer.json, and no key of a GGUF file can change that.

use serde_json::Value;
use t81_hub::{AddedToken, Tokenizer};

use super::name::PHI_3_WITHOUT_STRIPPING;
use super::style::Style;
use super::vocabulary::name_some;
use super::{flatten, step_type};

/// Remarks on the differences, one for each kind. `phi_3` is whether llama.cpp will take the model for Phi-3, whose control
/// tokens swallow white space on their right.
pub(super) fn notes(tokenizer: &Tokenizer, style: Style, phi_3: bool) -> Vec<String> {
    let mut notes = Vec::new();
    let normalizers = flatten(tokenizer.normalizer.as_ref(), "normalizers");
    let prepends = normalizers
        .iter()
        .any(|step| step_type(step) == Some("Prepend"));
    match style {
        Style::ByteLevel if !normalizers.is_empty() => {
            notes.push(
                "llama.cpp does not normalize text to NFC, as tokenizer.json asks".to_owned(),
            );
        }
        Style::ByteLevel => {}
        Style::SentencePiece { .. } => notes.extend(metaspace_notes(tokenizer, prepends)),
    }

    let added = |differs: &dyn Fn(&AddedToken) -> bool| -> Option<String> {
        let tokens: Vec<_> = tokenizer
            .added_tokens
            .iter()
            .filter(|token| differs(token))
            .collect();
        (!tokens.is_empty()).then(|| name_some(&tokens))
    };
    if let Some(tokens) = added(&|token| token.single_word) {
        notes.push(format!(
            "llama.cpp finds added tokens inside of words too, tokenizer.json only whole words (single_word): {tokens}"
        ));
    }
    let strips_right =
        |token: &AddedToken| phi_3 && !PHI_3_WITHOUT_STRIPPING.contains(&token.content.as_str());
    if let Some(tokens) = added(&|token| token.lstrip || token.rstrip != strips_right(token)) {
        notes.push(match phi_3 {
            false => format!(
                "llama.cpp keeps the white space beside added tokens that tokenizer.json strips (lstrip, rstrip): {tokens}"
            ),
            true => format!(
                "llama.cpp strips the white space beside the added tokens of Phi-3 in its own way, not by lstrip and rstrip of \
                 tokenizer.json: {tokens}"
            ),
        });
    }
    // Without a prefix, a normalized token is found in the same places.
    if prepends && let Some(tokens) = added(&|token| token.normalized) {
        notes.push(format!(
            "llama.cpp finds added tokens in the text as it is, tokenizer.json in the normalized text (normalized): {tokens}"
        ));
    }
    notes
}

/// Remarks on `Metaspace`: llama.cpp puts a space before every stretch of text between special tokens, and merges across
/// spaces.
fn metaspace_notes(tokenizer: &Tokenizer, prepends: bool) -> Vec<String> {
    let mut notes = Vec::new();
    let steps = flatten(tokenizer.pre_tokenizer.as_ref(), "pretokenizers");
    let Some(metaspace) = steps
        .into_iter()
        .find(|step| step_type(step) == Some("Metaspace"))
    else {
        return notes;
    };
    let scheme = metaspace.get("prepend_scheme").and_then(Value::as_str);
    let flag = metaspace.get("add_prefix_space").and_then(Value::as_bool);
    let prefix = scheme.unwrap_or(match flag.unwrap_or(true) {
        true => "always",
        false => "never",
    });
    if prefix != "never" && !prepends {
        notes.push(match prefix {
            "first" => {
                "llama.cpp puts a space before text that follows a special token, and before text that begins with a space; \
                 tokenizer.json does neither (Metaspace with prepend_scheme first)"
            }
            _ => {
                "llama.cpp puts a space before text that begins with a space, too; tokenizer.json does not (Metaspace with \
                 prepend_scheme always)"
            }
        }
        .to_owned());
    }
    let split = metaspace.get("split").and_then(Value::as_bool);
    let crosses = |text: &str| text.chars().skip(1).any(|c| c == '▁');
    if split.unwrap_or(true)
        && let Some((text, _)) = tokenizer.model.vocab.iter().find(|(text, _)| crosses(text))
    {
        notes.push(format!(
            "llama.cpp merges across spaces, tokenizer.json does not (Metaspace with split): it may form {text:?} and the like"
        ));
    }
    notes
}
