//! The linear layers that read the same activations, as one.

use std::error::Error;

use t81_core::dense::DenseMatrix;
use t81_core::{ActivationPrecision, CodeEncoding, Granularity, InterleavedMatrix, TernaryMatrix};

use super::weights::{InferenceWeight, Source};
use crate::models::LoadWeightsError;

/// Linear layers with common inputs, their outputs one after the other.
#[derive(Debug)]
pub(super) struct Projection {
    parts: Vec<Part>,
    inputs: usize,
    outputs: usize,
    bias: Option<Vec<f32>>,
}

#[derive(Debug)]
enum Part {
    Ternary(InterleavedMatrix),
    Floats(DenseMatrix),
}

/// Name and outputs of a linear layer, and whether it has a bias.
pub(super) type Layer<'a> = (&'a str, usize, bool);

impl Projection {
    /// Loads `layers` of `inputs` input features, whose names `prefix` precedes.
    pub(super) fn load<'a, F, E>(
        source: &mut Source<F>,
        prefix: &str,
        inputs: usize,
        layers: &[Layer<'_>],
        precision: ActivationPrecision,
    ) -> Result<Self, LoadWeightsError>
    where
        F: FnMut(&str) -> Result<InferenceWeight<'a>, E>,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut parts = Vec::new();
        let mut pending: Vec<TernaryMatrix> = Vec::new();
        let mut bias = Vec::new();
        for &(name, outputs, has_bias) in layers {
            match source.matrix(&format!("{prefix}{name}.weight"), [outputs, inputs])? {
                InferenceWeight::Ternary(matrix) => {
                    let fits = |last: &TernaryMatrix| by_row(last) == by_row(&matrix);
                    if !pending.last().is_none_or(fits) {
                        parts.push(stacked(std::mem::take(&mut pending)));
                    }
                    pending.push(matrix);
                }
                InferenceWeight::Floats(rows) => {
                    if !pending.is_empty() {
                        parts.push(stacked(std::mem::take(&mut pending)));
                    }
                    parts.push(Part::Floats(rows.matrix(precision)));
                }
            }
            match has_bias {
                true => bias.extend(source.vector(&format!("{prefix}{name}.bias"), outputs)?),
                false => bias.resize(bias.len() + outputs, 0.0),
            }
        }
        if !pending.is_empty() {
            parts.push(stacked(pending));
        }
        Ok(Self {
            parts,
            inputs,
            outputs: bias.len(),
            bias: layers
                .iter()
                .any(|(.., has_bias)| *has_bias)
                .then_some(bias),
        })
    }

    /// Bytes of the weights.
    pub(super) fn size_bytes(&self) -> usize {
        let bytes = self.parts.iter().map(|part| match part {
            Part::Ternary(matrix) => matrix.size_bytes(),
            Part::Floats(matrix) => matrix.size_bytes(),
        });
        bytes.sum()
    }

    /// `[rows, inputs]` to `[rows, outputs]`.
    pub(super) fn apply(&self, input: &[f32], output: &mut [f32], precision: ActivationPrecision) {
        let rows = input.len() / self.inputs;
        match self.parts.as_slice() {
            [part] => part.multiply(input, output, precision),
            parts => {
                let mut first = 0;
                let mut columns = Vec::new();
                for part in parts {
                    let outputs = part.outputs();
                    columns.resize(rows * outputs, 0.0);
                    part.multiply(input, &mut columns, precision);
                    let targets = output.chunks_exact_mut(self.outputs);
                    for (target, columns) in targets.zip(columns.chunks_exact(outputs)) {
                        target[first..first + outputs].copy_from_slice(columns);
                    }
                    first += outputs;
                }
            }
        }
        if let Some(bias) = &self.bias {
            for output in output.chunks_exact_mut(self.outputs) {
                for (output, bias) in output.iter_mut().zip(bias) {
                    *output += bias;
                }
            }
        }
    }
}

impl Part {
    fn outputs(&self) -> usize {
        match self {
            Self::Ternary(matrix) => matrix.rows(),
            Self::Floats(matrix) => matrix.rows(),
        }
    }

    fn multiply(&self, input: &[f32], output: &mut [f32], precision: ActivationPrecision) {
        match self {
            Self::Ternary(matrix) => matrix.matmul(input, output, precision),
            Self::Floats(matrix) => matrix.matmul(input, output),
        }
        .expect("the buffers have the sizes of the projection");
    }
}

/// How the scales lie when each row has its own.
fn by_row(matrix: &TernaryMatrix) -> Granularity {
    match matrix.granularity() {
        Granularity::Tensor => Granularity::Row,
        own => own,
    }
}

/// Matrices of one width and, row by row, one granularity, on top of each other.
fn stacked(matrices: Vec<TernaryMatrix>) -> Part {
    let matrix = match matrices.as_slice() {
        [only] => only.clone(),
        matrices => {
            let codes: Vec<u8> = matrices
                .iter()
                .flat_map(TernaryMatrix::codes)
                .copied()
                .collect();
            let mut scales = Vec::new();
            for matrix in matrices {
                match matrix.granularity() {
                    Granularity::Tensor => {
                        scales.extend(std::iter::repeat_n(matrix.scales()[0], matrix.rows()));
                    }
                    _ => scales.extend_from_slice(matrix.scales()),
                }
            }
            let (rows, columns) = (
                matrices.iter().map(TernaryMatrix::rows).sum(),
                matrices[0].columns(),
            );
            TernaryMatrix::from_parts(codes, scales, rows, columns, by_row(&matrices[0]))
                .expect("valid matrices of one width and granularity")
        }
    };
    Part::Ternary(InterleavedMatrix::new(&matrix, CodeEncoding::TwoBit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::FloatRows;
    use t81_core::{Layout, Quantizer};

    const INPUTS: usize = 100;

    fn values(count: usize, seed: usize) -> Vec<f32> {
        (0..count)
            .map(|index| (((index + seed) * (index + 3)) as f32 * 0.173).sin())
            .collect()
    }

    /// A layer is a name of its kind and its number of outputs.
    fn weight(name: &str, outputs: usize) -> InferenceWeight<'static> {
        let weights = values(outputs * INPUTS, outputs);
        let granularity = match name {
            "float" => {
                return InferenceWeight::Floats(FloatRows::from_values(
                    vec![outputs, INPUTS],
                    weights,
                ));
            }
            "tensor" => Granularity::Tensor,
            "row" => Granularity::Row,
            _ => Granularity::group(64).unwrap(),
        };
        let quantizer = Quantizer::new(granularity, 0.7).unwrap();
        let matrix = quantizer.quantize(&weights, outputs, INPUTS, Layout::OutIn);
        InferenceWeight::Ternary(matrix.unwrap())
    }

    #[test]
    fn stacked_layers_give_the_bits_of_each_alone() {
        for (kinds, expected_parts) in [
            (["tensor", "row", "tensor"], 1),
            (["group", "group", "group"], 1),
            (["group", "row", "row"], 2),
            (["row", "float", "row"], 3),
        ] {
            for (precision, biases) in [
                (ActivationPrecision::Float32, [true; 3]),
                (ActivationPrecision::Float32, [false, true, false]),
                (ActivationPrecision::Int8, [true, false, false]),
                (ActivationPrecision::Int8, [false; 3]),
            ] {
                let outputs = [33, 7, 20];
                let layers: Vec<Layer<'_>> = kinds
                    .into_iter()
                    .zip(outputs)
                    .zip(biases)
                    .map(|((kind, outputs), has_bias)| (kind, outputs, has_bias))
                    .collect();
                let mut next = layers
                    .iter()
                    .flat_map(|&(_, outputs, has_bias)| vec![outputs; 1 + usize::from(has_bias)]);
                let mut source = Source(|name: &str| {
                    let outputs = next.next().expect("each weight and each bias once");
                    let kind = name.split('.').nth(1).unwrap();
                    Ok::<_, String>(match name.ends_with("bias") {
                        true => InferenceWeight::Floats(FloatRows::from_values(
                            vec![outputs],
                            vec![0.5; outputs],
                        )),
                        false => weight(kind, outputs),
                    })
                });
                let projection =
                    Projection::load(&mut source, "x.", INPUTS, &layers, precision).unwrap();
                assert_eq!(projection.parts.len(), expected_parts);
                for rows in [1, 5] {
                    let input = values(rows * INPUTS, 3);
                    let mut output = vec![0.0; rows * 60];
                    projection.apply(&input, &mut output, precision);
                    let mut first = 0;
                    for (kind, outputs, has_bias) in &layers {
                        let bias = if *has_bias { 0.5 } else { 0.0 };
                        let mut alone = vec![0.0; rows * outputs];
                        let part = match weight(kind, *outputs) {
                            InferenceWeight::Ternary(matrix) => stacked(vec![matrix]),
                            InferenceWeight::Floats(rows) => Part::Floats(rows.matrix(precision)),
                        };
                        part.multiply(&input, &mut alone, precision);
                        for (row, alone) in alone.chunks_exact(*outputs).enumerate() {
                            let found = &output[row * 60 + first..][..*outputs];
                            let expected: Vec<f32> = alone.iter().map(|one| one + bias).collect();
                            assert_eq!(found, expected, "{kinds:?} {precision:?}");
                        }
                        first += outputs;
                    }
                }
            }
        }
    }
}
