//! Kernels across columns of memory: the `[in, out]` layout, in which the groups of neighbouring output features lie
//! side by side.
//!
//! A tile of up to 256 input features by 64 output features is copied to a buffer, where it is contiguous whatever the
//! matrix' stride, and every output feature is a vector lane.

use super::fold::{BLOCK, LANES, PairwiseFold, fold_lanes};
use super::group::{Cut, LIMIT_NONZERO, magnitude_bits, masked_magnitude, nonzero_mask, ternary};
use super::quantizer::Weights;
use super::random::RandomKey;
use super::rule::{Decision, Rule, Unrepresentable};
use crate::settings::{Reference, ScaleRule};

/// Output features of a tile: a few cache lines of a matrix row.
pub(super) const SPAN: usize = 64;

/// Output features whose partial sums stay in registers.
const STRIP: usize = 16;

/// A value for each output feature of a tile.
type Span<T> = [T; SPAN];

/// The part of a matrix that a task works on: neighbouring output features and some of their input features.
#[derive(Clone, Copy, Debug)]
pub(super) struct Region<'a> {
    pub(super) weights: Weights<'a>,
    /// First output feature.
    pub(super) first: usize,
    /// Output features, up to [`SPAN`].
    pub(super) width: usize,
    /// First input feature.
    pub(super) start: usize,
    /// Input features.
    pub(super) len: usize,
}

impl Region<'_> {
    /// The blocks of a group: offset and length within the region.
    fn blocks(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let len = self.len;
        (0..len)
            .step_by(BLOCK)
            .map(move |offset| (offset, BLOCK.min(len - offset)))
    }
}

/// Decisions for the output features of a tile.
pub(super) struct Decisions {
    limit: Span<i32>,
    scale: Span<f32>,
    /// Read by stochastic rounding.
    cut: Span<Cut>,
}

impl Decisions {
    /// The same decision for every output feature.
    pub(super) fn uniform(decision: &Decision) -> Self {
        Self {
            limit: [decision.limit; SPAN],
            scale: [decision.scale; SPAN],
            cut: [decision.cut; SPAN],
        }
    }
}

/// Buffers of one task. Tiles hold zeros past a region's width.
pub(super) struct TileKernel {
    tile: Vec<Span<f32>>,
    /// What the tile holds: first output and input feature, number of input features.
    loaded: Option<(usize, usize, usize)>,
    /// The weights that stochastic rounding keeps.
    kept: Vec<Span<f32>>,
    fold: PairwiseFold<Span<f32>>,
}

impl TileKernel {
    pub(super) fn new() -> Self {
        Self {
            tile: Vec::new(),
            loaded: None,
            kept: Vec::new(),
            fold: PairwiseFold::new(),
        }
    }

    /// The sums or the maxima of `abs(w)`, as the reference asks.
    pub(super) fn magnitudes(&mut self, rule: &Rule, region: &Region<'_>) -> Span<f32> {
        let mut maxima = [0; SPAN];
        for (offset, len) in region.blocks() {
            self.load(region, offset, len);
            match rule.reference {
                Reference::AbsMean => self.fold.push(sum(&self.tile)),
                Reference::AbsMax => maximum(&self.tile, &mut maxima),
            }
        }
        self.fold
            .finish()
            .unwrap_or_else(|| maxima.map(|bits| f32::from_bits(bits as u32)))
    }

    /// The sums of `abs(w)` over the non-zero codes and their numbers.
    pub(super) fn masked(
        &mut self,
        rule: &Rule,
        cut: &Span<Cut>,
        region: &Region<'_>,
    ) -> (Span<f32>, Span<u32>) {
        let mut counts = [0; SPAN];
        let limit = match rule.key {
            None => cut.map(|cut| cut.limit),
            Some(_) => [LIMIT_NONZERO; SPAN],
        };
        for (offset, len) in region.blocks() {
            self.load(region, offset, len);
            let block = match rule.key {
                None => &self.tile,
                Some(key) => {
                    thin(&self.tile, cut, key, region, offset, &mut self.kept);
                    &self.kept
                }
            };
            self.fold.push(masked_sum(block, &limit));
            count(block, &limit, &mut counts);
        }
        (self.fold.finish().unwrap_or([0.0; SPAN]), counts)
    }

    /// Decides about the groups of a region: one for each output feature.
    pub(super) fn decide(
        &mut self,
        rule: &Rule,
        region: &Region<'_>,
    ) -> Result<Decisions, Unrepresentable> {
        let count = region.len as u64;
        let magnitude = self.magnitudes(rule, region);
        let cut = magnitude.map(|magnitude| rule.cut(magnitude, count));
        let (sums, counts) = match rule.scale {
            ScaleRule::LeastSquares => self.masked(rule, &cut, region),
            ScaleRule::Reference => ([0.0; SPAN], [0; SPAN]),
        };
        let mut decisions = Decisions {
            limit: [0; SPAN],
            scale: [0.0; SPAN],
            cut,
        };
        let mut representable = true;
        for lane in 0..SPAN {
            let masked = (sums[lane], u64::from(counts[lane]));
            let decision = rule.decide(cut[lane], magnitude[lane], count, masked);
            decisions.limit[lane] = decision.limit;
            decisions.scale[lane] = decision.scale;
            representable &= decision.scale < f32::INFINITY;
        }
        if representable {
            Ok(decisions)
        } else {
            Err(Unrepresentable)
        }
    }

    /// Writes the blended floats of a region; gives the number of zero codes. `output` holds a slice of each input
    /// feature's outputs, in which the region starts at `position`.
    pub(super) fn write_floats(
        &mut self,
        rule: &Rule,
        decisions: &Decisions,
        region: &Region<'_>,
        blend: f32,
        output: &mut [&mut [f32]],
        position: usize,
    ) -> u64 {
        let mut nonzero = [0; SPAN];
        for (offset, len) in region.blocks() {
            self.load(region, offset, len);
            let kept = match rule.key {
                None => &self.tile,
                Some(key) => {
                    thin(
                        &self.tile,
                        &decisions.cut,
                        key,
                        region,
                        offset,
                        &mut self.kept,
                    );
                    &self.kept
                }
            };
            count(kept, &decisions.limit, &mut nonzero);
            let range = position..position + region.width;
            let rows = output[offset..][..len].iter_mut().zip(&self.tile).zip(kept);
            for ((output, weights), kept) in rows {
                let output = &mut output[range.clone()];
                if blend == 1.0 {
                    write(weights, kept, decisions, output, |_, ternary| ternary);
                } else if blend == 0.0 {
                    output.copy_from_slice(&weights[..region.width]);
                } else {
                    write(weights, kept, decisions, output, |weight, ternary| {
                        weight + blend * (ternary - weight)
                    });
                }
            }
        }
        let nonzero: u64 = nonzero[..region.width]
            .iter()
            .map(|&count| u64::from(count))
            .sum();
        (region.len * region.width) as u64 - nonzero
    }

    /// Copies a block of the region into the tile, if it is not there. A kernel serves one matrix.
    fn load(&mut self, region: &Region<'_>, offset: usize, len: usize) {
        let block = Some((region.first, region.start + offset, len));
        if self.loaded == block {
            return;
        }
        self.loaded = block;
        self.tile.resize(len, [0.0; SPAN]);
        let rows = region.weights.rows;
        let values = &region.weights.values[(region.start + offset) * rows..][..len * rows];
        for (row, tile) in values.chunks_exact(rows).zip(&mut self.tile) {
            let row = &row[region.first..][..region.width];
            match row.first_chunk() {
                Some(row) => *tile = *row,
                None => {
                    tile[..row.len()].copy_from_slice(row);
                    tile[row.len()..].fill(0.0);
                }
            }
        }
    }
}

/// Copies the weights that stochastic rounding keeps, and 0 for the others.
fn thin(
    tile: &[Span<f32>],
    cut: &Span<Cut>,
    key: RandomKey,
    region: &Region<'_>,
    offset: usize,
    kept: &mut Vec<Span<f32>>,
) {
    kept.resize(tile.len(), [0.0; SPAN]);
    let columns = region.weights.columns as u64;
    let first = region.first as u64 * columns + (region.start + offset) as u64;
    for ((kept, weights), index) in kept.iter_mut().zip(tile).zip(first..) {
        for lane in 0..SPAN {
            let weight = weights[lane];
            let uniform = key.uniform(index + lane as u64 * columns);
            let keeps = cut[lane].keeps(weight.abs(), uniform);
            kept[lane] = if keeps { weight } else { 0.0 };
        }
    }
}

/// Sums a value of each weight for every lane, in the canonical order of a block.
#[inline(always)]
fn lanes(block: &[Span<f32>], value: impl Fn(usize, f32) -> f32) -> Span<f32> {
    let mut sums = [0.0; SPAN];
    for (strip, sums) in sums.as_chunks_mut::<STRIP>().0.iter_mut().enumerate() {
        let mut lane = [[0.0; STRIP]; LANES];
        for (l, sum) in lane.iter_mut().enumerate() {
            let mut total = [0.0; STRIP];
            for weights in block.iter().skip(l).step_by(LANES) {
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

fn sum(block: &[Span<f32>]) -> Span<f32> {
    lanes(block, |_, weight| weight.abs())
}

fn masked_sum(block: &[Span<f32>], limit: &Span<i32>) -> Span<f32> {
    lanes(block, |lane, weight| {
        masked_magnitude(weight, nonzero_mask(weight, limit[lane]))
    })
}

fn maximum(block: &[Span<f32>], maxima: &mut Span<i32>) {
    for weights in block {
        for lane in 0..SPAN {
            maxima[lane] = maxima[lane].max(magnitude_bits(weights[lane]));
        }
    }
}

fn count(block: &[Span<f32>], limit: &Span<i32>, counts: &mut Span<u32>) {
    for weights in block {
        for lane in 0..SPAN {
            counts[lane] += nonzero_mask(weights[lane], limit[lane]) & 1;
        }
    }
}

#[inline(always)]
fn write(
    weights: &Span<f32>,
    kept: &Span<f32>,
    decisions: &Decisions,
    output: &mut [f32],
    blend: impl Fn(f32, f32) -> f32,
) {
    let mut blended = [0.0; SPAN];
    let written: &mut Span<f32> = match output.first_chunk_mut() {
        Some(output) => output,
        None => &mut blended,
    };
    for lane in 0..SPAN {
        let mask = nonzero_mask(kept[lane], decisions.limit[lane]);
        written[lane] = blend(
            weights[lane],
            ternary(kept[lane], decisions.scale[lane], mask),
        );
    }
    if output.len() < SPAN {
        output.copy_from_slice(&blended[..output.len()]);
    }
}
