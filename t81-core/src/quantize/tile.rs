//! Kernels on a tile: [`SPAN`] neighbouring output features, each a vector lane, by the input features of a block.

use super::fold::{LANES, fold_lanes};
use super::group::{Cut, magnitude_bits, masked_magnitude, nonzero_mask, ternary};
use super::random::RandomKey;

/// Output features of a tile.
pub(super) const SPAN: usize = 64;

/// Output features whose partial sums stay in registers.
const STRIP: usize = 16;

/// A value for each output feature of a tile.
pub(super) type Span<T> = [T; SPAN];

/// The cuts of the groups of a tile.
#[derive(Clone)]
pub(super) struct Cuts {
    cutoff: Span<f32>,
    span: Span<f32>,
    pub(super) limit: Span<i32>,
}

impl Cuts {
    pub(super) fn new(cuts: Span<Cut>) -> Self {
        Self {
            cutoff: cuts.map(|cut| cut.cutoff),
            span: cuts.map(|cut| cut.span),
            limit: cuts.map(|cut| cut.limit),
        }
    }

    pub(super) fn uniform(cut: &Cut) -> Self {
        Self::new([*cut; SPAN])
    }

    pub(super) fn lane(&self, lane: usize) -> Cut {
        Cut {
            cutoff: self.cutoff[lane],
            span: self.span[lane],
            limit: self.limit[lane],
        }
    }
}

/// Counts of a tile's lanes, every [`STRIP`]th together.
#[derive(Default)]
pub(super) struct Lines([u32; STRIP]);

impl Lines {
    pub(super) fn total(&self) -> u64 {
        self.0.iter().map(|&count| u64::from(count)).sum()
    }
}

/// The sums of `abs(w)`, in the canonical order of a block.
pub(super) fn sum(tile: &[Span<f32>]) -> Span<f32> {
    lanes(tile, |_, weight| weight.abs())
}

/// The sums of `abs(w)` over the weights above the limits; adds their numbers to the counts.
pub(super) fn masked_sum(
    tile: &[Span<f32>],
    limit: &Span<i32>,
    counts: &mut Span<u32>,
) -> Span<f32> {
    for weights in tile {
        for lane in 0..SPAN {
            counts[lane] += nonzero_mask(weights[lane], limit[lane]) & 1;
        }
    }
    lanes(tile, |lane, weight| {
        masked_magnitude(weight, nonzero_mask(weight, limit[lane]))
    })
}

/// Raises the maxima, the bits of non-negative floats, to those of `abs(w)`.
pub(super) fn maximum(tile: &[Span<f32>], maxima: &mut Span<i32>) {
    for weights in tile {
        for lane in 0..SPAN {
            maxima[lane] = maxima[lane].max(magnitude_bits(weights[lane]));
        }
    }
}

/// Sums a value of each weight for every lane, in the canonical order of a block.
#[inline(always)]
fn lanes(tile: &[Span<f32>], value: impl Fn(usize, f32) -> f32) -> Span<f32> {
    let mut sums = [0.0; SPAN];
    for (strip, sums) in sums.as_chunks_mut::<STRIP>().0.iter_mut().enumerate() {
        let mut lane = [[0.0; STRIP]; LANES];
        for (l, sum) in lane.iter_mut().enumerate() {
            let mut total = [0.0; STRIP];
            for weights in tile.iter().skip(l).step_by(LANES) {
                for i in 0..STRIP {
                    let place = strip * STRIP + i;
                    total[i] += value(place, weights[place]);
                }
            }
            *sum = total;
        }
        *sums = fold_lanes(lane);
    }
    sums
}

/// Appends the weights that stochastic rounding keeps, and 0 for the others. `index` is that of the first weight in
/// `[out, in]` order, and that of the next output feature's is `columns` away.
pub(super) fn thin(
    tile: &[Span<f32>],
    cuts: &Cuts,
    key: RandomKey,
    index: u64,
    columns: u64,
    kept: &mut Vec<Span<f32>>,
) {
    let mut first = [0; SPAN];
    for (lane, first) in first.iter_mut().enumerate() {
        *first = index + lane as u64 * columns;
    }
    let low = first.map(|index| index as u32);
    let mut high = first.map(|index| key.high(index));
    let last = tile.len() as u32;
    let carries = low.iter().any(|low| low.checked_add(last).is_none());
    for (weights, k) in tile.iter().zip(0_u32..) {
        if carries {
            high = first.map(|index| key.high(index + u64::from(k)));
        }
        let mut line = [0.0; SPAN];
        for lane in 0..SPAN {
            let uniform = key.uniform_at(low[lane].wrapping_add(k), high[lane]);
            let mask = cuts.lane(lane).kept_mask(weights[lane], uniform);
            line[lane] = f32::from_bits(weights[lane].to_bits() & mask);
        }
        kept.push(line);
    }
}

/// Writes a line of blended floats and counts its non-zero codes. `kept` decides about the codes of `weights`.
pub(super) fn write(
    weights: &Span<f32>,
    kept: &Span<f32>,
    limit: &Span<i32>,
    scale: &Span<f32>,
    blend: f32,
    output: &mut Span<f32>,
    counts: &mut Lines,
) {
    if blend == 1.0 {
        write_with(weights, kept, limit, scale, output, counts, |_, ternary| {
            ternary
        });
    } else if blend == 0.0 {
        write_with(weights, kept, limit, scale, output, counts, |weight, _| {
            weight
        });
    } else {
        write_with(
            weights,
            kept,
            limit,
            scale,
            output,
            counts,
            |weight, ternary| weight + blend * (ternary - weight),
        );
    }
}

#[inline(always)]
fn write_with(
    weights: &Span<f32>,
    kept: &Span<f32>,
    limit: &Span<i32>,
    scale: &Span<f32>,
    output: &mut Span<f32>,
    counts: &mut Lines,
    blend: impl Fn(f32, f32) -> f32,
) {
    for strip in 0..SPAN / STRIP {
        for i in 0..STRIP {
            let lane = strip * STRIP + i;
            let mask = nonzero_mask(kept[lane], limit[lane]);
            counts.0[i] += mask & 1;
            output[lane] = blend(weights[lane], ternary(kept[lane], scale[lane], mask));
        }
    }
}
