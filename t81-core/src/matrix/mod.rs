//! The packed ternary matrix.

mod error;

use half::f16;
use rayon::prelude::*;

pub use error::MatrixError;

use crate::settings::{Granularity, Layout};

/// A matrix of ternary weights: 2-bit codes and f16 scales.
///
/// `rows` are output features, `columns` input features. Codes are row-major, `ceil(columns / 4)` bytes a row; element
/// `j` of a row lies in byte `j / 4` at bits `2 * (j % 4)` as `code + 1` (0, 1 or 2). The unused elements of a row's
/// last byte hold 1 (code 0). Scales are row-major, `[rows, ceil(columns / group)]`, `[rows, 1]` or `[1, 1]` by
/// [`Granularity`].
#[derive(Clone, Debug, PartialEq)]
pub struct TernaryMatrix {
    codes: Vec<u8>,
    scales: Vec<f16>,
    rows: usize,
    columns: usize,
    granularity: Granularity,
}

/// The byte of four zero codes.
pub(crate) const ZERO_CODES: u8 = 0b01_01_01_01;

/// True when one of the four 2-bit values is 3.
pub(crate) fn has_invalid_code(byte: u8) -> bool {
    byte & (byte >> 1) & ZERO_CODES != 0
}

impl TernaryMatrix {
    /// Checks and takes parts laid out as the type's documentation says.
    ///
    /// # Errors
    ///
    /// When a dimension is zero, a length is off, a code or the padding is invalid, or a scale is negative or not
    /// finite.
    pub fn from_parts(
        codes: Vec<u8>,
        scales: Vec<f16>,
        rows: usize,
        columns: usize,
        granularity: Granularity,
    ) -> Result<Self, MatrixError> {
        check_dimensions(rows, columns)?;
        let row_bytes = columns.div_ceil(4);
        check_length("the packed codes", rows * row_bytes, codes.len())?;
        check_length(
            "the scales",
            scale_count(granularity, rows, columns),
            scales.len(),
        )?;
        // The padding of a row's last byte is 1 (code 0) in every element past the columns.
        let used = columns - 4 * (row_bytes - 1);
        let padding = 0xff_u8.checked_shl(2 * used as u32).unwrap_or(0);
        let wrong = |(byte, &value): (usize, &u8)| {
            has_invalid_code(value)
                || (byte + 1 == row_bytes && value & padding != ZERO_CODES & padding)
        };
        let offender = codes
            .par_chunks(row_bytes)
            .enumerate()
            .find_map_first(|(row, bytes)| {
                bytes
                    .iter()
                    .enumerate()
                    .position(wrong)
                    .map(|byte| (row, byte))
            });
        if let Some((row, byte)) = offender {
            let value = codes[row * row_bytes + byte];
            return Err(MatrixError::InvalidCode { row, byte, value });
        }
        if let Some(index) = scales
            .iter()
            .position(|scale| !scale.is_finite() || scale.is_sign_negative())
        {
            let value = scales[index].to_f32();
            return Err(MatrixError::InvalidScale { index, value });
        }
        Ok(Self::from_valid_parts(
            codes,
            scales,
            rows,
            columns,
            granularity,
        ))
    }

    /// For parts that were made valid.
    pub(crate) fn from_valid_parts(
        codes: Vec<u8>,
        scales: Vec<f16>,
        rows: usize,
        columns: usize,
        granularity: Granularity,
    ) -> Self {
        Self {
            codes,
            scales,
            rows,
            columns,
            granularity,
        }
    }

    /// Output features.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Input features.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// How many weights share a scale.
    #[must_use]
    pub fn granularity(&self) -> Granularity {
        self.granularity
    }

    /// The packed codes, `[rows, ceil(columns / 4)]` bytes.
    #[must_use]
    pub fn codes(&self) -> &[u8] {
        &self.codes
    }

    /// The scales, row-major.
    #[must_use]
    pub fn scales(&self) -> &[f16] {
        &self.scales
    }

    /// How many scales a row has; with [`Granularity::Tensor`] the one scale that all rows share.
    #[must_use]
    pub fn scales_per_row(&self) -> usize {
        self.granularity.scales_per_row(self.columns)
    }

    /// The code of one weight.
    ///
    /// # Panics
    ///
    /// When the row or the column is out of range, as slice indexing does.
    #[must_use]
    pub fn code(&self, row: usize, column: usize) -> i8 {
        assert!(column < self.columns, "column {column} of {}", self.columns);
        (self.row_codes(row)[column / 4] >> (2 * (column % 4)) & 3) as i8 - 1
    }

    /// The scale of one weight.
    ///
    /// # Panics
    ///
    /// When the row or the column is out of range, as slice indexing does.
    #[must_use]
    pub fn scale(&self, row: usize, column: usize) -> f16 {
        assert!(column < self.columns, "column {column} of {}", self.columns);
        self.row_scales(row)[column / self.group_len()]
    }

    /// The weights as floats, row-major `[rows, columns]`.
    #[must_use]
    pub fn dequantize(&self) -> Vec<f32> {
        let mut weights = vec![0.0; self.rows * self.columns];
        weights
            .par_chunks_mut(self.columns)
            .enumerate()
            .for_each(|(row, weights)| self.write_row(row, weights));
        weights
    }

    /// Writes the weights as floats in the given layout; `weights` has length `rows * columns`.
    ///
    /// # Errors
    ///
    /// When the length is off.
    pub fn dequantize_into(&self, layout: Layout, weights: &mut [f32]) -> Result<(), MatrixError> {
        check_length("the output", self.rows * self.columns, weights.len())?;
        match layout {
            Layout::OutIn => weights
                .par_chunks_mut(self.columns)
                .enumerate()
                .for_each(|(row, weights)| self.write_row(row, weights)),
            Layout::InOut => self.write_transposed(weights),
        }
        Ok(())
    }

    /// Writes one row as floats; `weights` has length `columns`.
    ///
    /// # Errors
    ///
    /// When the length is off or there is no such row.
    pub fn dequantize_row(&self, row: usize, weights: &mut [f32]) -> Result<(), MatrixError> {
        check_length("the output", self.columns, weights.len())?;
        if row >= self.rows {
            let rows = self.rows;
            return Err(MatrixError::NoSuchRow { row, rows });
        }
        self.write_row(row, weights);
        Ok(())
    }

    /// The fraction of zero codes.
    #[must_use]
    pub fn sparsity(&self) -> f64 {
        // A packed zero code sets the low bit of its pair, and nothing else does.
        let ones: u64 = self
            .codes
            .par_chunks(1 << 16)
            .map(|bytes| {
                bytes
                    .iter()
                    .map(|byte| u64::from((byte & ZERO_CODES).count_ones()))
                    .sum::<u64>()
            })
            .sum();
        let padding = self.rows * (4 * self.columns.div_ceil(4) - self.columns);
        (ones - padding as u64) as f64 / (self.rows * self.columns) as f64
    }

    /// Bytes of codes and scales.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.codes.len() + 2 * self.scales.len()
    }

    /// Bits of storage for each weight, scales and padding included.
    #[must_use]
    pub fn bits_per_weight(&self) -> f64 {
        8.0 * self.size_bytes() as f64 / (self.rows * self.columns) as f64
    }

    /// The matrix whose row `i` is this one's row `order[i]`.
    ///
    /// # Errors
    ///
    /// When `order` does not name every row exactly once.
    pub fn permute_rows(&self, order: &[usize]) -> Result<Self, MatrixError> {
        check_length("the row order", self.rows, order.len())?;
        let mut seen = vec![false; self.rows];
        for (position, &row) in order.iter().enumerate() {
            if row >= self.rows || std::mem::replace(&mut seen[row], true) {
                return Err(MatrixError::InvalidOrder { position, row });
            }
        }
        let codes = order
            .iter()
            .flat_map(|&row| self.row_codes(row))
            .copied()
            .collect();
        let scales = match self.granularity {
            Granularity::Tensor => self.scales.clone(),
            Granularity::Row | Granularity::Group(_) => order
                .iter()
                .flat_map(|&row| self.row_scales(row))
                .copied()
                .collect(),
        };
        Ok(Self::from_valid_parts(
            codes,
            scales,
            self.rows,
            self.columns,
            self.granularity,
        ))
    }

    pub(crate) fn row_codes(&self, row: usize) -> &[u8] {
        let row_bytes = self.columns.div_ceil(4);
        &self.codes[row * row_bytes..][..row_bytes]
    }

    pub(crate) fn row_scales(&self, row: usize) -> &[f16] {
        match self.granularity {
            Granularity::Tensor => &self.scales,
            Granularity::Row | Granularity::Group(_) => {
                let scales_per_row = self.scales_per_row();
                &self.scales[row * scales_per_row..][..scales_per_row]
            }
        }
    }

    /// The length of a full group.
    pub(crate) fn group_len(&self) -> usize {
        self.granularity.group_len(self.columns)
    }

    fn write_row(&self, row: usize, weights: &mut [f32]) {
        let codes = self.row_codes(row);
        let group_len = self.group_len();
        for ((group, weights), scale) in weights
            .chunks_mut(group_len)
            .enumerate()
            .zip(self.row_scales(row))
        {
            let scale = scale.to_f32();
            let values = [-scale, 0.0, scale, 0.0];
            let first = group * group_len;
            if first.is_multiple_of(4) {
                for (weights, codes) in weights.chunks_mut(4).zip(&codes[first / 4..]) {
                    for (element, weight) in weights.iter_mut().enumerate() {
                        *weight = values[usize::from(codes >> (2 * element) & 3)];
                    }
                }
            } else {
                for (column, weight) in (first..).zip(weights) {
                    *weight = values[usize::from(codes[column / 4] >> (2 * (column % 4)) & 3)];
                }
            }
        }
    }

    fn write_transposed(&self, weights: &mut [f32]) {
        /// Input features of one task; a multiple of 4 so that tasks start at whole bytes.
        const STRIPE: usize = 64;
        let group_len = self.group_len();
        weights
            .par_chunks_mut(STRIPE * self.rows)
            .enumerate()
            .for_each(|(stripe, weights)| {
                let first = stripe * STRIPE;
                for row in 0..self.rows {
                    let codes = self.row_codes(row);
                    let scales = self.row_scales(row);
                    for (column, weight) in
                        (first..).zip(weights[row..].iter_mut().step_by(self.rows))
                    {
                        let code = codes[column / 4] >> (2 * (column % 4)) & 3;
                        let scale = scales[column / group_len].to_f32();
                        *weight = [-scale, 0.0, scale, 0.0][usize::from(code)];
                    }
                }
            });
    }
}

/// How many scales a matrix has.
pub(crate) fn scale_count(granularity: Granularity, rows: usize, columns: usize) -> usize {
    match granularity {
        Granularity::Tensor => 1,
        Granularity::Row | Granularity::Group(_) => rows * granularity.scales_per_row(columns),
    }
}

/// `rows * columns` of a matrix that has weights and is addressable as f32.
pub(crate) fn check_dimensions(rows: usize, columns: usize) -> Result<usize, MatrixError> {
    if rows == 0 || columns == 0 {
        return Err(MatrixError::Empty { rows, columns });
    }
    rows.checked_mul(columns)
        .filter(|&weights| weights <= isize::MAX as usize / size_of::<f32>())
        .ok_or(MatrixError::TooLarge { rows, columns })
}

pub(crate) fn check_length(
    what: &'static str,
    expected: usize,
    actual: usize,
) -> Result<(), MatrixError> {
    if actual == expected {
        Ok(())
    } else {
        Err(MatrixError::Length {
            what,
            expected,
            actual,
        })
    }
}
