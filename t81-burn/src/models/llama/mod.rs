//! The LLaMA family of decoders: rotary position embedding, grouped-query attention, SwiGLU, RMS normalisation
//! (Touvron et al. 2023, [LLaMA](https://arxiv.org/abs/2302.13971), and its successors up to Llama 3 and SmolLM2), and its
//! relatives [Mistral](LlamaConfig::mistral), [Qwen2](LlamaConfig::qwen2) and [Qwen3](LlamaConfig::qwen3).
//!
//! [`LlamaConfig::init`] builds a [`Llama`] with fresh weights and [`Llama::load_weights`] fills it from a Hugging Face
//! checkpoint. Every matrix product by a weight is a [`burn::nn::Linear`] whose path is the Hugging Face name
//! without its `model.` prefix, such as `layers.0.self_attn.q_proj.weight`.

mod attention;
mod config;
mod layer;
mod mistral;
mod model;
mod qwen2;
mod qwen3;
mod rotary;

pub use super::config_error::DecoderConfigError as LlamaConfigError;
pub use super::loss::{TokenLoss, cross_entropy};
pub use super::weights::{LoadWeightsError, Weight, WeightLayout, WeightSpec};
pub use attention::LlamaAttention;
pub use config::{AttentionBiases, LlamaConfig, RopeScaling};
pub use layer::{LlamaLayer, LlamaMlp};
pub use model::{Llama, hugging_face_name};
pub(crate) use rotary::RotaryFrequencies;
pub use rotary::RotaryTables;
