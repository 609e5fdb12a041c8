//! The tokenizer of a model: `tokenizer.json`, `tokenizer_config.json` and the chat template.

mod bpe;
mod settings;

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::HubError;
use crate::json::{read_json, read_limited};

use bpe::ModelFile;
pub use bpe::{Bpe, TokenizerKind};
pub use settings::TokenizerSettings;

/// Files of a model directory that belong to the tokenizer; whoever writes a model copies those that exist.
pub const TOKENIZER_FILES: &[&str] = &[
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
];

/// Files that go along with a model beside `config.json` and the tokenizer: generation defaults and its licence.
pub const COMPANION_FILES: &[&str] = &[
    "generation_config.json",
    "LICENSE",
    "LICENSE.txt",
    "LICENSE.md",
    "NOTICE",
    "USE_POLICY.md",
];

/// Tokenizers of very large vocabularies reach some 40 MB.
const MAX_TOKENIZER_BYTES: u64 = 512 << 20;
const MAX_SETTINGS_BYTES: u64 = 64 << 20;
/// No token id may be larger: readers build arrays indexed by it.
pub(crate) const MAX_TOKEN_ID: u32 = (1 << 24) - 1;

/// A parsed tokenizer. The parts that only a tokenizing program interprets stay JSON, in the schema of Hugging
/// Face's `tokenizers`.
#[derive(Clone, Debug, PartialEq)]
pub struct Tokenizer {
    /// Vocabulary and merges.
    pub model: Bpe,
    /// Tokens outside the model, special ones among them, by id.
    pub added_tokens: Vec<AddedToken>,
    /// Normalization of the text, if any.
    pub normalizer: Option<Value>,
    /// Cutting of the text into words.
    pub pre_tokenizer: Option<Value>,
    /// What is put around the tokens, for instance a beginning-of-text token.
    pub post_processor: Option<Value>,
    /// From tokens back to text.
    pub decoder: Option<Value>,
    /// `tokenizer_config.json` and its companions.
    pub settings: TokenizerSettings,
}

/// A token outside the model's vocabulary, or one that is matched before the model sees the text.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AddedToken {
    /// The token's id.
    pub id: u32,
    /// Its text.
    pub content: String,
    /// Whether it is dropped when decoding for humans.
    #[serde(default)]
    pub special: bool,
    /// Whether it is matched in the normalized text.
    #[serde(default)]
    pub normalized: bool,
    /// Whether it swallows white space on its left.
    #[serde(default)]
    pub lstrip: bool,
    /// Whether it swallows white space on its right.
    #[serde(default)]
    pub rstrip: bool,
    /// Whether it matches whole words only.
    #[serde(default)]
    pub single_word: bool,
}

#[derive(Deserialize)]
struct TokenizerFile {
    model: ModelFile,
    #[serde(default)]
    added_tokens: Option<Vec<AddedToken>>,
    #[serde(default)]
    normalizer: Option<Value>,
    #[serde(default)]
    pre_tokenizer: Option<Value>,
    #[serde(default)]
    post_processor: Option<Value>,
    #[serde(default)]
    decoder: Option<Value>,
}

impl Tokenizer {
    /// Reads the tokenizer of a model directory.
    ///
    /// # Errors
    /// If `tokenizer.json` is missing, damaged, inconsistent or of another kind than BPE.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, HubError> {
        let directory = directory.as_ref();
        let path = directory.join("tokenizer.json");
        let problem = |problem: String| HubError::Tokenizer {
            path: path.clone(),
            problem,
        };
        if !path.exists() {
            return Err(problem(missing(directory)));
        }
        let file: TokenizerFile = read_json(&path, MAX_TOKENIZER_BYTES)?;
        let model = Bpe::from_file(file.model).map_err(problem)?;
        let mut added_tokens = file.added_tokens.unwrap_or_default();
        added_tokens.sort_by_key(|token| token.id);
        check_added(&model, &added_tokens).map_err(problem)?;
        Ok(Self {
            model,
            added_tokens,
            normalizer: file.normalizer,
            pre_tokenizer: file.pre_tokenizer,
            post_processor: file.post_processor,
            decoder: file.decoder,
            settings: TokenizerSettings::open(directory)?,
        })
    }

    /// Whether text is cut into bytes (GPT-2, Llama 3) or into SentencePiece pieces (Llama 2).
    pub fn kind(&self) -> TokenizerKind {
        TokenizerKind::detect(self)
    }

    /// One more than the largest token id.
    pub fn id_count(&self) -> usize {
        let model = self
            .model
            .vocab
            .last()
            .map_or(0, |(_, id)| *id as usize + 1);
        let added = self
            .added_tokens
            .last()
            .map_or(0, |token| token.id as usize + 1);
        model.max(added)
    }

    /// The id of a token, added tokens first.
    pub fn token_id(&self, content: &str) -> Option<u32> {
        self.added_tokens
            .iter()
            .find(|token| token.content == content)
            .map(|token| token.id)
            .or_else(|| {
                self.model
                    .vocab
                    .iter()
                    .find(|(text, _)| text == content)
                    .map(|(_, id)| *id)
            })
    }

    /// Whether tokenizing puts the beginning-of-text token in front: what the post-processor's template says, else
    /// `add_bos_token` of `tokenizer_config.json`, else no.
    pub fn adds_bos(&self) -> bool {
        let first_of_template = self
            .post_processor
            .as_ref()
            .and_then(first_special_of_template);
        match first_of_template {
            Some(first) => self.settings.bos_token.as_deref() == Some(first),
            None => self.settings.add_bos_token.unwrap_or(false),
        }
    }
}

/// The special token that a `TemplateProcessing` (alone or within a `Sequence`) puts first, if it puts one there.
fn first_special_of_template(processor: &Value) -> Option<&str> {
    match processor["type"].as_str()? {
        "TemplateProcessing" => processor["single"].get(0)?["SpecialToken"]["id"].as_str(),
        "Sequence" => processor["processors"]
            .as_array()?
            .iter()
            .find_map(|processor| {
                // A sequence within a sequence does not occur, and recursion would follow the file's nesting.
                (processor["type"] == "TemplateProcessing")
                    .then(|| processor["single"].get(0)?["SpecialToken"]["id"].as_str())?
            }),
        _ => None,
    }
}

fn check_added(model: &Bpe, added: &[AddedToken]) -> Result<(), String> {
    for pair in added.windows(2) {
        if pair[0].id == pair[1].id {
            return Err(format!("two added tokens have the id {}", pair[0].id));
        }
    }
    for token in added {
        if token.id > MAX_TOKEN_ID {
            return Err(format!(
                "added token `{}` has the id {}, too large",
                token.content, token.id
            ));
        }
        if token.content.is_empty() {
            return Err(format!("added token {} is empty", token.id));
        }
        if let Some(text) = model.token(token.id)
            && text != token.content
        {
            return Err(format!(
                "id {} is both `{text}` and the added `{}`",
                token.id, token.content
            ));
        }
    }
    Ok(())
}

fn missing(directory: &Path) -> String {
    let mut problem = "does not exist".to_owned();
    if directory.join("tokenizer.model").exists() || directory.join("vocab.json").exists() {
        let directory = directory.display();
        problem.push_str(&format!(
            ", only an older tokenizer format; convert it once: python -c \"from transformers import AutoTokenizer as T; \
             T.from_pretrained('{directory}', use_fast=True).save_pretrained('{directory}')\""
        ));
    }
    problem
}

/// Reads a UTF-8 text file if it exists.
fn read_text(path: &Path) -> Result<Option<String>, HubError> {
    if !path.exists() {
        return Ok(None);
    }
    String::from_utf8(read_limited(path, MAX_SETTINGS_BYTES)?)
        .map(Some)
        .map_err(|_| HubError::Tokenizer {
            path: path.to_path_buf(),
            problem: "is not UTF-8".into(),
        })
}
