//! Text that a model writes.

mod continuation;
mod model;
mod prompt;
mod run;
mod sampler;
mod text;

pub use sampler::Sampling;

pub(crate) use continuation::{Continuation, Limits};
pub(crate) use prompt::{TextBounds, encode_prompt};
pub(crate) use run::run;
pub(crate) use sampler::Sampler;
pub(crate) use text::TextStream;
