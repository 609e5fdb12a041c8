//! The architectures that T81 knows, one file each: which fields `config.json` has and which tensors the model. To add one,
//! write its file and list it in [`Architecture`].

mod gemma3;
mod gpt2;
mod llama;
mod phi3;
mod qwen2;
mod qwen3;
mod table;

use crate::config::Fields;
use crate::{HubError, ModelConfig};

pub use table::{RowOrder, TensorRole, TensorSpec};

/// The architectures that T81 knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Architecture {
    /// `LlamaForCausalLM` and `MistralForCausalLM`: Llama 1 to 3.2, Mistral, TinyLlama, SmolLM2 and others.
    Llama,
    /// `Qwen2ForCausalLM`: Qwen2 and Qwen2.5.
    Qwen2,
    /// `Qwen3ForCausalLM`.
    Qwen3,
    /// `Gemma3ForCausalLM`: the text model alone.
    Gemma3,
    /// `Phi3ForCausalLM`: Phi-3, Phi-3.5 and Phi-4.
    Phi3,
    /// `GPT2LMHeadModel`.
    Gpt2,
}

impl Architecture {
    /// Every architecture.
    pub const ALL: [Self; 6] = [
        Self::Llama,
        Self::Qwen2,
        Self::Qwen3,
        Self::Gemma3,
        Self::Phi3,
        Self::Gpt2,
    ];

    /// The value of `general.architecture` in a GGUF file.
    pub fn gguf_name(self) -> &'static str {
        self.family().gguf
    }

    /// The values of `model_type` in `config.json` that stand for it.
    pub fn model_types(self) -> &'static [&'static str] {
        self.family().model_types
    }

    /// How its blocks normalise.
    pub fn normalisation(self) -> Normalisation {
        self.family().normalisation
    }

    /// The architecture of a `model_type`, and that name for good.
    pub(crate) fn of_model_type(model_type: &str) -> Option<(Self, &'static str)> {
        Self::ALL.into_iter().find_map(|architecture| {
            let mut names = architecture.model_types().iter();
            let name = names.find(|name| **name == model_type)?;
            Some((architecture, *name))
        })
    }

    /// All values of `model_type` that are known, for messages.
    pub(crate) fn supported() -> String {
        let types = Self::ALL.iter().flat_map(|known| known.model_types());
        types.copied().collect::<Vec<_>>().join(", ")
    }

    pub(crate) const fn family(self) -> &'static Family {
        match self {
            Architecture::Llama => &llama::LLAMA,
            Architecture::Qwen2 => &qwen2::QWEN2,
            Architecture::Qwen3 => &qwen3::QWEN3,
            Architecture::Gemma3 => &gemma3::GEMMA3,
            Architecture::Phi3 => &phi3::PHI3,
            Architecture::Gpt2 => &gpt2::GPT2,
        }
    }

    pub(crate) fn tensors(self, config: &ModelConfig) -> Vec<TensorSpec> {
        table::expand(self.family().tensors, config)
    }
}

/// How activations are normalised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalisation {
    /// By the root mean square, with a gain (RMSNorm).
    RootMeanSquare,
    /// By mean and variance, with gain and bias (LayerNorm).
    Layer,
}

/// What one architecture's file says.
pub(crate) struct Family {
    /// Values of `model_type`.
    pub(crate) model_types: &'static [&'static str],
    /// `general.architecture` of GGUF.
    pub(crate) gguf: &'static str,
    /// What stands before the names of all tensors but the output matrix; a checkpoint may lack it.
    pub(crate) prefix: &'static str,
    /// Fields that `config.json` calls by another name: the usual name and its own.
    pub(crate) renamed: &'static [(&'static str, &'static str)],
    /// What an absent field means.
    pub(crate) defaults: fn(model_type: &str) -> Defaults,
    pub(crate) normalisation: Normalisation,
    pub(crate) tensors: &'static [table::Row],
    /// Reads what is special about the architecture.
    pub(crate) complete: fn(&Fields<'_>, &mut ModelConfig) -> Result<(), HubError>,
}

/// What a field means that `config.json` does not have: the defaults of transformers' configuration class.
#[derive(Clone, Copy)]
pub(crate) struct Defaults {
    /// `num_key_value_heads`; as many as query heads if `None`, and wherever the file says `null`.
    pub(crate) key_value_heads: Option<usize>,
    /// `head_dim`; `hidden_size / num_attention_heads` if `None`.
    pub(crate) head_dim: Option<usize>,
    /// `max_position_embeddings`.
    pub(crate) positions: usize,
    /// `rms_norm_eps` or `layer_norm_epsilon`.
    pub(crate) norm_eps: f64,
    /// `tie_word_embeddings`.
    pub(crate) tied: bool,
    /// `sliding_window`; all tokens before if `None`, and wherever the file says `null`.
    pub(crate) window: Option<usize>,
}

/// Sets the activation of an architecture that knows no other than SiLU.
fn silu_only(fields: &Fields<'_>, config: &mut ModelConfig) -> Result<(), HubError> {
    config.activation(fields, "silu", &["silu", "swish"])
}
