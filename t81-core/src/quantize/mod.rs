//! The one place that turns floats into ternary codes and scales.

mod columns;
mod diagnose;
mod distortion;
mod error;
mod fake;
mod fold;
mod group;
mod loops;
#[cfg(target_arch = "x86_64")]
mod loops_avx2;
#[cfg(target_arch = "x86_64")]
mod loops_avx512;
mod pack;
mod quantizer;
mod random;
mod region;
mod row;
mod row_loops;
mod rows;
mod rule;
mod stripe;
mod stripe_loops;
mod tensor;
mod tile;

pub use distortion::Distortion;
pub use error::QuantizeError;
pub use fake::QuantizeStatistics;
pub use quantizer::Quantizer;
pub use random::{StochasticKey, stochastic_uniform};
