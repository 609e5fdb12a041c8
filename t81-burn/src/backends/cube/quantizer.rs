//! The quantizer's arithmetic on a group. The formulas and the order of every sum are those of `t81_core`.

use cubecl::prelude::*;

use super::division::{mean, scale};

/// Weights of a block of the canonical sum order.
pub(super) const BLOCK: usize = 256;

/// Partial sums of a block.
pub(super) const LANES: usize = 8;

/// Sums that wait for their pair: enough for 2^32 blocks.
const LEVELS: usize = 32;

/// Bits of infinity; those of a magnitude that is not finite are no smaller.
const INFINITY: u32 = 0x7f80_0000;

/// What does not change within a run of training: compiled into the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Rule {
    pub(super) absolute_maximum: bool,
    pub(super) least_squares: bool,
    pub(super) stochastic: bool,
    /// Whether the result lies between the weight and its ternary value.
    pub(super) blended: bool,
    /// Whether a group is one block.
    pub(super) short: bool,
    /// Whether what is written is the gradient of the weights in place of their ternary values.
    pub(super) gradient: bool,
}

/// What a launch is told beside the weights.
#[derive(CubeType, CubeLaunch)]
pub(super) struct Numbers {
    pub(super) threshold: f32,
    /// `1 - threshold`.
    pub(super) remainder: f32,
    pub(super) blend: f32,
    /// Factor of the gradients of weights whose code is 0.
    pub(super) zero_gain: f32,
    /// The key of stochastic rounding, with the high half of the index mixed in.
    pub(super) key_low: u32,
    pub(super) key_high: u32,
    /// 0, which the shader's compiler does not know: see [`exactly`].
    pub(super) zero: u32,
}

/// Where the weights of a group lie.
#[derive(CubeType)]
pub(super) struct Group {
    start: usize,
    stride: usize,
    pub(super) length: usize,
    /// Index of the first weight in `[out, in]` order.
    index: u32,
}

/// The decision about a group.
#[derive(CubeType)]
pub(super) struct Cut {
    cutoff: f32,
    span: f32,
    /// A code is not zero when the bits of the magnitude exceed this.
    limit: u32,
}

#[derive(CubeType)]
pub(super) struct Masked {
    pub(super) sum: f32,
    pub(super) count: u32,
}

/// The value as it is, but such that no compiler contracts its computation with what follows into a fused operation, which
/// would round once instead of twice.
#[cube]
fn exactly(value: f32, numbers: &Numbers) -> f32 {
    f32::reinterpret(u32::reinterpret(value) ^ numbers.zero)
}

#[cube]
fn magnitude_bits(weight: f32) -> u32 {
    u32::reinterpret(weight) & 0x7fff_ffff
}

#[cube]
fn mix(word: u32) -> u32 {
    let a = word ^ (word >> 16);
    let b = a * 0x7feb_352d;
    let c = b ^ (b >> 15);
    let d = c * 0x846c_a68b;
    d ^ (d >> 16)
}

/// Whether the code of a weight is not zero.
#[cube]
fn is_kept(weight: f32, index: u32, cut: &Cut, numbers: &Numbers, #[comptime] rule: Rule) -> bool {
    let mut kept = magnitude_bits(weight) > cut.limit;
    if comptime!(rule.stochastic) {
        let word = mix(mix(index ^ numbers.key_low) ^ numbers.key_high);
        let uniform = f32::cast_from(word >> 8) * comptime!(1.0f32 / 16_777_216.0f32);
        let excess = f32::reinterpret(magnitude_bits(weight)) - cut.cutoff;
        kept = kept && (uniform * cut.span < excess || excess >= cut.span);
    }
    kept
}

/// What a weight adds to the sum of all magnitudes.
#[cube]
fn any_magnitude(weight: &[f32], group: &Group, position: usize) -> f32 {
    f32::reinterpret(magnitude_bits(
        weight[group.start + position * group.stride],
    ))
}

/// The sum of the magnitudes of a block in the canonical order.
#[cube]
fn block_sum(weight: &[f32], group: &Group, first: usize, length: usize) -> f32 {
    let mut lanes = Array::<f32>::new(LANES);
    #[unroll]
    for lane in 0..LANES {
        lanes[lane] = 0.0f32;
    }
    let whole = length / LANES;
    for eight in 0..whole {
        #[unroll]
        for lane in 0..LANES {
            lanes[lane] += any_magnitude(weight, group, first + eight * LANES + lane);
        }
    }
    #[unroll]
    for lane in 0..LANES {
        if whole * LANES + lane < length {
            lanes[lane] += any_magnitude(weight, group, first + whole * LANES + lane);
        }
    }
    fold_lanes(&lanes)
}

#[cube]
fn fold_lanes(lanes: &Array<f32>) -> f32 {
    let even = (lanes[0] + lanes[4]) + (lanes[2] + lanes[6]);
    let odd = (lanes[1] + lanes[5]) + (lanes[3] + lanes[7]);
    even + odd
}

/// The sum of the magnitudes of a block whose codes are not zero, and their number.
#[cube]
fn masked_block_sum(
    weight: &[f32],
    group: &Group,
    first: usize,
    length: usize,
    cut: &Cut,
    numbers: &Numbers,
    #[comptime] rule: Rule,
) -> Masked {
    let mut lanes = Array::<f32>::new(LANES);
    #[unroll]
    for lane in 0..LANES {
        lanes[lane] = 0.0f32;
    }
    let mut count = 0u32;
    let whole = length / LANES;
    for eight in 0..whole {
        #[unroll]
        for lane in 0..LANES {
            let position = first + eight * LANES + lane;
            let value = weight[group.start + position * group.stride];
            if is_kept(value, group.index + position as u32, cut, numbers, rule) {
                lanes[lane] += f32::reinterpret(magnitude_bits(value));
                count += 1;
            }
        }
    }
    #[unroll]
    for lane in 0..LANES {
        let position = first + whole * LANES + lane;
        if position - first < length {
            let value = weight[group.start + position * group.stride];
            if is_kept(value, group.index + position as u32, cut, numbers, rule) {
                lanes[lane] += f32::reinterpret(magnitude_bits(value));
                count += 1;
            }
        }
    }
    Masked {
        sum: fold_lanes(&lanes),
        count,
    }
}

/// Sums that fold pairwise as they come, like a binary counter.
#[derive(CubeType)]
pub(super) struct PairwiseFold {
    levels: Array<f32>,
    height: usize,
    count: u32,
}

#[cube]
impl PairwiseFold {
    pub(super) fn new() -> Self {
        PairwiseFold {
            levels: Array::<f32>::new(LEVELS),
            height: 0usize,
            count: 0u32,
        }
    }

    pub(super) fn push(&mut self, sum: f32) {
        let mut folded = sum;
        let mut pairs = self.count;
        while pairs & 1 == 1 {
            self.height -= 1;
            folded += self.levels[self.height];
            pairs >>= 1;
        }
        self.levels[self.height] = folded;
        self.height += 1;
        self.count += 1;
    }

    pub(super) fn finish(&mut self) -> f32 {
        self.height -= 1;
        let mut total = self.levels[self.height];
        while self.height > 0 {
            self.height -= 1;
            total += self.levels[self.height];
        }
        total
    }
}

/// The sum or the maximum of the magnitudes of a group.
#[cube]
pub(super) fn magnitude(weight: &[f32], group: &Group, #[comptime] rule: Rule) -> f32 {
    if comptime!(rule.absolute_maximum) {
        let mut largest = 0u32;
        for position in 0..group.length {
            let bits = magnitude_bits(weight[group.start + position * group.stride]);
            largest = max(largest, bits);
        }
        f32::reinterpret(largest)
    } else if comptime!(rule.short) {
        block_sum(weight, group, 0usize, group.length)
    } else {
        let mut fold = PairwiseFold::new();
        let blocks = group.length.div_ceil(BLOCK);
        for block in 0..blocks {
            let first = block * BLOCK;
            let length = min(BLOCK.runtime(), group.length - first);
            fold.push(block_sum(weight, group, first, length));
        }
        fold.finish()
    }
}

#[cube]
pub(super) fn masked(
    weight: &[f32],
    group: &Group,
    cut: &Cut,
    numbers: &Numbers,
    #[comptime] rule: Rule,
) -> Masked {
    if comptime!(rule.short) {
        masked_block_sum(weight, group, 0usize, group.length, cut, numbers, rule)
    } else {
        let mut fold = PairwiseFold::new();
        let mut count = 0u32;
        let blocks = group.length.div_ceil(BLOCK);
        for block in 0..blocks {
            let first = block * BLOCK;
            let length = min(BLOCK.runtime(), group.length - first);
            let part = masked_block_sum(weight, group, first, length, cut, numbers, rule);
            fold.push(part.sum);
            count += part.count;
        }
        Masked {
            sum: fold.finish(),
            count,
        }
    }
}

#[cube]
pub(super) fn cut(magnitude: f32, count: u32, numbers: &Numbers, #[comptime] rule: Rule) -> Cut {
    let reference = if comptime!(rule.absolute_maximum) {
        magnitude
    } else {
        mean(magnitude, count)
    };
    let cutoff = exactly(numbers.threshold * reference, numbers);
    let bits = u32::reinterpret(cutoff);
    Cut {
        cutoff,
        span: exactly(numbers.remainder * reference, numbers),
        limit: max(bits, 1u32) - 1,
    }
}

/// The scale of a group of `count` weights; `kept` is asked for by least squares only.
#[cube]
pub(super) fn group_scale(
    magnitude: f32,
    count: u32,
    kept: &Masked,
    #[comptime] rule: Rule,
) -> f32 {
    if comptime!(rule.least_squares) {
        scale(kept.sum, kept.count)
    } else if comptime!(rule.absolute_maximum) {
        scale(magnitude, 1u32)
    } else {
        scale(magnitude, count)
    }
}

/// Writes every `step`th weight of a group from `first` on. A group that has no f16 scale becomes NaN, its gradient stays as it is.
#[cube]
pub(super) fn write<G: Float, O: Float>(
    weight: &[f32],
    gradient: &[G],
    output: &mut [O],
    group: &Group,
    first: usize,
    #[comptime] step: usize,
    cut: &Cut,
    magnitude: f32,
    scale: f32,
    numbers: &Numbers,
    #[comptime] rule: Rule,
) {
    let representable = magnitude_bits(magnitude) < INFINITY && scale <= 65504.0;
    let mut position = first;
    while position < group.length {
        let offset = group.start + position * group.stride;
        let value = weight[offset];
        let kept = is_kept(value, group.index + position as u32, cut, numbers, rule);
        let mut bits = 0u32;
        if kept && scale > 0.0 {
            bits = u32::reinterpret(scale) | (u32::reinterpret(value) & 0x8000_0000);
        }
        let mut result = f32::reinterpret(bits);
        if comptime!(rule.gradient) {
            result = f32::cast_from(gradient[offset]);
            if representable && bits == 0u32 {
                result *= numbers.zero_gain;
            }
        } else {
            if comptime!(rule.blended) {
                let step = exactly(exactly(result - value, numbers) * numbers.blend, numbers);
                result = value + step;
            }
            if !representable {
                result = f32::reinterpret(0x7fc0_0000 | numbers.zero);
            }
        }
        output[offset] = O::cast_from(result);
        position += step;
    }
}

/// The part of a short group's sum or maximum of magnitudes that is the lane's.
#[cube]
pub(super) fn lane_magnitude(
    weight: &[f32],
    group: &Group,
    lane: usize,
    #[comptime] rule: Rule,
) -> f32 {
    let mut part = 0.0f32;
    let mut position = lane;
    while position < group.length {
        let value = any_magnitude(weight, group, position);
        if comptime!(rule.absolute_maximum) {
            // Compared as bits, in which NaN is the largest.
            part = f32::reinterpret(max(u32::reinterpret(part), u32::reinterpret(value)));
        } else {
            part += value;
        }
        position += LANES;
    }
    part
}

/// The part of a short group's [`masked`] that is the lane's.
#[cube]
pub(super) fn lane_masked(
    weight: &[f32],
    group: &Group,
    lane: usize,
    cut: &Cut,
    numbers: &Numbers,
    #[comptime] rule: Rule,
) -> Masked {
    let mut sum = 0.0f32;
    let mut count = 0u32;
    let mut position = lane;
    while position < group.length {
        let value = weight[group.start + position * group.stride];
        if is_kept(value, group.index + position as u32, cut, numbers, rule) {
            sum += f32::reinterpret(magnitude_bits(value));
            count += 1;
        }
        position += LANES;
    }
    Masked { sum, count }
}

/// The sum or the maximum of a group from the parts of its lanes, which lie `step` apart from `first` on.
#[cube]
pub(super) fn fold_parts(
    parts: &Shared<[f32]>,
    first: usize,
    #[comptime] step: usize,
    #[comptime] maximum: bool,
) -> f32 {
    if comptime!(maximum) {
        let mut largest = 0u32;
        #[unroll]
        for lane in 0..LANES {
            largest = max(largest, u32::reinterpret(parts[first + lane * step]));
        }
        f32::reinterpret(largest)
    } else {
        let mut lanes = Array::<f32>::new(LANES);
        #[unroll]
        for lane in 0..LANES {
            lanes[lane] = parts[first + lane * step];
        }
        fold_lanes(&lanes)
    }
}

/// The group of thread `unit`: neighbouring threads have neighbouring rows, and every row has `parts` groups.
#[cube]
pub(super) fn group_of(
    unit: usize,
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
    group_length: usize,
) -> Group {
    let row = unit % rows;
    let first = unit / rows * group_length;
    Group {
        start: row * row_stride + first * column_stride,
        stride: column_stride,
        length: min(group_length, columns - first),
        index: (row * columns + first) as u32,
    }
}
