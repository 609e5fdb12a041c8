//! Errors of the quantizer.

use crate::matrix::MatrixError;

/// Why weights cannot be quantized with the given settings.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum QuantizeError {
    /// The threshold is not a number within 0..=1.
    #[error("the threshold is {0}; it is a fraction of the reference magnitude, from 0 to 1")]
    Threshold(f32),
    /// The blend is not a number within 0..=1.
    #[error("the blend is {0}; it is a fraction, from 0 (float weights) to 1 (ternary weights)")]
    Blend(f32),
    /// The dimensions are no matrix's.
    #[error(transparent)]
    Dimensions(#[from] MatrixError),
    /// A buffer's length is not `rows * columns`.
    #[error("{what} must hold {rows} x {columns} weights, not {actual}")]
    Length {
        /// Which buffer.
        what: &'static str,
        /// Output features.
        rows: usize,
        /// Input features.
        columns: usize,
        /// The length found.
        actual: usize,
    },
    /// A weight is infinite or not a number; the first one in `[out, in]` order.
    #[error("the weight at row {row}, column {column} (output, input feature) is {value}")]
    NonFinite {
        /// Output feature.
        row: usize,
        /// Input feature.
        column: usize,
        /// The weight.
        value: f32,
    },
    /// A group's scale is beyond 65504, the largest f16; the first such group in `[out, in]` order.
    #[error(
        "the scale of the group at row {row}, column {column} (output, input feature) exceeds 65504, the largest f16"
    )]
    ScaleOverflow {
        /// Output feature of the group's first weight.
        row: usize,
        /// Input feature of the group's first weight.
        column: usize,
    },
}
