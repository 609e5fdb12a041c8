//! The canonical order of a sum: the bits do not depend on layout, threads or vector width.
//!
//! Element i of a block of up to 256 adds into lane `i % 8`, in order; the lanes fold as
//! `((0 + 4) + (2 + 6)) + ((1 + 5) + (3 + 7))`. The block sums of a row, and the row sums of a tensor, fold pairwise:
//! 0 + 1, 2 + 3 and so on, an odd last one passing through, until one is left.

/// Weights of a block.
pub(super) const BLOCK: usize = 256;

/// Partial sums of a block.
pub(super) const LANES: usize = 8;

/// A value whose sums fold.
pub(super) trait Add: Copy {
    fn add(self, other: Self) -> Self;
}

impl Add for f32 {
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self + other
    }
}

impl<const N: usize> Add for [f32; N] {
    #[inline(always)]
    fn add(mut self, other: Self) -> Self {
        for (sum, value) in self.iter_mut().zip(other) {
            *sum += value;
        }
        self
    }
}

/// Folds the lanes of a block.
#[inline(always)]
pub(super) fn fold_lanes<T: Add>(lane: [T; LANES]) -> T {
    let even = lane[0].add(lane[4]).add(lane[2].add(lane[6]));
    let odd = lane[1].add(lane[5]).add(lane[3].add(lane[7]));
    even.add(odd)
}

/// Folds a stream of sums pairwise with memory for one sum a level.
///
/// Complete pairs merge as they appear, as in a binary counter; at the end the leftovers merge from the last to the
/// first. That is the tree of repeated passes over adjacent pairs.
#[derive(Debug)]
pub(super) struct PairwiseFold<T> {
    levels: Vec<T>,
    count: usize,
}

impl<T: Add> PairwiseFold<T> {
    pub(super) fn new() -> Self {
        Self {
            levels: Vec::new(),
            count: 0,
        }
    }

    pub(super) fn push(&mut self, mut sum: T) {
        for _ in 0..self.count.trailing_ones() {
            if let Some(left) = self.levels.pop() {
                sum = left.add(sum);
            }
        }
        self.levels.push(sum);
        self.count += 1;
    }

    /// The total of the sums since the last call; `None` without any.
    pub(super) fn finish(&mut self) -> Option<T> {
        self.count = 0;
        let mut total = self.levels.pop()?;
        while let Some(left) = self.levels.pop() {
            total = left.add(total);
        }
        Some(total)
    }
}
