//! Ternary quantizer, packed ternary matrices and GGUF block codecs.
//!
//! A ternary weight is `scale * code` with `code` in {-1, 0, +1}. [`Quantizer`] is the one place that turns floats
//! into codes and scales: training, conversion and export all call it, so an exported file holds, bit for bit, the
//! weights of the last forward pass. The result depends on the weights and the settings alone, never on the memory
//! [`Layout`], the thread count or the vector width of the machine.
//!
//! ```
//! use t81_core::{BlockFormat, Granularity, Layout, Quantizer};
//!
//! // A weight matrix of 2 output features and 256 input features, row-major [out, in].
//! let weights: Vec<f32> = (0..512).map(|i| (i as f32 * 0.37).sin()).collect();
//! let quantizer = Quantizer::new(Granularity::group(256)?, 0.7)?;
//!
//! // Training: the forward pass sees floats that are exactly ternary once `blend` is 1.
//! let mut forward = vec![0.0; 512];
//! let statistics = quantizer.fake_quantize(&weights, 2, 256, Layout::OutIn, 1.0, &mut forward)?;
//! assert!(statistics.sparsity() > 0.25 && statistics.sparsity() < 0.35);
//!
//! // Export: packed codes and f16 scales of the same values, then GGUF blocks.
//! let matrix = quantizer.quantize(&weights, 2, 256, Layout::OutIn)?;
//! assert_eq!(matrix.dequantize(), forward);
//! let blocks = BlockFormat::Tq2_0.encode(&matrix)?;
//! assert_eq!(blocks.len(), 2 * 66);
//! assert_eq!(BlockFormat::Tq2_0.decode(&blocks, 2, 256)?.dequantize(), forward);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Feature `numeric`, on by default: the module `numeric`, exact integers over balanced ternary digits.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod codec;
pub mod dense;
mod fetch;
mod kernels;
mod matrix;
#[cfg(feature = "numeric")]
pub mod numeric;
mod pattern;
mod quantize;
mod settings;
mod vectorized;

pub use codec::{BlockFormat, CodecError};
pub use kernels::{
    ACTIVATION_BLOCK, ActivationPrecision, CodeEncoding, Instructions, InterleavedMatrix,
    fake_quantize_activations,
};
pub use matrix::{MatrixError, TernaryMatrix};
pub use pattern::TernaryPattern;
pub use quantize::{
    Distortion, QuantizeError, QuantizeStatistics, Quantizer, StochasticKey, stochastic_uniform,
};
pub use settings::{
    Granularity, GranularityChoice, Layout, ParseSettingError, Reference, Rounding, ScaleRule,
};
