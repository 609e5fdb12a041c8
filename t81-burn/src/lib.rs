//! Ternary quantization-aware training for [Burn](https://burn.dev).
//!
//! Burn says that quantization-aware training is not supported yet; this crate is that missing half for weights in
//! {-1, 0, +1}. Any model becomes ternary in one line, without a change to the model:
//!
//! ```
//! use burn::module::Module;
//! use burn::nn::{Linear, LinearConfig};
//! use burn::tensor::{Device, Tensor};
//! use t81_burn::Ternary;
//!
//! #[derive(Module, Debug)]
//! struct Mlp {
//!     input: Linear,
//!     output: Linear,
//! }
//!
//! let device = Device::default();
//! let model = Mlp {
//!     input: LinearConfig::new(64, 128).init(&device),
//!     output: LinearConfig::new(128, 10).init(&device),
//! };
//! let (model, report) = Ternary::default().apply(model);
//! assert_eq!(report.ternary.len(), 2);
//!
//! // The forward pass now uses scale * {-1, 0, +1}; records, optimizers and checkpoints see the float weights.
//! let values: Vec<f32> = model.input.weight.val().slice([0..64, 0..1]).into_data().try_into_vec().unwrap();
//! let scale = values.iter().fold(0.0f32, |scale, value| scale.max(value.abs()));
//! assert!(values.iter().all(|&value| value == 0.0 || value.abs() == scale));
//! ```
//!
//! What there is:
//!
//! - [`Ternary`]: makes the `Linear` weights of a model ternary by Burn's reparameterization, and reports which.
//! - [`TernaryLinear`]: the same as a module of its own.
//! - [`TernarySchedule`], [`TernaryHandle`], [`TernaryScheduler`]: warm-up of threshold and blend, driven by the
//!   optimizer step and saved with Burn's checkpoints.
//! - [`ternary_quantize`], [`TernaryOps`]: the operation itself, with its straight-through gradient.
//! - [`Ternary::with_activations`]: training that sees the int8 activations of quick inference, too.
//! - [`Ternary::pack`]: inference with two bits a weight, on the packed kernels of `t81_core`.
//! - [`inference`]: the LLaMA family on a CPU, without tensors: text token after token from packed weights.
//! - [`models`]: decoder-only language models whose parameters carry the names of their Hugging Face checkpoints.
//!
//! # Feature flags
//!
//! - `flex` (default): Burn's CPU backend, with a kernel that reads weights where they lie.
//! - `ndarray`: Burn's older CPU backend, by the host quantizer.
//! - `wgpu`, `vulkan`, `metal`, `cuda`: GPUs, with a kernel that gives the bits of the CPU.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod activations;
mod backends;
mod linear;
mod linear_shape;
mod operations;
mod ops;
mod packed;
mod reparameterization;
mod report;
mod schedules;
mod selection;

pub mod inference;
pub mod models;

pub use activations::fake_quantize_activations;
pub use linear::{TernaryLinear, TernaryLinearConfig};
pub use ops::{TernaryOps, TernarySettings, ternary_matmul, ternary_quantize};
pub use packed::{PackedWeight, PackedWeights, packed_linear};
pub use reparameterization::{QuantizeWeightError, Ternary, TernaryWeight};
pub use report::{KeptParameter, TernaryParameter, TernaryReport};
pub use schedules::{Ramp, RampShape, TernaryHandle, TernarySchedule, TernaryScheduler};
pub use selection::Selection;

/// The book's page about models of one's own: its code is run as tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/your-own-model.md")]
struct YourOwnModel;
