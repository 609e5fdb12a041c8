//! What goes into a decoder and comes out of it, in the terms of a Hugging Face checkpoint.

use std::error::Error;
use t81_core::Layout;
use thiserror::Error as ThisError;

/// Rows and columns transposed together, small enough for both to stay in the first cache level.
const TRANSPOSED_BLOCK: usize = 32;

/// Order of the values of a [`Weight`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightLayout {
    /// Row-major in the Hugging Face shape, `[out, in]` for a matrix.
    HuggingFace,
    /// Row-major `[in, out]` of a Hugging Face `[out, in]` matrix, as Burn's linear layers keep it.
    Transposed,
    /// Row-major in the Hugging Face shape of a linear layer of GPT-2 (Conv1D), which is `[in, out]` as in Burn.
    Conv1d,
}

impl WeightLayout {
    /// The order as the quantizer names it.
    pub fn of_matrix(self) -> Layout {
        match self {
            Self::HuggingFace => Layout::OutIn,
            Self::Transposed | Self::Conv1d => Layout::InOut,
        }
    }
}

/// Name and shape of a weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightSpec {
    /// Hugging Face name, such as `model.layers.0.self_attn.q_proj.weight`.
    pub name: String,
    /// Hugging Face shape: `[out, in]` for a matrix, `[in, out]` for one in [`WeightLayout::Conv1d`].
    pub shape: Vec<usize>,
    /// Order in which the model keeps its values.
    pub layout: WeightLayout,
}

impl WeightSpec {
    /// `[out, in]` of a matrix, whichever way its shape goes; `None` for a vector.
    pub fn outputs_and_inputs(&self) -> Option<[usize; 2]> {
        match (self.layout, self.shape.as_slice()) {
            (WeightLayout::Conv1d, &[inputs, outputs]) => Some([outputs, inputs]),
            (_, &[outputs, inputs]) => Some([outputs, inputs]),
            _ => None,
        }
    }
}

/// A weight read out of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Weight {
    /// Name, shape and order of the values.
    pub spec: WeightSpec,
    /// The values in `spec.layout`.
    pub values: Vec<f32>,
}

impl Weight {
    /// The values, row-major in the Hugging Face shape.
    pub fn into_hugging_face_order(self) -> Vec<f32> {
        match (self.spec.layout, self.spec.shape.as_slice()) {
            (WeightLayout::Transposed, &[outputs, inputs]) => {
                transposed(&self.values, inputs, outputs)
            }
            _ => self.values,
        }
    }
}

/// Why a model could not be filled.
#[derive(Debug, ThisError)]
pub enum LoadWeightsError {
    /// The source of the weights does not have one or could not read it.
    #[error("cannot load `{name}`: {source}")]
    Source {
        /// Hugging Face name of the weight.
        name: String,
        /// What the source said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A weight does not fit the configuration of the model.
    #[error("`{name}` has shape {found:?}, but the model's configuration asks for {expected:?}")]
    Shape {
        /// Hugging Face name of the weight.
        name: String,
        /// Shape that the model has.
        expected: Vec<usize>,
        /// Shape that the source gave.
        found: Vec<usize>,
    },
    /// The source gave more or fewer values than its shape says.
    #[error("`{name}` has {found} values, but its shape asks for {expected}")]
    Length {
        /// Hugging Face name of the weight.
        name: String,
        /// Number of values of the shape.
        expected: usize,
        /// Number of values given.
        found: usize,
    },
}

/// Row-major `[rows, columns]` to row-major `[columns, rows]`, block by block so that both sides stay in the cache.
pub(crate) fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut output = vec![0.0; values.len()];
    for top in (0..rows).step_by(TRANSPOSED_BLOCK) {
        for left in (0..columns).step_by(TRANSPOSED_BLOCK) {
            for column in left..(left + TRANSPOSED_BLOCK).min(columns) {
                for row in top..(top + TRANSPOSED_BLOCK).min(rows) {
                    output[column * rows + row] = values[row * columns + column];
                }
            }
        }
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposes_shapes_beyond_a_block() {
        let (rows, columns) = (67, 35);
        let values: Vec<f32> = (0..rows * columns).map(|index| index as f32).collect();
        let output = transposed(&values, rows, columns);
        assert_eq!(output[0], 0.0);
        assert_eq!(output[1], columns as f32);
        assert_eq!(output[34 * rows + 66], (66 * columns + 34) as f32);
        assert_eq!(transposed(&output, columns, rows), values);
    }
}
