//! GPT-2: learned positions, LayerNorm before attention and feed-forward part, GELU
//! (Radford et al. 2019, [Language models are unsupervised multitask learners](https://openai.com/index/better-language-models/)).
//!
//! [`Gpt2Config::init`] builds a [`Gpt2`] with fresh weights and [`Gpt2::load_weights`] fills it from a Hugging Face
//! checkpoint. Every matrix product by a weight is a [`burn::nn::Linear`] whose path is the Hugging Face name without its
//! `transformer.` prefix, such as `h.0.attn.c_attn.weight`; the checkpoint keeps these matrices `[in, out]` (Conv1D), as Burn
//! does. There is no dropout.

mod attention;
mod config;
mod layer;
mod model;

pub use attention::Gpt2Attention;
pub use config::Gpt2Config;
pub use layer::{Gpt2Layer, Gpt2Mlp};
pub use model::{Gpt2, hugging_face_name};
