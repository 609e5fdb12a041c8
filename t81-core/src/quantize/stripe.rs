//! Kernels across groups: the `[in, out]` layout, in which the groups of neighbouring output features lie side by side
//! in memory and every output feature is a vector lane.
//!
//! All passes sweep along the rows of memory, a run of up to [`WIDTH`] output features of one input feature at a time.

use super::fold::{BLOCK, LANES, PairwiseFold, fold_lanes};
use super::group::{Cut, LIMIT_NONZERO, magnitude_bits, masked_magnitude, nonzero_mask, ternary};
use super::quantizer::Weights;
use super::random::StochasticKey;
use super::rule::{Decision, Rule, Unrepresentable};
use crate::settings::{Reference, ScaleRule};

/// Output features of a sweep at most: runs of 2 KiB keep the memory streaming, and eight partial sums of each output
/// feature stay in the first-level cache.
pub(super) const WIDTH: usize = 512;

/// Neighbouring output features of some input features: the groups that a kernel works on at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Region<'a> {
    pub(super) weights: Weights<'a>,
    /// First output feature.
    pub(super) first: usize,
    /// Output features, up to [`WIDTH`].
    pub(super) width: usize,
    /// First input feature.
    pub(super) start: usize,
    /// Input features.
    pub(super) len: usize,
}

impl<'a> Region<'a> {
    /// The run of each input feature.
    fn runs(&self) -> impl Iterator<Item = &'a [f32]> + use<'a> {
        let Self { first, width, .. } = *self;
        let rows = self.weights.rows;
        let values = &self.weights.values[self.start * rows..][..self.len * rows];
        values
            .chunks_exact(rows)
            .map(move |run| &run[first..][..width])
    }
}

/// Decisions for the output features of a region.
#[derive(Clone, Debug)]
pub(super) struct Decisions {
    limit: Vec<i32>,
    scale: Vec<f32>,
    /// Read by stochastic rounding.
    cuts: Vec<Cut>,
}

impl Decisions {
    /// The same decision for every output feature of a sweep.
    pub(super) fn uniform(decision: &Decision) -> Self {
        Self {
            limit: vec![decision.limit; WIDTH],
            scale: vec![decision.scale; WIDTH],
            cuts: vec![decision.cut; WIDTH],
        }
    }
}

/// Buffers of one task.
pub(super) struct StripeKernel {
    fold: PairwiseFold<Vec<f32>>,
    thinner: Thinner,
}

impl StripeKernel {
    pub(super) fn new() -> Self {
        Self {
            fold: PairwiseFold::new(),
            thinner: Thinner::default(),
        }
    }

    /// The sum or the maximum of `abs(w)` for each output feature, as the reference asks.
    pub(super) fn magnitudes(&mut self, rule: &Rule, region: &Region<'_>) -> Vec<f32> {
        match rule.reference {
            Reference::AbsMean => self.sums(region, |_, run, sums| add_magnitudes(run, sums)),
            Reference::AbsMax => {
                let mut maxima = vec![0; region.width];
                region.runs().for_each(|run| raise(run, &mut maxima));
                maxima
                    .into_iter()
                    .map(|bits| f32::from_bits(bits as u32))
                    .collect()
            }
        }
    }

    /// The sums of `abs(w)` over the non-zero codes and their numbers.
    pub(super) fn masked(
        &mut self,
        rule: &Rule,
        cuts: &[Cut],
        region: &Region<'_>,
    ) -> (Vec<f32>, Vec<u32>) {
        let mut counts = vec![0; region.width];
        let limit: Vec<i32> = match rule.key {
            None => cuts.iter().map(|cut| cut.limit).collect(),
            Some(_) => vec![LIMIT_NONZERO; region.width],
        };
        let mut thinner = std::mem::take(&mut self.thinner);
        thinner.begin(region);
        let sums = self.sums(region, |k, run, sums| {
            let kept = match rule.key {
                None => run,
                Some(key) => thinner.thin(k, run, cuts, key),
            };
            add_masked(kept, &limit, sums, &mut counts);
        });
        self.thinner = thinner;
        (sums, counts)
    }

    /// Sums each output feature in the canonical order; `add` adds input feature `k`'s run to partial sums.
    fn sums(
        &mut self,
        region: &Region<'_>,
        mut add: impl FnMut(usize, &[f32], &mut [f32]),
    ) -> Vec<f32> {
        let mut runs = region.runs().enumerate();
        for first in (0..region.len).step_by(BLOCK) {
            let mut lanes: [Vec<f32>; LANES] = std::array::from_fn(|_| vec![0.0; region.width]);
            let block = BLOCK.min(region.len - first);
            for (i, (k, run)) in runs.by_ref().take(block).enumerate() {
                add(k, run, &mut lanes[i % LANES]);
            }
            self.fold.push(fold_lanes(lanes));
        }
        self.fold.finish().unwrap_or_default()
    }

    /// Decides about the groups of a region, one for each output feature.
    pub(super) fn decide(
        &mut self,
        rule: &Rule,
        region: &Region<'_>,
    ) -> Result<Decisions, Unrepresentable> {
        let count = region.len as u64;
        let magnitudes = self.magnitudes(rule, region);
        let cuts: Vec<Cut> = magnitudes
            .iter()
            .map(|&magnitude| rule.cut(magnitude, count))
            .collect();
        let (sums, counts) = match rule.scale {
            ScaleRule::LeastSquares => self.masked(rule, &cuts, region),
            ScaleRule::Reference => (vec![0.0; region.width], vec![0; region.width]),
        };
        let mut limit = vec![0; region.width];
        let mut scale = vec![0.0; region.width];
        let mut representable = true;
        for i in 0..region.width {
            let masked = (sums[i], u64::from(counts[i]));
            let decision = rule.decide(cuts[i], magnitudes[i], count, masked);
            limit[i] = decision.limit;
            scale[i] = decision.scale;
            representable &= decision.scale < f32::INFINITY;
        }
        if representable {
            Ok(Decisions { limit, scale, cuts })
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
        let limit = &decisions.limit[..region.width];
        let scale = &decisions.scale[..region.width];
        self.thinner.begin(region);
        let mut nonzero = 0;
        for ((k, run), output) in region.runs().enumerate().zip(output) {
            let output = &mut output[position..][..region.width];
            let kept = match rule.key {
                None => run,
                Some(key) => self.thinner.thin(k, run, &decisions.cuts, key),
            };
            nonzero += u64::from(if blend == 1.0 {
                write_ternary(kept, limit, scale, output)
            } else if blend == 0.0 {
                output.copy_from_slice(run);
                count(kept, limit)
            } else {
                write_blended(run, kept, limit, scale, blend, output)
            });
        }
        (region.len * region.width) as u64 - nonzero
    }
}

/// Stochastic rounding's choices for the runs of a region.
#[derive(Default)]
struct Thinner {
    /// Index in `[out, in]` order of each output feature's first weight.
    first: Vec<u64>,
    low: Vec<u32>,
    high: Vec<u32>,
    kept: Vec<f32>,
}

impl Thinner {
    fn begin(&mut self, region: &Region<'_>) {
        let columns = region.weights.columns;
        let rows = region.first..region.first + region.width;
        self.first.clear();
        self.first
            .extend(rows.map(|row| row as u64 * columns as u64 + region.start as u64));
        self.low.clear();
        self.kept.resize(region.width, 0.0);
    }

    /// Copies the weights that are kept, and 0 for the others. `k` is the input feature's place in the region.
    fn thin(&mut self, k: usize, run: &[f32], cuts: &[Cut], key: StochasticKey) -> &[f32] {
        // The high half of an index seldom changes.
        let stale = self.low.is_empty() || self.low.contains(&u32::MAX);
        if stale {
            let index = |first: &u64| first + k as u64;
            self.low.clear();
            self.low
                .extend(self.first.iter().map(|first| index(first) as u32));
            self.high.clear();
            self.high
                .extend(self.first.iter().map(|first| key.high(index(first))));
        } else {
            self.low.iter_mut().for_each(|low| *low += 1);
        }
        thin(run, cuts, key, &self.low, &self.high, &mut self.kept);
        &self.kept
    }
}

// Functions of their own, in which the compiler knows that the slices do not overlap, so that it makes vector code.

#[inline(never)]
fn add_magnitudes(run: &[f32], sums: &mut [f32]) {
    for (sum, weight) in sums.iter_mut().zip(run) {
        *sum += weight.abs();
    }
}

#[inline(never)]
fn add_masked(run: &[f32], limit: &[i32], sums: &mut [f32], counts: &mut [u32]) {
    for (((sum, count), &weight), &limit) in sums.iter_mut().zip(counts).zip(run).zip(limit) {
        let mask = nonzero_mask(weight, limit);
        *sum += masked_magnitude(weight, mask);
        *count += mask & 1;
    }
}

/// Raises maxima, the bits of non-negative floats, to those of `abs(w)`.
#[inline(never)]
fn raise(run: &[f32], maxima: &mut [i32]) {
    for (maximum, &weight) in maxima.iter_mut().zip(run) {
        *maximum = (*maximum).max(magnitude_bits(weight));
    }
}

#[inline(never)]
fn thin(
    run: &[f32],
    cuts: &[Cut],
    key: StochasticKey,
    low: &[u32],
    high: &[u32],
    kept: &mut [f32],
) {
    let indices = low.iter().zip(high);
    for (((kept, &weight), cut), (&low, &high)) in kept.iter_mut().zip(run).zip(cuts).zip(indices) {
        let mask = cut.kept_mask(weight, key.uniform_at(low, high));
        *kept = f32::from_bits(weight.to_bits() & mask);
    }
}

/// The number of non-zero codes.
#[inline(never)]
fn count(kept: &[f32], limit: &[i32]) -> u32 {
    let masks = kept
        .iter()
        .zip(limit)
        .map(|(&kept, &limit)| nonzero_mask(kept, limit));
    masks.map(|mask| mask & 1).sum()
}

/// Gives the number of non-zero codes.
#[inline(never)]
fn write_ternary(kept: &[f32], limit: &[i32], scale: &[f32], output: &mut [f32]) -> u32 {
    let mut nonzero = 0;
    for (((output, &kept), &limit), &scale) in output.iter_mut().zip(kept).zip(limit).zip(scale) {
        let mask = nonzero_mask(kept, limit);
        nonzero += mask & 1;
        *output = ternary(kept, scale, mask);
    }
    nonzero
}

/// Gives the number of non-zero codes. `kept` decides about the codes of the weights.
#[inline(never)]
fn write_blended(
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Layout;
    use crate::stochastic_uniform;

    #[test]
    fn random_numbers_follow_indices_beyond_32_bits() {
        // Of a matrix so wide that the third output feature's indices cross 2^32.
        let (rows, len) = (4, 20);
        let values: Vec<f32> = (0..rows * len).map(|i| 1.0 + i as f32 / 80.0).collect();
        let weights = Weights {
            values: &values,
            rows,
            columns: (1 << 31) - 5,
            layout: Layout::InOut,
        };
        let region = Region {
            weights,
            first: 1,
            width: 3,
            start: 0,
            len,
        };
        let cuts = [Cut::new(0.5, 2.0); 3];
        let mut thinner = Thinner::default();
        thinner.begin(&region);
        let mut dropped = 0;
        for (k, run) in region.runs().enumerate() {
            let kept = thinner.thin(k, run, &cuts, StochasticKey::new(3));
            for (i, (&kept, &weight)) in kept.iter().zip(run).enumerate() {
                let index = (1 + i as u64) * ((1 << 31) - 5) + k as u64;
                let keeps = stochastic_uniform(3, index) < weight - 1.0;
                assert_eq!(kept, if keeps { weight } else { 0.0 });
                dropped += u32::from(!keeps);
            }
        }
        assert!((10..50).contains(&dropped));
    }
}
