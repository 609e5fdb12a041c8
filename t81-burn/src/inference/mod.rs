//! The LLaMA family on a CPU without tensors, for text token after token.
//!
//! [`LlamaInference`] computes what [`Llama`](crate::models::llama::Llama) does, from plain slices in buffers that it keeps: a
//! token costs the reading of the weights and little beside. Ternary weights stay packed, the projections of a layer that
//! read the same activations are one matrix, and weights that stay float, such as the output head, are kept in 16 bits where
//! that loses nothing.

mod cache;
mod forward;
mod layer;
mod model;
mod projection;
mod rotation;
mod trained;
mod weights;

pub use cache::LlamaCache;
pub use model::LlamaInference;
pub use weights::{FloatRows, InferenceWeight};
