//! What a ternary model computes with floats on a CPU: embedding and output head, attention, normalisation, activation
//! functions.
//!
//! Everything works on slices and allocates little, so that a token of a small model costs its weights and not the
//! bookkeeping around them. All instruction sets and thread counts give the same bits.

mod attention;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod element;
mod elementwise;
mod lanes;
mod matrix;
mod product;

pub use attention::{AttentionScratch, KeyValues};
pub use element::FloatFormat;
pub use elementwise::{log_sum_exp, rms_norm, silu_gate};
pub use matrix::DenseMatrix;
