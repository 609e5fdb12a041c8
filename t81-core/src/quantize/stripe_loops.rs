//! Loops along runs of the `[in, out]` layout, in which each output feature has a cut, a scale and sums of its own.

use super::group::{Cut, magnitude_bits, masked_magnitude, nonzero_mask, ternary};
use super::random::StochasticKey;
use super::stripe::WIDTH;
use crate::vectorized::vectorized;

/// The cuts of output features, apart, as vector code reads them.
#[derive(Clone, Debug, Default)]
pub(super) struct Cuts {
    cutoff: Vec<f32>,
    span: Vec<f32>,
    pub(super) limit: Vec<i32>,
}

impl Cuts {
    /// The same cut for every output feature of a sweep.
    pub(super) fn uniform(cut: &Cut) -> Self {
        std::iter::repeat_n(*cut, WIDTH).collect()
    }

    pub(super) fn get(&self, place: usize) -> Cut {
        Cut {
            cutoff: self.cutoff[place],
            span: self.span[place],
            limit: self.limit[place],
        }
    }
}

impl FromIterator<Cut> for Cuts {
    fn from_iter<I: IntoIterator<Item = Cut>>(cuts: I) -> Self {
        let mut all = Self::default();
        for cut in cuts {
            all.cutoff.push(cut.cutoff);
            all.span.push(cut.span);
            all.limit.push(cut.limit);
        }
        all
    }
}

// Functions of their own, in which the compiler knows that the slices do not overlap, so that it makes vector code.
vectorized! {
    pub(super) fn add_magnitudes(run: &[f32], sums: &mut [f32]) = add_magnitudes_loop;
    pub(super) fn add_masked(run: &[f32], limit: &[i32], sums: &mut [f32], counts: &mut [u32]) = add_masked_loop;
    pub(super) fn raise(run: &[f32], maxima: &mut [i32]) = raise_loop;
    pub(super) fn thin(
        run: &[f32], cuts: &Cuts, key: StochasticKey, low: &[u32], high: &[u32], kept: &mut [f32],
    ) = thin_loop;
    pub(super) fn increment(indices: &mut [u32]) = increment_loop;
    pub(super) fn count(kept: &[f32], limit: &[i32]) -> u32 = count_loop;
    pub(super) fn write_ternary(kept: &[f32], limit: &[i32], scale: &[f32], output: &mut [f32]) -> u32 = write_ternary_loop;
    pub(super) fn write_blended(
        run: &[f32], kept: &[f32], limit: &[i32], scale: &[f32], blend: f32, output: &mut [f32],
    ) -> u32 = write_blended_loop;
}

#[inline(always)]
fn add_magnitudes_loop(run: &[f32], sums: &mut [f32]) {
    for (sum, weight) in sums.iter_mut().zip(run) {
        *sum += weight.abs();
    }
}

#[inline(always)]
fn add_masked_loop(run: &[f32], limit: &[i32], sums: &mut [f32], counts: &mut [u32]) {
    for (((sum, count), &weight), &limit) in sums.iter_mut().zip(counts).zip(run).zip(limit) {
        let mask = nonzero_mask(weight, limit);
        *sum += masked_magnitude(weight, mask);
        *count += mask & 1;
    }
}

/// Raises maxima, the bits of non-negative floats, to those of `abs(w)`.
#[inline(always)]
fn raise_loop(run: &[f32], maxima: &mut [i32]) {
    for (maximum, &weight) in maxima.iter_mut().zip(run) {
        *maximum = (*maximum).max(magnitude_bits(weight));
    }
}

#[inline(always)]
fn thin_loop(
    run: &[f32],
    cuts: &Cuts,
    key: StochasticKey,
    low: &[u32],
    high: &[u32],
    kept: &mut [f32],
) {
    // In three loops: the compiler interleaves what short ones do, and one chain of all that a random number takes would
    // wait for each of its instructions.
    let mut words = [0; WIDTH];
    let words = &mut words[..run.len()];
    for (word, &low) in words.iter_mut().zip(low) {
        *word = key.start(low);
    }
    for (word, &high) in words.iter_mut().zip(high) {
        *word = StochasticKey::finish(*word, high);
    }
    let cuts = cuts.cutoff.iter().zip(&cuts.span).zip(&cuts.limit);
    for (((kept, &weight), &word), ((&cutoff, &span), &limit)) in
        kept.iter_mut().zip(run).zip(&*words).zip(cuts)
    {
        let cut = Cut {
            cutoff,
            span,
            limit,
        };
        let mask = cut.kept_mask(weight, StochasticKey::fraction(word));
        *kept = f32::from_bits(weight.to_bits() & mask);
    }
}

#[inline(always)]
fn increment_loop(indices: &mut [u32]) {
    indices.iter_mut().for_each(|index| *index += 1);
}

/// The number of non-zero codes.
#[inline(always)]
fn count_loop(kept: &[f32], limit: &[i32]) -> u32 {
    let masks = kept
        .iter()
        .zip(limit)
        .map(|(&kept, &limit)| nonzero_mask(kept, limit));
    masks.map(|mask| mask & 1).sum()
}

/// Gives the number of non-zero codes.
#[inline(always)]
fn write_ternary_loop(kept: &[f32], limit: &[i32], scale: &[f32], output: &mut [f32]) -> u32 {
    let mut nonzero = 0;
    for (((output, &kept), &limit), &scale) in output.iter_mut().zip(kept).zip(limit).zip(scale) {
        let mask = nonzero_mask(kept, limit);
        nonzero += mask & 1;
        *output = ternary(kept, scale, mask);
    }
    nonzero
}

/// Gives the number of non-zero codes. `kept` decides about the codes of the weights.
#[inline(always)]
fn write_blended_loop(
    run: &[f32],
    kept: &[f32],
    limit: &[i32],
    scale: &[f32],
    blend: f32,
    output: &mut [f32],
) -> u32 {
    let mut nonzero = 0;
    let weights = run.iter().zip(kept);
    for (((output, (&weight, &kept)), &limit), &scale) in
        output.iter_mut().zip(weights).zip(limit).zip(scale)
    {
        let mask = nonzero_mask(kept, limit);
        nonzero += mask & 1;
        *output = weight + blend * (ternary(kept, scale, mask) - weight);
    }
    nonzero
}
