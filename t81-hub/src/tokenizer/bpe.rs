//! The byte-pair-encoding model of a tokenizer.

use std::collections::HashSet;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{MAX_TOKEN_ID, Tokenizer};
use crate::json::UniqueMap;

/// Vocabulary and merges of a byte-pair encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bpe {
    /// Tokens and their ids, ascending by id; no id and no text occurs twice. Ids may have gaps.
    pub vocab: Vec<(String, u32)>,
    /// Pairs to merge, the most urgent first. Both parts and their concatenation are in the vocabulary.
    pub merges: Vec<(String, String)>,
    /// Whether unknown characters become tokens `<0x00>` to `<0xFF>` of their UTF-8 bytes.
    pub byte_fallback: bool,
    /// Token of what nothing else matches.
    pub unk_token: Option<String>,
    /// Whether a word that is in the vocabulary is taken whole before any merge.
    pub ignore_merges: bool,
}

/// How a tokenizer represents text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenizerKind {
    /// Bytes mapped to printable characters (GPT-2 and its heirs): a `ByteLevel` pre-tokenizer or decoder.
    ByteLevel,
    /// Pieces with `▁` for a space and byte fallback (SentencePiece).
    SentencePiece,
}

impl TokenizerKind {
    pub(super) fn detect(tokenizer: &Tokenizer) -> Self {
        let byte_level = [&tokenizer.pre_tokenizer, &tokenizer.decoder]
            .into_iter()
            .flatten()
            .any(|part| names_type(part, "ByteLevel"));
        if byte_level || !tokenizer.model.byte_fallback {
            Self::ByteLevel
        } else {
            Self::SentencePiece
        }
    }
}

/// True if a component of `tokenizers`' schema is of the given type or is a sequence with such an element.
fn names_type(component: &Value, kind: &str) -> bool {
    component["type"] == kind
        || ["pretokenizers", "decoders"].iter().any(|list| {
            component[*list]
                .as_array()
                .is_some_and(|parts| parts.iter().any(|part| part["type"] == kind))
        })
}

/// The `model` of a `tokenizer.json`, of any type: what only BPE has is optional.
#[derive(Deserialize)]
pub(super) struct ModelFile {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    vocab: Vocab,
    #[serde(default)]
    merges: Option<Vec<Merge>>,
    #[serde(default)]
    byte_fallback: Option<bool>,
    #[serde(default)]
    unk_token: Option<String>,
    #[serde(default)]
    ignore_merges: Option<bool>,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    #[serde(default)]
    end_of_word_suffix: Option<String>,
}

/// BPE maps tokens to ids; Unigram lists tokens with scores, which is not kept.
#[derive(Default)]
struct Vocab(Vec<(String, u32)>);

impl<'de> Deserialize<'de> for Vocab {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct VocabVisitor;

        impl<'de> Visitor<'de> for VocabVisitor {
            type Value = Vocab;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of tokens and ids")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vocab, A::Error> {
                UniqueMap::deserialize(MapAccessDeserializer::new(map)).map(|map| Vocab(map.0))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vocab, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Vocab::default())
            }
        }

        deserializer.deserialize_any(VocabVisitor)
    }
}

/// A merge is `"a b"` in files of tokenizers before 0.20 and `["a", "b"]` since.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Joined(String),
    Pair(String, String),
}

impl Bpe {
    /// Validates the `model` of a `tokenizer.json`; an error is a sentence without the file's name.
    pub(super) fn from_file(file: ModelFile) -> Result<Self, String> {
        match file.kind.as_deref() {
            Some("BPE") => {}
            // Files written before the key existed are told apart by what they hold.
            None if file.merges.is_some() => {}
            Some(kind) => {
                return Err(format!(
                    "its model is of type {kind}; only BPE is supported"
                ));
            }
            None => return Err("its model has no type; only BPE is supported".into()),
        }
        for (field, value) in [
            ("continuing_subword_prefix", &file.continuing_subword_prefix),
            ("end_of_word_suffix", &file.end_of_word_suffix),
        ] {
            if value.as_ref().is_some_and(|value| !value.is_empty()) {
                return Err(format!("its {field} is not supported"));
            }
        }
        let mut vocab = file.vocab.0;
        if vocab.is_empty() {
            return Err("its vocabulary is empty".into());
        }
        vocab.sort_by_key(|(_, id)| *id);
        if let Some(pair) = vocab.windows(2).find(|pair| pair[0].1 == pair[1].1) {
            return Err(format!(
                "`{}` and `{}` have the same id {}",
                pair[0].0, pair[1].0, pair[0].1
            ));
        }
        if let Some((token, id)) = vocab.last().filter(|(_, id)| *id > MAX_TOKEN_ID) {
            return Err(format!("token `{token}` has the id {id}, too large"));
        }
        let merges = parse_merges(file.merges.unwrap_or_default(), &vocab)?;
        let unk_token = file.unk_token.filter(|token| !token.is_empty());
        Ok(Self {
            vocab,
            merges,
            byte_fallback: file.byte_fallback.unwrap_or(false),
            unk_token,
            ignore_merges: file.ignore_merges.unwrap_or(false),
        })
    }

    /// The text of a token id.
    pub fn token(&self, id: u32) -> Option<&str> {
        let index = self.vocab.binary_search_by_key(&id, |(_, id)| *id).ok()?;
        Some(&self.vocab[index].0)
    }
}

fn parse_merges(
    merges: Vec<Merge>,
    vocab: &[(String, u32)],
) -> Result<Vec<(String, String)>, String> {
    let tokens: HashSet<&str> = vocab.iter().map(|(token, _)| token.as_str()).collect();
    let mut merged = String::new();
    merges
        .into_iter()
        .enumerate()
        .map(|(rank, merge)| {
            let (left, right) = match merge {
                Merge::Pair(left, right) => (left, right),
                Merge::Joined(text) => match text.split_once(' ') {
                    Some((left, right)) if !right.contains(' ') => {
                        (left.to_owned(), right.to_owned())
                    }
                    _ => return Err(format!("merge {rank} (`{text}`) is not two tokens")),
                },
            };
            merged.clear();
            merged.push_str(&left);
            merged.push_str(&right);
            for token in [&left, &right, &merged] {
                if !tokens.contains(token.as_str()) {
                    return Err(format!(
                        "merge {rank} uses `{token}`, which is not in the vocabulary"
                    ));
                }
            }
            Ok((left, right))
        })
        .collect()
}
