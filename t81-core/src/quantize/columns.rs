//! Loops across output features: each of sixteen is a vector lane.

use super::fold::{Add, LANES, fold_lanes};
use super::group::{magnitude_bits, masked_magnitude, nonzero_mask};
use super::region::Region;
use crate::fetch::Ahead;
#[cfg(target_arch = "x86_64")]
use crate::vectorized::{Avx2, Avx512};
use crate::vectorized::{Base, vectorized};

/// Output features side by side.
pub(super) const SIDE: usize = 16;

/// A value of each of sixteen neighbouring output features, in a cache line of their own.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Side(pub(super) [f32; SIDE]);

impl Add for Side {
    #[inline(always)]
    fn add(mut self, other: Self) -> Self {
        for (sum, value) in self.0.iter_mut().zip(other.0) {
            *sum += value;
        }
        self
    }
}

/// The partial sums of a block of each of sixteen output features.
pub(super) type SideSums = [Side; LANES];

/// The weights of sixteen output features where they lie, and memory to fetch meanwhile, a line for each row.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    /// From the first weight on.
    pub(super) values: &'a [f32],
    /// Weights from one row to the next.
    pub(super) stride: usize,
    pub(super) ahead: Ahead,
}

impl Source<'_> {
    /// A row, and fetches the line of the same row.
    #[inline(always)]
    fn row(&self, k: usize) -> &[f32; SIDE] {
        self.ahead.fetch(k);
        let row = self.values[k * self.stride..].first_chunk();
        row.expect("a source has all rows of its tile")
    }
}

/// Loops of an instruction set over some of the columns of a tile: row `k` is `rows[k * step]`, and adds to lane `k % 8`.
///
/// Each type but [`Base`] is only named inside functions compiled for its instruction set, on machines that have it: that
/// is the safety argument of each `unsafe` block of theirs.
pub(super) trait ColumnLoops {
    /// Copies the rows from where they lie and adds `abs(w)`.
    fn sums(source: Source<'_>, rows: &mut [Side], step: usize, sums: &mut SideSums);

    /// Adds the magnitudes above the limits, and their numbers. Memory `ahead` is fetched, a line for each row.
    fn masked_sums(
        rows: &[Side],
        step: usize,
        ahead: Ahead,
        limit: &[i32; SIDE],
        sums: &mut SideSums,
        counts: &mut [u32; SIDE],
    );

    /// Writes a line of memory past the caches, where there are such stores and it begins at a multiple of 64.
    /// [`fence`](Self::fence) must follow.
    fn stream(values: &Side, line: &mut [f32; SIDE]);

    /// Makes what was written past the caches visible before anything that this thread writes from now on.
    fn fence();
}

impl ColumnLoops for Base {
    #[inline(always)]
    fn stream(values: &Side, line: &mut [f32; SIDE]) {
        *line = values.0;
    }

    #[inline(always)]
    fn fence() {}

    #[inline(always)]
    fn sums(source: Source<'_>, rows: &mut [Side], step: usize, sums: &mut SideSums) {
        for (k, row) in rows.iter_mut().step_by(step).enumerate() {
            row.0 = *source.row(k);
            for (sum, weight) in sums[k % LANES].0.iter_mut().zip(row.0) {
                *sum += weight.abs();
            }
        }
    }

    #[inline(always)]
    fn masked_sums(
        rows: &[Side],
        step: usize,
        ahead: Ahead,
        limit: &[i32; SIDE],
        sums: &mut SideSums,
        counts: &mut [u32; SIDE],
    ) {
        for (k, row) in rows.iter().step_by(step).enumerate() {
            ahead.fetch(k);
            for place in 0..SIDE {
                let mask = nonzero_mask(row.0[place], limit[place]);
                sums[k % LANES].0[place] += masked_magnitude(row.0[place], mask);
                counts[place] += mask & 1;
            }
        }
    }
}

/// The loops of a module written for an instruction set.
#[cfg(target_arch = "x86_64")]
macro_rules! column_loops {
    ($instructions:ident, $loops:ident) => {
        #[allow(unsafe_code)]
        impl ColumnLoops for $instructions {
            #[inline(always)]
            fn stream(values: &Side, line: &mut [f32; SIDE]) {
                // SAFETY: see `ColumnLoops`.
                unsafe { super::$loops::stream(values, line) }
            }

            #[inline(always)]
            fn fence() {
                // SAFETY: every x86-64 has the instruction.
                unsafe { std::arch::x86_64::_mm_sfence() }
            }

            #[inline(always)]
            fn sums(source: Source<'_>, rows: &mut [Side], step: usize, sums: &mut SideSums) {
                // SAFETY: see `ColumnLoops`.
                unsafe { super::$loops::column_sums(source, rows, step, sums) }
            }

            #[inline(always)]
            fn masked_sums(
                rows: &[Side],
                step: usize,
                ahead: Ahead,
                limit: &[i32; SIDE],
                sums: &mut SideSums,
                counts: &mut [u32; SIDE],
            ) {
                // SAFETY: see `ColumnLoops`.
                unsafe { super::$loops::column_masked_sums(rows, step, ahead, limit, sums, counts) }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
column_loops!(Avx2, loops_avx2);
#[cfg(target_arch = "x86_64")]
column_loops!(Avx512, loops_avx512);

vectorized! {
    /// Copies the rows of a region to a tile.
    pub(super) fn copy(region: &Region<'_>, tile: &mut [Side]) = copy_loop;
    /// Copies them and adds `abs(w)`.
    pub(super) fn add_magnitudes(region: &Region<'_>, tile: &mut [Side], sums: &mut [SideSums]) = add_magnitudes_loop::<_>;
    /// Copies them and raises maxima, the bits of non-negative floats, to those of `abs(w)`.
    pub(super) fn raise(region: &Region<'_>, tile: &mut [Side], maxima: &mut [i32]) = raise_loop;
    /// Adds the magnitudes above the limits of a tile, and their numbers. Memory `ahead` is fetched, a line for each side.
    pub(super) fn add_masked(
        tile: &[Side], ahead: Ahead, limits: &[i32], sums: &mut [SideSums], counts: &mut [u32],
    ) = add_masked_loop::<_>;
    /// Folds the lanes of each output feature's sums.
    pub(super) fn fold_sides(sums: &[SideSums], folded: &mut [f32]) = fold_sides_loop;
}

/// Calls `each` with every side of a region and where it lies: a last one that is not whole in a buffer, filled up with 0.
#[inline(always)]
fn for_each_side(region: &Region<'_>, mut each: impl FnMut(usize, Source<'_>)) {
    let ahead = region.next();
    let whole = region.width / SIDE;
    for side in 0..whole {
        let source = Source {
            values: &region.values[side * SIDE..],
            stride: region.stride,
            ahead: ahead.skip(side * SIDE),
        };
        each(side, source);
    }
    let rest = region.width % SIDE;
    if rest > 0 {
        let mut last = vec![0.0; region.len * SIDE];
        for (row, run) in last.chunks_exact_mut(SIDE).zip(region.runs()) {
            row[..rest].copy_from_slice(&run[whole * SIDE..]);
        }
        let source = Source {
            values: &last,
            stride: SIDE,
            ahead: ahead.skip(whole * SIDE),
        };
        each(whole, source);
    }
}

#[inline(always)]
fn copy_loop(region: &Region<'_>, tile: &mut [Side]) {
    let step = region.sides();
    for_each_side(region, |side, source| {
        for (k, row) in tile[side..].iter_mut().step_by(step).enumerate() {
            row.0 = *source.row(k);
        }
    });
}

#[inline(always)]
fn add_magnitudes_loop<L: ColumnLoops>(
    region: &Region<'_>,
    tile: &mut [Side],
    sums: &mut [SideSums],
) {
    let step = region.sides();
    for_each_side(region, |side, source| {
        L::sums(source, &mut tile[side..], step, &mut sums[side]);
    });
}

#[inline(always)]
fn raise_loop(region: &Region<'_>, tile: &mut [Side], maxima: &mut [i32]) {
    let step = region.sides();
    let (maxima, _) = maxima.as_chunks_mut::<SIDE>();
    for_each_side(region, |side, source| {
        let mut largest = maxima[side];
        for (k, row) in tile[side..].iter_mut().step_by(step).enumerate() {
            row.0 = *source.row(k);
            for (largest, &weight) in largest.iter_mut().zip(&row.0) {
                *largest = (*largest).max(magnitude_bits(weight));
            }
        }
        maxima[side] = largest;
    });
}

#[inline(always)]
fn add_masked_loop<L: ColumnLoops>(
    tile: &[Side],
    ahead: Ahead,
    limits: &[i32],
    sums: &mut [SideSums],
    counts: &mut [u32],
) {
    let step = sums.len();
    let limits = limits.as_chunks().0.iter();
    let counts = counts.as_chunks_mut().0.iter_mut();
    for (side, (sums, (limits, counts))) in sums.iter_mut().zip(limits.zip(counts)).enumerate() {
        let ahead = ahead.skip(side * SIDE);
        L::masked_sums(&tile[side..], step, ahead, limits, sums, counts);
    }
}

#[inline(always)]
fn fold_sides_loop(sums: &[SideSums], folded: &mut [f32]) {
    for (sums, folded) in sums.iter().zip(folded.as_chunks_mut::<SIDE>().0) {
        let [a, b, c, d, e, f, g, h] = sums;
        *folded = fold_lanes([*a, *b, *c, *d, *e, *f, *g, *h]).0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tile, the two sums' bits, the counts and a streamed line.
    type Results = (
        Vec<[u32; SIDE]>,
        [[u32; SIDE]; 2 * LANES],
        [u32; SIDE],
        [u32; SIDE],
    );

    vectorized! {
        /// On the best that the machine has.
        fn best(weights: &[f32], stride: usize, step: usize, limit: &[i32; SIDE]) -> Results = all::<_>;
    }

    #[inline(always)]
    fn all<L: ColumnLoops>(
        weights: &[f32],
        stride: usize,
        step: usize,
        limit: &[i32; SIDE],
    ) -> Results {
        let source = Source {
            values: weights,
            stride,
            ahead: Ahead::nothing(),
        };
        let rows = (weights.len() - SIDE) / stride + 1;
        let mut tile = vec![Side([-1.0; SIDE]); (rows - 1) * step + 1];
        let (mut sums, mut masked) = ([Side([0.5; SIDE]); LANES], [Side([0.25; SIDE]); LANES]);
        let mut counts = [3; SIDE];
        L::sums(source, &mut tile, step, &mut sums);
        L::masked_sums(
            &tile,
            step,
            Ahead::nothing(),
            limit,
            &mut masked,
            &mut counts,
        );
        // At a multiple of 64, and beside one.
        let mut line = Side([0.0; SIDE]);
        L::stream(&tile[0], &mut line.0);
        let floats: &mut [f32; 2 * SIDE] = &mut [0.0; 2 * SIDE];
        for first in [0, 4, 5] {
            let beside = floats[first..].first_chunk_mut().expect("sixteen");
            L::stream(&tile[0], beside);
            L::fence();
            assert_eq!(beside.map(f32::to_bits), line.0.map(f32::to_bits));
        }
        let bits = |side: &Side| side.0.map(f32::to_bits);
        let mut both = [[0; SIDE]; 2 * LANES];
        for (both, side) in both.iter_mut().zip(sums.iter().chain(&masked)) {
            *both = bits(side);
        }
        (tile.iter().map(bits).collect(), both, counts, bits(&line))
    }

    #[test]
    fn every_instruction_set_gives_the_bits_of_plain_rust() {
        for (seed, rows, stride, step) in [
            (1, 64, 100, 4),
            (2, 256, 16, 1),
            (3, 1, 40, 3),
            (4, 7, 33, 2),
            (5, 9, 512, 4),
            (6, 255, 17, 5),
        ] {
            let weights: Vec<f32> = (0..(rows - 1) * stride + SIDE)
                .map(|index| {
                    let bits = (seed * 1000 + index as u32).wrapping_mul(0x9e37_79b9);
                    match bits >> 29 {
                        0 => [0.0, -0.0, f32::MAX, -1e-45][index % 4],
                        _ => (bits >> 8) as f32 / (1 << 23) as f32 - 1.0,
                    }
                })
                .collect();
            let limits = std::array::from_fn(|place| match place % 4 {
                0 => 0,
                1 => i32::MAX,
                _ => (place as f32 / 16.0).to_bits() as i32,
            });
            let expected = all::<Base>(&weights, stride, step, &limits);
            assert_eq!(best(&weights, stride, step, &limits), expected);
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi2") {
                #[target_feature(enable = "avx2,bmi2")]
                fn compiled(
                    weights: &[f32],
                    stride: usize,
                    step: usize,
                    limit: &[i32; SIDE],
                ) -> Results {
                    all::<Avx2>(weights, stride, step, limit)
                }
                // SAFETY: the machine has both.
                #[allow(unsafe_code)]
                let found = unsafe { compiled(&weights, stride, step, &limits) };
                assert_eq!(found, expected);
            }
        }
    }
}
