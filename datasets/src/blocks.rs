//! A token stream cut into training blocks.

use std::ops::Range;

use burn::data::dataset::{Dataset, DatasetError};

use crate::error::DataError;
use crate::order::epoch_order;
use crate::tokens::Tokens;

/// One training sample: consecutive tokens, of which all but the last are inputs and all but the first are targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenBlock {
    /// Between 2 and `block_size + 1` token ids.
    pub tokens: Vec<u32>,
}

impl TokenBlock {
    /// What the model reads; `inputs()[i]` predicts `targets()[i]`.
    pub fn inputs(&self) -> &[u32] {
        self.tokens.split_last().map_or(&[], |(_, inputs)| inputs)
    }

    /// What the model predicts.
    pub fn targets(&self) -> &[u32] {
        self.tokens.get(1..).unwrap_or(&[])
    }
}

/// A token stream as a dataset of blocks of `block_size` predictions each.
///
/// Block `i` holds the tokens `i * block_size ..= (i + 1) * block_size`, so neighbouring blocks share one token and
/// every token of the stream but the first is predicted exactly once. The last block is shorter when the stream does
/// not divide: nothing is dropped, and the training loop pads it. Clones share the tokens.
///
/// ```
/// use burn::data::dataset::Dataset;
/// use t81_datasets::TokenBlocks;
///
/// let blocks = TokenBlocks::new((0..8).collect(), 3)?;
/// assert_eq!(blocks.len(), 3);
/// assert_eq!(blocks.get(0)?.tokens, [0, 1, 2, 3]);
/// assert_eq!(blocks.get(1)?.tokens, [3, 4, 5, 6]);
/// assert_eq!(blocks.get(2)?.targets(), [7]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct TokenBlocks {
    tokens: Tokens,
    block_size: usize,
}

impl TokenBlocks {
    /// # Errors
    ///
    /// [`DataError::ZeroBlockSize`], and [`DataError::TooFewTokens`] when there is nothing to predict.
    pub fn new(tokens: Tokens, block_size: usize) -> Result<Self, DataError> {
        if block_size == 0 {
            return Err(DataError::ZeroBlockSize);
        }
        if tokens.len() < 2 {
            return Err(DataError::TooFewTokens {
                found: tokens.len(),
                needed: 2,
            });
        }
        Ok(Self { tokens, block_size })
    }

    /// Predictions in every block but the last.
    pub fn block_size(&self) -> usize {
        self.block_size
    }

    /// The whole stream.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Tokens predicted by one pass over all blocks: all but the first.
    pub fn predictions(&self) -> usize {
        self.tokens.len() - 1
    }

    /// The blocks in the order of [`epoch_order`] for this seed and epoch.
    pub fn shuffled(&self, seed: u64, epoch: u64) -> ShuffledBlocks {
        ShuffledBlocks {
            blocks: self.clone(),
            order: epoch_order(self.len(), seed, epoch),
        }
    }

    fn range(&self, index: usize) -> Range<usize> {
        let start = index * self.block_size;
        let end = start.saturating_add(self.block_size).saturating_add(1);
        start..self.tokens.len().min(end)
    }
}

impl Dataset<TokenBlock> for TokenBlocks {
    fn get(&self, index: usize) -> Result<TokenBlock, DatasetError> {
        assert!(index < self.len(), "block {index} of {}", self.len());
        let range = self.range(index);
        let mut tokens = Vec::with_capacity(range.len());
        self.tokens.copy_to(range, &mut tokens);
        Ok(TokenBlock { tokens })
    }

    fn len(&self) -> usize {
        self.predictions().div_ceil(self.block_size)
    }
}

/// The blocks of a stream in the order of one epoch, or a part of it.
#[derive(Clone, Debug)]
pub struct ShuffledBlocks {
    blocks: TokenBlocks,
    order: Vec<usize>,
}

impl ShuffledBlocks {
    /// The part of the epoch at these positions, cut off at its end: `visits(done..usize::MAX)` is what remains after
    /// `done` blocks, and consecutive ranges are the virtual epochs of a run that checkpoints within an epoch.
    #[must_use]
    pub fn visits(mut self, positions: Range<usize>) -> Self {
        self.order.truncate(positions.end);
        self.order.drain(..positions.start.min(self.order.len()));
        self
    }

    /// Indices into the unshuffled blocks, in order of visit.
    pub fn order(&self) -> &[usize] {
        &self.order
    }
}

impl Dataset<TokenBlock> for ShuffledBlocks {
    fn get(&self, index: usize) -> Result<TokenBlock, DatasetError> {
        self.blocks.get(self.order[index])
    }

    fn len(&self) -> usize {
        self.order.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predicts_every_token_but_the_first_exactly_once() {
        for len in 2..40_u32 {
            for block_size in 1..45 {
                let blocks = TokenBlocks::new((0..len).collect(), block_size).unwrap();
                let mut targets = Vec::new();
                for block in blocks.iter().map(Result::unwrap) {
                    assert!(block.tokens.len() >= 2 && block.tokens.len() <= block_size + 1);
                    assert_eq!(block.inputs().len(), block.targets().len());
                    for (input, target) in block.inputs().iter().zip(block.targets()) {
                        assert_eq!(input + 1, *target);
                    }
                    targets.extend_from_slice(block.targets());
                }
                assert!(
                    targets.iter().copied().eq(1..len),
                    "{len} tokens in blocks of {block_size}"
                );
                assert_eq!(targets.len(), blocks.predictions());
                let full = blocks.len() - 1;
                assert!(
                    (0..full)
                        .all(|index| blocks.get(index).unwrap().tokens.len() == block_size + 1)
                );
            }
        }
    }

    #[test]
    fn refuses_what_cannot_be_trained_on() {
        assert!(matches!(
            TokenBlocks::new(vec![1, 2].into(), 0),
            Err(DataError::ZeroBlockSize)
        ));
        for tokens in [vec![], vec![1]] {
            let found = tokens.len();
            let error = TokenBlocks::new(tokens.into(), 4).unwrap_err();
            assert!(matches!(error, DataError::TooFewTokens { found: f, needed: 2 } if f == found));
        }
    }

    #[test]
    fn a_huge_block_size_is_one_block() {
        let blocks = TokenBlocks::new(vec![5, 6, 7].into(), usize::MAX).unwrap();
        assert_eq!(blocks.len(), 1);
        assert_eq!(blocks.get(0).unwrap().tokens, [5, 6, 7]);
    }

    #[test]
    fn a_shuffled_epoch_visits_every_block_once_and_resumes() {
        let blocks = TokenBlocks::new((0..1000).collect(), 10).unwrap();
        let epoch = blocks.shuffled(3, 1);
        assert_eq!(epoch.len(), 100);
        let visited: Vec<TokenBlock> = epoch.iter().map(Result::unwrap).collect();
        let mut firsts: Vec<u32> = visited.iter().map(|block| block.tokens[0]).collect();
        firsts.sort_unstable();
        assert!(firsts.iter().copied().eq((0..1000).step_by(10)));

        let resumed = blocks.shuffled(3, 1).visits(37..usize::MAX);
        assert_eq!(resumed.len(), 63);
        assert_eq!(resumed.get(0).unwrap(), visited[37]);
        let middle = blocks.shuffled(3, 1).visits(37..40);
        assert_eq!(middle.order(), &epoch.order()[37..40]);
        assert_eq!(blocks.shuffled(3, 1).visits(100..200).len(), 0);
        assert_eq!(blocks.shuffled(3, 1).visits(500..600).len(), 0);
    }
}
