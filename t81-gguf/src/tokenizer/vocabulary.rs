//! The token list: one text and type for every embedding row.

use std::collections::{HashMap, HashSet};

use t81_hub::{AddedToken, AddedTokenSource, Tokenizer};

use super::style::Style;
use super::{TokenizerError, sentence_piece};

/// `llama_token_type` of llama.cpp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenType {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

/// One text and type for every embedding row.
pub(super) struct Vocabulary {
    pub(super) texts: Vec<String>,
    pub(super) types: Vec<TokenType>,
    /// Remarks on tokens with other ids than their file contains, and on those that are left out.
    pub(super) notes: Vec<String>,
}

impl Vocabulary {
    pub(super) fn collect(
        tokenizer: &Tokenizer,
        style: Style,
        rows: usize,
    ) -> Result<Self, TokenizerError> {
        let mut slots: Vec<Option<(String, TokenType)>> = vec![None; rows];
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
        let without_row = |token: &&AddedToken| {
            token.source != AddedTokenSource::TokenizerJson && token.id as usize >= rows
        };
        for token in &tokenizer.added_tokens {
            if without_row(&token) {
                continue;
            }
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
        let left_out: Vec<_> = tokenizer.added_tokens.iter().filter(without_row).collect();
        let mut notes = numbering_notes(tokenizer, rows);
        if let Some(first) = left_out.first() {
            notes.push(format!(
                "{} defines {}, for which the embedding of {rows} rows has none left; left out",
                first.source.file_name(),
                name_some(&left_out)
            ));
        }
        let (texts, types) = fill(slots).into_iter().unzip();
        let vocabulary = Self {
            texts,
            types,
            notes,
        };
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

/// Gives rows without a token the text `[PADn]`, or one that no token has.
fn fill(slots: Vec<Option<(String, TokenType)>>) -> Vec<(String, TokenType)> {
    let taken: HashSet<String> = slots
        .iter()
        .flatten()
        .map(|(text, _)| text)
        .filter(|text| text.starts_with("[PAD"))
        .cloned()
        .collect();
    let filler = |row: usize| {
        let mut text = format!("[PAD{row}]");
        while taken.contains(&text) {
            text.insert(4, '_');
        }
        (text, TokenType::Unused)
    };
    slots
        .into_iter()
        .enumerate()
        .map(|(row, slot)| slot.unwrap_or_else(|| filler(row)))
        .collect()
}

/// Remarks on added tokens whose ids are not those that their files contain.
fn numbering_notes(tokenizer: &Tokenizer, rows: usize) -> Vec<String> {
    let renumbered: Vec<_> = tokenizer
        .added_tokens
        .iter()
        .filter(|token| token.id != token.written_id && (token.id as usize) < rows)
        .collect();
    let Some(first) = renumbered.first() else {
        return Vec::new();
    };
    vec![format!(
        "{} numbers added tokens otherwise than the tokenizers library, which ignores these numbers: {} has the id {}, not {}; \
         the GGUF file has the library's, as training does",
        first.source.file_name(),
        name_some(&renumbered),
        first.id,
        first.written_id,
    )]
}

/// The first of some tokens, and how many more there are.
pub(super) fn name_some(tokens: &[&AddedToken]) -> String {
    match tokens {
        [] => String::new(),
        [only] => format!("{:?}", only.content),
        [first, rest @ ..] => format!("{:?} (and {} more)", first.content, rest.len()),
    }
}

/// Control tokens that some tokenizers forget to mark as special; the list of convert_hf_to_gguf.py.
fn looks_special(text: &str) -> bool {
    matches!(text, "<pad>" | "<mask>" | "<2mass>" | "[@BOS@]")
        || (text.starts_with("<|") && text.ends_with("|>"))
        || (text.starts_with("<｜") && text.ends_with("｜>"))
        || (text.starts_with("<unused") && text.ends_with('>'))
}
