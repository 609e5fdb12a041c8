//! The quantizer's definition, written down without any care for speed.

use half::f16;
use t81_core::{Granularity, Quantizer, Reference, Rounding, ScaleRule, stochastic_uniform};

/// Codes `[out, in]` and scales, row-major.
#[derive(Debug, PartialEq)]
pub(crate) struct Naive {
    pub(crate) codes: Vec<i8>,
    pub(crate) scales: Vec<f16>,
}

/// Quantizes weights in `[out, in]` order; `None` when a scale is beyond f16.
pub(crate) fn quantize(quantizer: &Quantizer, weights: &[f32], columns: usize) -> Option<Naive> {
    let indexed: Vec<(u64, f32)> = (0..).zip(weights.iter().copied()).collect();
    let group_len = match quantizer.granularity() {
        Granularity::Tensor | Granularity::Row => columns,
        Granularity::Group(size) => size.get(),
    };
    // A group is a list of rows, as the sums of a tensor fold row by row.
    let rows = indexed.chunks(columns);
    let groups: Vec<Vec<&[(u64, f32)]>> = match quantizer.granularity() {
        Granularity::Tensor => vec![rows.collect()],
        _ => rows
            .flat_map(|row| row.chunks(group_len))
            .map(|group| vec![group])
            .collect(),
    };
    let mut naive = Naive {
        codes: Vec::new(),
        scales: Vec::new(),
    };
    for group in groups {
        let (codes, scale) = quantize_group(quantizer, &group)?;
        naive.codes.extend(codes);
        naive.scales.push(scale);
    }
    Some(naive)
}

fn quantize_group(quantizer: &Quantizer, rows: &[&[(u64, f32)]]) -> Option<(Vec<i8>, f16)> {
    let weights: Vec<(u64, f32)> = rows.concat();
    let total = sum(rows, |_, weight| weight.abs());
    let maximum = weights
        .iter()
        .fold(0.0_f32, |maximum, (_, weight)| maximum.max(weight.abs()));
    let reference = match quantizer.reference() {
        Reference::AbsMean => total / weights.len() as f32,
        Reference::AbsMax => maximum,
    };
    let threshold = quantizer.threshold();
    let code = |index: u64, weight: f32| -> i8 {
        let cutoff = threshold * reference;
        if weight.abs() < cutoff || weight == 0.0 {
            return 0;
        }
        if let Rounding::Stochastic { seed } = quantizer.rounding() {
            let excess = weight.abs() - cutoff;
            let span = (1.0 - threshold) * reference;
            if stochastic_uniform(seed, index) * span >= excess && excess < span {
                return 0;
            }
        }
        if weight > 0.0 { 1 } else { -1 }
    };
    let mut codes: Vec<i8> = weights
        .iter()
        .map(|&(index, weight)| code(index, weight))
        .collect();
    let nonzero = codes.iter().filter(|&&code| code != 0).count();
    let scale = match (quantizer.scale(), quantizer.reference()) {
        (ScaleRule::LeastSquares, _) if nonzero == 0 => f16::ZERO,
        (ScaleRule::LeastSquares, _) => {
            let masked = sum(rows, |index, weight| {
                if code(index, weight) == 0 {
                    0.0
                } else {
                    weight.abs()
                }
            });
            nearest_f16(masked, nonzero)?
        }
        (ScaleRule::Reference, Reference::AbsMean) => nearest_f16(total, weights.len())?,
        (ScaleRule::Reference, Reference::AbsMax) => nearest_f16(maximum, 1)?,
    };
    if scale == f16::ZERO {
        codes.fill(0);
    }
    Some((codes, scale))
}

/// The canonical sum of rows.
fn sum(rows: &[&[(u64, f32)]], value: impl Fn(u64, f32) -> f32) -> f32 {
    let row_sums = rows.iter().map(|row| {
        let block_sums = row.chunks(256).map(|block| {
            let mut lanes = [0.0_f32; 8];
            for (i, &(index, weight)) in block.iter().enumerate() {
                lanes[i % 8] += value(index, weight);
            }
            let [a, b, c, d, e, f, g, h] = lanes;
            ((a + e) + (c + g)) + ((b + f) + (d + h))
        });
        fold_pairwise(block_sums.collect())
    });
    fold_pairwise(row_sums.collect())
}

fn fold_pairwise(mut sums: Vec<f32>) -> f32 {
    while sums.len() > 1 {
        sums = sums
            .chunks(2)
            .map(|pair| {
                if let [left, right] = pair {
                    left + right
                } else {
                    pair[0]
                }
            })
            .collect();
    }
    sums[0]
}

/// The f16 nearest to `sum / count`, ties to even, by exact comparisons of `sum` with `midpoint * count` (12 times 40
/// bits fit an f64).
pub(crate) fn nearest_f16(sum: f32, count: usize) -> Option<f16> {
    let (sum, count) = (f64::from(sum), count as f64);
    let value = |bits: u16| {
        if bits == 0x7c00 {
            65536.0
        } else {
            f16::from_bits(bits).to_f64()
        }
    };
    let below: Vec<u16> = (0..=0x7c00).collect();
    let above = below.partition_point(|&bits| value(bits) * count <= sum);
    if above > 0x7c00 {
        return None;
    }
    let below = above as u16 - 1;
    let midpoint = (value(below) + value(below + 1)) / 2.0 * count;
    let up = sum > midpoint || (sum == midpoint && below % 2 == 1);
    let bits = below + u16::from(up);
    (bits < 0x7c00).then(|| f16::from_bits(bits))
}
