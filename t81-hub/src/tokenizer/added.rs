//! Tokens outside the model's vocabulary, and the ids that they have.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Bpe, MAX_TOKEN_ID};

/// A token outside the model's vocabulary, or one that is matched before the model sees the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedToken {
    /// The token's id, as Hugging Face's `tokenizers` assigns it: the vocabulary's id of the same text, else the next
    /// free one.
    pub id: u32,
    /// Its text.
    pub content: String,
    /// Whether it is dropped when decoding for humans.
    pub special: bool,
    /// Whether it is matched in the normalized text.
    pub normalized: bool,
    /// Whether it swallows white space on its left.
    pub lstrip: bool,
    /// Whether it swallows white space on its right.
    pub rstrip: bool,
    /// Whether it matches whole words only.
    pub single_word: bool,
    /// The id that `source` contains, which `tokenizers` ignores.
    pub written_id: u32,
    /// The file that defines the token.
    pub source: AddedTokenSource,
}

/// The file that an [`AddedToken`] comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddedTokenSource {
    /// `tokenizer.json`.
    TokenizerJson,
    /// `added_tokens_decoder` of `tokenizer_config.json`.
    TokenizerConfig,
    /// `added_tokens.json`, which older versions of `transformers` wrote.
    AddedTokensJson,
}

impl AddedTokenSource {
    /// The name of the file.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::TokenizerJson => "tokenizer.json",
            Self::TokenizerConfig => "tokenizer_config.json",
            Self::AddedTokensJson => "added_tokens.json",
        }
    }
}

/// An entry of `added_tokens` in `tokenizer.json`.
#[derive(Deserialize)]
pub(super) struct AddedTokenEntry {
    id: u32,
    content: String,
    #[serde(default)]
    special: bool,
    #[serde(default)]
    normalized: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    single_word: bool,
}

impl From<AddedTokenEntry> for AddedToken {
    fn from(entry: AddedTokenEntry) -> Self {
        Self {
            id: entry.id,
            content: entry.content,
            special: entry.special,
            normalized: entry.normalized,
            lstrip: entry.lstrip,
            rstrip: entry.rstrip,
            single_word: entry.single_word,
            written_id: entry.id,
            source: AddedTokenSource::TokenizerJson,
        }
    }
}

/// The tokens of `added_tokens_decoder`, by id; what is not a token is skipped.
pub(super) fn of_decoder(decoder: &Map<String, Value>) -> Vec<AddedToken> {
    let token = |(id, value): (&String, &Value)| {
        let id = id.parse().ok().filter(|&id| id <= MAX_TOKEN_ID)?;
        let content = value["content"].as_str().filter(|text| !text.is_empty())?;
        let flag = |name: &str| value[name].as_bool();
        let special = flag("special").unwrap_or(false);
        Some(AddedToken {
            id,
            content: content.to_owned(),
            special,
            normalized: flag("normalized").unwrap_or(!special),
            lstrip: flag("lstrip").unwrap_or(false),
            rstrip: flag("rstrip").unwrap_or(false),
            single_word: flag("single_word").unwrap_or(false),
            written_id: id,
            source: AddedTokenSource::TokenizerConfig,
        })
    };
    by_written_id(decoder.iter().filter_map(token))
}

/// The tokens of `added_tokens.json`, by id; those that `is_special` names are special.
pub(super) fn of_legacy_file(
    file: &Map<String, Value>,
    is_special: impl Fn(&str) -> bool,
) -> Vec<AddedToken> {
    let token = |(content, id): (&String, &Value)| {
        let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
        let id = id.filter(|&id| id <= MAX_TOKEN_ID && !content.is_empty())?;
        let special = is_special(content);
        Some(AddedToken {
            id,
            content: content.clone(),
            special,
            normalized: !special,
            lstrip: false,
            rstrip: false,
            single_word: false,
            written_id: id,
            source: AddedTokenSource::AddedTokensJson,
        })
    };
    by_written_id(file.iter().filter_map(token))
}

fn by_written_id(tokens: impl Iterator<Item = AddedToken>) -> Vec<AddedToken> {
    let mut tokens: Vec<_> = tokens.collect();
    tokens.sort_by_key(|token| token.written_id);
    tokens
}

/// Assigns ids as `tokenizers` and `transformers` do (`AddedVocabulary::add_tokens`, `PreTrainedTokenizerFast`): first to
/// the tokens of `tokenizer.json`, in its order, then to those of the settings. A text of the vocabulary has its id there,
/// any other the next free id from the size of the vocabulary on, whatever id the file contains. The result is ascending
/// by id.
///
/// # Errors
/// If that id belongs to another token of the vocabulary, which happens in vocabularies with gaps.
pub(super) fn assign_ids(
    model: &Bpe,
    own: Vec<AddedToken>,
    of_settings: &[AddedToken],
) -> Result<Vec<AddedToken>, String> {
    let vocabulary: HashMap<&str, u32> = model
        .vocab
        .iter()
        .map(|(text, id)| (text.as_str(), *id))
        .collect();
    let mut assigned: Vec<AddedToken> = Vec::with_capacity(own.len() + of_settings.len());
    let mut positions: HashMap<String, usize> = HashMap::new();
    for batch in [own, of_settings.to_vec()] {
        let size = model.vocab.len() as u32;
        let largest = assigned.iter().map(|token| token.id).max();
        let mut next = largest.map_or(size, |largest| size.max(largest + 1));
        for mut token in batch {
            match positions.get(&token.content) {
                // That file has no flags of its own.
                Some(_) if token.source == AddedTokenSource::AddedTokensJson => {}
                Some(&position) => {
                    token.id = assigned[position].id;
                    token.written_id = assigned[position].written_id;
                    token.source = assigned[position].source;
                    assigned[position] = token;
                }
                None => {
                    token.id = match vocabulary.get(token.content.as_str()) {
                        Some(&id) => id,
                        None => {
                            next += 1;
                            next - 1
                        }
                    };
                    positions.insert(token.content.clone(), assigned.len());
                    assigned.push(token);
                }
            }
        }
    }
    for token in &assigned {
        if let Some(text) = model.token(token.id)
            && text != token.content
        {
            return Err(format!(
                "the added token `{}` has the id {} of `{text}`: the vocabulary has {} tokens and ids up to {}, and the tokenizers \
                 library numbers added tokens from {} on",
                token.content,
                token.id,
                model.vocab.len(),
                model.vocab.last().map_or(0, |(_, id)| *id),
                model.vocab.len(),
            ));
        }
    }
    assigned.sort_by_key(|token| token.id);
    Ok(assigned)
}
