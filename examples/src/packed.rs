//! Layers that compute with packed ternary weights.

use burn::module::Module;
use burn::nn::Linear;
use t81_burn::{Ternary, TernaryReport};
use t81_core::{ActivationPrecision, CodeEncoding, InterleavedMatrix, MatrixError, TernaryMatrix};

use crate::Failure;

/// A `Linear` with a bias whose weights are two bits each, and the `relu` after it.
#[derive(Debug)]
pub struct PackedLayer {
    matrix: InterleavedMatrix,
    bias: Vec<f32>,
}

impl PackedLayer {
    /// Packs `layers`, which are the ternary ones of `model` in the order of its fields.
    ///
    /// # Errors
    ///
    /// When a weight cannot be quantized, there are more ternary layers than `layers`, or one has no bias.
    pub fn pack<M: Module>(
        model: &M,
        ternary: &Ternary,
        report: &TernaryReport,
        layers: &[&Linear],
    ) -> Result<Vec<Self>, Failure> {
        let mut rest = layers.iter();
        let mut packed = Vec::new();
        ternary.quantize_weights(model, report, |path, matrix| {
            let linear = rest.next().ok_or_else(|| format!("no layer for {path}"))?;
            packed.push(Self::new(&matrix, linear)?);
            Ok::<_, Failure>(())
        })?;
        Ok(packed)
    }

    fn new(matrix: &TernaryMatrix, linear: &Linear) -> Result<Self, Failure> {
        let bias = linear.bias.as_ref().ok_or("the layer has no bias")?;
        Ok(Self {
            matrix: InterleavedMatrix::new(matrix, CodeEncoding::TwoBit),
            bias: bias.val().into_data().try_into_vec()?,
        })
    }

    /// Bytes of the weights.
    pub fn weight_bytes(&self) -> usize {
        self.matrix.size_bytes()
    }

    /// `relu(input * weight + bias)` for a batch of rows.
    ///
    /// # Errors
    ///
    /// When the input is no whole number of rows.
    pub fn forward(
        &self,
        input: &[f32],
        precision: ActivationPrecision,
    ) -> Result<Vec<f32>, MatrixError> {
        let batch = input.len() / self.matrix.columns();
        let mut output = vec![0.0; batch * self.matrix.rows()];
        self.matrix.matmul(input, &mut output, precision)?;
        for row in output.chunks_exact_mut(self.bias.len()) {
            for (value, bias) in row.iter_mut().zip(&self.bias) {
                *value = (*value + bias).max(0.0);
            }
        }
        Ok(output)
    }
}

/// The largest difference of two outputs, as a share of the largest expected one.
pub fn relative_difference(actual: &[f32], expected: &[f32]) -> f32 {
    let largest =
        |values: &mut dyn Iterator<Item = f32>| values.fold(0.0, |a: f32, b| a.max(b.abs()));
    let differences = &mut actual.iter().zip(expected).map(|(a, b)| a - b);
    largest(differences) / largest(&mut expected.iter().copied())
}
