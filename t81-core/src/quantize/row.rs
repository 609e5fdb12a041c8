//! Kernels along a contiguous group: the `[out, in]` layout.

use super::distortion::Distortion;
use super::fold::{BLOCK, LANES, PairwiseFold, fold_lanes};
use super::group::{Cut, LIMIT_NONZERO, magnitude_bits, masked_magnitude, nonzero_mask, ternary};
use super::random::StochasticKey;
use super::rule::{Decision, Rule, Unrepresentable};
use crate::settings::{Reference, ScaleRule};
use crate::vectorized::vectorized;

/// Buffers of one task.
pub(super) struct RowKernel {
    fold: PairwiseFold<f32>,
    kept: [f32; BLOCK],
}

impl RowKernel {
    pub(super) fn new() -> Self {
        Self {
            fold: PairwiseFold::new(),
            kept: [0.0; BLOCK],
        }
    }

    /// The sum or the maximum of `abs(w)`, as the reference asks.
    pub(super) fn magnitude(&mut self, rule: &Rule, group: &[f32]) -> f32 {
        match rule.reference {
            Reference::AbsMean => {
                if group.len() <= BLOCK {
                    return sum(group);
                }
                group
                    .chunks(BLOCK)
                    .for_each(|block| self.fold.push(sum(block)));
                self.fold.finish().unwrap_or(0.0)
            }
            Reference::AbsMax => maximum(group),
        }
    }

    /// The sum of `abs(w)` over the non-zero codes and their number. `index` is that of the first weight in
    /// `[out, in]` order.
    pub(super) fn masked(
        &mut self,
        rule: &Rule,
        cut: &Cut,
        group: &[f32],
        index: u64,
    ) -> (f32, u64) {
        let mut total = 0;
        for (block, offset) in group.chunks(BLOCK).zip((index..).step_by(BLOCK)) {
            let (block, limit) = match rule.key {
                None => (block, cut.limit),
                Some(key) => (thin(block, cut, key, offset, &mut self.kept), LIMIT_NONZERO),
            };
            let (sum, count) = masked(block, limit);
            total += u64::from(count);
            self.fold.push(sum);
        }
        (self.fold.finish().unwrap_or(0.0), total)
    }

    /// Decides about a whole group.
    pub(super) fn decide(
        &mut self,
        rule: &Rule,
        group: &[f32],
        index: u64,
    ) -> Result<Decision, Unrepresentable> {
        let count = group.len() as u64;
        let magnitude = self.magnitude(rule, group);
        let cut = rule.cut(magnitude, count);
        let masked = match rule.scale {
            ScaleRule::LeastSquares => self.masked(rule, &cut, group, index),
            ScaleRule::Reference => (0.0, 0),
        };
        let decision = rule.decide(cut, magnitude, count, masked);
        if decision.scale < f32::INFINITY {
            Ok(decision)
        } else {
            Err(Unrepresentable)
        }
    }

    /// Writes the blended floats of a group, or of a part of one; gives the number of zero codes.
    pub(super) fn write_floats(
        &mut self,
        rule: &Rule,
        decision: &Decision,
        group: &[f32],
        index: u64,
        blend: f32,
        output: &mut [f32],
    ) -> u64 {
        let mut nonzero = 0;
        let blocks = group.chunks(BLOCK).zip(output.chunks_mut(BLOCK));
        for ((block, output), offset) in blocks.zip((index..).step_by(BLOCK)) {
            let kept = match rule.key {
                None => block,
                Some(key) => thin(block, &decision.cut, key, offset, &mut self.kept),
            };
            nonzero += u64::from(count(kept, decision.limit));
            let (limit, scale) = (decision.limit, decision.scale);
            if blend == 1.0 {
                write_ternary(kept, output, limit, scale);
            } else if blend == 0.0 {
                output.copy_from_slice(block);
            } else {
                write_blended(block, kept, output, limit, scale, blend);
            }
        }
        group.len() as u64 - nonzero
    }

    /// Writes the packed codes of a group into the codes of its row (see [`TernaryMatrix`](crate::TernaryMatrix)),
    /// which hold 0 where nothing was written yet. `column` is that of the first weight.
    pub(super) fn write_codes(
        &mut self,
        rule: &Rule,
        decision: &Decision,
        group: &[f32],
        index: u64,
        column: usize,
        codes: &mut [u8],
    ) {
        let columns = (column..).step_by(BLOCK);
        for ((block, offset), column) in group
            .chunks(BLOCK)
            .zip((index..).step_by(BLOCK))
            .zip(columns)
        {
            let kept = match rule.key {
                None => block,
                Some(key) => thin(block, &decision.cut, key, offset, &mut self.kept),
            };
            pack(kept, decision.limit, column, codes);
        }
    }

    /// The distortion of a group, or of a part of one.
    pub(super) fn distortion(
        &mut self,
        rule: &Rule,
        decision: &Decision,
        group: &[f32],
        index: u64,
    ) -> Distortion {
        group
            .chunks(BLOCK)
            .zip((index..).step_by(BLOCK))
            .map(|(block, offset)| {
                let kept = match rule.key {
                    None => block,
                    Some(key) => thin(block, &decision.cut, key, offset, &mut self.kept),
                };
                measure(block, kept, decision.limit, decision.scale)
            })
            .sum()
    }
}

/// Sums a value of each weight in the canonical order of a block.
#[inline(always)]
fn lanes(block: &[f32], value: impl Fn(f32) -> f32) -> f32 {
    let mut lane = [0.0; LANES];
    let (eights, rest) = block.as_chunks::<LANES>();
    for eight in eights {
        for (sum, &weight) in lane.iter_mut().zip(eight) {
            *sum += value(weight);
        }
    }
    for (sum, &weight) in lane.iter_mut().zip(rest) {
        *sum += value(weight);
    }
    fold_lanes(lane)
}

#[inline(always)]
fn sum_loop(block: &[f32]) -> f32 {
    lanes(block, f32::abs)
}

#[inline(always)]
fn maximum_loop(group: &[f32]) -> f32 {
    let bits = group
        .iter()
        .fold(0, |largest, &weight| magnitude_bits(weight).max(largest));
    f32::from_bits(bits as u32)
}

/// The sum of the magnitudes above the limit, in the canonical order, and their number.
#[inline(always)]
fn masked_loop(block: &[f32], limit: i32) -> (f32, u32) {
    let mut sums = [0.0; LANES];
    let mut counts = [0; LANES];
    let (eights, rest) = block.as_chunks::<LANES>();
    let mut add = |lane: usize, weight: f32| {
        let mask = nonzero_mask(weight, limit);
        sums[lane] += masked_magnitude(weight, mask);
        counts[lane] += mask & 1;
    };
    for eight in eights {
        for (lane, &weight) in eight.iter().enumerate() {
            add(lane, weight);
        }
    }
    for (lane, &weight) in rest.iter().enumerate() {
        add(lane, weight);
    }
    (fold_lanes(sums), counts.iter().sum())
}

#[inline(always)]
fn count_loop(block: &[f32], limit: i32) -> u32 {
    block
        .iter()
        .map(|&weight| nonzero_mask(weight, limit) & 1)
        .sum()
}

/// Copies the weights that stochastic rounding keeps, and 0 for the others.
fn thin<'a>(
    block: &[f32],
    cut: &Cut,
    key: StochasticKey,
    index: u64,
    kept: &'a mut [f32; BLOCK],
) -> &'a [f32] {
    let kept = &mut kept[..block.len()];
    // The high half of the index changes at most once.
    let boundary = (u64::from(u32::MAX - index as u32) + 1).min(block.len() as u64) as usize;
    let (head, tail) = block.split_at(boundary);
    let (kept_head, kept_tail) = kept.split_at_mut(boundary);
    thin_run(head, cut, key, index, kept_head);
    thin_run(tail, cut, key, index + boundary as u64, kept_tail);
    kept
}

/// [`thin`] for weights whose indices have the same high half.
fn thin_run(block: &[f32], cut: &Cut, key: StochasticKey, index: u64, kept: &mut [f32]) {
    let high = key.high(index);
    for ((kept, &weight), low) in kept.iter_mut().zip(block).zip(index as u32..=u32::MAX) {
        let mask = cut.kept_mask(weight, key.uniform_at(low, high));
        *kept = f32::from_bits(weight.to_bits() & mask);
    }
}

vectorized! {
    fn sum(block: &[f32]) -> f32 = sum_loop;
    fn maximum(group: &[f32]) -> f32 = maximum_loop;
    fn count(block: &[f32], limit: i32) -> u32 = count_loop;
    fn write_ternary(kept: &[f32], output: &mut [f32], limit: i32, scale: f32) = write_ternary_loop;
    fn write_blended(
        block: &[f32], kept: &[f32], output: &mut [f32], limit: i32, scale: f32, blend: f32,
    ) = write_blended_loop;
    fn compare(block: &[f32], quantized: &[f32]) -> Distortion = compare_loop;
    fn masked(block: &[f32], limit: i32) -> (f32, u32) = masked_loop;
}

#[inline(always)]
fn write_ternary_loop(kept: &[f32], output: &mut [f32], limit: i32, scale: f32) {
    for (output, &kept) in output.iter_mut().zip(kept) {
        *output = ternary(kept, scale, nonzero_mask(kept, limit));
    }
}

#[inline(always)]
fn write_blended_loop(
    block: &[f32],
    kept: &[f32],
    output: &mut [f32],
    limit: i32,
    scale: f32,
    blend: f32,
) {
    for ((output, &weight), &kept) in output.iter_mut().zip(block).zip(kept) {
        let ternary = ternary(kept, scale, nonzero_mask(kept, limit));
        *output = weight + blend * (ternary - weight);
    }
}

/// `kept` decides about the codes of the weights.
fn measure(block: &[f32], kept: &[f32], limit: i32, scale: f32) -> Distortion {
    // In two loops, each of which becomes vector code.
    let mut quantized = [0.0; BLOCK];
    let quantized = &mut quantized[..block.len()];
    write_ternary(kept, quantized, limit, scale);
    compare(block, quantized)
}

#[inline(always)]
fn compare_loop(block: &[f32], quantized: &[f32]) -> Distortion {
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

/// 2-bit values of weights: 0, 1 or 2.
#[inline(always)]
fn value(weight: f32, limit: i32) -> u8 {
    let nonzero = u8::from(magnitude_bits(weight) > limit);
    let negative = (weight.to_bits() >> 31) as u8;
    // 1 for a zero code, else 2 or 0 by the sign.
    1 + nonzero - 2 * (nonzero & negative)
}

/// Packs a block into the codes of its row, of which `column` is the first.
fn pack(block: &[f32], limit: i32, column: usize, codes: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi2") {
        #[target_feature(enable = "avx2,bmi2")]
        fn compiled(block: &[f32], limit: i32, column: usize, codes: &mut [u8]) {
            pack_with(block, limit, column, codes, |run, limit| {
                super::pack_avx2::pack_run(run, limit)
            });
        }
        // SAFETY: the machine has both.
        #[allow(unsafe_code)]
        return unsafe { compiled(block, limit, column, codes) };
    }
    pack_with(block, limit, column, codes, pack_run);
}

#[inline(always)]
fn pack_with(
    block: &[f32],
    limit: i32,
    column: usize,
    codes: &mut [u8],
    pack: impl Fn(&[f32; 32], i32) -> u64,
) {
    let mut put = |column: usize, weight: f32| {
        codes[column / 4] |= value(weight, limit) << (2 * (column % 4))
    };
    let aligned = column.next_multiple_of(4).min(column + block.len()) - column;
    let (head, body) = block.split_at(aligned);
    for (column, &weight) in (column..).zip(head) {
        put(column, weight);
    }
    let (fours, tail) = body.as_chunks::<4>();
    let first = column + aligned;
    for (column, &weight) in (first + 4 * fours.len()..).zip(tail) {
        put(column, weight);
    }
    let mut bytes = codes[first.div_ceil(4)..].iter_mut();
    let (runs, fours) = fours.as_chunks::<8>();
    for run in runs {
        let run = run.as_flattened().try_into().expect("eight fours");
        // The codes first: a zip takes from its first side before it sees that the other has ended.
        for (value, byte) in pack(run, limit).to_le_bytes().into_iter().zip(&mut bytes) {
            *byte = value;
        }
    }
    for (byte, four) in bytes.zip(fours) {
        let [a, b, c, d] = four.map(|weight| value(weight, limit));
        *byte = a | b << 2 | c << 4 | d << 6;
    }
}

/// The codes of 32 weights, two bits each.
pub(super) fn pack_run(run: &[f32; 32], limit: i32) -> u64 {
    (0..).zip(run).fold(0, |bits, (place, &weight)| {
        bits | u64::from(value(weight, limit)) << (2 * place)
    })
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
            let kept = thin(&block, &cut, StochasticKey::new(3), index, &mut kept);
            for (&kept, index) in kept.iter().zip(index..) {
                let keeps = stochastic_uniform(3, index) < 0.5;
                assert_eq!(kept, if keeps { 1.5 } else { 0.0 });
            }
        }
    }
}
