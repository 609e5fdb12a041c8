//! What a model for inference is made of.

use std::error::Error;

use t81_core::dense::{DenseMatrix, FloatFormat};
use t81_core::{ActivationPrecision, TernaryMatrix};

use crate::models::LoadWeightsError;

/// A weight by its Hugging Face name and in its shape.
#[derive(Debug)]
pub enum InferenceWeight<'a> {
    /// Codes and scales of a matrix `[out, in]`.
    Ternary(TernaryMatrix),
    /// Floats.
    Floats(FloatRows<'a>),
}

/// Writes the row of an index.
type ReadRow<'a> = dyn Fn(usize, &mut [f32]) + Sync + 'a;

/// Floats that are read row by row, so that no copy of a large matrix is needed.
pub struct FloatRows<'a> {
    shape: Vec<usize>,
    format: FloatFormat,
    exact: bool,
    read: Box<ReadRow<'a>>,
}

impl std::fmt::Debug for FloatRows<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FloatRows")
            .field("shape", &self.shape)
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

impl<'a> FloatRows<'a> {
    /// Floats of `shape`, a vector or a matrix, all of which `format` holds exactly. `read` writes the row of an index, of
    /// the last dimension's length; a vector is one row.
    pub fn new(
        shape: Vec<usize>,
        format: FloatFormat,
        read: impl Fn(usize, &mut [f32]) + Sync + 'a,
    ) -> Self {
        Self {
            shape,
            format,
            exact: false,
            read: Box::new(read),
        }
    }

    /// Rounds no value, whatever activations are rounded to. Beside int8 activations a matrix would otherwise be an f16, as in
    /// an exported file; the model that was trained has it in 32 bits.
    pub fn exact(mut self) -> Self {
        self.exact = true;
        self
    }

    /// Row-major values.
    pub fn from_values(shape: Vec<usize>, values: Vec<f32>) -> Self {
        let columns = shape.last().copied().unwrap_or(1);
        Self::new(shape, FloatFormat::F32, move |row, output| {
            output.copy_from_slice(&values[row * columns..][..columns]);
        })
    }

    /// The matrix, as small as its values allow: in 16 bits if none is lost, and as an f16 like in an exported file if
    /// activations are rounded to less, else in 32 bits.
    pub(super) fn matrix(&self, precision: ActivationPrecision) -> DenseMatrix {
        let (rows, columns) = (self.shape[0], self.shape[1]);
        let format = match self.format {
            FloatFormat::F32 => self.smallest_format(precision),
            exact => exact,
        };
        DenseMatrix::from_rows(rows, columns, format, &self.read)
    }

    fn smallest_format(&self, precision: ActivationPrecision) -> FloatFormat {
        let largest_f16 = 65504.0;
        let rounds = precision == ActivationPrecision::Int8 && !self.exact;
        let (mut bf16, mut f16, mut in_range) = (true, true, true);
        let mut values = vec![0.0; self.shape[1]];
        for row in 0..self.shape[0] {
            (self.read)(row, &mut values);
            bf16 = bf16 && FloatFormat::Bf16.holds(&values);
            f16 = f16 && FloatFormat::F16.holds(&values);
            in_range = in_range && values.iter().all(|value| value.abs() <= largest_f16);
            if !(bf16 || f16 || in_range && rounds) {
                return FloatFormat::F32;
            }
        }
        match (bf16, f16) {
            (true, _) => FloatFormat::Bf16,
            _ => FloatFormat::F16,
        }
    }
}

impl InferenceWeight<'_> {
    /// The matrix as one of floats.
    pub(super) fn into_floats(self, precision: ActivationPrecision) -> DenseMatrix {
        match self {
            Self::Floats(rows) => rows.matrix(precision),
            Self::Ternary(matrix) => {
                let shape = vec![matrix.rows(), matrix.columns()];
                // Each value is an f16 scale, or 0, or a scale with the other sign.
                let rows = FloatRows::new(shape, FloatFormat::F16, move |row, values| {
                    matrix
                        .dequantize_row(row, values)
                        .expect("a row of the matrix in its width");
                });
                rows.matrix(precision)
            }
        }
    }
}

/// Asks a source for weights and checks what it gives.
pub(super) struct Source<F>(pub(super) F);

impl<'a, F, E> Source<F>
where
    F: FnMut(&str) -> Result<InferenceWeight<'a>, E>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    fn get(
        &mut self,
        name: &str,
        expected: &[usize],
    ) -> Result<InferenceWeight<'a>, LoadWeightsError> {
        let weight = (self.0)(name).map_err(|source| LoadWeightsError::Source {
            name: name.to_owned(),
            source: source.into(),
        })?;
        let found = match &weight {
            InferenceWeight::Ternary(matrix) => vec![matrix.rows(), matrix.columns()],
            InferenceWeight::Floats(rows) => rows.shape.clone(),
        };
        if found == expected {
            return Ok(weight);
        }
        Err(LoadWeightsError::Shape {
            name: name.to_owned(),
            expected: expected.to_vec(),
            found,
        })
    }

    /// A vector `[length]`.
    pub(super) fn vector(
        &mut self,
        name: &str,
        length: usize,
    ) -> Result<Vec<f32>, LoadWeightsError> {
        match self.get(name, &[length])? {
            InferenceWeight::Floats(rows) => {
                let mut values = vec![0.0; length];
                (rows.read)(0, &mut values);
                Ok(values)
            }
            InferenceWeight::Ternary(_) => unreachable!("a ternary weight has two dimensions"),
        }
    }

    /// A matrix `[out, in]`.
    pub(super) fn matrix(
        &mut self,
        name: &str,
        shape: [usize; 2],
    ) -> Result<InferenceWeight<'a>, LoadWeightsError> {
        self.get(name, &shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_take_as_little_as_they_allow() {
        let (exact, rounded) = (ActivationPrecision::Float32, ActivationPrecision::Int8);
        for (value, float32, int8) in [
            (0.1, FloatFormat::F32, FloatFormat::F16),
            (1e6 + 1.0, FloatFormat::F32, FloatFormat::F32),
            (2.0_f32.powi(-60), FloatFormat::Bf16, FloatFormat::Bf16),
            (1.000_976_6, FloatFormat::F16, FloatFormat::F16),
        ] {
            let rows = FloatRows::from_values(vec![2, 2], vec![1.0, 0.0, 0.5, value]);
            assert_eq!(rows.matrix(exact).format(), float32, "{value}");
            assert_eq!(rows.matrix(rounded).format(), int8, "{value}");
            let kept = rows.exact().matrix(rounded);
            assert_eq!(kept.format(), float32, "{value}");
        }
    }
}
