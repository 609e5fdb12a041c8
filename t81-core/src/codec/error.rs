//! Errors of the block formats.

use half::f16;

use super::BlockFormat;
use crate::matrix::MatrixError;

/// Why a matrix cannot become blocks, or bytes cannot become a matrix.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The dimensions are no matrix's.
    #[error(transparent)]
    Dimensions(#[from] MatrixError),
    /// Blocks do not divide a row.
    #[error("{format} holds rows of a multiple of {} weights, not {columns}", format.block_len())]
    RowLength {
        /// The format asked for.
        format: BlockFormat,
        /// Weights of a row.
        columns: usize,
    },
    /// A block would need more than one scale.
    #[error("{format} has one scale for {} weights, but the matrix has one for each {group}", format.block_len())]
    GroupLength {
        /// The format asked for.
        format: BlockFormat,
        /// Weights that share a scale in the matrix.
        group: usize,
    },
    /// A buffer's length does not fit.
    #[error("{what} must have length {expected}, not {actual}")]
    Length {
        /// Which buffer.
        what: &'static str,
        /// The length needed.
        expected: usize,
        /// The length found.
        actual: usize,
    },
    /// A row range lies outside the matrix.
    #[error("rows {start}..{end} are not within the {rows} rows of the matrix")]
    RowRange {
        /// First row.
        start: usize,
        /// One past the last row.
        end: usize,
        /// Rows of the matrix.
        rows: usize,
    },
    /// A byte stands for no ternary codes.
    #[error("{format} block {block}: byte {byte} is {value:#04x}, which no ternary codes give")]
    InvalidCode {
        /// The format.
        format: BlockFormat,
        /// Index of the block in the tensor.
        block: usize,
        /// Index of the byte in the block.
        byte: usize,
        /// The byte.
        value: u8,
    },
    /// A block's scale is infinite or not a number.
    #[error("{format} block {block}: the scale is {value}")]
    InvalidScale {
        /// The format.
        format: BlockFormat,
        /// Index of the block in the tensor.
        block: usize,
        /// The scale.
        value: f32,
    },
}

/// What is wrong within one block.
pub(super) enum BlockFault {
    /// Byte index and value.
    Code(usize, u8),
    Scale(f16),
}

impl BlockFault {
    pub(super) fn at(self, format: BlockFormat, block: usize) -> CodecError {
        match self {
            Self::Code(byte, value) => CodecError::InvalidCode {
                format,
                block,
                byte,
                value,
            },
            Self::Scale(scale) => CodecError::InvalidScale {
                format,
                block,
                value: scale.to_f32(),
            },
        }
    }
}
