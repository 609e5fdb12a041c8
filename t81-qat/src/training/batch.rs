//! Batches of token blocks, in the order of a run.

use std::sync::Arc;

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::{Dataset, DatasetError};
use burn::tensor::{Device, Int, Tensor, TensorData};
use t81_datasets::{TokenBlock, TokenBlocks, epoch_order};

/// Some blocks of tokens, padded to the longest, on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenBatch {
    rows: usize,
    columns: usize,
    inputs: Vec<i32>,
    targets: Vec<i32>,
    /// 1 for a target that counts, 0 for padding.
    mask: Vec<f32>,
    /// Targets that count.
    tokens: usize,
    /// Targets that the whole optimizer step counts, by which the loss is divided.
    step_tokens: usize,
}

impl TokenBatch {
    /// A batch of `blocks`, each with at least two tokens.
    pub fn new(blocks: &[TokenBlock]) -> Self {
        let rows = blocks.len();
        let columns = blocks
            .iter()
            .map(|block| block.inputs().len())
            .max()
            .unwrap_or(0);
        let mut batch = Self {
            rows,
            columns,
            inputs: vec![0; rows * columns],
            targets: vec![0; rows * columns],
            mask: vec![0.0; rows * columns],
            tokens: 0,
            step_tokens: 0,
        };
        for (row, block) in blocks.iter().enumerate() {
            let length = block.inputs().len();
            let range = row * columns..row * columns + length;
            let signed = |tokens: &[u32]| tokens.iter().map(|&id| id as i32).collect::<Vec<_>>();
            batch.inputs[range.clone()].copy_from_slice(&signed(block.inputs()));
            batch.targets[range.clone()].copy_from_slice(&signed(block.targets()));
            batch.mask[range].fill(1.0);
            batch.tokens += length;
        }
        batch.step_tokens = batch.tokens;
        batch
    }

    /// Scores only the targets of positions from `first` on.
    pub(crate) fn scored_from(mut self, first: usize) -> Self {
        for row in self.mask.chunks_mut(self.columns.max(1)) {
            let end = first.min(row.len());
            row[..end].fill(0.0);
        }
        self.tokens = self.mask.iter().filter(|&&weight| weight > 0.0).count();
        self.step_tokens = self.tokens;
        self
    }

    /// Targets that count.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Share of the optimizer step's targets that are in this batch, 0..=1.
    pub(crate) fn share_of_step(&self) -> f64 {
        self.tokens as f64 / self.step_tokens as f64
    }

    /// Says how many targets the whole optimizer step counts.
    pub(crate) fn set_step_tokens(&mut self, tokens: usize) {
        self.step_tokens = tokens;
    }

    /// Cuts the batch into at most `parts` batches of whole rows.
    pub(crate) fn split(self, parts: usize) -> Vec<Self> {
        let rows_each = self.rows.div_ceil(parts.max(1)).max(1);
        if rows_each >= self.rows {
            return vec![self];
        }
        (0..self.rows)
            .step_by(rows_each)
            .map(|first| {
                let rows = rows_each.min(self.rows - first);
                let range = first * self.columns..(first + rows) * self.columns;
                let mask = self.mask[range.clone()].to_vec();
                Self {
                    rows,
                    columns: self.columns,
                    inputs: self.inputs[range.clone()].to_vec(),
                    targets: self.targets[range].to_vec(),
                    tokens: mask.iter().filter(|&&weight| weight > 0.0).count(),
                    mask,
                    step_tokens: self.step_tokens,
                }
            })
            .collect()
    }

    /// Inputs `[rows, columns]`, targets `[rows, columns]` and, where there is padding, the mask `[rows, columns]`.
    pub(crate) fn tensors(
        self,
        device: &Device,
    ) -> (Tensor<2, Int>, Tensor<2, Int>, Option<Tensor<2>>) {
        let shape = [self.rows, self.columns];
        let inputs = Tensor::from_data(TensorData::new(self.inputs, shape), device);
        let targets = Tensor::from_data(TensorData::new(self.targets, shape), device);
        let mask = (self.tokens < self.rows * self.columns)
            .then(|| Tensor::from_data(TensorData::new(self.mask, shape), device));
        (inputs, targets, mask)
    }
}

/// Batches without end: epoch after epoch, each in its own order, from any position on.
///
/// The position is a number of blocks, so a run that resumes sees the very batches that it would have seen.
#[derive(Clone)]
pub(crate) struct TrainLoader {
    pub(crate) blocks: TokenBlocks,
    /// Blocks of the stream that are trained on.
    pub(crate) samples: usize,
    pub(crate) batch_size: usize,
    pub(crate) seed: u64,
    /// Blocks seen before the first batch.
    pub(crate) start: usize,
    /// Blocks seen at the end of the run.
    pub(crate) end: usize,
}

impl DataLoader<TokenBatch> for TrainLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<TokenBatch> + 'a> {
        Box::new(TrainIterator {
            loader: self,
            position: self.start,
            epoch: None,
        })
    }

    fn num_items(&self) -> usize {
        self.end - self.start
    }

    fn to_device(&self, _device: &Device) -> Arc<dyn DataLoader<TokenBatch>> {
        Arc::new(self.clone())
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<TokenBatch>> {
        Arc::new(Self {
            start: self.start + start,
            end: self.start + end,
            ..self.clone()
        })
    }
}

struct TrainIterator<'a> {
    loader: &'a TrainLoader,
    position: usize,
    epoch: Option<(usize, Vec<usize>)>,
}

impl TrainIterator<'_> {
    fn next_block(&mut self) -> Result<TokenBlock, DatasetError> {
        let loader = self.loader;
        let epoch = self.position / loader.samples;
        let order = match self.epoch.take() {
            Some((number, order)) if number == epoch => order,
            _ => epoch_order(loader.samples, loader.seed, epoch as u64),
        };
        let block = loader.blocks.get(order[self.position % loader.samples]);
        self.epoch = Some((epoch, order));
        self.position += 1;
        block
    }
}

impl Iterator for TrainIterator<'_> {
    type Item = Result<TokenBatch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let size = self.loader.batch_size.min(self.loader.end - self.position);
        if size == 0 {
            return None;
        }
        let blocks: Result<Vec<_>, _> = (0..size).map(|_| self.next_block()).collect();
        Some(blocks.map(|blocks| TokenBatch::new(&blocks)))
    }
}

impl DataLoaderIterator<TokenBatch> for TrainIterator<'_> {
    fn progress(&self) -> Progress {
        Progress::new(
            self.position - self.loader.start,
            self.loader.num_items(),
            Some("blocks".to_string()),
        )
    }
}

/// Consecutive blocks of a stream, once and in order.
#[derive(Clone)]
pub(crate) struct EvaluationLoader {
    pub(crate) blocks: TokenBlocks,
    /// Blocks before the first.
    pub(crate) start: usize,
    /// Blocks to evaluate.
    pub(crate) samples: usize,
    pub(crate) batch_size: usize,
}

impl EvaluationLoader {
    /// The batches in order.
    pub(crate) fn batches(&self) -> impl Iterator<Item = Result<TokenBatch, DatasetError>> {
        let end = self.start + self.samples;
        (self.start..end)
            .step_by(self.batch_size)
            .map(move |first| {
                let last = end.min(first + self.batch_size);
                let blocks: Result<Vec<_>, _> =
                    (first..last).map(|index| self.blocks.get(index)).collect();
                blocks.map(|blocks| TokenBatch::new(&blocks))
            })
    }
}

impl DataLoader<TokenBatch> for EvaluationLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<TokenBatch> + 'a> {
        Box::new(EvaluationIterator {
            total: self.samples,
            done: 0,
            batch_size: self.batch_size,
            batches: Box::new(self.batches()),
        })
    }

    fn num_items(&self) -> usize {
        self.samples
    }

    fn to_device(&self, _device: &Device) -> Arc<dyn DataLoader<TokenBatch>> {
        Arc::new(self.clone())
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<TokenBatch>> {
        let end = end.min(self.samples);
        let start = start.min(end);
        Arc::new(Self {
            start: self.start + start,
            samples: end - start,
            ..self.clone()
        })
    }
}

struct EvaluationIterator<'a> {
    total: usize,
    done: usize,
    batch_size: usize,
    batches: Box<dyn Iterator<Item = Result<TokenBatch, DatasetError>> + 'a>,
}

impl Iterator for EvaluationIterator<'_> {
    type Item = Result<TokenBatch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.done = self.total.min(self.done + self.batch_size);
        self.batches.next()
    }
}

impl DataLoaderIterator<TokenBatch> for EvaluationIterator<'_> {
    fn progress(&self) -> Progress {
        Progress::new(self.done, self.total, Some("blocks".to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loader(start: usize, end: usize) -> TrainLoader {
        TrainLoader {
            blocks: TokenBlocks::new((0..23).collect(), 4).unwrap(),
            samples: 6,
            batch_size: 4,
            seed: 3,
            start,
            end,
        }
    }

    #[test]
    fn pads_and_masks_the_short_block() {
        let blocks = TokenBlocks::new((0..8).collect(), 3).unwrap();
        let blocks: Vec<_> = (1..3).map(|index| blocks.get(index).unwrap()).collect();
        let batch = TokenBatch::new(&blocks);
        assert_eq!((batch.rows, batch.columns, batch.tokens()), (2, 3, 4));
        assert_eq!(batch.inputs, [3, 4, 5, 6, 0, 0]);
        assert_eq!(batch.targets, [4, 5, 6, 7, 0, 0]);
        assert_eq!(batch.mask, [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]);

        let parts = batch.split(2);
        assert_eq!(parts.len(), 2);
        assert_eq!(parts[0].inputs, [3, 4, 5]);
        assert_eq!((parts[1].tokens, parts[1].step_tokens), (1, 4));
        assert_eq!(parts[1].share_of_step(), 0.25);
    }

    #[test]
    fn a_split_keeps_every_row_once() {
        let blocks = TokenBlocks::new((0..29).collect(), 4).unwrap();
        let blocks: Vec<_> = (0..7).map(|index| blocks.get(index).unwrap()).collect();
        let batch = TokenBatch::new(&blocks);
        for parts in 1..9 {
            let split = batch.clone().split(parts);
            assert!(split.len() <= parts);
            let inputs: Vec<i32> = split.iter().flat_map(|part| part.inputs.clone()).collect();
            assert_eq!(inputs, batch.inputs);
            assert_eq!(split.iter().map(|part| part.tokens).sum::<usize>(), 28);
        }
    }

    #[test]
    fn every_epoch_visits_every_block_once() {
        let batches: Vec<_> = loader(0, 12).iter().map(Result::unwrap).collect();
        assert_eq!(batches.len(), 3);
        let mut first: Vec<i32> = batches
            .iter()
            .flat_map(|batch| {
                batch
                    .inputs
                    .chunks(batch.columns)
                    .map(|row| row[0])
                    .collect::<Vec<_>>()
            })
            .collect();
        let mut second = first.split_off(6);
        assert_ne!(first, second);
        first.sort_unstable();
        second.sort_unstable();
        assert_eq!(first, [0, 4, 8, 12, 16, 20]);
        assert_eq!(second, first);
    }

    #[test]
    fn a_later_start_continues_the_same_batches() {
        let whole: Vec<_> = loader(0, 24).iter().map(Result::unwrap).collect();
        let rest: Vec<_> = loader(8, 24).iter().map(Result::unwrap).collect();
        assert_eq!(rest[..], whole[2..]);
    }

    #[test]
    fn a_slice_of_an_evaluation_has_its_own_blocks() {
        let loader = EvaluationLoader {
            blocks: TokenBlocks::new((0..41).collect(), 4).unwrap(),
            start: 0,
            samples: 9,
            batch_size: 2,
        };
        let firsts = |loader: &dyn DataLoader<TokenBatch>| -> Vec<Vec<i32>> {
            let batches = loader.iter().map(Result::unwrap);
            batches
                .map(|batch| batch.inputs.iter().copied().step_by(4).collect())
                .collect()
        };
        assert_eq!(firsts(&loader).concat(), [0, 4, 8, 12, 16, 20, 24, 28, 32]);
        let slice = loader.slice(3, 8);
        assert_eq!(slice.num_items(), 5);
        assert_eq!(firsts(&*slice), [vec![12, 16], vec![20, 24], vec![28]]);
        let slice = slice.slice(1, 3);
        assert_eq!(firsts(&*slice), [vec![16, 20]]);
        assert_eq!(loader.slice(7, 100).num_items(), 2);
        assert_eq!(loader.slice(50, 100).num_items(), 0);
    }
}
