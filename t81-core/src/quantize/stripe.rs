//! Kernels across groups: the `[in, out]` layout, in which the groups of neighbouring output features lie side by side
//! in memory and every output feature is a vector lane.
//!
//! All passes sweep along the rows of memory, a run of up to [`WIDTH`] output features of one input feature at a time.

use super::fold::{BLOCK, LANES, PairwiseFold, fold_lanes};
use super::group::LIMIT_NONZERO;
use super::quantizer::Weights;
use super::random::StochasticKey;
use super::rule::{Decision, Rule, Unrepresentable};
use super::stripe_loops::{
    Cuts, add_magnitudes, add_masked, count, increment, raise, thin, write_blended, write_ternary,
};
use crate::fetch::fetch_ahead;
use crate::settings::{Reference, ScaleRule};

/// Output features of a sweep at most: runs of 2 KiB keep the memory streaming, and eight partial sums of each output
/// feature stay in the first-level cache.
pub(super) const WIDTH: usize = 512;

/// Input features between the run that is read and the one that is fetched.
const AHEAD: usize = 4;

/// Weights of a region at most of which stochastic rounding's choices are stored: what a second-level cache has room for
/// beside the weights.
const KEPT: usize = 1 << 17;

/// Neighbouring output features of some input features: the groups that a kernel works on at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Region<'a> {
    /// From the first weight on.
    values: &'a [f32],
    /// Weights from one run to the next.
    stride: usize,
    /// Input features of the whole matrix.
    columns: usize,
    /// First output feature.
    first: usize,
    /// Output features, up to [`WIDTH`].
    width: usize,
    /// First input feature.
    start: usize,
    /// Input features.
    len: usize,
}

impl<'a> Region<'a> {
    /// `width` output features, at most [`WIDTH`], from `first` on and `len` input features from `start` on, of weights in the
    /// `[in, out]` layout.
    pub(super) fn new(
        weights: &Weights<'a>,
        first: usize,
        width: usize,
        start: usize,
        len: usize,
    ) -> Self {
        Self {
            values: &weights.values[start * weights.rows + first..],
            stride: weights.rows,
            columns: weights.columns,
            first,
            width,
            start,
            len,
        }
    }

    /// The run of each input feature.
    fn runs(&self) -> impl Iterator<Item = &'a [f32]> + use<'a> {
        let width = self.width;
        let runs = self.values.chunks(self.stride).take(self.len);
        runs.map(move |run| &run[..width])
    }
}

/// Decisions for the output features of a region.
#[derive(Clone, Debug)]
pub(super) struct Decisions {
    limit: Vec<i32>,
    scale: Vec<f32>,
    /// Read by stochastic rounding.
    cuts: Cuts,
}

impl Decisions {
    /// The same decision for every output feature of a sweep.
    pub(super) fn uniform(decision: &Decision) -> Self {
        Self {
            limit: vec![decision.limit; WIDTH],
            scale: vec![decision.scale; WIDTH],
            cuts: Cuts::uniform(&decision.cut),
        }
    }
}

/// Buffers of one task.
pub(super) struct StripeKernel {
    fold: PairwiseFold<Vec<f32>>,
    thinner: Thinner,
    /// What stochastic rounding keeps of the region that was decided last, if that is small.
    kept: Vec<f32>,
    /// First output and input feature of that region.
    kept_of: Option<(usize, usize)>,
}

impl StripeKernel {
    pub(super) fn new() -> Self {
        Self {
            fold: PairwiseFold::new(),
            thinner: Thinner::default(),
            kept: Vec::new(),
            kept_of: None,
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
        cuts: &Cuts,
        region: &Region<'_>,
    ) -> (Vec<f32>, Vec<u32>) {
        let mut counts = vec![0; region.width];
        let nonzero = vec![LIMIT_NONZERO; region.width];
        let limit = match rule.key {
            None => &cuts.limit,
            Some(_) => &nonzero,
        };
        // Empty where nothing is to be stored.
        let mut kept_runs = std::mem::take(&mut self.kept);
        let mut places = kept_runs.chunks_exact_mut(region.width);
        let mut thinner = std::mem::take(&mut self.thinner);
        thinner.begin(region);
        let sums = self.sums(region, |k, run, sums| {
            let kept = match rule.key {
                None => run,
                Some(key) => {
                    let kept = thinner.thin(k, run, cuts, key);
                    if let Some(place) = places.next() {
                        place.copy_from_slice(kept);
                    }
                    kept
                }
            };
            add_masked(kept, limit, sums, &mut counts);
        });
        self.kept = kept_runs;
        self.thinner = thinner;
        (sums, counts)
    }

    /// Sums each output feature in the canonical order; `add` adds input feature `k`'s run to partial sums.
    fn sums(
        &mut self,
        region: &Region<'_>,
        mut add: impl FnMut(usize, &[f32], &mut [f32]),
    ) -> Vec<f32> {
        let ahead = AHEAD * region.stride;
        let mut runs = region.runs().enumerate();
        for first in (0..region.len).step_by(BLOCK) {
            let mut lanes: [Vec<f32>; LANES] = std::array::from_fn(|_| vec![0.0; region.width]);
            let block = BLOCK.min(region.len - first);
            for (i, (k, run)) in runs.by_ref().take(block).enumerate() {
                fetch_ahead(run, ahead);
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
        self.kept.clear();
        self.kept_of = None;
        let small = region.len * region.width <= KEPT;
        if small && rule.key.is_some() && rule.scale == ScaleRule::LeastSquares {
            self.kept.resize(region.len * region.width, 0.0);
            self.kept_of = Some((region.first, region.start));
        }
        let count = region.len as u64;
        let magnitudes = self.magnitudes(rule, region);
        let cuts: Cuts = magnitudes
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
            let decision = rule.decide(cuts.get(i), magnitudes[i], count, masked);
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
        let ahead = AHEAD * region.stride;
        let has_kept = self.kept_of == Some((region.first, region.start));
        let mut kept_runs = self.kept.chunks_exact(region.width);
        for ((k, run), output) in region.runs().enumerate().zip(output) {
            let output = &mut output[position..][..region.width];
            fetch_ahead(output, ahead);
            let kept = match (rule.key, if has_kept { kept_runs.next() } else { None }) {
                (None, _) => run,
                (Some(_), Some(kept)) => kept,
                (Some(key), None) => self.thinner.thin(k, run, &decisions.cuts, key),
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
    /// Runs until an index has another high half.
    lasting: u32,
}

impl Thinner {
    fn begin(&mut self, region: &Region<'_>) {
        let columns = region.columns;
        let rows = region.first..region.first + region.width;
        self.first.clear();
        self.first
            .extend(rows.map(|row| row as u64 * columns as u64 + region.start as u64));
        self.low.clear();
        self.kept.resize(region.width, 0.0);
    }

    /// Copies the weights that are kept, and 0 for the others. `k` is the input feature's place in the region.
    fn thin(&mut self, k: usize, run: &[f32], cuts: &Cuts, key: StochasticKey) -> &[f32] {
        // The high half of an index seldom changes.
        if self.low.is_empty() || self.lasting == 0 {
            let index = |first: &u64| first + k as u64;
            self.low.clear();
            self.low
                .extend(self.first.iter().map(|first| index(first) as u32));
            self.high.clear();
            self.high
                .extend(self.first.iter().map(|first| key.high(index(first))));
            let last = self.low.iter().copied().max().unwrap_or(0);
            self.lasting = u32::MAX - last;
        } else {
            increment(&mut self.low);
            self.lasting -= 1;
        }
        thin(run, cuts, key, &self.low, &self.high, &mut self.kept);
        &self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::super::group::Cut;
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
        let region = Region::new(&weights, 1, 3, 0, len);
        let cuts: Cuts = [Cut::new(0.5, 2.0); 3].into_iter().collect();
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
