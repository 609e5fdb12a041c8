//! Special token ids, and whether tokenizing puts them around a text.

use serde_json::Value;

use super::Tokenizer;
use crate::ModelConfig;

/// The special tokens of a model, from its tokenizer and its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Token that starts a text.
    pub begin: Option<u32>,
    /// Token that ends a text.
    pub end: Option<u32>,
    /// Token for what is unknown.
    pub unknown: Option<u32>,
    /// Token that pads a batch.
    pub padding: Option<u32>,
    /// Whether tokenizing puts `begin` in front of a text.
    pub adds_begin: bool,
    /// Whether tokenizing puts `end` after a text.
    pub adds_end: bool,
    /// Sentences about what the files contain and this does not.
    pub notes: Vec<String>,
}

impl SpecialTokens {
    /// Finds the special tokens: `tokenizer_config.json` names them by text; `config.json` gives ids where it does not. A
    /// token that is not in the vocabulary, or an id beyond it, is left out with a note.
    ///
    /// The post-processor of `tokenizer.json` decides what is put around a text, as in `transformers` 5 and today's
    /// `convert_hf_to_gguf.py`; `add_bos_token` and `add_eos_token` of `tokenizer_config.json` count only if there is none.
    pub fn new(tokenizer: &Tokenizer, config: &ModelConfig) -> Self {
        let settings = &tokenizer.settings;
        let mut notes = ids_beyond_the_vocabulary(config);
        let id = |text: &str| {
            let id = tokenizer.token_id(text)?;
            ((id as usize) < config.vocab_size).then_some(id)
        };
        let mut named = |key: &str, text: &Option<String>| {
            let text = text.as_ref()?;
            let found = id(text);
            if found.is_none() {
                notes.push(format!(
                    "{key} is {text:?}, which is not in the vocabulary; it is left out"
                ));
            }
            found
        };
        let begin = named("bos_token", &settings.bos_token);
        let end = named("eos_token", &settings.eos_token);
        let unknown = named("unk_token", &settings.unk_token);
        let padding = named("pad_token", &settings.pad_token);

        let template = Template::of(tokenizer);
        // A template names what the settings do not.
        let first = template.as_ref().and_then(|template| template.first);
        let last = template.as_ref().and_then(|template| template.last);
        let begin = begin.or(first.and_then(id)).or(config.bos_token_id);
        let end = end
            .or(last.and_then(id))
            .or(config.eos_token_ids.first().copied());
        let is =
            |found: Option<u32>, text: Option<&str>| found.is_some() && text.and_then(id) == found;
        let (adds_begin, adds_end) = match &template {
            Some(template) => (is(begin, template.first), is(end, template.last)),
            None => (
                settings.adds_bos_without_post_processor() && begin.is_some(),
                settings.adds_eos_without_post_processor() && end.is_some(),
            ),
        };
        if let Some(template) = &template {
            for (key, flag, adds) in [
                ("add_bos_token", settings.add_bos_token, adds_begin),
                ("add_eos_token", settings.add_eos_token, adds_end),
            ] {
                if let Some(flag) = flag.filter(|&flag| flag != adds) {
                    notes.push(format!(
                        "{key} is {flag} in tokenizer_config.json, but the post-processor of tokenizer.json does otherwise; \
                         it decides, as in transformers 5 (the Llama and Gemma tokenizers of transformers 4 follow {key})"
                    ));
                }
            }
            for (place, text, adds) in [
                ("before", template.first, adds_begin),
                ("after", template.last, adds_end),
            ] {
                if let Some(text) = text.filter(|_| !adds) {
                    notes.push(format!(
                        "the post-processor of tokenizer.json puts {text:?} {place} a text, which is not the token that {} \
                         a text here; llama.cpp puts none",
                        if place == "before" { "begins" } else { "ends" }
                    ));
                }
            }
        }
        Self {
            begin,
            end,
            unknown: unknown.or_else(|| tokenizer.model.unk_token.as_deref().and_then(id)),
            padding: padding.or(config.pad_token_id),
            adds_begin,
            adds_end,
            notes,
        }
    }
}

/// The special tokens that a post-processor puts around a text.
struct Template<'a> {
    first: Option<&'a str>,
    last: Option<&'a str>,
}

impl<'a> Template<'a> {
    /// That of the first `TemplateProcessing`; `ByteLevel` alone puts none; none without either.
    fn of(tokenizer: &'a Tokenizer) -> Option<Self> {
        let processor = tokenizer.post_processor.as_ref()?;
        // A sequence within a sequence does not occur, and recursion would follow the file's nesting.
        let steps: Vec<&Value> = match processor["processors"].as_array() {
            Some(steps) => steps.iter().collect(),
            None => vec![processor],
        };
        let is = |kind: &str| steps.iter().find(|step| step["type"] == kind);
        match (is("TemplateProcessing"), is("ByteLevel")) {
            (Some(template), _) => {
                let pieces = template["single"].as_array().map_or(&[][..], Vec::as_slice);
                let special = |piece: Option<&'a Value>| piece?["SpecialToken"]["id"].as_str();
                Some(Self {
                    first: special(pieces.first()),
                    last: special(pieces.last()),
                })
            }
            (None, Some(_)) => Some(Self {
                first: None,
                last: None,
            }),
            (None, None) => None,
        }
    }
}

/// Notes on the ids of `config.json` that are not those of a token; [`ModelConfig`] has none in their place.
fn ids_beyond_the_vocabulary(config: &ModelConfig) -> Vec<String> {
    let is_token = |id: &Value| id.as_u64().is_some_and(|id| id < config.vocab_size as u64);
    let mut notes = Vec::new();
    for key in ["bos_token_id", "eos_token_id", "pad_token_id"] {
        let values = match &config.raw[key] {
            Value::Null => continue,
            Value::Array(ids) if key == "eos_token_id" => ids.as_slice(),
            id => std::slice::from_ref(id),
        };
        for value in values.iter().filter(|id| !is_token(id)) {
            notes.push(format!(
                "{key} in config.json is {value}, which is not the id of a token (there are {}); it is left out",
                config.vocab_size
            ));
        }
    }
    notes
}
