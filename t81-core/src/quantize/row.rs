//! Kernels along a contiguous group: the `[out, in]` layout.

use super::distortion::Distortion;
use super::fold::{BLOCK, PairwiseFold};
use super::group::{Cut, LIMIT_NONZERO};
use super::loops::{RowLoops, masked, pack, sum};
use super::row_loops::{count, maximum, measure, thin, write_blended, write_ternary};
use super::rule::{Decision, Rule, Unrepresentable};
use crate::fetch::fetch_ahead;
use crate::settings::{Reference, ScaleRule};

/// Weights between those that are read and those that are fetched.
const AHEAD: usize = 2 * BLOCK;

/// Buffers of one task.
pub(super) struct RowKernel {
    fold: PairwiseFold<f32>,
    kept: [f32; BLOCK],
    /// The weights that stochastic rounding keeps of a batch, and 0 for the others.
    kept_batch: Vec<f32>,
}

/// How many groups of `len` weights are decided together: enough for the processor to work on while it waits for the sums
/// and quotients of one, and few enough for memory to be read all the while. 0 where each is decided alone.
pub(super) fn batch(len: usize) -> usize {
    match len {
        0..=64 => 8,
        65..=BLOCK => 2,
        _ => 0,
    }
}

impl RowKernel {
    pub(super) fn new() -> Self {
        Self {
            fold: PairwiseFold::new(),
            kept: [0.0; BLOCK],
            kept_batch: Vec::new(),
        }
    }

    /// Decides about `N` groups of `len` weights, at most [`BLOCK`]. Gives the weights that decide about the codes
    /// beside the decisions: those that stochastic rounding keeps, else all.
    #[inline(always)]
    pub(super) fn decide_batch<'a, L: RowLoops, const N: usize>(
        &'a mut self,
        rule: &Rule,
        groups: &'a [f32],
        len: usize,
        index: u64,
    ) -> Result<([Decision; N], &'a [f32]), Unrepresentable> {
        let group = |values: &'a [f32], place: usize| &values[place * len..][..len];
        let mut magnitudes = [0.0; N];
        for (place, magnitude) in magnitudes.iter_mut().enumerate() {
            let group = group(groups, place);
            fetch_ahead(group, AHEAD);
            *magnitude = match rule.reference {
                Reference::AbsMean => sum::<L>(group),
                Reference::AbsMax => maximum(group),
            };
        }
        let cuts = magnitudes.map(|magnitude| rule.cut(magnitude, len as u64));
        let kept = match rule.key {
            None => groups,
            Some(key) => {
                self.kept_batch.resize(groups.len(), 0.0);
                let kept = self.kept_batch.chunks_exact_mut(len);
                for (place, (cut, kept)) in cuts.iter().zip(kept).enumerate() {
                    let index = index + (place * len) as u64;
                    thin(group(groups, place), cut, key, index, kept);
                }
                &self.kept_batch
            }
        };
        let mut masks = [(0.0, 0); N];
        if rule.scale == ScaleRule::LeastSquares {
            for (place, (mask, cut)) in masks.iter_mut().zip(&cuts).enumerate() {
                let limit = rule.key.map_or(cut.limit, |_| LIMIT_NONZERO);
                let (sum, count) = masked::<L>(group(kept, place), limit);
                *mask = (sum, u64::from(count));
            }
        }
        let decisions: [Decision; N] = std::array::from_fn(|place| {
            rule.decide(cuts[place], magnitudes[place], len as u64, masks[place])
        });
        if decisions
            .iter()
            .all(|decision| decision.scale < f32::INFINITY)
        {
            Ok((decisions, kept))
        } else {
            Err(Unrepresentable)
        }
    }

    /// The sum or the maximum of `abs(w)`, as the reference asks.
    #[inline(always)]
    pub(super) fn magnitude<L: RowLoops>(&mut self, rule: &Rule, group: &[f32]) -> f32 {
        match rule.reference {
            Reference::AbsMean => {
                // This is the first time that the weights are read.
                if group.len() <= BLOCK {
                    fetch_ahead(group, AHEAD);
                    return sum::<L>(group);
                }
                for block in group.chunks(BLOCK) {
                    fetch_ahead(block, AHEAD);
                    self.fold.push(sum::<L>(block));
                }
                self.fold.finish().unwrap_or(0.0)
            }
            Reference::AbsMax => maximum(group),
        }
    }

    /// The sum of `abs(w)` over the non-zero codes and their number. `index` is that of the first weight in
    /// `[out, in]` order.
    #[inline(always)]
    pub(super) fn masked<L: RowLoops>(
        &mut self,
        rule: &Rule,
        cut: &Cut,
        group: &[f32],
        index: u64,
    ) -> (f32, u64) {
        if group.len() <= BLOCK {
            let (block, limit) = match rule.key {
                None => (group, cut.limit),
                Some(key) => (
                    thin(group, cut, key, index, &mut self.kept[..group.len()]),
                    LIMIT_NONZERO,
                ),
            };
            let (sum, count) = masked::<L>(block, limit);
            return (sum, u64::from(count));
        }
        let mut total = 0;
        for (block, offset) in group.chunks(BLOCK).zip((index..).step_by(BLOCK)) {
            let (block, limit) = match rule.key {
                None => (block, cut.limit),
                Some(key) => (
                    thin(block, cut, key, offset, &mut self.kept[..block.len()]),
                    LIMIT_NONZERO,
                ),
            };
            let (sum, count) = masked::<L>(block, limit);
            total += u64::from(count);
            self.fold.push(sum);
        }
        (self.fold.finish().unwrap_or(0.0), total)
    }

    /// Decides about a whole group.
    #[inline(always)]
    pub(super) fn decide<L: RowLoops>(
        &mut self,
        rule: &Rule,
        group: &[f32],
        index: u64,
    ) -> Result<Decision, Unrepresentable> {
        let count = group.len() as u64;
        let magnitude = self.magnitude::<L>(rule, group);
        let cut = rule.cut(magnitude, count);
        let masked = match rule.scale {
            ScaleRule::LeastSquares => self.masked::<L>(rule, &cut, group, index),
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
    #[inline(always)]
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
                Some(key) => thin(
                    block,
                    &decision.cut,
                    key,
                    offset,
                    &mut self.kept[..block.len()],
                ),
            };
            nonzero += u64::from(write_block(decision, block, kept, blend, output));
        }
        group.len() as u64 - nonzero
    }

    /// Writes the packed codes of a group into the codes of its row (see [`TernaryMatrix`](crate::TernaryMatrix)),
    /// which hold 0 where nothing was written yet. `column` is that of the first weight.
    #[inline(always)]
    pub(super) fn write_codes<L: RowLoops>(
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
                Some(key) => thin(
                    block,
                    &decision.cut,
                    key,
                    offset,
                    &mut self.kept[..block.len()],
                ),
            };
            pack::<L>(kept, decision.limit, column, codes);
        }
    }

    /// The distortion of a group, or of a part of one.
    #[inline(always)]
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
                    Some(key) => thin(
                        block,
                        &decision.cut,
                        key,
                        offset,
                        &mut self.kept[..block.len()],
                    ),
                };
                measure(block, kept, decision.limit, decision.scale)
            })
            .sum()
    }
}

/// Writes the blended floats of a block; gives the number of codes that are not zero. `kept` decides about the codes.
#[inline(always)]
pub(super) fn write_block(
    decision: &Decision,
    block: &[f32],
    kept: &[f32],
    blend: f32,
    output: &mut [f32],
) -> u32 {
    let (limit, scale) = (decision.limit, decision.scale);
    fetch_ahead(output, AHEAD);
    if blend == 1.0 {
        write_ternary(kept, output, limit, scale)
    } else if blend == 0.0 {
        output.copy_from_slice(block);
        count(kept, limit)
    } else {
        write_blended(block, kept, output, limit, scale, blend)
    }
}
