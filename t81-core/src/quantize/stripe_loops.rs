//! Loops along runs of the `[in, out]` layout, in which each output feature has a cut, a scale and sums of its own.

use std::marker::PhantomData;
use std::ops::Range;

use super::columns::{ColumnLoops, SIDE, Side};
use super::group::{Cut, nonzero_mask, ternary};
use super::random::StochasticKey;
use super::region::WIDTH;
use super::rule::Rule;
use crate::vectorized::vectorized;

/// The cuts of output features, apart, as vector code reads them.
#[derive(Clone, Debug, Default)]
pub(super) struct Cuts {
    cutoff: Vec<f32>,
    span: Vec<f32>,
    pub(super) limit: Vec<i32>,
}

impl Cuts {
    /// The same cut for every output feature of a sweep.
    pub(super) fn uniform(cut: &Cut) -> Self {
        std::iter::repeat_n(*cut, WIDTH).collect()
    }
}

impl FromIterator<Cut> for Cuts {
    fn from_iter<I: IntoIterator<Item = Cut>>(cuts: I) -> Self {
        let mut all = Self::default();
        for cut in cuts {
            all.cutoff.push(cut.cutoff);
            all.span.push(cut.span);
            all.limit.push(cut.limit);
        }
        all
    }
}

vectorized! {
    /// The cuts of groups of `count` weights with these sums or maxima of `abs(w)`.
    pub(super) fn cut(rule: &Rule, magnitudes: &[f32], count: u64, cuts: &mut Cuts) = cut_loop;
    /// Decides about groups of `count` weights: limits and scales, and whether all can be quantized.
    pub(super) fn decide(
        rule: &Rule, cuts: &Cuts, magnitudes: &[f32], count: u64, masked: (&[f32], &[u32]), limit: &mut [i32],
        scale: &mut [f32],
    ) -> bool = decide_loop;
    /// Copies the weights that stochastic rounding keeps of a tile, and 0 for the others. The halves of the indices are
    /// those of the first row, whose low ones do not overflow in the others.
    pub(super) fn thin(
        tile: &[Side], cuts: &Cuts, right: usize, key: StochasticKey, low: &[u32], high: &[u32], kept: &mut [Side],
    ) = thin_loop;
    /// Writes a tile's blended floats to some columns of each output, given limits and scales; gives the number of non-zero
    /// codes. `kept` decides about the codes of the weights.
    pub(super) fn write(
        tile: &[Side], kept: &[Side], decided: (&[i32], &[f32]), blend: f32, outputs: &mut [&mut [f32]],
        columns: Range<usize>, streamed: bool,
    ) -> u64 = write_loop::<_>;
}

#[inline(always)]
fn cut_loop(rule: &Rule, magnitudes: &[f32], count: u64, cuts: &mut Cuts) {
    cuts.cutoff.resize(magnitudes.len(), 0.0);
    cuts.span.resize(magnitudes.len(), 0.0);
    cuts.limit.resize(magnitudes.len(), 0);
    let places = cuts.cutoff.iter_mut().zip(&mut cuts.span);
    let places = places.zip(&mut cuts.limit).zip(magnitudes);
    for (((cutoff, span), limit), &magnitude) in places {
        let cut = rule.cut(magnitude, count);
        (*cutoff, *span, *limit) = (cut.cutoff, cut.span, cut.limit);
    }
}

#[inline(always)]
fn decide_loop(
    rule: &Rule,
    cuts: &Cuts,
    magnitudes: &[f32],
    count: u64,
    masked: (&[f32], &[u32]),
    limit: &mut [i32],
    scale: &mut [f32],
) -> bool {
    let mut representable = u32::MAX;
    let places = limit.iter_mut().zip(scale);
    let places = places.zip(cuts.cutoff.iter().zip(&cuts.span).zip(&cuts.limit));
    let masked = masked.0.iter().zip(masked.1);
    for (((limit, scale), ((&cutoff, &span), &cut)), (&magnitude, (&sum, &kept))) in
        places.zip(magnitudes.iter().zip(masked))
    {
        let cut = Cut {
            cutoff,
            span,
            limit: cut,
        };
        let decision = rule.decide(cut, magnitude, count, (sum, u64::from(kept)));
        (*limit, *scale) = (decision.limit, decision.scale);
        representable &= u32::from(decision.scale < f32::INFINITY).wrapping_neg();
    }
    representable != 0
}

#[inline(always)]
fn thin_loop(
    tile: &[Side],
    cuts: &Cuts,
    right: usize,
    key: StochasticKey,
    low: &[u32],
    high: &[u32],
    kept: &mut [Side],
) {
    let sides = low.len() / SIDE;
    let (low, high) = (low.as_chunks::<SIDE>().0, high.as_chunks::<SIDE>().0);
    let (cutoff, span, limit) = (
        cuts.cutoff[right..].as_chunks::<SIDE>().0,
        cuts.span[right..].as_chunks::<SIDE>().0,
        cuts.limit[right..].as_chunks::<SIDE>().0,
    );
    for side in 0..sides {
        let rows = tile[side..].iter().step_by(sides);
        let kept = kept[side..].iter_mut().step_by(sides);
        for ((row, kept), k) in rows.zip(kept).zip(0_u32..) {
            for place in 0..SIDE {
                let low = key.start(low[side][place].wrapping_add(k));
                let word = StochasticKey::finish(low, high[side][place]);
                let cut = Cut {
                    cutoff: cutoff[side][place],
                    span: span[side][place],
                    limit: limit[side][place],
                };
                let weight = row.0[place];
                let mask = cut.kept_mask(weight, StochasticKey::fraction(word));
                kept.0[place] = f32::from_bits(weight.to_bits() & mask);
            }
        }
    }
}

#[inline(always)]
fn write_loop<L: ColumnLoops>(
    tile: &[Side],
    kept: &[Side],
    decided: (&[i32], &[f32]),
    blend: f32,
    outputs: &mut [&mut [f32]],
    columns: Range<usize>,
    streamed: bool,
) -> u64 {
    let mut put = Put::<L> {
        tile,
        kept,
        limit: decided.0.as_chunks().0,
        scale: decided.1.as_chunks().0,
        outputs,
        columns,
        streamed,
        loops: PhantomData,
    };
    if blend == 1.0 {
        put.each(|_, quantized| quantized)
    } else if blend == 0.0 {
        put.each(|weight, _| weight)
    } else {
        put.each(|weight, quantized| weight + blend * (quantized - weight))
    }
}

/// A tile that is written.
struct Put<'a, 'o, L> {
    tile: &'a [Side],
    kept: &'a [Side],
    limit: &'a [[i32; SIDE]],
    scale: &'a [[f32; SIDE]],
    outputs: &'a mut [&'o mut [f32]],
    columns: Range<usize>,
    streamed: bool,
    loops: PhantomData<L>,
}

impl<L: ColumnLoops> Put<'_, '_, L> {
    /// Writes `value` of each weight and its quantized value; gives the number of non-zero codes.
    #[inline(always)]
    fn each(&mut self, value: impl Fn(f32, f32) -> f32) -> u64 {
        let sides = self.columns.len().div_ceil(SIDE);
        let mut nonzero = [0_u32; SIDE];
        let rows = self
            .tile
            .chunks_exact(sides)
            .zip(self.kept.chunks_exact(sides));
        for (output, (weights, kept)) in self.outputs.iter_mut().zip(rows) {
            let (lines, rest) = output[self.columns.clone()].as_chunks_mut::<SIDE>();
            let whole = lines.len();
            let parts = lines.iter_mut().zip(weights).zip(kept);
            for (((line, weights), kept), (limit, scale)) in
                parts.zip(self.limit.iter().zip(self.scale))
            {
                let values = each(weights, kept, limit, scale, &mut nonzero, &value);
                if self.streamed {
                    L::stream(&values, line);
                } else {
                    *line = values.0;
                }
            }
            if !rest.is_empty() {
                // What fills up the last sixteen has code 0.
                let (limit, scale) = (&self.limit[whole], &self.scale[whole]);
                let values = each(
                    &weights[whole],
                    &kept[whole],
                    limit,
                    scale,
                    &mut nonzero,
                    &value,
                );
                rest.copy_from_slice(&values.0[..rest.len()]);
            }
        }
        if self.streamed {
            L::fence();
        }
        nonzero.into_iter().map(u64::from).sum()
    }
}

/// `value` of each weight and its quantized value; the codes that are not zero are counted.
#[inline(always)]
fn each(
    weights: &Side,
    kept: &Side,
    limit: &[i32; SIDE],
    scale: &[f32; SIDE],
    nonzero: &mut [u32; SIDE],
    value: impl Fn(f32, f32) -> f32,
) -> Side {
    let mut values = Side([0.0; SIDE]);
    for place in 0..SIDE {
        let mask = nonzero_mask(kept.0[place], limit[place]);
        nonzero[place] += mask & 1;
        let quantized = ternary(kept.0[place], scale[place], mask);
        values.0[place] = value(weights.0[place], quantized);
    }
    values
}
