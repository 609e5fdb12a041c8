//! Neighbouring output features of some input features in the `[in, out]` layout.

use super::columns::SIDE;
use super::fold::BLOCK;
use super::quantizer::Weights;
use crate::fetch::Ahead;

/// Output features of a tile at most: four lines of memory, of as many input features as a block has, leave room in a
/// second-level cache for those that are fetched meanwhile.
pub(super) const TILE: usize = 64;

/// Output features of a region at most: tiles of tall ones are taken side by side, so that pages serve several.
pub(super) const WIDTH: usize = 512;

/// Output features of the regions of `len` input features: one tile holds those of a block at most.
pub(super) fn width(len: usize) -> usize {
    if len <= BLOCK { TILE } else { WIDTH }
}

/// Neighbouring output features of some input features: the groups that a kernel works on at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Region<'a> {
    /// From the first weight on.
    pub(super) values: &'a [f32],
    /// Weights from one run to the next.
    pub(super) stride: usize,
    /// Input features of the whole matrix.
    pub(super) columns: usize,
    /// First output feature.
    pub(super) first: usize,
    /// Output features, up to [`WIDTH`].
    pub(super) width: usize,
    /// First input feature.
    pub(super) start: usize,
    /// Input features.
    pub(super) len: usize,
    /// Weights from the first one to the first of what is read next.
    next: isize,
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
        let stride = weights.rows;
        let next = if first + width < stride {
            width as isize
        } else {
            (len * stride) as isize - first as isize
        };
        Self {
            values: &weights.values[start * stride + first..],
            stride,
            columns: weights.columns,
            first,
            width,
            start,
            len,
            next,
        }
    }

    /// The run of each input feature.
    pub(super) fn runs(&self) -> impl Iterator<Item = &'a [f32]> + use<'a> {
        let width = self.width;
        let runs = self.values.chunks(self.stride).take(self.len);
        runs.map(move |run| &run[..width])
    }

    /// Sixteens of output features, the last of which may have fewer.
    pub(super) fn sides(&self) -> usize {
        self.width.div_ceil(SIDE)
    }

    /// Where its blocks begin, and in each of them its tiles.
    pub(super) fn corners(
        &self,
    ) -> impl Iterator<Item = (usize, impl Iterator<Item = usize> + use<>)> + use<> {
        let width = self.width;
        let blocks = (0..self.len).step_by(BLOCK);
        blocks.map(move |down| (down, (0..width).step_by(TILE)))
    }

    /// The tile that begins so many input and output features from here.
    pub(super) fn tile(&self, down: usize, right: usize) -> Self {
        let (len, width) = (BLOCK.min(self.len - down), TILE.min(self.width - right));
        let next = if right + width < self.width {
            width as isize
        } else if down + len < self.len {
            (len * self.stride) as isize - right as isize
        } else {
            self.next - (down * self.stride) as isize - right as isize
        };
        Self {
            values: &self.values[down * self.stride + right..],
            first: self.first + right,
            width,
            start: self.start + down,
            len,
            next,
            ..*self
        }
    }

    /// What tells it from other regions of the same weights.
    pub(super) fn place(&self) -> Place {
        [self.first, self.width, self.start, self.len]
    }

    /// The lines of what is read next.
    pub(super) fn next(&self) -> Ahead {
        Ahead::new(self.values, self.next, self.stride)
    }
}

/// Which output and input features a region has.
pub(super) type Place = [usize; 4];
