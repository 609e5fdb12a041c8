//! GGUF's ternary block formats: packed matrices to and from the bytes of TQ1_0, TQ2_0 and Q2_0 tensors.
//!
//! The layouts are those of ggml's `block_tq1_0`, `block_tq2_0` and `block_q2_0` (`ggml-common.h`), little endian.

mod error;
mod q2_0;
mod tq1_0;
mod tq2_0;

use std::fmt;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::str::FromStr;

use half::f16;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub use error::CodecError;

use crate::matrix::{TernaryMatrix, ZERO_CODES, check_dimensions};
use crate::settings::{Granularity, ParseSettingError};
use error::BlockFault;

/// A ternary block format of GGUF.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum BlockFormat {
    /// 1.6875 bits a weight: five base-3 digits a byte, 256 weights a block.
    #[serde(rename = "TQ1_0")]
    Tq1_0,
    /// 2.0625 bits a weight: four 2-bit codes a byte, 256 weights a block.
    #[serde(rename = "TQ2_0")]
    Tq2_0,
    /// 2.25 bits a weight: four 2-bit codes a byte, 64 weights a block.
    #[serde(rename = "Q2_0")]
    Q2_0,
}

/// Rows handed to one task.
const ROWS_PER_TASK: usize = 16;

impl BlockFormat {
    /// Every format, from the smallest to the largest.
    pub const ALL: [Self; 3] = [Self::Tq1_0, Self::Tq2_0, Self::Q2_0];

    /// Weights in a block.
    #[must_use]
    pub const fn block_len(self) -> usize {
        match self {
            Self::Tq1_0 => tq1_0::LEN,
            Self::Tq2_0 => tq2_0::LEN,
            Self::Q2_0 => q2_0::LEN,
        }
    }

    /// Bytes of a block.
    #[must_use]
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::Tq1_0 => tq1_0::BYTES,
            Self::Tq2_0 => tq2_0::BYTES,
            Self::Q2_0 => q2_0::BYTES,
        }
    }

    /// The `ggml_type` number of a tensor in a GGUF file.
    #[must_use]
    pub const fn ggml_type(self) -> u32 {
        match self {
            Self::Tq1_0 => 34,
            Self::Tq2_0 => 35,
            Self::Q2_0 => 42,
        }
    }

    /// The `general.file_type` number of a GGUF file that is mostly of this format.
    #[must_use]
    pub const fn file_type(self) -> u32 {
        match self {
            Self::Tq1_0 => 36,
            Self::Tq2_0 => 37,
            Self::Q2_0 => 41,
        }
    }

    /// Bytes of a row of `columns` weights; `None` when blocks do not divide the row.
    #[must_use]
    pub const fn row_bytes(self, columns: usize) -> Option<usize> {
        if columns.is_multiple_of(self.block_len()) {
            (columns / self.block_len()).checked_mul(self.block_bytes())
        } else {
            None
        }
    }

    /// True when the format keeps every code and scale of the matrix.
    #[must_use]
    pub fn holds(self, matrix: &TernaryMatrix) -> bool {
        self.encoded_row_bytes(matrix).is_ok()
    }

    /// The blocks of all rows in order. A block whose codes are all 0 gets scale 0, as ggml writes it.
    ///
    /// # Errors
    ///
    /// When blocks do not divide a row, or a block would need two scales.
    pub fn encode(self, matrix: &TernaryMatrix) -> Result<Vec<u8>, CodecError> {
        let row_bytes = self.encoded_row_bytes(matrix)?;
        let mut bytes = vec![0; matrix.rows() * row_bytes];
        self.write_rows(matrix, 0, row_bytes, &mut bytes);
        Ok(bytes)
    }

    /// Writes the blocks of some rows, for an output that is streamed. `bytes` has length `rows.len() * row_bytes`.
    ///
    /// # Errors
    ///
    /// As [`BlockFormat::encode`], and when the range or the length is off.
    pub fn encode_rows(
        self,
        matrix: &TernaryMatrix,
        rows: Range<usize>,
        bytes: &mut [u8],
    ) -> Result<(), CodecError> {
        let row_bytes = self.encoded_row_bytes(matrix)?;
        if rows.start > rows.end || rows.end > matrix.rows() {
            let (start, end) = (rows.start, rows.end);
            let rows = matrix.rows();
            return Err(CodecError::RowRange { start, end, rows });
        }
        check_length("the output", rows.len() * row_bytes, bytes.len())?;
        self.write_rows(matrix, rows.start, row_bytes, bytes);
        Ok(())
    }

    /// Reads the blocks of a tensor as a ternary matrix of granularity `group:block_len`. A negative scale becomes
    /// positive by negating its block's codes.
    ///
    /// # Errors
    ///
    /// When the dimensions do not fit the format or the length, a scale is not finite, or a byte stands for something
    /// that is no ternary code: the 2-bit value 3, or a TQ1_0 byte that ggml never writes.
    pub fn decode(
        self,
        bytes: &[u8],
        rows: usize,
        columns: usize,
    ) -> Result<TernaryMatrix, CodecError> {
        let weights = check_dimensions(rows, columns)?;
        let row_bytes = self.checked_row_bytes(columns)?;
        let blocks_per_row = columns / self.block_len();
        let blocks = weights / self.block_len();
        // At most 66 bytes for 64 weights, whose f32 are addressable: no overflow.
        check_length("the block data", blocks * self.block_bytes(), bytes.len())?;
        let mut codes = vec![0; weights / 4];
        let mut scales = vec![f16::ZERO; blocks];
        let code_bytes = columns / 4;
        codes
            .par_chunks_mut(code_bytes)
            .zip(scales.par_chunks_mut(blocks_per_row))
            .zip(bytes.par_chunks(row_bytes))
            .enumerate()
            .map(|(row, ((codes, scales), bytes))| {
                let codes = codes.chunks_mut(self.block_len() / 4);
                for (block, ((codes, scale), bytes)) in codes
                    .zip(scales)
                    .zip(bytes.chunks(self.block_bytes()))
                    .enumerate()
                {
                    *scale = self
                        .read_block(bytes, codes)
                        .map_err(|fault| fault.at(self, row * blocks_per_row + block))?;
                }
                Ok(())
            })
            // The first faulty row whatever the thread count: rows are few enough to look at each result.
            .collect::<Vec<Result<(), CodecError>>>()
            .into_iter()
            .collect::<Result<(), CodecError>>()?;
        let group = NonZeroUsize::new(self.block_len()).expect("a block has weights");
        let granularity = Granularity::Group(group);
        Ok(TernaryMatrix::from_valid_parts(
            codes,
            scales,
            rows,
            columns,
            granularity,
        ))
    }

    /// Writes the floats that ggml reads from blocks, whatever their bytes; `weights` has `block_len` floats for each
    /// `block_bytes` bytes.
    ///
    /// # Errors
    ///
    /// When the lengths do not belong together.
    pub fn dequantize(self, bytes: &[u8], weights: &mut [f32]) -> Result<(), CodecError> {
        let blocks = bytes.len() / self.block_bytes();
        check_length("the block data", blocks * self.block_bytes(), bytes.len())?;
        let expected = blocks.saturating_mul(self.block_len());
        check_length("the output", expected, weights.len())?;
        const BLOCKS_PER_TASK: usize = 256;
        weights
            .par_chunks_mut(BLOCKS_PER_TASK * self.block_len())
            .zip(bytes.par_chunks(BLOCKS_PER_TASK * self.block_bytes()))
            .for_each(|(weights, bytes)| {
                let weights = weights.chunks_mut(self.block_len());
                for (weights, block) in weights.zip(bytes.chunks(self.block_bytes())) {
                    match self {
                        Self::Tq1_0 => tq1_0::dequantize(block, weights),
                        Self::Tq2_0 => tq2_0::dequantize(block, weights),
                        Self::Q2_0 => q2_0::dequantize(block, weights),
                    }
                }
            });
        Ok(())
    }

    /// Checks one block as [`BlockFormat::decode`] does, without keeping its codes.
    ///
    /// # Errors
    ///
    /// When the length is off, the scale is not finite, or a byte stands for no ternary codes.
    pub fn check_block(self, block: &[u8]) -> Result<(), CodecError> {
        check_length("the block", self.block_bytes(), block.len())?;
        let mut codes = [0; 64];
        self.read_block(block, &mut codes[..self.block_len() / 4])
            .map(|_| ())
            .map_err(|fault| fault.at(self, 0))
    }

    /// How many weights of blocks have the code 0, whatever the scales.
    ///
    /// # Errors
    ///
    /// When the length is no whole number of blocks.
    pub fn zero_codes(self, bytes: &[u8]) -> Result<u64, CodecError> {
        let blocks = bytes.len() / self.block_bytes();
        check_length("the block data", blocks * self.block_bytes(), bytes.len())?;
        const BLOCKS_PER_TASK: usize = 1 << 12;
        let count = |block: &[u8]| match self {
            Self::Tq1_0 => tq1_0::zero_codes(block),
            Self::Tq2_0 => tq2_0::zero_codes(block),
            Self::Q2_0 => q2_0::zero_codes(block),
        };
        let tasks = bytes.par_chunks(BLOCKS_PER_TASK * self.block_bytes());
        Ok(tasks
            .map(|bytes| {
                let blocks = bytes.chunks_exact(self.block_bytes());
                blocks.map(|block| u64::from(count(block))).sum::<u64>()
            })
            .sum())
    }

    fn checked_row_bytes(self, columns: usize) -> Result<usize, CodecError> {
        self.row_bytes(columns).ok_or(CodecError::RowLength {
            format: self,
            columns,
        })
    }

    /// Bytes of a row when the format holds the matrix.
    fn encoded_row_bytes(self, matrix: &TernaryMatrix) -> Result<usize, CodecError> {
        let row_bytes = self.checked_row_bytes(matrix.columns())?;
        let group_len = matrix.group_len();
        if group_len.is_multiple_of(self.block_len()) {
            Ok(row_bytes)
        } else {
            Err(CodecError::GroupLength {
                format: self,
                group: group_len,
            })
        }
    }

    fn write_rows(self, matrix: &TernaryMatrix, first: usize, row_bytes: usize, bytes: &mut [u8]) {
        let blocks_per_group = matrix.group_len() / self.block_len();
        bytes
            .par_chunks_mut(ROWS_PER_TASK * row_bytes)
            .enumerate()
            .for_each(|(task, bytes)| {
                let rows = first + task * ROWS_PER_TASK..;
                for (row, bytes) in rows.zip(bytes.chunks_mut(row_bytes)) {
                    let scales = matrix.row_scales(row);
                    let codes = matrix.row_codes(row).chunks(self.block_len() / 4);
                    for (block, (codes, bytes)) in
                        codes.zip(bytes.chunks_mut(self.block_bytes())).enumerate()
                    {
                        let zero = codes.iter().all(|&byte| byte == ZERO_CODES);
                        let scale = if zero {
                            f16::ZERO
                        } else {
                            scales[block / blocks_per_group]
                        };
                        match self {
                            Self::Tq1_0 => tq1_0::encode(codes, scale, bytes),
                            Self::Tq2_0 => tq2_0::encode(codes, scale, bytes),
                            Self::Q2_0 => q2_0::encode(codes, scale, bytes),
                        }
                    }
                }
            });
    }

    /// Reads a block's codes and gives its scale.
    fn read_block(self, block: &[u8], codes: &mut [u8]) -> Result<f16, BlockFault> {
        let scale = match self {
            Self::Tq1_0 => tq1_0::decode(block, codes)?,
            Self::Tq2_0 => tq2_0::decode(block, codes)?,
            Self::Q2_0 => q2_0::decode(block, codes)?,
        };
        if !scale.is_finite() {
            return Err(BlockFault::Scale(scale));
        }
        if scale.is_sign_negative() {
            // 2 - v negates every code v - 1, and no pair borrows from the next.
            codes
                .iter_mut()
                .for_each(|byte| *byte = 0b10_10_10_10 - *byte);
        }
        Ok(f16::from_bits(scale.to_bits() & 0x7fff))
    }
}

impl fmt::Display for BlockFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tq1_0 => "TQ1_0",
            Self::Tq2_0 => "TQ2_0",
            Self::Q2_0 => "Q2_0",
        })
    }
}

impl FromStr for BlockFormat {
    type Err = ParseSettingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_uppercase().as_str() {
            "TQ1_0" => Ok(Self::Tq1_0),
            "TQ2_0" => Ok(Self::Tq2_0),
            "Q2_0" => Ok(Self::Q2_0),
            _ => Err(ParseSettingError::new(
                "block format",
                "TQ1_0, TQ2_0 or Q2_0",
                text,
            )),
        }
    }
}

fn check_length(what: &'static str, expected: usize, actual: usize) -> Result<(), CodecError> {
    if actual == expected {
        Ok(())
    } else {
        Err(CodecError::Length {
            what,
            expected,
            actual,
        })
    }
}

fn read_scale(low: u8, high: u8) -> f16 {
    f16::from_bits(u16::from_le_bytes([low, high]))
}

/// How many of the 2-bit values are 1, the code 0.
fn count_zero_pairs(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .map(|byte| (byte & !(byte >> 1) & ZERO_CODES).count_ones())
        .sum()
}

/// The 2-bit values (code + 1) of packed codes, one a byte.
#[inline(always)]
fn unpack<const LEN: usize>(codes: &[u8]) -> [u8; LEN] {
    let mut values = [0; LEN];
    for (values, byte) in values.chunks_exact_mut(4).zip(codes) {
        for (element, value) in values.iter_mut().enumerate() {
            *value = byte >> (2 * element) & 3;
        }
    }
    values
}

/// The four 2-bit values of a byte in a byte each, the first lowest.
#[inline(always)]
fn spread(byte: u8) -> u32 {
    let byte = u32::from(byte);
    let halves = (byte | byte << 12) & 0x000f_000f;
    (halves | halves << 6) & 0x0303_0303
}

/// The inverse of [`unpack`].
fn pack<const LEN: usize>(values: &[u8; LEN], codes: &mut [u8]) {
    for (values, byte) in values.chunks_exact(4).zip(codes) {
        *byte = values[0] | values[1] << 2 | values[2] << 4 | values[3] << 6;
    }
}
