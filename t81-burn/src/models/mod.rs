//! Decoder language models built from Burn's own layers, so that a reparameterization can make their weights ternary.
//!
//! [`DecoderConfig`] and [`Decoder`] stand for any of them. [`llama::LlamaConfig`] describes the LLaMA family, to which
//! [Mistral](llama::LlamaConfig::mistral), [Qwen2](llama::LlamaConfig::qwen2) and [Qwen3](llama::LlamaConfig::qwen3)
//! belong; [`gpt2::Gpt2Config`] describes GPT-2.

mod attention;
mod backend;
mod cache;
mod checkpointing;
mod config_error;
mod decoder;
mod fresh;
mod loss;
mod precision;
mod stages;
mod traversal;
mod weights;

pub mod gpt2;
pub mod llama;

pub use cache::{CacheError, CacheShape, DecoderCache};
pub use config_error::DecoderConfigError;
pub use decoder::{Decoder, DecoderConfig};
pub use loss::{TokenLoss, cross_entropy};
pub(crate) use weights::transposed;
pub use weights::{LoadWeightsError, Weight, WeightLayout, WeightSpec};
