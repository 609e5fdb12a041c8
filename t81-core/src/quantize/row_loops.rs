//! Loops along a block of a row. Each is inlined into the functions that are compiled for an instruction set, whose vector
//! code the compiler makes of it.

use super::distortion::Distortion;
use super::fold::{BLOCK, LANES};
use super::group::{Cut, magnitude_bits, nonzero_mask, ternary};
use super::random::StochasticKey;

#[inline(always)]
pub(super) fn maximum(group: &[f32]) -> f32 {
    let bits = group
        .iter()
        .fold(0, |largest, &weight| magnitude_bits(weight).max(largest));
    f32::from_bits(bits as u32)
}

#[inline(always)]
pub(super) fn count(block: &[f32], limit: i32) -> u32 {
    block
        .iter()
        .map(|&weight| nonzero_mask(weight, limit) & 1)
        .sum()
}

/// Copies the weights that stochastic rounding keeps, and 0 for the others. `kept` is as long as the block.
#[inline(always)]
pub(super) fn thin<'a>(
    block: &[f32],
    cut: &Cut,
    key: StochasticKey,
    index: u64,
    kept: &'a mut [f32],
) -> &'a [f32] {
    // The high half of the index changes at most once.
    let boundary = (u64::from(u32::MAX - index as u32) + 1).min(block.len() as u64) as usize;
    let (head, tail) = block.split_at(boundary);
    let (kept_head, kept_tail) = kept.split_at_mut(boundary);
    thin_run(head, cut, key, index, kept_head);
    if !tail.is_empty() {
        thin_run(tail, cut, key, index + boundary as u64, kept_tail);
    }
    kept
}

/// [`thin`] for weights whose indices have the same high half.
#[inline(always)]
fn thin_run(block: &[f32], cut: &Cut, key: StochasticKey, index: u64, kept: &mut [f32]) {
    const RUN: usize = 64;
    let high = key.high(index);
    let runs = block.chunks(RUN).zip(kept.chunks_mut(RUN));
    for ((block, kept), index) in runs.zip((index..).step_by(RUN)) {
        // In three loops: the compiler interleaves what short ones do, and one chain of all that a random number takes
        // would wait for each of its instructions.
        let mut words: [u32; RUN] =
            std::array::from_fn(|place| key.start((index as u32).wrapping_add(place as u32)));
        for word in &mut words {
            *word = StochasticKey::finish(*word, high);
        }
        for ((kept, &weight), &word) in kept.iter_mut().zip(block).zip(&words) {
            let mask = cut.kept_mask(weight, StochasticKey::fraction(word));
            *kept = f32::from_bits(weight.to_bits() & mask);
        }
    }
}

/// Gives the number of codes that are not zero.
#[inline(always)]
pub(super) fn write_ternary(kept: &[f32], output: &mut [f32], limit: i32, scale: f32) -> u32 {
    let mut nonzero = 0;
    for (output, &kept) in output.iter_mut().zip(kept) {
        let mask = nonzero_mask(kept, limit);
        nonzero += mask & 1;
        *output = ternary(kept, scale, mask);
    }
    nonzero
}

/// Gives the number of codes that are not zero. `kept` decides about the codes of the weights.
#[inline(always)]
pub(super) fn write_blended(
    block: &[f32],
    kept: &[f32],
    output: &mut [f32],
    limit: i32,
    scale: f32,
    blend: f32,
) -> u32 {
    let mut nonzero = 0;
    for ((output, &weight), &kept) in output.iter_mut().zip(block).zip(kept) {
        let mask = nonzero_mask(kept, limit);
        nonzero += mask & 1;
        *output = weight + blend * (ternary(kept, scale, mask) - weight);
    }
    nonzero
}

/// `kept` decides about the codes of the weights.
#[inline(always)]
pub(super) fn measure(block: &[f32], kept: &[f32], limit: i32, scale: f32) -> Distortion {
    // In two loops, each of which becomes vector code.
    let mut quantized = [0.0; BLOCK];
    let quantized = &mut quantized[..block.len()];
    write_ternary(kept, quantized, limit, scale);
    compare(block, quantized)
}

#[inline(always)]
fn compare(block: &[f32], quantized: &[f32]) -> Distortion {
    let mut errors = [0.0; LANES];
    let mut weights = [0.0; LANES];
    let (eights, rest) = block.as_chunks::<LANES>();
    let (quantized_eights, quantized_rest) = quantized.as_chunks::<LANES>();
    for (eight, quantized) in eights.iter().zip(quantized_eights) {
        for lane in 0..LANES {
            let weight = f64::from(eight[lane]);
            let difference = weight - f64::from(quantized[lane]);
            errors[lane] += difference * difference;
            weights[lane] += weight * weight;
        }
    }
    for (lane, (&weight, &quantized)) in rest.iter().zip(quantized_rest).enumerate() {
        let weight = f64::from(weight);
        let difference = weight - f64::from(quantized);
        errors[lane] += difference * difference;
        weights[lane] += weight * weight;
    }
    Distortion {
        squared_error: errors.into_iter().sum(),
        squared_weights: weights.into_iter().sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stochastic_uniform;

    #[test]
    fn random_numbers_follow_indices_beyond_32_bits() {
        let block = [1.5; 40];
        let cut = Cut::new(0.5, 2.0);
        for index in [(1 << 32) - 40, (1 << 32) - 17, (1 << 32) - 1, 1 << 32] {
            let mut kept = [0.0; BLOCK];
            let kept = thin(&block, &cut, StochasticKey::new(3), index, &mut kept[..40]);
            for (&kept, index) in kept.iter().zip(index..) {
                let keeps = stochastic_uniform(3, index) < 0.5;
                assert_eq!(kept, if keeps { 1.5 } else { 0.0 });
            }
        }
    }
}
