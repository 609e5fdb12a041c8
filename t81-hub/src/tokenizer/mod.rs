//! The tokenizer of a model: `tokenizer.json`, `tokenizer_config.json` and the chat template.

mod added;
mod bpe;
mod chat_templates;
mod companions;
mod settings;
mod special;

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::json::{read_json, read_limited};
use crate::{ForeignContent, HubError};

pub use added::{AddedToken, AddedTokenSource};
use added::{AddedTokenEntry, assign_ids};
use bpe::ModelFile;
pub use bpe::{Bpe, TokenizerKind};
pub use chat_templates::ChatTemplates;
pub(crate) use chat_templates::is_template_path;
pub use companions::companion_files;
pub(crate) use companions::is_companion;
pub use settings::TokenizerSettings;
pub use special::SpecialTokens;

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
    /// Tokens outside the model, special ones among them, by id. Those of the settings are among them.
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

#[derive(Deserialize)]
struct TokenizerFile {
    model: ModelFile,
    #[serde(default)]
    added_tokens: Option<Vec<AddedTokenEntry>>,
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
        let settings = TokenizerSettings::open(directory)?;
        let own: Vec<AddedToken> = file
            .added_tokens
            .unwrap_or_default()
            .into_iter()
            .map(AddedToken::from)
            .collect();
        check_added(&own).map_err(problem)?;
        let added_tokens = assign_ids(&model, own, &settings.added_tokens).map_err(problem)?;
        Ok(Self {
            model,
            added_tokens,
            normalizer: file.normalizer,
            pre_tokenizer: file.pre_tokenizer,
            post_processor: file.post_processor,
            decoder: file.decoder,
            settings,
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
}

fn check_added(added: &[AddedToken]) -> Result<(), String> {
    for token in added {
        if token.written_id > MAX_TOKEN_ID {
            return Err(format!(
                "added token `{}` has the id {}, too large",
                token.content, token.written_id
            ));
        }
        if token.content.is_empty() {
            return Err(format!("added token {} is empty", token.written_id));
        }
    }
    Ok(())
}

fn missing(directory: &Path) -> String {
    let mut problem = "does not exist".to_owned();
    let older = directory.join("tokenizer.model");
    let found = read_limited(&older, MAX_TOKENIZER_BYTES)
        .ok()
        .and_then(|bytes| ForeignContent::recognize(&bytes));
    if let Some(found) = found {
        problem.push_str(&format!(", and `{}` is {found}", older.display()));
    } else if older.exists() || directory.join("vocab.json").exists() {
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
    let bytes = read_limited(path, MAX_SETTINGS_BYTES)?;
    if let Some(found) = ForeignContent::recognize(&bytes) {
        return Err(HubError::Foreign {
            path: path.to_path_buf(),
            found,
        });
    }
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|_| HubError::Tokenizer {
            path: path.to_path_buf(),
            problem: "is not UTF-8".into(),
        })
}
