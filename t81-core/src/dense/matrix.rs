//! A matrix of floats as the products read it.

use half::{bf16, f16};
use rayon::prelude::*;

use super::element::{Element, FloatFormat};
use super::lanes::PANEL;
use super::product::{Panels, multiply, pack};
use crate::matrix::{MatrixError, check_length};

/// Panels of one task of a product.
const TASK_PANELS: usize = 16;
/// Multiplications below which threads cost more than they bring.
const PARALLEL_PRODUCTS: usize = 1 << 19;

/// A weight matrix `[rows, columns]` of floats, sixteen rows interleaved (the last are filled up with zero rows).
///
/// It multiplies by its values as they are stored, with sums in f32; in a 16-bit format it takes half of the memory, and the
/// reading of memory is what a product with one row costs.
///
/// ```
/// use t81_core::dense::{DenseMatrix, FloatFormat};
///
/// let matrix = DenseMatrix::from_rows(3, 2, FloatFormat::Bf16, |row, values| {
///     values.copy_from_slice(&[row as f32, 0.5]);
/// });
/// let mut output = [0.0; 3];
/// matrix.matmul(&[10.0, 2.0], &mut output)?;
/// assert_eq!(output, [1.0, 11.0, 21.0]);
/// # Ok::<(), t81_core::MatrixError>(())
/// ```
#[derive(Clone, Debug)]
pub struct DenseMatrix {
    rows: usize,
    columns: usize,
    data: Data,
}

/// `[panels, columns, 16]`.
#[derive(Clone, Debug)]
enum Data {
    F32(Vec<[f32; PANEL]>),
    F16(Vec<[f16; PANEL]>),
    Bf16(Vec<[bf16; PANEL]>),
}

/// `$body` for the panels of the data, whatever their type.
macro_rules! with_panels {
    ($data:expr, $panels:ident => $body:expr) => {
        match $data {
            Data::F32($panels) => $body,
            Data::F16($panels) => $body,
            Data::Bf16($panels) => $body,
        }
    };
}

impl DenseMatrix {
    /// A matrix whose rows `fill` writes, on all cores and in any order; values are rounded to the nearest of `format`.
    #[must_use]
    pub fn from_rows(
        rows: usize,
        columns: usize,
        format: FloatFormat,
        fill: impl Fn(usize, &mut [f32]) + Sync,
    ) -> Self {
        let data = match format {
            FloatFormat::F32 => Data::F32(interleaved(rows, columns, fill)),
            FloatFormat::F16 => Data::F16(interleaved(rows, columns, fill)),
            FloatFormat::Bf16 => Data::Bf16(interleaved(rows, columns, fill)),
        };
        Self {
            rows,
            columns,
            data,
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

    /// How the values are stored.
    #[must_use]
    pub fn format(&self) -> FloatFormat {
        match &self.data {
            Data::F32(_) => FloatFormat::F32,
            Data::F16(_) => FloatFormat::F16,
            Data::Bf16(_) => FloatFormat::Bf16,
        }
    }

    /// Bytes of the values, padding included.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        with_panels!(&self.data, panels => size_of_val(panels.as_slice()))
    }

    /// Writes one row as floats; `values` has length `columns`.
    ///
    /// # Errors
    ///
    /// When the length is off or there is no such row.
    pub fn row(&self, row: usize, values: &mut [f32]) -> Result<(), MatrixError> {
        check_length("the output", self.columns, values.len())?;
        if row >= self.rows {
            let rows = self.rows;
            return Err(MatrixError::NoSuchRow { row, rows });
        }
        let (first, lane) = (row / PANEL * self.columns, row % PANEL);
        with_panels!(&self.data, panels => {
            for (value, lanes) in values.iter_mut().zip(&panels[first..]) {
                *value = lanes[lane].value();
            }
        });
        Ok(())
    }

    /// Multiplies a batch of activations, `[batch, columns]`, into `output`, `[batch, rows]`.
    ///
    /// An output is the sum of its products in the order of the columns, each added with one rounding. Neither the batch
    /// around a row, nor the number of threads, nor the instruction set changes a bit.
    ///
    /// # Errors
    ///
    /// When a length is off.
    pub fn matmul(&self, input: &[f32], output: &mut [f32]) -> Result<(), MatrixError> {
        let batch = input.len() / self.columns;
        if !input.len().is_multiple_of(self.columns) {
            let whole = batch.max(1) * self.columns;
            check_length("the activations", whole, input.len())?;
        }
        check_length("the output", batch * self.rows, output.len())?;
        if batch == 0 {
            return Ok(());
        }
        with_panels!(&self.data, panels => {
            if batch == 1 {
                self.vector(panels, input, output);
            } else {
                self.batch(panels, batch, input, output);
            }
        });
        Ok(())
    }

    fn is_parallel(&self, batch: usize) -> bool {
        rayon::current_num_threads() > 1 && batch * self.rows * self.columns >= PARALLEL_PRODUCTS
    }

    fn panels<'a, E>(&self, data: &'a [[E; PANEL]], first: usize) -> Panels<'a, E> {
        Panels {
            data: &data[first * self.columns..],
            stride: self.columns,
            columns: self.columns,
        }
    }

    fn vector<E: Element>(&self, data: &[[E; PANEL]], input: &[f32], output: &mut [f32]) {
        // A single row is packed as it is.
        let task = |(task, output): (usize, &mut [f32])| {
            let first = task * TASK_PANELS;
            let (whole, rest) = output.as_chunks_mut::<PANEL>();
            multiply(input, self.panels(data, first), 1, whole);
            if !rest.is_empty() {
                let mut last = [[0.0; PANEL]];
                let panels = self.panels(data, first + whole.len());
                multiply(input, panels, 1, &mut last);
                rest.copy_from_slice(&last[0][..rest.len()]);
            }
        };
        let size = TASK_PANELS * PANEL;
        if self.is_parallel(1) {
            output.par_chunks_mut(size).enumerate().for_each(task);
        } else {
            output.chunks_mut(size).enumerate().for_each(task);
        }
    }

    fn batch<E: Element>(
        &self,
        data: &[[E; PANEL]],
        batch: usize,
        input: &[f32],
        output: &mut [f32],
    ) {
        let mut packed = Vec::new();
        pack(input, self.columns, &mut packed);
        // A task's outputs lie apart in the output: they are computed side by side and copied in rows.
        let panels = self.rows.div_ceil(PANEL);
        let mut results = vec![[0.0; PANEL]; panels * batch];
        let task = |(task, results): (usize, &mut [[f32; PANEL]])| {
            let panels = self.panels(data, task * TASK_PANELS);
            multiply(&packed, panels, batch, results);
        };
        let copy = |results: &[[f32; PANEL]], row: usize, output: &mut [f32]| {
            let tasks = results.chunks(TASK_PANELS * batch);
            for (output, results) in output.chunks_mut(TASK_PANELS * PANEL).zip(tasks) {
                let panels = results.len() / batch;
                let results = results[row * panels..][..panels].as_flattened();
                output.copy_from_slice(&results[..output.len()]);
            }
        };
        let size = TASK_PANELS * batch;
        if self.is_parallel(batch) {
            results.par_chunks_mut(size).enumerate().for_each(task);
            output
                .par_chunks_exact_mut(self.rows)
                .enumerate()
                .for_each(|(row, output)| copy(&results, row, output));
        } else {
            results.chunks_mut(size).enumerate().for_each(task);
            for (row, output) in output.chunks_exact_mut(self.rows).enumerate() {
                copy(&results, row, output);
            }
        }
    }
}

/// `[panels, columns, 16]` of the rows that `fill` writes.
fn interleaved<E: Element>(
    rows: usize,
    columns: usize,
    fill: impl Fn(usize, &mut [f32]) + Sync,
) -> Vec<[E; PANEL]> {
    let mut data = vec![[E::rounded(0.0); PANEL]; rows.div_ceil(PANEL) * columns];
    data.par_chunks_exact_mut(columns.max(1))
        .enumerate()
        .for_each_init(
            || vec![0.0; columns],
            |values, (panel, target)| {
                let first = panel * PANEL;
                for row in first..rows.min(first + PANEL) {
                    fill(row, values);
                    for (target, value) in target.iter_mut().zip(values.iter()) {
                        target[row - first] = E::rounded(*value);
                    }
                }
            },
        );
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(index: usize) -> f32 {
        ((index * 7919 + 13) % 251) as f32 / 64.0 - 2.0
    }

    #[test]
    fn products_are_those_of_the_rows() {
        for (rows, columns, batch) in [(300, 40, 1), (300, 40, 7), (5, 3, 2), (1031, 520, 8)] {
            for format in [FloatFormat::F32, FloatFormat::F16, FloatFormat::Bf16] {
                let matrix = DenseMatrix::from_rows(rows, columns, format, |row, values| {
                    for (column, target) in values.iter_mut().enumerate() {
                        *target = value(row * columns + column);
                    }
                });
                assert_eq!((matrix.rows(), matrix.columns()), (rows, columns));
                assert_eq!(matrix.format(), format);
                let input: Vec<f32> = (0..batch * columns).map(|i| value(i + 5)).collect();
                let mut output = vec![f32::NAN; batch * rows];
                matrix.matmul(&input, &mut output).unwrap();
                let mut weights = vec![0.0; columns];
                for row in 0..rows {
                    matrix.row(row, &mut weights).unwrap();
                    // Eight bits are enough for these values.
                    assert_eq!(weights[columns - 1], value(row * columns + columns - 1));
                    for (index, input) in input.chunks_exact(columns).enumerate() {
                        let sum = weights
                            .iter()
                            .zip(input)
                            .fold(0.0_f32, |sum, (weight, value)| weight.mul_add(*value, sum));
                        assert_eq!(output[index * rows + row], sum);
                    }
                }
            }
        }
    }

    #[test]
    fn lengths_are_checked() {
        let matrix = DenseMatrix::from_rows(2, 3, FloatFormat::F32, |_, values| values.fill(1.0));
        assert!(matrix.matmul(&[0.0; 4], &mut [0.0; 2]).is_err());
        assert!(matrix.matmul(&[0.0; 6], &mut [0.0; 2]).is_err());
        assert!(matrix.matmul(&[], &mut []).is_ok());
        assert!(matrix.row(2, &mut [0.0; 3]).is_err() && matrix.row(0, &mut [0.0; 2]).is_err());
        assert_eq!(matrix.size_bytes(), 4 * 16 * 3);
    }
}
