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
pub(super) trait Add {
    fn add(self, other: Self) -> Self;
}

impl Add for f32 {
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self + other
    }
}

/// Element by element.
impl Add for Vec<f32> {
    fn add(mut self, other: Self) -> Self {
        for (sum, value) in self.iter_mut().zip(other) {
            *sum += value;
        }
        self
    }
}

/// Folds the lanes of a block.
#[inline(always)]
pub(super) fn fold_lanes<T: Add>(lanes: [T; LANES]) -> T {
    let [a, b, c, d, e, f, g, h] = lanes;
    let even = a.add(e).add(c.add(g));
    let odd = b.add(f).add(d.add(h));
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Spells the order of additions.
    #[derive(Clone, Copy)]
    struct Tree([u8; 64], usize);

    impl Tree {
        fn leaf(name: u8) -> Self {
            let mut text = [0; 64];
            text[0] = name;
            Self(text, 1)
        }

        fn text(&self) -> &str {
            std::str::from_utf8(&self.0[..self.1]).unwrap()
        }
    }

    impl Add for Tree {
        fn add(self, other: Self) -> Self {
            let text = format!("({}{})", self.text(), other.text());
            let mut tree = Self([0; 64], text.len());
            tree.0[..text.len()].copy_from_slice(text.as_bytes());
            tree
        }
    }

    #[test]
    fn sums_fold_in_passes_over_adjacent_pairs() {
        let mut fold = PairwiseFold::new();
        let expected = [
            "0",
            "(01)",
            "((01)2)",
            "((01)(23))",
            "(((01)(23))4)",
            "(((01)(23))(45))",
            "(((01)(23))((45)6))",
            "(((01)(23))((45)(67)))",
            "((((01)(23))((45)(67)))8)",
        ];
        for (count, expected) in (1..).zip(expected) {
            (b'0'..)
                .take(count)
                .for_each(|name| fold.push(Tree::leaf(name)));
            assert_eq!(fold.finish().unwrap().text(), expected);
        }
        assert!(fold.finish().is_none());
    }

    #[test]
    fn lanes_fold_as_documented() {
        let lanes = [b'0', b'1', b'2', b'3', b'4', b'5', b'6', b'7'].map(Tree::leaf);
        assert_eq!(fold_lanes(lanes).text(), "(((04)(26))((15)(37)))");
    }
}
