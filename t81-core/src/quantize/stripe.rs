//! Kernels across groups: the `[in, out]` layout, in which the groups of neighbouring output features lie side by side
//! in memory and every output feature is a vector lane.

use super::columns::{SIDE, Side, SideSums, add_magnitudes, add_masked, fold_sides, raise};
use super::fold::{BLOCK, LANES, PairwiseFold};
use super::group::LIMIT_NONZERO;
use super::region::{Region, TILE, WIDTH};
use super::rule::{Decision, Rule, Unrepresentable};
use super::stripe_loops::{Cuts, cut, decide, write};
use super::tile::{Thinner, Tile};
use crate::fetch::Ahead;
use crate::settings::{Reference, ScaleRule};

/// Decisions for the output features of a region, filled up to whole sixteens.
#[derive(Clone, Debug, Default)]
pub(super) struct Decisions {
    limit: Vec<i32>,
    scale: Vec<f32>,
    /// Read by stochastic rounding.
    cuts: Cuts,
    sums: Sums,
}

/// What decisions are made of.
#[derive(Clone, Debug, Default)]
struct Sums {
    magnitudes: Vec<f32>,
    masked: Vec<f32>,
    counts: Vec<u32>,
}

impl Decisions {
    /// The same decision for every output feature of a sweep.
    pub(super) fn uniform(decision: &Decision) -> Self {
        Self {
            limit: vec![decision.limit; WIDTH],
            scale: vec![decision.scale; WIDTH],
            cuts: Cuts::uniform(&decision.cut),
            sums: Sums::default(),
        }
    }
}

/// Buffers of one task.
pub(super) struct StripeKernel {
    fold: PairwiseFold<Vec<f32>>,
    sums: Vec<SideSums>,
    tile: Tile,
    /// The weights of a tile that stochastic rounding keeps, and 0 for the others.
    kept: Tile,
    thinner: Thinner,
    decisions: Decisions,
}

impl StripeKernel {
    pub(super) fn new() -> Self {
        Self {
            fold: PairwiseFold::new(),
            sums: Vec::new(),
            tile: Tile::default(),
            kept: Tile::default(),
            thinner: Thinner::default(),
            decisions: Decisions::default(),
        }
    }

    /// The sum or the maximum of `abs(w)` for each output feature, as the reference asks.
    pub(super) fn magnitudes(
        &mut self,
        rule: &Rule,
        region: &Region<'_>,
        magnitudes: &mut Vec<f32>,
    ) {
        match rule.reference {
            Reference::AbsMean => self.sums(region, magnitudes, |kernel, tile, _| {
                add_magnitudes(tile, kernel.tile.room(tile), &mut kernel.sums);
            }),
            Reference::AbsMax => {
                let mut maxima = vec![0; region.sides() * SIDE];
                for (down, tiles) in region.corners() {
                    for right in tiles {
                        let tile = region.tile(down, right);
                        raise(&tile, self.tile.room(&tile), &mut maxima[right..]);
                    }
                }
                magnitudes.clear();
                magnitudes.extend(maxima.into_iter().map(|bits| f32::from_bits(bits as u32)));
            }
        }
    }

    /// The sums of `abs(w)` over the non-zero codes and their numbers. Memory `ahead` is fetched.
    pub(super) fn masked(
        &mut self,
        rule: &Rule,
        cuts: &Cuts,
        region: &Region<'_>,
        ahead: Ahead,
        sums: &mut Vec<f32>,
        counts: &mut Vec<u32>,
    ) {
        counts.clear();
        counts.resize(region.sides() * SIDE, 0);
        let nonzero = [LIMIT_NONZERO; TILE];
        self.sums(region, sums, |kernel, tile, right| {
            kernel.tile.load(tile);
            let (rows, limits) = match rule.key {
                None => (&kernel.tile.rows, &cuts.limit[right..]),
                Some(key) => {
                    let kept = &mut kernel.kept;
                    kernel
                        .thinner
                        .thin(&kernel.tile, tile, cuts, right, key, kept);
                    (&kernel.kept.rows, nonzero.as_slice())
                }
            };
            add_masked(rows, ahead, limits, &mut kernel.sums, &mut counts[right..]);
        });
    }

    /// Sums each output feature in the canonical order; `add` adds the weights of a tile, which begins so many output
    /// features further right, to the partial sums.
    fn sums(
        &mut self,
        region: &Region<'_>,
        folded: &mut Vec<f32>,
        mut add: impl FnMut(&mut Self, &Region<'_>, usize),
    ) {
        for (down, tiles) in region.corners() {
            folded.resize(region.sides() * SIDE, 0.0);
            for right in tiles {
                let tile = region.tile(down, right);
                self.sums.resize(tile.sides(), [Side([0.0; SIDE]); LANES]);
                self.sums.fill([Side([0.0; SIDE]); LANES]);
                add(self, &tile, right);
                fold_sides(&self.sums, &mut folded[right..]);
            }
            if region.len > BLOCK {
                self.fold.push(std::mem::take(folded));
            }
        }
        if let Some(sums) = self.fold.finish() {
            *folded = sums;
        }
    }

    /// Decides about the groups of a region, one for each output feature. Memory `ahead` is fetched.
    fn decide(
        &mut self,
        rule: &Rule,
        region: &Region<'_>,
        ahead: Ahead,
        decisions: &mut Decisions,
    ) -> Result<(), Unrepresentable> {
        let count = region.len as u64;
        let Sums {
            magnitudes,
            masked,
            counts,
        } = &mut decisions.sums;
        self.magnitudes(rule, region, magnitudes);
        cut(rule, magnitudes, count, &mut decisions.cuts);
        if rule.scale == ScaleRule::LeastSquares {
            self.masked(rule, &decisions.cuts, region, ahead, masked, counts);
        } else {
            masked.resize(magnitudes.len(), 0.0);
            counts.resize(magnitudes.len(), 0);
        }
        decisions.limit.resize(magnitudes.len(), 0);
        decisions.scale.resize(magnitudes.len(), 0.0);
        let representable = decide(
            rule,
            &decisions.cuts,
            magnitudes,
            count,
            (masked, counts),
            &mut decisions.limit,
            &mut decisions.scale,
        );
        if representable {
            Ok(())
        } else {
            Err(Unrepresentable)
        }
    }

    /// Decides about the groups of a region, one for each output feature, and writes their blended floats, as
    /// [`write_floats`](Self::write_floats) does.
    pub(super) fn quantize(
        &mut self,
        rule: &Rule,
        region: &Region<'_>,
        blend: f32,
        output: Output<'_, '_>,
    ) -> Result<u64, Unrepresentable> {
        let mut decisions = std::mem::take(&mut self.decisions);
        let ahead = if output.streamed {
            Ahead::nothing()
        } else {
            Ahead::new(&output.slices[0][output.position..], 0, region.stride)
        };
        self.decide(rule, region, ahead, &mut decisions)?;
        let zeros = self.write_floats(rule, &decisions, region, blend, output);
        self.decisions = decisions;
        Ok(zeros)
    }

    /// Writes the blended floats of a region; gives the number of zero codes.
    pub(super) fn write_floats(
        &mut self,
        rule: &Rule,
        decisions: &Decisions,
        region: &Region<'_>,
        blend: f32,
        output: Output<'_, '_>,
    ) -> u64 {
        let mut nonzero = 0;
        for (down, tiles) in region.corners() {
            for right in tiles {
                let tile = region.tile(down, right);
                self.tile.load(&tile);
                let kept = match rule.key {
                    None => &self.tile,
                    Some(key) => {
                        let (cuts, kept) = (&decisions.cuts, &mut self.kept);
                        self.thinner.thin(&self.tile, &tile, cuts, right, key, kept);
                        &self.kept
                    }
                };
                let first = output.position + right;
                nonzero += write(
                    &self.tile.rows,
                    &kept.rows,
                    (&decisions.limit[right..], &decisions.scale[right..]),
                    blend,
                    &mut output.slices[down..][..tile.len],
                    first..first + tile.width,
                    output.streamed,
                );
            }
        }
        (region.len * region.width) as u64 - nonzero
    }
}

/// Where the floats of a region go.
pub(super) struct Output<'a, 'o> {
    /// A slice of each input feature's outputs.
    pub(super) slices: &'a mut [&'o mut [f32]],
    /// Where the region starts in each of them.
    pub(super) position: usize,
    /// Whether the outputs go past the caches.
    pub(super) streamed: bool,
}
