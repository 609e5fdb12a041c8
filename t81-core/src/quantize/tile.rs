//! Kernels across columns of memory: the `[in, out]` layout, in which the groups of neighbouring output features lie
//! side by side.
//!
//! A tile of up to 256 input features by 64 output features is copied to a buffer, where it is contiguous whatever the
//! matrix' stride, and every output feature is a vector lane.

use super::fold::{BLOCK, LANES, PairwiseFold, fold_lanes};
use super::group::{Cut, magnitude_bits};
use super::quantizer::Weights;
use super::random::RandomKey;
use super::rule::{Decision, Rule, Unrepresentable};
use crate::settings::{Reference, ScaleRule};

/// Output features handled by one set of registers.
const WIDTH: usize = 16;
const STRIPS: usize = 4;

/// Output features of a tile.
pub(super) const SPAN: usize = WIDTH * STRIPS;

type Strip<T> = [T; WIDTH];

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
    fn strips(&self) -> usize {
        self.width.div_ceil(WIDTH)
    }

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

/// Buffers of one task. The part of a strip `s` starts at row `s * BLOCK`.
pub(super) struct TileKernel {
    tile: Vec<Strip<f32>>,
    kept: Vec<Strip<f32>>,
    fold: PairwiseFold<Span<f32>>,
}

impl TileKernel {
    pub(super) fn new(rule: &Rule) -> Self {
        let zeros = vec![[0.0; WIDTH]; STRIPS * BLOCK];
        Self {
            kept: if rule.key.is_some() {
                zeros.clone()
            } else {
                Vec::new()
            },
            tile: zeros,
            fold: PairwiseFold::new(),
        }
    }

    /// The sums or the maxima of `abs(w)`, as the reference asks.
    pub(super) fn magnitudes(&mut self, rule: &Rule, region: &Region<'_>) -> Span<f32> {
        let mut maxima = [0; SPAN];
        for (offset, len) in region.blocks() {
            self.load(region, offset, len);
            let mut sums = [0.0; SPAN];
            for strip in 0..region.strips() {
                let block = &self.tile[strip * BLOCK..][..len];
                let lanes = strip * WIDTH..(strip + 1) * WIDTH;
                match rule.reference {
                    Reference::AbsMean => sums[lanes].copy_from_slice(&sum(block)),
                    Reference::AbsMax => maximum(block, &mut maxima[lanes]),
                }
            }
            if rule.reference == Reference::AbsMean {
                self.fold.push(sums);
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
        limit: &Span<i32>,
        region: &Region<'_>,
    ) -> (Span<f32>, Span<u32>) {
        let mut counts = [0; SPAN];
        for (offset, len) in region.blocks() {
            self.load(region, offset, len);
            self.thin(rule, cut, region, offset, len);
            let mut sums = [0.0; SPAN];
            for strip in 0..region.strips() {
                let block = &self.decisive()[strip * BLOCK..][..len];
                let lanes = strip * WIDTH..(strip + 1) * WIDTH;
                let sum = masked_sum(block, &limit[lanes.clone()], &mut counts[lanes.clone()]);
                sums[lanes].copy_from_slice(&sum);
            }
            self.fold.push(sums);
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
            ScaleRule::LeastSquares => {
                let limit = match rule.key {
                    None => cut.map(|cut| cut.limit),
                    Some(_) => [0; SPAN],
                };
                self.masked(rule, &cut, &limit, region)
            }
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
            self.thin(rule, &decisions.cut, region, offset, len);
            let output = &mut output[offset..][..len];
            let place = Place { region, position };
            if blend == 1.0 {
                self.write(decisions, &place, output, &mut nonzero, |_, ternary| {
                    ternary
                });
            } else if blend == 0.0 {
                self.write(decisions, &place, output, &mut nonzero, |weight, _| weight);
            } else {
                self.write(
                    decisions,
                    &place,
                    output,
                    &mut nonzero,
                    |weight, ternary| weight + blend * (ternary - weight),
                );
            }
        }
        let nonzero: u64 = nonzero[..region.width]
            .iter()
            .map(|&count| u64::from(count))
            .sum();
        (region.len * region.width) as u64 - nonzero
    }

    #[inline(always)]
    fn write(
        &self,
        decisions: &Decisions,
        place: &Place<'_>,
        output: &mut [&mut [f32]],
        nonzero: &mut Span<u32>,
        blend: impl Fn(f32, f32) -> f32,
    ) {
        for strip in 0..place.region.strips() {
            let lane = strip * WIDTH;
            let width = WIDTH.min(place.region.width - lane);
            let limit: &Strip<i32> = decisions.limit[lane..]
                .first_chunk()
                .expect("a strip of lanes");
            let scale: &Strip<f32> = decisions.scale[lane..]
                .first_chunk()
                .expect("a strip of lanes");
            let count: &mut Strip<u32> =
                nonzero[lane..].first_chunk_mut().expect("a strip of lanes");
            let weights = &self.tile[strip * BLOCK..][..output.len()];
            let kept = &self.decisive()[strip * BLOCK..][..output.len()];
            for ((output, weights), kept) in output.iter_mut().zip(weights).zip(kept) {
                let mut blended = [0.0; WIDTH];
                for i in 0..WIDTH {
                    let is_nonzero = magnitude_bits(kept[i]) > limit[i];
                    let ternary = if is_nonzero {
                        scale[i].copysign(kept[i])
                    } else {
                        0.0
                    };
                    count[i] += u32::from(is_nonzero);
                    blended[i] = blend(weights[i], ternary);
                }
                let output = &mut output[place.position + lane..];
                match output.first_chunk_mut::<WIDTH>() {
                    Some(output) if width == WIDTH => *output = blended,
                    _ => output[..width].copy_from_slice(&blended[..width]),
                }
            }
        }
    }

    /// Copies a block of the region into the tile, with zeros past its width.
    fn load(&mut self, region: &Region<'_>, offset: usize, len: usize) {
        let rows = region.weights.rows;
        let values = &region.weights.values[(region.start + offset) * rows..][..len * rows];
        for (k, row) in values.chunks_exact(rows).enumerate() {
            let row = &row[region.first..][..region.width];
            let (strips, rest) = row.as_chunks::<WIDTH>();
            for (strip, weights) in strips.iter().enumerate() {
                self.tile[strip * BLOCK + k] = *weights;
            }
            if !rest.is_empty() {
                let strip = &mut self.tile[strips.len() * BLOCK + k];
                *strip = [0.0; WIDTH];
                strip[..rest.len()].copy_from_slice(rest);
            }
        }
    }

    /// Under stochastic rounding, copies the weights that are kept, and 0 for the others.
    fn thin(
        &mut self,
        rule: &Rule,
        cut: &Span<Cut>,
        region: &Region<'_>,
        offset: usize,
        len: usize,
    ) {
        let Some(key) = rule.key else { return };
        let columns = region.weights.columns as u64;
        for strip in 0..region.strips() {
            let lane = strip * WIDTH;
            let cut: &Strip<Cut> = cut[lane..].first_chunk().expect("a strip of lanes");
            let first = (region.first + lane) as u64 * columns + (region.start + offset) as u64;
            let tile = &self.tile[lane / WIDTH * BLOCK..][..len];
            let kept = &mut self.kept[lane / WIDTH * BLOCK..][..len];
            for ((kept, weights), index) in kept.iter_mut().zip(tile).zip(first..) {
                for i in 0..WIDTH {
                    let uniform = uniform(key, index + i as u64 * columns);
                    kept[i] = if cut[i].keeps(weights[i].abs(), uniform) {
                        weights[i]
                    } else {
                        0.0
                    };
                }
            }
        }
    }

    /// The weights whose magnitudes decide about codes.
    fn decisive(&self) -> &[Strip<f32>] {
        if self.kept.is_empty() {
            &self.tile
        } else {
            &self.kept
        }
    }
}

/// Where a region lies in the output slices.
struct Place<'a> {
    region: &'a Region<'a>,
    position: usize,
}

#[inline(always)]
fn uniform(key: RandomKey, index: u64) -> f32 {
    key.uniform(index)
}

/// Sums a value of each weight for every lane, in the canonical order of a block.
#[inline(always)]
fn lanes(block: &[Strip<f32>], value: impl Fn(usize, f32) -> f32) -> Strip<f32> {
    let mut lane = [[0.0; WIDTH]; LANES];
    for (l, sum) in lane.iter_mut().enumerate() {
        let mut total = [0.0; WIDTH];
        for weights in block.iter().skip(l).step_by(LANES) {
            for i in 0..WIDTH {
                total[i] += value(i, weights[i]);
            }
        }
        *sum = total;
    }
    fold_lanes(lane)
}

fn sum(block: &[Strip<f32>]) -> Strip<f32> {
    lanes(block, |_, weight| weight.abs())
}

fn maximum(block: &[Strip<f32>], maxima: &mut [i32]) {
    let maxima: &mut Strip<i32> = maxima.first_chunk_mut().expect("a strip of lanes");
    for weights in block {
        for i in 0..WIDTH {
            maxima[i] = maxima[i].max(magnitude_bits(weights[i]));
        }
    }
}

fn masked_sum(block: &[Strip<f32>], limit: &[i32], counts: &mut [u32]) -> Strip<f32> {
    let limit: &Strip<i32> = limit.first_chunk().expect("a strip of lanes");
    let counts: &mut Strip<u32> = counts.first_chunk_mut().expect("a strip of lanes");
    for weights in block {
        for i in 0..WIDTH {
            counts[i] += u32::from(magnitude_bits(weights[i]) > limit[i]);
        }
    }
    lanes(block, |i, weight| {
        let bits = magnitude_bits(weight);
        if bits > limit[i] {
            f32::from_bits(bits as u32)
        } else {
            0.0
        }
    })
}
