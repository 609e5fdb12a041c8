//! The names that llama.cpp has for pre-tokenizers.

use std::fmt;
use std::str::FromStr;

use t81_hub::{did_you_mean, nearest};

/// Every value of `tokenizer.ggml.pre` that llama.cpp b11434 loads (`llama_vocab::impl::load` in `src/llama-vocab.cpp`); any other
/// makes it refuse the file.
const NAMES: &[&str] = &[
    "a.x-4.0",
    "afmoe",
    "bailingmoe",
    "bailingmoe2",
    "bloom",
    "chameleon",
    "chatglm-bpe",
    "codeshell",
    "cohere2moe",
    "command-r",
    "dbrx",
    "deepseek-coder",
    "deepseek-llm",
    "deepseek-r1-qwen",
    "deepseek-v3",
    "default",
    "exaone",
    "exaone-moe",
    "exaone4",
    "f2llmv2",
    "falcon",
    "falcon-h1",
    "falcon3",
    "gemma4",
    "gigachat",
    "glm4",
    "glm5",
    "gpt-2",
    "gpt-4o",
    "gpt3-finnish",
    "granite-docling",
    "granite-embed-multi-311m",
    "granite-embed-multi-97m",
    "grok-2",
    "hunyuan",
    "hunyuan-dense",
    "hy_v4",
    "jais",
    "jais-2",
    "jina-de",
    "jina-es",
    "jina-v1-en",
    "jina-v2-code",
    "jina-v2-de",
    "jina-v2-es",
    "jina-v5-nano",
    "joyai-llm",
    "kanana2",
    "kimi-k2",
    "kormo",
    "laguna",
    "lfm2",
    "llada-moe",
    "llama-bpe",
    "llama-v3",
    "llama3",
    "llama4",
    "megrez",
    "mellum",
    "mellum2",
    "midm-2.0",
    "minerva-7b",
    "minicpm5",
    "minimax-m2",
    "mmbert",
    "modern-bert",
    "mpt",
    "olmo",
    "phi-2",
    "pixtral",
    "poro-chat",
    "qwen2",
    "qwen35",
    "refact",
    "roberta-bpe",
    "sarvam-moe",
    "seed-coder",
    "smaug-bpe",
    "smollm",
    "solar-open",
    "spark2_5",
    "stablelm2",
    "starcoder",
    "superbpe",
    "talkie",
    "tekken",
    "tiny_aya",
    "trillion",
    "ufakzeka",
    "viking",
    "whitespace",
    "youtu",
];

/// llama.cpp's name of a pre-tokenizer: a value of `tokenizer.ggml.pre` that it loads.
///
/// ```
/// use t81_gguf::PreTokenizerName;
///
/// assert_eq!("olmo".parse::<PreTokenizerName>()?.as_str(), "olmo");
/// let error = "qwen-2".parse::<PreTokenizerName>().unwrap_err();
/// assert!(error.to_string().contains("did you mean `qwen2`?"));
/// # Ok::<(), t81_gguf::UnknownPreTokenizerName>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PreTokenizerName(&'static str);

impl PreTokenizerName {
    /// Every name, in alphabetical order.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.iter().copied().map(Self)
    }

    /// The name.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for PreTokenizerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A name that llama.cpp has no pre-tokenizer for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("llama.cpp has no pre-tokenizer of this name and would not load the file{}; it has {}", did_you_mean(nearest(.0, NAMES).copied()), NAMES.join(", "))]
pub struct UnknownPreTokenizerName(String);

impl FromStr for PreTokenizerName {
    type Err = UnknownPreTokenizerName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = NAMES.iter().find(|name| **name == text);
        known
            .map(|name| Self(name))
            .ok_or_else(|| UnknownPreTokenizerName(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_names_of_llama_cpp_are_read() {
        for name in PreTokenizerName::all() {
            assert_eq!(name.to_string().parse(), Ok(name));
        }
        for known in crate::tokenizer::pre_tokenizer::known_names() {
            assert!(known.parse::<PreTokenizerName>().is_ok(), "{known}");
        }
        for unknown in ["nonsense", "", "GPT-2", "gpt-2 "] {
            let error = unknown.parse::<PreTokenizerName>().unwrap_err();
            let message = error.to_string();
            assert!(message.contains("gpt-2, gpt-4o, gpt3-finnish"), "{message}");
        }
    }
}
