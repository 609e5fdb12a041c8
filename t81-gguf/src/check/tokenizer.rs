//! The tokenizer in the metadata, as `llama-vocab.cpp` reads it.

use std::collections::{HashMap, HashSet};

use super::{Findings, Rule};
use crate::metadata::{Metadata, MetadataArray, MetadataValue};
use crate::reader::GgufFile;
use crate::tokenizer::PreTokenizerName;

/// Values of `tokenizer.ggml.model`.
const MODELS: &[&str] = &[
    "llama",
    "bert",
    "gpt2",
    "hybriddna",
    "whitespace",
    "t5",
    "rwkv",
    "test",
    "plamo2",
    "gemma4",
];

/// Keys of special tokens under `tokenizer.ggml.`.
const SPECIAL: &[&str] = &[
    "bos_token_id",
    "eos_token_id",
    "eot_token_id",
    "eom_token_id",
    "unknown_token_id",
    "seperator_token_id",
    "padding_token_id",
    "mask_token_id",
    "cls_token_id",
    "fim_pre_token_id",
    "fim_suf_token_id",
    "fim_mid_token_id",
    "fim_pad_token_id",
    "fim_rep_token_id",
    "fim_sep_token_id",
    "prefix_token_id",
    "suffix_token_id",
    "middle_token_id",
];

/// The largest `llama_token_type`.
const LAST_TOKEN_TYPE: i32 = 6;

pub(super) fn check(file: &GgufFile, findings: &mut Findings) {
    let metadata = file.metadata();
    let model = match metadata.get("tokenizer.ggml.model") {
        Some(MetadataValue::String(model)) => model.as_str(),
        Some(other) => {
            let message = format!("is {other} where text belongs");
            findings.add(Rule::Tokenizer, "tokenizer.ggml.model", message);
            return;
        }
        None => {
            findings.add(Rule::Tokenizer, "tokenizer.ggml.model", "is missing");
            return;
        }
    };
    if matches!(model, "none" | "no_vocab") {
        return;
    }
    if !MODELS.contains(&model) {
        let message = format!("is {model:?}, which llama.cpp does not know");
        findings.add(Rule::Tokenizer, "tokenizer.ggml.model", message);
    }
    if model == "gpt2" {
        check_pre_tokenizer(metadata, findings);
    }
    let tokens = match texts(metadata, "tokenizer.ggml.tokens") {
        Ok(tokens) => tokens,
        Err(found) => {
            let message = match found {
                None => "is missing",
                Some(_) => "is no array of texts",
            };
            findings.add(Rule::Tokenizer, "tokenizer.ggml.tokens", message);
            return;
        }
    };
    let ids = check_distinct(&tokens, findings);
    check_counts(file, tokens.len(), findings);
    check_special(metadata, tokens.len(), findings);
    if model == "gpt2" {
        check_merges(metadata, &ids, findings);
    }
}

/// The texts of an array, UTF-8 or not, or what else `key` holds.
fn texts<'a>(
    metadata: &'a Metadata,
    key: &str,
) -> Result<Vec<&'a [u8]>, Option<&'a MetadataValue>> {
    match metadata.get(key) {
        Some(MetadataValue::Array(array)) => array.texts().ok_or(metadata.get(key)),
        found => Err(found),
    }
}

/// A text as a message shows it.
fn shown(text: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(text)
}

fn check_pre_tokenizer(metadata: &Metadata, findings: &mut Findings) {
    let message = match metadata.get("tokenizer.ggml.pre") {
        Some(MetadataValue::String(name)) if name.parse::<PreTokenizerName>().is_ok() => return,
        Some(MetadataValue::String(name)) => {
            format!("is {name:?}, which llama.cpp (b11434) does not know; the file would not load")
        }
        Some(other) => format!("is {other} where text belongs"),
        None => "is missing; llama.cpp would split text in a way that suits few models".to_owned(),
    };
    findings.add(Rule::Tokenizer, "tokenizer.ggml.pre", message);
}

/// Ids by text, without the second of two equal texts.
fn check_distinct<'a>(tokens: &[&'a [u8]], findings: &mut Findings) -> HashMap<&'a [u8], usize> {
    let mut ids = HashMap::with_capacity(tokens.len());
    let mut duplicates = 0;
    let mut example = None;
    for (id, &text) in tokens.iter().enumerate() {
        // llama.cpp replaces empty texts by `[EMPTY_id]`.
        if text.is_empty() {
            continue;
        }
        match ids.entry(text) {
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(id);
            }
            std::collections::hash_map::Entry::Occupied(entry) => {
                duplicates += 1;
                example.get_or_insert((text, *entry.get(), id));
            }
        }
    }
    if let Some((text, first, second)) = example {
        findings.add(
            Rule::Tokenizer,
            "tokenizer.ggml.tokens",
            format!(
                "has {:?} at {first} and again at {second} ({duplicates} duplicates in all); llama.cpp aborts on that",
                shown(text)
            ),
        );
    }
    ids
}

fn check_counts(file: &GgufFile, tokens: usize, findings: &mut Findings) {
    let metadata = file.metadata();
    if let Some(embedding) = file.tensor("token_embd.weight") {
        let rows = embedding.info.dimensions.get(1).copied().unwrap_or(1);
        if rows != tokens as u64 {
            let message = format!("has {tokens} texts, but the embedding has {rows} rows");
            findings.add(Rule::Tokenizer, "tokenizer.ggml.tokens", message);
        }
    }
    if let Some(value) = metadata.get("tokenizer.ggml.scores") {
        let key = "tokenizer.ggml.scores";
        match value {
            MetadataValue::Array(MetadataArray::F32(scores)) => {
                check_length(key, scores.len(), tokens, findings);
                if let Some(at) = scores.iter().position(|score| score.is_nan()) {
                    let message = format!("holds a NaN, for token {at}");
                    findings.add(Rule::Tokenizer, key, message);
                }
            }
            MetadataValue::Array(MetadataArray::I32(scores)) => {
                check_length(key, scores.len(), tokens, findings);
            }
            _ => findings.add(Rule::Tokenizer, key, "is no array of 32-bit floats"),
        }
    }
    if let Some(value) = metadata.get("tokenizer.ggml.token_type") {
        let key = "tokenizer.ggml.token_type";
        match value {
            MetadataValue::Array(MetadataArray::I32(types)) => {
                check_length(key, types.len(), tokens, findings);
                let unknown = |kind: &i32| !(0..=LAST_TOKEN_TYPE).contains(kind);
                if let Some(at) = types.iter().position(unknown) {
                    let message =
                        format!("is {} for token {at}, which is no token type", types[at]);
                    findings.add(Rule::Tokenizer, key, message);
                }
            }
            _ => findings.add(Rule::Tokenizer, key, "is no array of 32-bit integers"),
        }
    }
}

fn check_length(key: &str, found: usize, tokens: usize, findings: &mut Findings) {
    if found != tokens {
        let message = format!("has {found} entries for {tokens} tokens");
        findings.add(Rule::Tokenizer, key, message);
    }
}

fn check_special(metadata: &Metadata, tokens: usize, findings: &mut Findings) {
    for name in SPECIAL {
        let key = format!("tokenizer.ggml.{name}");
        match metadata.get(&key) {
            Some(&MetadataValue::U32(id)) if (id as usize) < tokens => {}
            Some(&MetadataValue::U32(id)) => {
                let message = format!("is {id}, but there are {tokens} tokens");
                findings.add(Rule::Tokenizer, key, message);
            }
            Some(other) => {
                let message = format!("is {other} where a 32-bit unsigned integer belongs");
                findings.add(Rule::Tokenizer, key, message);
            }
            None if *name == "eos_token_id" => {
                let message = "is missing; llama.cpp would take another token for the end of text";
                findings.add(Rule::Tokenizer, key, message);
            }
            None => {}
        }
    }
    for name in [
        "add_bos_token",
        "add_eos_token",
        "add_sep_token",
        "add_space_prefix",
    ] {
        let key = format!("tokenizer.ggml.{name}");
        if let Some(other) = metadata.get(&key)
            && !matches!(other, MetadataValue::Bool(_))
        {
            let message = format!("is {other} where true or false belongs");
            findings.add(Rule::Tokenizer, key, message);
        }
    }
}

fn check_merges(metadata: &Metadata, ids: &HashMap<&[u8], usize>, findings: &mut Findings) {
    let key = "tokenizer.ggml.merges";
    let merges = match texts(metadata, key) {
        Ok(merges) => merges,
        Err(None) if metadata.string("tokenizer.ggml.pre") == Some("kimi-k2") => return,
        Err(None) => {
            findings.add(Rule::Tokenizer, key, "is missing");
            return;
        }
        Err(Some(_)) => {
            findings.add(Rule::Tokenizer, key, "is no array of texts");
            return;
        }
    };
    // llama.cpp splits at the first space after the first byte.
    let halves = |merge: &'_ [u8]| -> Option<(usize, usize)> {
        let at = 1 + merge.get(1..)?.iter().position(|&byte| byte == b' ')?;
        (at + 1 < merge.len()).then_some((at, at + 1))
    };
    let mut seen = HashSet::with_capacity(merges.len());
    let mut wrong = Vec::new();
    for (rank, &merge) in merges.iter().enumerate() {
        let complaint = match halves(merge) {
            None => "is no pair of texts with a space between",
            Some((end, start)) => {
                let (left, right) = (&merge[..end], &merge[start..]);
                let known = |text: &[u8]| ids.contains_key(text);
                if !known(left) || !known(right) || !known(&[left, right].concat()) {
                    "joins or makes a text that is no token"
                } else if !seen.insert(merge) {
                    "appears twice"
                } else {
                    continue;
                }
            }
        };
        wrong.push((rank, merge, complaint));
    }
    if let Some((rank, merge, complaint)) = wrong.first() {
        findings.add(
            Rule::Tokenizer,
            key,
            format!(
                "has {:?} at {rank}, which {complaint} ({} such merges in all)",
                shown(merge),
                wrong.len()
            ),
        );
    }
}
