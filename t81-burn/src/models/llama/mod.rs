//! The LLaMA family of decoders: rotary position embedding, grouped-query attention, SwiGLU, RMS normalisation
//! (Touvron et al. 2023, [LLaMA](https://arxiv.org/abs/2302.13971), and its successors up to Llama 3 and SmolLM2).
//!
//! [`LlamaConfig::init`] builds a [`Llama`] with fresh weights and [`Llama::load_weights`] fills it from a Hugging Face
//! checkpoint. Every matrix product by a weight is a [`burn::nn::Linear`] whose path is the Hugging Face name
//! without its `model.` prefix, such as `layers.0.self_attn.q_proj.weight`.

mod attention;
mod config;
mod layer;
mod loss;
mod model;
mod rotary;
mod weights;

pub use attention::LlamaAttention;
pub use config::{LlamaConfig, LlamaConfigError, RopeScaling};
pub use layer::{LlamaLayer, LlamaMlp};
pub use loss::{TokenLoss, cross_entropy};
pub use model::Llama;
pub use rotary::RotaryTables;
pub use weights::{LoadWeightsError, Weight, WeightLayout, WeightSpec, hugging_face_name};
