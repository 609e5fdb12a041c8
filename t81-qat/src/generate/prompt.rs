//! Where a text begins and ends.

use std::path::Path;

use serde_json::Value;
use t81_hub::{ModelConfig, read_if_exists};
use tokenizers::Tokenizer;

use crate::error::QatError;

/// Tokens around a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TextBounds {
    /// What a text without a prompt begins with: its own token or that which ended the one before.
    pub(crate) first: Option<u32>,
    /// What ends a text.
    pub(crate) stop: Vec<u32>,
}

impl TextBounds {
    /// As `config` has them.
    pub(crate) fn of(config: &ModelConfig) -> Self {
        let stop = config.eos_token_ids.clone();
        Self {
            first: config.bos_token_id.or(stop.first().copied()),
            stop,
        }
    }

    /// As `config` has them, but for an end that `generation_config.json` in `directory` names.
    pub(crate) fn read(directory: &Path, config: &ModelConfig) -> Result<Self, QatError> {
        let mut bounds = Self::of(config);
        let path = directory.join("generation_config.json");
        let Some(bytes) = read_if_exists(&path)? else {
            return Ok(bounds);
        };
        let json: Value = serde_json::from_slice(&bytes).map_err(|error| QatError::Damaged {
            path,
            message: error.to_string(),
        })?;
        let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
        let named: Vec<u32> = match &json["eos_token_id"] {
            Value::Array(ids) => ids.iter().filter_map(id).collect(),
            value => id(value).into_iter().collect(),
        };
        if !named.is_empty() {
            bounds.stop = named;
        }
        Ok(bounds)
    }
}

/// The tokens of a prompt, with what the tokenizer puts around a text; of an empty one `first`.
pub(crate) fn encode_prompt(
    tokenizer: &Tokenizer,
    prompt: &str,
    first: Option<u32>,
) -> Result<Vec<u32>, QatError> {
    let failure = |error: tokenizers::Error| QatError::Tokenizer {
        action: "encode",
        message: error.to_string(),
    };
    // A tokenizer may be stored with what once cut and filled up a batch; a prompt is taken as it is.
    let mut tokenizer = tokenizer.clone();
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None).map_err(failure)?;
    let encoding = tokenizer.encode(prompt, true).map_err(failure)?;
    match (encoding.get_ids(), first) {
        ([], Some(first)) => Ok(vec![first]),
        ([], None) => Err(QatError::EmptyPrompt),
        (ids, _) => Ok(ids.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use serde_json::json;
    use t81_datasets::story_tokenizer;
    use tokenizers::{PaddingParams, PaddingStrategy, TruncationParams};

    #[test]
    fn a_prompt_is_neither_cut_nor_padded_and_never_empty() {
        let mut tokenizer = story_tokenizer(512).unwrap();
        let expected = encode_prompt(&tokenizer, "Tom went to the garden.", None).unwrap();
        tokenizer
            .with_truncation(Some(TruncationParams {
                max_length: 2,
                ..Default::default()
            }))
            .unwrap();
        let text = "Tom went to the garden.";
        assert_eq!(encode_prompt(&tokenizer, text, None).unwrap(), expected);
        tokenizer.with_truncation(None).unwrap();
        tokenizer.with_padding(Some(PaddingParams {
            strategy: PaddingStrategy::Fixed(64),
            ..Default::default()
        }));
        assert_eq!(encode_prompt(&tokenizer, text, None).unwrap(), expected);
        assert_eq!(encode_prompt(&tokenizer, "", Some(7)).unwrap(), [7]);
        let error = encode_prompt(&tokenizer, "", None).unwrap_err();
        assert!(matches!(error, QatError::EmptyPrompt));
    }

    #[test]
    fn the_generation_configuration_says_where_a_text_ends() {
        let directory = tempfile::tempdir().unwrap();
        let config = ModelConfig::from_json(json!({
            "model_type": "llama", "vocab_size": 97, "hidden_size": 64, "intermediate_size": 96,
            "num_hidden_layers": 1, "num_attention_heads": 4, "bos_token_id": 1, "eos_token_id": 2,
        }))
        .unwrap();
        let path = directory.path().join("generation_config.json");
        for (text, stop) in [
            (None, vec![2]),
            (Some("{}"), vec![2]),
            (Some(r#"{"eos_token_id": 5}"#), vec![5]),
            (Some(r#"{"eos_token_id": [5, 6]}"#), vec![5, 6]),
        ] {
            if let Some(text) = text {
                fs::write(&path, text).unwrap();
            }
            let bounds = TextBounds::read(directory.path(), &config).unwrap();
            assert_eq!((bounds.first, bounds.stop), (Some(1), stop));
        }
        fs::write(&path, "{").unwrap();
        let error = TextBounds::read(directory.path(), &config).unwrap_err();
        assert!(error.to_string().contains("generation_config.json"));
    }
}
