//! The weights of a region side by side, and what stochastic rounding keeps of them.
//!
//! Rows of memory a power of two apart would drive each other from the first-level cache between the passes, and each begins
//! on a page of its own: hence the copy.

use super::columns::{SIDE, Side, copy};
use super::random::StochasticKey;
use super::region::{Place, Region};
use super::stripe_loops::{Cuts, thin};

/// Weights of a region side by side.
#[derive(Default)]
pub(super) struct Tile {
    /// `[input features, sides]`.
    pub(super) rows: Vec<Side>,
    /// The region that they are of.
    of: Option<Place>,
}

impl Tile {
    /// Room for a region's weights, of which it is told that they are there.
    pub(super) fn room(&mut self, region: &Region<'_>) -> &mut [Side] {
        self.of = Some(region.place());
        self.rows
            .resize(region.len * region.sides(), Side([0.0; SIDE]));
        &mut self.rows
    }

    /// Copies the weights of a region, unless they are there.
    pub(super) fn load(&mut self, region: &Region<'_>) {
        if self.of != Some(region.place()) {
            copy(region, self.room(region));
        }
    }
}

/// Stochastic rounding's choices for the rows of a tile.
#[derive(Default)]
pub(super) struct Thinner {
    /// Index in `[out, in]` order of each output feature's first weight.
    first: Vec<u64>,
    low: Vec<u32>,
    high: Vec<u32>,
}

impl Thinner {
    /// Copies the weights that are kept of a tile's region, and 0 for the others, unless they are there. Its cuts begin at
    /// `right`.
    pub(super) fn thin(
        &mut self,
        tile: &Tile,
        region: &Region<'_>,
        cuts: &Cuts,
        right: usize,
        key: StochasticKey,
        kept: &mut Tile,
    ) {
        if kept.of == Some(region.place()) {
            return;
        }
        kept.of = Some(region.place());
        kept.rows.resize(tile.rows.len(), Side([0.0; SIDE]));
        let sides = region.sides();
        let columns = region.columns as u64;
        // What fills up the last sixteen has some index.
        let outputs = region.first as u64..(region.first + sides * SIDE) as u64;
        self.first.clear();
        self.first
            .extend(outputs.map(|output| output * columns + region.start as u64));
        // The high half of an index seldom changes.
        let lasts = self.first.iter().all(|first| {
            u32::try_from(region.len).is_ok_and(|len| (*first as u32).checked_add(len).is_some())
        });
        let rows = if lasts { region.len } else { 1 };
        let tiles = tile.rows.chunks(rows * sides);
        for (tile, kept) in tiles.zip(kept.rows.chunks_mut(rows * sides)) {
            self.low.clear();
            self.low
                .extend(self.first.iter().map(|&first| first as u32));
            self.high.clear();
            self.high
                .extend(self.first.iter().map(|&first| key.high(first)));
            thin(tile, cuts, right, key, &self.low, &self.high, kept);
            self.first
                .iter_mut()
                .for_each(|first| *first += rows as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::group::Cut;
    use super::super::quantizer::Weights;
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
        let cuts: Cuts = [Cut::new(0.5, 2.0); SIDE].into_iter().collect();
        let (mut tile, mut kept) = (Tile::default(), Tile::default());
        tile.load(&region);
        let key = StochasticKey::new(3);
        Thinner::default().thin(&tile, &region, &cuts, 0, key, &mut kept);
        let mut dropped = 0;
        for (k, run) in region.runs().enumerate() {
            for (i, (&kept, &weight)) in kept.rows[k].0.iter().zip(run).enumerate() {
                let index = (1 + i as u64) * ((1 << 31) - 5) + k as u64;
                let keeps = stochastic_uniform(3, index) < weight - 1.0;
                assert_eq!(kept, if keeps { weight } else { 0.0 });
                dropped += u32::from(!keeps);
            }
        }
        assert!((10..50).contains(&dropped));
    }
}
