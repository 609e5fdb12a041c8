//! Special token ids of `config.json`.

use serde_json::Value;

use super::fields::{Fields, brief};
use crate::HubError;

/// Ids below the vocabulary's size.
pub(super) struct SpecialTokens {
    pub(super) bos: Option<u32>,
    pub(super) eos: Vec<u32>,
    pub(super) pad: Option<u32>,
}

impl SpecialTokens {
    pub(super) fn parse(fields: &Fields<'_>, vocab_size: usize) -> Result<Self, HubError> {
        Ok(Self {
            bos: token_id(fields, "bos_token_id", vocab_size)?,
            eos: token_ids(fields, "eos_token_id", vocab_size)?,
            pad: pad_token_id(fields, vocab_size)?,
        })
    }
}

fn token_id(fields: &Fields<'_>, name: &str, vocab_size: usize) -> Result<Option<u32>, HubError> {
    fields
        .integer(name, 0..=vocab_size - 1)
        .map(|id| id.map(|id| id as u32))
}

fn token_ids(fields: &Fields<'_>, name: &str, vocab_size: usize) -> Result<Vec<u32>, HubError> {
    let Some(Value::Array(ids)) = fields.get(name) else {
        return Ok(token_id(fields, name, vocab_size)?.into_iter().collect());
    };
    ids.iter()
        .map(|id| match id.as_u64() {
            Some(id) if id < vocab_size as u64 => Ok(id as u32),
            _ => Err(fields.error(
                name,
                format!("lists {}, no id below {vocab_size}", brief(id)),
            )),
        })
        .collect()
}

fn pad_token_id(fields: &Fields<'_>, vocab_size: usize) -> Result<Option<u32>, HubError> {
    match fields.get("pad_token_id") {
        None => Ok(None),
        Some(id) if id.is_i64() || id.is_u64() => Ok(id
            .as_u64()
            .filter(|&id| id < vocab_size as u64)
            .map(|id| id as u32)),
        Some(id) => Err(fields.error("pad_token_id", format!("is {}, not an integer", brief(id)))),
    }
}
