//! The one place that turns floats into ternary codes and scales.

mod diagnose;
mod distortion;
mod error;
mod fake;
mod fold;
mod group;
mod pack;
#[cfg(target_arch = "x86_64")]
mod pack_avx2;
mod quantizer;
mod random;
mod row;
mod rows;
mod rule;
mod stripe;
mod tensor;

pub use distortion::Distortion;
pub use error::QuantizeError;
pub use fake::QuantizeStatistics;
pub use quantizer::Quantizer;
pub use random::{StochasticKey, stochastic_uniform};
