//! Recognizing weights that are ternary already.

use crate::Granularity;

/// Group sizes that are looked for, each a multiple of the one before. A row and the whole matrix follow.
const SIZES: [usize; 4] = [32, 64, 128, 256];
const ROW: usize = SIZES.len();
const TENSOR: usize = ROW + 1;

/// How coarsely weights share their magnitudes that are all `m`, `-m` or 0 within a group: the trace of an earlier
/// quantization. Groups of the same or a smaller size, if they do not cross its borders, find the same codes again.
///
/// ```
/// use t81_core::{Granularity, TernaryPattern};
///
/// let mut row = vec![0.5; 64];
/// row.extend([0.25; 64]);
/// row[7] = -0.5;
/// row[100] = 0.0;
/// let pattern = TernaryPattern::of_row(&row).expect("at most one magnitude for each 32 weights");
/// assert_eq!(pattern.granularity(), Granularity::group(64)?);
/// assert!(pattern.keeps(Granularity::group(32)?, 128) && !pattern.keeps(Granularity::group(128)?, 128));
/// row[5] = 0.1;
/// assert_eq!(TernaryPattern::of_row(&row), None);
/// # Ok::<(), t81_core::ParseSettingError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TernaryPattern {
    /// Index of the coarsest group: in `SIZES`, or `ROW`, or `TENSOR`.
    coarsest: usize,
    /// The magnitude of all weights so far, 0 if all are 0; of meaning for `TENSOR` alone.
    magnitude: f32,
}

impl TernaryPattern {
    /// The pattern of one row of weights; `None` if 32 consecutive weights have more than one magnitude, or one that is not
    /// finite. Ordinary weights are told by the first few.
    #[must_use]
    pub fn of_row(weights: &[f32]) -> Option<Self> {
        let mut coarsest = TENSOR;
        // Of the current group of each size, the last that of the row.
        let mut magnitudes = [0.0f32; SIZES.len() + 1];
        for (block, weights) in weights.chunks(SIZES[0]).enumerate() {
            let first = block * SIZES[0];
            for (size, magnitude) in SIZES.iter().zip(&mut magnitudes) {
                if first.is_multiple_of(*size) {
                    *magnitude = 0.0;
                }
            }
            let mut found = 0.0f32;
            for weight in weights {
                let magnitude = weight.abs();
                if magnitude != 0.0 && magnitude != found {
                    if found != 0.0 || !magnitude.is_finite() {
                        return None;
                    }
                    found = magnitude;
                }
            }
            if found == 0.0 {
                continue;
            }
            for (size, magnitude) in magnitudes.iter_mut().enumerate() {
                if *magnitude == 0.0 {
                    *magnitude = found;
                } else if *magnitude != found {
                    coarsest = coarsest.min(size - 1);
                }
            }
        }
        Some(Self {
            coarsest,
            magnitude: magnitudes[ROW],
        })
    }

    /// The pattern of two parts of a matrix together.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        let one_magnitude =
            self.magnitude == other.magnitude || self.magnitude == 0.0 || other.magnitude == 0.0;
        let most = if one_magnitude { TENSOR } else { ROW };
        Self {
            coarsest: self.coarsest.min(other.coarsest).min(most),
            magnitude: self.magnitude.max(other.magnitude),
        }
    }

    /// The coarsest granularity that keeps every code; of groups one of 32, 64, 128 or 256.
    #[must_use]
    pub fn granularity(self) -> Granularity {
        match SIZES.get(self.coarsest) {
            Some(&size) => Granularity::group(size).unwrap_or(Granularity::Row),
            None if self.coarsest == ROW => Granularity::Row,
            None => Granularity::Tensor,
        }
    }

    /// Whether `granularity` keeps every code in rows of `columns` weights.
    #[must_use]
    pub fn keeps(self, granularity: Granularity, columns: usize) -> bool {
        match granularity {
            Granularity::Tensor => self.coarsest == TENSOR,
            Granularity::Row => self.coarsest >= ROW,
            Granularity::Group(size) => {
                let size = size.get();
                self.coarsest >= ROW
                    || SIZES[self.coarsest].is_multiple_of(size)
                    || (size >= columns && SIZES[self.coarsest] >= columns)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Layout, Quantizer};

    /// A matrix that is ternary in groups of this size, with other scales in each.
    fn matrix(rows: usize, columns: usize, group: usize) -> Vec<f32> {
        (0..rows * columns)
            .map(|at| {
                let (row, column) = (at / columns, at % columns);
                let scale = 0.25 + (row * columns.div_ceil(group) + column / group) as f32 / 1024.0;
                scale * ((at * 7919 % 13) as f32 % 3.0 - 1.0)
            })
            .collect()
    }

    fn pattern(weights: &[f32], columns: usize) -> Option<TernaryPattern> {
        weights
            .chunks(columns)
            .map(TernaryPattern::of_row)
            .reduce(|one, other| Some(one?.merge(other?)))?
    }

    /// The judge is the quantizer itself.
    #[test]
    fn a_pattern_keeps_exactly_what_the_quantizer_reproduces() {
        let granularities: Vec<Granularity> = [16, 32, 48, 64, 128, 256, 512]
            .map(|size| Granularity::group(size).unwrap())
            .into_iter()
            .chain([Granularity::Row, Granularity::Tensor])
            .collect();
        for group in [32, 64, 128, 256, 512, 4096] {
            let (rows, columns) = (3, 512);
            let weights = matrix(rows, columns, group);
            let pattern = pattern(&weights, columns).unwrap();
            for granularity in &granularities {
                let quantizer = Quantizer::new(*granularity, 0.45).unwrap();
                let quantized = quantizer
                    .quantize(&weights, rows, columns, Layout::OutIn)
                    .unwrap();
                let reproduces = quantized.dequantize() == weights;
                // 48 divides no group, so it is never counted on.
                let expected = reproduces
                    && (granularity.to_string() != "group:48"
                        || pattern.granularity() == Granularity::Row);
                assert_eq!(
                    pattern.keeps(*granularity, columns),
                    expected,
                    "groups of {group}, {granularity}"
                );
            }
        }
    }

    #[test]
    fn the_coarsest_granularity_is_found() {
        let found = |weights: &[f32], columns| pattern(weights, columns).map(|it| it.granularity());
        for size in [32, 64, 128, 256] {
            let expected = Granularity::group(size).unwrap();
            assert_eq!(found(&matrix(2, 768, size), 768), Some(expected));
        }
        assert_eq!(found(&matrix(2, 768, 768), 768), Some(Granularity::Row));
        assert_eq!(found(&[0.5, 0.0, -0.5, 0.5], 2), Some(Granularity::Tensor));
        assert_eq!(found(&[0.0; 64], 32), Some(Granularity::Tensor));
        assert_eq!(found(&matrix(2, 768, 16), 768), None);
        assert_eq!(found(&[f32::NAN, 1.0], 2), None);
        assert_eq!(found(&[f32::INFINITY, 0.0], 2), None);
        // A row that is shorter than a group.
        let short = pattern(&matrix(2, 96, 32), 96).unwrap();
        assert!(!short.keeps(Granularity::group(256).unwrap(), 96));
        assert!(short.keeps(Granularity::group(32).unwrap(), 96));
    }
}
