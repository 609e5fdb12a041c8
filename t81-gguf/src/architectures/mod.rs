//! What llama.cpp calls the tensors and hyper-parameters of Hugging Face models: one file per architecture.

mod llama;

use t81_hub::{Architecture as HubArchitecture, ModelConfig};

use crate::error::GgufError;
use crate::metadata::Metadata;

/// How one model family looks in GGUF.
pub(crate) trait Architecture {
    /// The value of `general.architecture`, which prefixes the hyper-parameter keys.
    fn name(&self) -> &'static str;

    /// Writes the hyper-parameters into `metadata`.
    fn describe(&self, metadata: &mut Metadata) -> Result<(), GgufError>;

    /// Every tensor of the file, in file order.
    fn tensors(&self) -> Vec<MappedTensor>;

    /// Rows of the token embedding: the number of tokens that the vocabulary must have.
    fn vocabulary_size(&self) -> usize;
}

/// A tensor of the GGUF file and where its values come from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MappedTensor {
    /// The GGUF name.
    pub(crate) name: String,
    /// The shape as in the checkpoint, the fastest dimension last: `[out, in]` for a matrix.
    pub(crate) shape: Vec<usize>,
    pub(crate) role: Role,
    pub(crate) source: Source,
}

/// What a tensor is for, which decides its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The matrix of a linear layer inside a block; the ones that are ternary.
    Linear,
    /// The token embedding or the output matrix.
    Embedding,
    /// A norm, bias or table of factors; llama.cpp wants these in F32.
    Vector,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source {
    /// The checkpoint's tensor of this name, its rows in this order.
    Checkpoint { name: String, rows: RowOrder },
    /// Values that follow from the configuration.
    Computed(Vec<f32>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowOrder {
    Unchanged,
    /// Per head, the two halves that Hugging Face rotates together become neighbouring pairs, as llama.cpp rotates.
    RotaryPairs {
        heads: usize,
    },
}

impl RowOrder {
    /// For each row of the output, the row of the checkpoint it comes from; `None` when no row moves.
    pub(crate) fn sources(self, rows: usize) -> Option<Vec<usize>> {
        match self {
            RowOrder::Unchanged => None,
            RowOrder::RotaryPairs { heads } => {
                let head_rows = rows / heads;
                let half = head_rows / 2;
                let source = |row: usize| {
                    let (head, within) = (row / head_rows, row % head_rows);
                    head * head_rows + (within % 2) * half + within / 2
                };
                Some((0..rows).map(source).collect())
            }
        }
    }
}

/// The architecture of the model that `config` describes.
pub(crate) fn architecture(config: &ModelConfig) -> Result<Box<dyn Architecture + '_>, GgufError> {
    match &config.architecture {
        HubArchitecture::Llama(config) => Ok(Box::new(llama::Llama::new(config))),
        _ => Err(GgufError::UnsupportedModel {
            reason: format!(
                "no GGUF map for model_type `{}` is written yet",
                config.model_type()
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `reshape(heads, 2, dim / 2).swapaxes(1, 2)` written with explicit loops over the three axes.
    fn reshaped(rows: usize, heads: usize) -> Vec<usize> {
        let half = rows / heads / 2;
        let mut order = Vec::new();
        for head in 0..heads {
            for pair in 0..half {
                for side in 0..2 {
                    order.push(head * 2 * half + side * half + pair);
                }
            }
        }
        order
    }

    #[test]
    fn rotary_pairs_interleave_the_halves_of_each_head() {
        assert_eq!(
            RowOrder::RotaryPairs { heads: 2 }.sources(8),
            Some(vec![0, 2, 1, 3, 4, 6, 5, 7])
        );
        for (rows, heads) in [(8, 1), (8, 4), (576, 9), (192, 3)] {
            assert_eq!(
                RowOrder::RotaryPairs { heads }.sources(rows),
                Some(reshaped(rows, heads))
            );
        }
        assert_eq!(RowOrder::Unchanged.sources(8), None);
    }

    #[test]
    fn rotating_pairs_after_the_permutation_equals_rotating_halves_before_it() {
        let (heads, dim) = (3, 8);
        let rows = heads * dim;
        let hidden: Vec<f64> = (0..rows).map(|row| (row as f64 * 0.7).sin()).collect();
        let angle = |pair: usize| 0.3 / 10f64.powf(2.0 * pair as f64 / dim as f64);
        let rotate = |a: f64, b: f64, angle: f64| {
            (
                a * angle.cos() - b * angle.sin(),
                a * angle.sin() + b * angle.cos(),
            )
        };

        let mut halves = hidden.clone();
        for head in 0..heads {
            for pair in 0..dim / 2 {
                let (first, second) = (head * dim + pair, head * dim + dim / 2 + pair);
                (halves[first], halves[second]) =
                    rotate(hidden[first], hidden[second], angle(pair));
            }
        }
        let order = RowOrder::RotaryPairs { heads }.sources(rows).unwrap();
        let mut pairs: Vec<f64> = order.iter().map(|&row| hidden[row]).collect();
        for head in 0..heads {
            for pair in 0..dim / 2 {
                let first = head * dim + 2 * pair;
                (pairs[first], pairs[first + 1]) =
                    rotate(pairs[first], pairs[first + 1], angle(pair));
            }
        }
        let expected: Vec<f64> = order.iter().map(|&row| halves[row]).collect();
        assert_eq!(pairs, expected);
    }
}
