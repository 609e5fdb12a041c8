//! The `[in, out]` layout, in which the groups of neighbouring output features lie side by side in memory.
//!
//! A panel of some input features by many output features is read from the matrix, and written to the output, in runs
//! of a few KiB along the rows of memory, which keeps the memory system streaming. In between it lies in a buffer as
//! contiguous tiles of [`SPAN`] output features (see [`tile`](super::tile)) that stays in the second-level cache.

use super::fold::{BLOCK, PairwiseFold};
use super::group::LIMIT_NONZERO;
use super::quantizer::Weights;
use super::rule::{Decision, Rule, Unrepresentable};
use super::tile::{self, Cuts, Lines, SPAN, Span};
use crate::settings::{Reference, ScaleRule};

/// Weights of a panel, unless it has a single tile.
const PANEL: usize = 1 << 15;

/// Tiles of a panel at most: 4 KiB of a row.
const TILES: usize = 16;

/// Output features of a panel whose groups have this many input features.
pub(super) fn panel_width(group_len: usize) -> usize {
    SPAN * (PANEL / SPAN / group_len.min(BLOCK)).clamp(1, TILES)
}

/// Neighbouring output features of some input features: the groups that a kernel works on at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Region<'a> {
    pub(super) weights: Weights<'a>,
    /// First output feature.
    pub(super) first: usize,
    /// Output features, up to [`panel_width`].
    pub(super) width: usize,
    /// First input feature.
    pub(super) start: usize,
    /// Input features.
    pub(super) len: usize,
}

impl Region<'_> {
    fn tiles(&self) -> usize {
        self.width.div_ceil(SPAN)
    }

    /// The blocks of a group: offset and length within the region.
    fn blocks(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let len = self.len;
        (0..len)
            .step_by(BLOCK)
            .map(move |offset| (offset, BLOCK.min(len - offset)))
    }

    /// The index in `[out, in]` order of the first weight of a tile's block.
    fn index(&self, tile: usize, offset: usize) -> u64 {
        let row = (self.first + tile * SPAN) as u64;
        row * self.weights.columns as u64 + (self.start + offset) as u64
    }
}

/// Decisions for the output features of a tile.
#[derive(Clone)]
pub(super) struct Decisions {
    limit: Span<i32>,
    scale: Span<f32>,
    /// Read by stochastic rounding.
    cuts: Cuts,
}

impl Decisions {
    /// The same decision for every output feature.
    pub(super) fn uniform(decision: &Decision) -> Self {
        Self {
            limit: [decision.limit; SPAN],
            scale: [decision.scale; SPAN],
            cuts: Cuts::uniform(&decision.cut),
        }
    }
}

/// What a panel holds: the first output feature, their number, the first input feature, their number.
type Place = [usize; 4];

/// Buffers of one task, for one matrix.
pub(super) struct PanelKernel {
    /// Tile after tile, each of as many lines as the block has input features; zeros past the region's width.
    panel: Vec<Span<f32>>,
    loaded: Option<Place>,
    /// The weights of a tile that stochastic rounding keeps.
    kept: Vec<Span<f32>>,
    folds: Vec<PairwiseFold<Span<f32>>>,
}

impl PanelKernel {
    pub(super) fn new() -> Self {
        Self {
            panel: Vec::new(),
            loaded: None,
            kept: Vec::new(),
            folds: (0..TILES).map(|_| PairwiseFold::new()).collect(),
        }
    }

    /// The sums or the maxima of `abs(w)` for each tile, as the reference asks.
    pub(super) fn magnitudes(&mut self, rule: &Rule, region: &Region<'_>) -> Vec<Span<f32>> {
        let mut maxima = vec![[0; SPAN]; region.tiles()];
        for (offset, len) in region.blocks() {
            self.load(region, offset, len);
            let tiles = self.panel.chunks_exact(len);
            for ((tile, fold), maxima) in tiles.zip(&mut self.folds).zip(&mut maxima) {
                match rule.reference {
                    Reference::AbsMean => fold.push(tile::sum(tile)),
                    Reference::AbsMax => tile::maximum(tile, maxima),
                }
            }
        }
        let totals = self.folds.iter_mut().map(PairwiseFold::finish);
        let or_maxima = |(total, maxima): (Option<_>, Span<i32>)| {
            total.unwrap_or_else(|| maxima.map(|bits| f32::from_bits(bits as u32)))
        };
        totals.zip(maxima).map(or_maxima).collect()
    }

    /// The sums of `abs(w)` over the non-zero codes and their numbers, for each tile.
    pub(super) fn masked(
        &mut self,
        rule: &Rule,
        cuts: &[Cuts],
        region: &Region<'_>,
    ) -> Vec<(Span<f32>, Span<u32>)> {
        let mut counts = vec![[0; SPAN]; region.tiles()];
        for (offset, len) in region.blocks() {
            self.load(region, offset, len);
            let tiles = self.panel.chunks_exact(len).zip(cuts).enumerate();
            for (((t, (tile, cuts)), fold), counts) in tiles.zip(&mut self.folds).zip(&mut counts) {
                let (tile, limit) = match rule.key {
                    None => (tile, &cuts.limit),
                    Some(key) => {
                        let index = region.index(t, offset);
                        let columns = region.weights.columns as u64;
                        self.kept.clear();
                        tile::thin(tile, cuts, key, index, columns, &mut self.kept);
                        (&self.kept[..], &[LIMIT_NONZERO; SPAN])
                    }
                };
                fold.push(tile::masked_sum(tile, limit, counts));
            }
        }
        let totals = self.folds.iter_mut().map(PairwiseFold::finish);
        totals
            .map(|total| total.unwrap_or([0.0; SPAN]))
            .zip(counts)
            .collect()
    }

    /// Decides about the groups of a region, one for each output feature; gives the decisions of each tile.
    pub(super) fn decide(
        &mut self,
        rule: &Rule,
        region: &Region<'_>,
    ) -> Result<Vec<Decisions>, Unrepresentable> {
        let count = region.len as u64;
        let magnitudes = self.magnitudes(rule, region);
        let cut =
            |magnitudes: &Span<f32>| Cuts::new(magnitudes.map(|value| rule.cut(value, count)));
        let cuts: Vec<Cuts> = magnitudes.iter().map(cut).collect();
        let masked = match rule.scale {
            ScaleRule::LeastSquares => self.masked(rule, &cuts, region),
            ScaleRule::Reference => vec![([0.0; SPAN], [0; SPAN]); region.tiles()],
        };
        let mut representable = true;
        let mut decisions = Vec::with_capacity(cuts.len());
        for ((magnitudes, cuts), (sums, counts)) in magnitudes.iter().zip(cuts).zip(masked) {
            let mut limit = [0; SPAN];
            let mut scale = [0.0; SPAN];
            for lane in 0..SPAN {
                let masked = (sums[lane], u64::from(counts[lane]));
                let decision = rule.decide(cuts.lane(lane), magnitudes[lane], count, masked);
                limit[lane] = decision.limit;
                scale[lane] = decision.scale;
                representable &= decision.scale < f32::INFINITY;
            }
            decisions.push(Decisions { limit, scale, cuts });
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
        decisions: &[Decisions],
        region: &Region<'_>,
        blend: f32,
        output: &mut [&mut [f32]],
        position: usize,
    ) -> u64 {
        let mut nonzero = 0;
        let columns = region.weights.columns as u64;
        for (offset, len) in region.blocks() {
            self.load(region, offset, len);
            if let Some(key) = rule.key {
                self.kept.clear();
                for (t, (tile, decisions)) in
                    self.panel.chunks_exact(len).zip(decisions).enumerate()
                {
                    let index = region.index(t, offset);
                    tile::thin(tile, &decisions.cuts, key, index, columns, &mut self.kept);
                }
            }
            let kept = if rule.key.is_some() {
                &self.kept
            } else {
                &self.panel
            };
            let mut counts = Lines::default();
            for (k, output) in output[offset..][..len].iter_mut().enumerate() {
                let output = &mut output[position..][..region.width];
                for (t, (output, decisions)) in output.chunks_mut(SPAN).zip(decisions).enumerate() {
                    let (weights, kept) = (&self.panel[t * len + k], &kept[t * len + k]);
                    let (limit, scale) = (&decisions.limit, &decisions.scale);
                    match output.as_mut_array() {
                        Some(output) => {
                            tile::write(weights, kept, limit, scale, blend, output, &mut counts);
                        }
                        None => {
                            let mut line = [0.0; SPAN];
                            tile::write(weights, kept, limit, scale, blend, &mut line, &mut counts);
                            output.copy_from_slice(&line[..output.len()]);
                        }
                    }
                }
            }
            nonzero += counts.total();
        }
        (region.len * region.width) as u64 - nonzero
    }

    /// Copies a block of the region into the panel, if it is not there.
    fn load(&mut self, region: &Region<'_>, offset: usize, len: usize) {
        let place = Some([region.first, region.width, region.start + offset, len]);
        if self.loaded == place {
            return;
        }
        self.loaded = place;
        self.panel.resize(region.tiles() * len, [0.0; SPAN]);
        let rows = region.weights.rows;
        let values = &region.weights.values[(region.start + offset) * rows..][..len * rows];
        for (k, values) in values.chunks_exact(rows).enumerate() {
            let (lines, rest) = values[region.first..][..region.width].as_chunks();
            for (t, line) in lines.iter().enumerate() {
                self.panel[t * len + k] = *line;
            }
            if !rest.is_empty() {
                let line = &mut self.panel[lines.len() * len + k];
                line[..rest.len()].copy_from_slice(rest);
                line[rest.len()..].fill(0.0);
            }
        }
    }
}
