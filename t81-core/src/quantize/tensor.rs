//! The decision for a whole tensor: rows in parallel, their sums folded in row order.

use rayon::prelude::*;

use super::fold::PairwiseFold;
use super::group::Cut;
use super::loops::RowLoops;
use super::pack::Failure;
use super::quantizer::Weights;
use super::region::{Region, WIDTH};
use super::row::RowKernel;
use super::rows::Rows;
use super::rule::{Decision, Rule, Unrepresentable};
use super::stripe::StripeKernel;
use super::stripe_loops::Cuts;
use crate::fetch::Ahead;
use crate::settings::{Layout, Reference, ScaleRule};
use crate::vectorized::vectorized;

vectorized! {
    fn row_magnitude(kernel: &mut RowKernel, rule: &Rule, row: &[f32]) -> f32 = row_magnitude_loop::<_>;
    fn row_masked(kernel: &mut RowKernel, rule: &Rule, cut: &Cut, row: &[f32], index: u64) -> (f32, u64) = row_masked_loop::<_>;
}

#[inline(always)]
fn row_magnitude_loop<L: RowLoops>(kernel: &mut RowKernel, rule: &Rule, row: &[f32]) -> f32 {
    kernel.magnitude::<L>(rule, row)
}

#[inline(always)]
fn row_masked_loop<L: RowLoops>(
    kernel: &mut RowKernel,
    rule: &Rule,
    cut: &Cut,
    row: &[f32],
    index: u64,
) -> (f32, u64) {
    kernel.masked::<L>(rule, cut, row, index)
}

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

/// The same decision for rows that are read `chunk_rows` at a time: once for the reference, once more for a
/// least-squares scale.
pub(super) fn decide_rows<R: Rows>(
    rule: &Rule,
    source: &R,
    chunk_rows: usize,
) -> Result<Decision, Failure<R::Error>> {
    let count = source.rows() as u64 * source.columns() as u64;
    let magnitudes = each_row(source, chunk_rows, |kernel, row, _| {
        row_magnitude(kernel, rule, row)
    })?;
    let magnitude = reduce(rule, magnitudes);
    let cut = rule.cut(magnitude, count);
    let masked = match rule.scale {
        ScaleRule::LeastSquares => total(each_row(source, chunk_rows, |kernel, row, index| {
            row_masked(kernel, rule, &cut, row, index)
        })?),
        ScaleRule::Reference => (0.0, 0),
    };
    let decision = rule.decide(cut, magnitude, count, masked);
    if decision.scale < f32::INFINITY {
        Ok(decision)
    } else {
        Err(Failure::Unrepresentable)
    }
}

/// A value of every row, in order. `value` is also told the index of the row's first weight.
fn each_row<R: Rows, T: Clone + Default + Send>(
    source: &R,
    chunk_rows: usize,
    value: impl Fn(&mut RowKernel, &[f32], u64) -> T + Sync,
) -> Result<Vec<T>, Failure<R::Error>> {
    let columns = source.columns();
    let mut values = vec![T::default(); source.rows()];
    values
        .par_chunks_mut(chunk_rows)
        .enumerate()
        .try_for_each_init(
            || (RowKernel::new(), Vec::new()),
            |(kernel, buffer), (chunk, values)| {
                let first = chunk * chunk_rows;
                let weights = source.read(first, values.len(), buffer)?;
                for ((row, weights), result) in
                    (first as u64..).zip(weights.chunks(columns)).zip(values)
                {
                    *result = value(kernel, weights, row * columns as u64);
                }
                Ok(())
            },
        )
        .map_err(Failure::Source)?;
    Ok(values)
}

/// The sum or the maximum of `abs(w)`, as the reference asks.
fn magnitude(rule: &Rule, weights: &Weights<'_>) -> f32 {
    let mut rows = vec![0.0; weights.rows];
    match weights.layout {
        Layout::OutIn => rows
            .par_iter_mut()
            .zip(weights.values.par_chunks(weights.columns))
            .for_each_init(RowKernel::new, |kernel, (magnitude, row)| {
                *magnitude = row_magnitude(kernel, rule, row);
            }),
        Layout::InOut => rows.par_chunks_mut(WIDTH).enumerate().for_each_init(
            StripeKernel::new,
            |kernel, (stripe, magnitudes)| {
                let region = whole_rows(weights, stripe * WIDTH, magnitudes.len());
                let mut values = Vec::new();
                kernel.magnitudes(rule, &region, &mut values);
                magnitudes.copy_from_slice(&values[..magnitudes.len()]);
            },
        ),
    }
    reduce(rule, rows)
}

/// The magnitude of a tensor from those of its rows.
fn reduce(rule: &Rule, rows: Vec<f32>) -> f32 {
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
    let cuts = Cuts::uniform(cut);
    let mut rows = vec![(0.0, 0); weights.rows];
    match weights.layout {
        Layout::OutIn => rows
            .par_iter_mut()
            .zip(weights.values.par_chunks(weights.columns))
            .enumerate()
            .for_each_init(RowKernel::new, |kernel, (row, (masked, values))| {
                *masked = row_masked(
                    kernel,
                    rule,
                    cut,
                    values,
                    row as u64 * weights.columns as u64,
                );
            }),
        Layout::InOut => rows.par_chunks_mut(WIDTH).enumerate().for_each_init(
            StripeKernel::new,
            |kernel, (stripe, masked)| {
                let region = whole_rows(weights, stripe * WIDTH, masked.len());
                let (mut sums, mut counts) = (Vec::new(), Vec::new());
                let nothing = Ahead::nothing();
                kernel.masked(rule, &cuts, &region, nothing, &mut sums, &mut counts);
                for (masked, (sum, count)) in masked.iter_mut().zip(sums.into_iter().zip(counts)) {
                    *masked = (sum, u64::from(count));
                }
            },
        ),
    }
    total(rows)
}

/// The masked sum and count of a tensor from those of its rows.
fn total(rows: Vec<(f32, u64)>) -> (f32, u64) {
    let count = rows.iter().map(|row| row.1).sum();
    (fold(rows.into_iter().map(|row| row.0)), count)
}

fn fold(rows: impl IntoIterator<Item = f32>) -> f32 {
    let mut fold = PairwiseFold::new();
    rows.into_iter().for_each(|sum| fold.push(sum));
    fold.finish().unwrap_or(0.0)
}

fn whole_rows<'a>(weights: &Weights<'a>, first: usize, width: usize) -> Region<'a> {
    Region::new(weights, first, width, 0, weights.columns)
}
