//! The decision for a whole tensor: rows in parallel, their sums folded in row order.

use rayon::prelude::*;

use super::fold::PairwiseFold;
use super::group::Cut;
use super::quantizer::Weights;
use super::row::RowKernel;
use super::rule::{Decision, Rule, Unrepresentable};
use super::stripe::{Region, StripeKernel, WIDTH};
use crate::settings::{Layout, Reference, ScaleRule};

/// The one decision of [`Granularity::Tensor`](crate::Granularity::Tensor).
pub(super) fn decide(rule: &Rule, weights: &Weights<'_>) -> Result<Decision, Unrepresentable> {
    let count = weights.values.len() as u64;
    let magnitude = magnitude(rule, weights);
    let cut = rule.cut(magnitude, count);
    let masked = match rule.scale {
        ScaleRule::LeastSquares => masked(rule, &cut, weights),
        ScaleRule::Reference => (0.0, 0),
    };
    let decision = rule.decide(cut, magnitude, count, masked);
    if decision.scale < f32::INFINITY {
        Ok(decision)
    } else {
        Err(Unrepresentable)
    }
}

/// The sum or the maximum of `abs(w)`, as the reference asks.
fn magnitude(rule: &Rule, weights: &Weights<'_>) -> f32 {
    let mut rows = vec![0.0; weights.rows];
    match weights.layout {
        Layout::OutIn => rows
            .par_iter_mut()
            .zip(weights.values.par_chunks(weights.columns))
            .for_each_init(RowKernel::new, |kernel, (magnitude, row)| {
                *magnitude = kernel.magnitude(rule, row);
            }),
        Layout::InOut => rows.par_chunks_mut(WIDTH).enumerate().for_each_init(
            StripeKernel::new,
            |kernel, (stripe, magnitudes)| {
                let region = whole_rows(weights, stripe * WIDTH, magnitudes.len());
                let values = kernel.magnitudes(rule, &region);
                magnitudes.copy_from_slice(&values);
            },
        ),
    }
    match rule.reference {
        Reference::AbsMean => fold(rows),
        // As integers, so that a NaN is not lost.
        Reference::AbsMax => f32::from_bits(
            rows.iter()
                .fold(0, |largest, row| largest.max(row.to_bits())),
        ),
    }
}

/// The sum of `abs(w)` over the non-zero codes and their number.
fn masked(rule: &Rule, cut: &Cut, weights: &Weights<'_>) -> (f32, u64) {
    let cuts = vec![*cut; WIDTH];
    let mut rows = vec![(0.0, 0); weights.rows];
    match weights.layout {
        Layout::OutIn => rows
            .par_iter_mut()
            .zip(weights.values.par_chunks(weights.columns))
            .enumerate()
            .for_each_init(RowKernel::new, |kernel, (row, (masked, values))| {
                *masked = kernel.masked(rule, cut, values, row as u64 * weights.columns as u64);
            }),
        Layout::InOut => rows.par_chunks_mut(WIDTH).enumerate().for_each_init(
            StripeKernel::new,
            |kernel, (stripe, masked)| {
                let region = whole_rows(weights, stripe * WIDTH, masked.len());
                let (sums, counts) = kernel.masked(rule, &cuts, &region);
                for (masked, (sum, count)) in masked.iter_mut().zip(sums.into_iter().zip(counts)) {
                    *masked = (sum, u64::from(count));
                }
            },
        ),
    }
    let count = rows.iter().map(|row| row.1).sum();
    (fold(rows.into_iter().map(|row| row.0)), count)
}

fn fold(rows: impl IntoIterator<Item = f32>) -> f32 {
    let mut fold = PairwiseFold::new();
    rows.into_iter().for_each(|sum| fold.push(sum));
    fold.finish().unwrap_or(0.0)
}

fn whole_rows<'a>(weights: &Weights<'a>, first: usize, width: usize) -> Region<'a> {
    Region {
        weights: *weights,
        first,
        width,
        start: 0,
        len: weights.columns,
    }
}
