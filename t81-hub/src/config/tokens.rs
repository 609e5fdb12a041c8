//! Special token ids of `config.json`.

use serde_json::Value;

use super::fields::Fields;

/// Ids below the vocabulary's size. Any other value is none: old checkpoints write -1, and configurations of small
/// vocabularies keep the default ids of GPT-2.
pub(super) struct SpecialTokens {
    pub(super) bos: Option<u32>,
    pub(super) eos: Vec<u32>,
    pub(super) pad: Option<u32>,
}

impl SpecialTokens {
    pub(super) fn parse(fields: &Fields<'_>, vocab_size: usize) -> Self {
        let id = |value: &Value| {
            let id = value.as_u64().filter(|&id| id < vocab_size as u64)?;
            u32::try_from(id).ok()
        };
        let eos = match fields.get("eos_token_id") {
            Some(Value::Array(ids)) => ids.iter().filter_map(id).collect(),
            value => value.and_then(id).into_iter().collect(),
        };
        Self {
            bos: fields.get("bos_token_id").and_then(id),
            eos,
            pad: fields.get("pad_token_id").and_then(id),
        }
    }
}
