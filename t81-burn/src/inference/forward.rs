//! The forward pass.

use std::ops::Range;

use rayon::prelude::*;
use t81_core::dense::{AttentionScratch, KeyValues, log_sum_exp};

use super::cache::{Buffers, LlamaCache, sized};
use super::layer::{FeedForwardRows, Layer, normalize};
use super::model::LlamaInference;
use crate::models::{CacheError, CacheShape};

/// Tokens that go through the layers together at most.
const CHUNK: usize = 256;
/// Rows of a chunk that one thread takes through a step: enough to share a reading of the weights, and few enough for their
/// activations to stay in its cache.
const FEWEST_ROWS: usize = 16;
const MOST_ROWS: usize = 64;
/// Positions whose queries meet the keys together.
const ATTENTION_ROWS: usize = 16;
/// Rows whose logits are computed together: whole tiles of the product.
const HEAD_ROWS: usize = 48;

impl LlamaInference {
    /// Logits of the token after the last one of `tokens`, which follow those in `cache` and are added to it:
    /// `[vocab_size]`.
    ///
    /// # Errors
    /// [`CacheError::ContextOverflow`] if the tokens exceed the cache's context, and for a cache of another model or no
    /// token; the cache is then as it was.
    ///
    /// # Panics
    /// If the vocabulary lacks a token.
    pub fn forward_cached<'a>(
        &self,
        tokens: &[u32],
        cache: &'a mut LlamaCache,
    ) -> Result<&'a [f32], CacheError> {
        self.begin(tokens, cache)?;
        // On a thread of the pool, which the steps of the pass then wake no longer.
        rayon::scope(|_| {
            let mut last = 0;
            for chunk in tokens.chunks(CHUNK) {
                self.advance(chunk, cache);
                last = chunk.len() - 1;
            }
            let hidden = self.sizes.hidden;
            let Buffers {
                states,
                normalized,
                logits,
                ..
            } = &mut cache.buffers;
            let states = &states[last * hidden..][..hidden];
            let normalized = &mut normalized[..hidden];
            normalize(&self.sizes, states, &self.norm, normalized);
            self.multiply_head(normalized, sized(logits, self.vocab_size()));
        });
        Ok(&cache.buffers.logits[..self.vocab_size()])
    }

    /// Logits of the next token at each position: `[length, vocab_size]`.
    ///
    /// # Panics
    /// If the vocabulary lacks a token.
    pub fn forward(&self, tokens: &[u32]) -> Vec<f32> {
        let vocabulary = self.vocab_size();
        let mut logits = vec![0.0; tokens.len() * vocabulary];
        let mut rest = logits.as_mut_slice();
        self.each_head_block(tokens, 0..tokens.len(), |_, block| {
            let (output, later) = std::mem::take(&mut rest).split_at_mut(block.len());
            output.copy_from_slice(block);
            rest = later;
        });
        logits
    }

    /// Negative log-likelihoods in nats of the tokens at the positions `scored`, each given all tokens before it.
    ///
    /// # Panics
    /// If the vocabulary lacks a token or `scored` holds 0 or a position beyond the end.
    pub fn negative_log_likelihoods(&self, tokens: &[u32], scored: Range<usize>) -> Vec<f64> {
        assert!(
            scored.start > 0 && scored.end <= tokens.len(),
            "positions {scored:?} of {} tokens, the first of which nothing predicts",
            tokens.len()
        );
        let vocabulary = self.vocab_size();
        let mut likelihoods = Vec::with_capacity(scored.len());
        let given = &tokens[..scored.end - 1];
        self.each_head_block(given, scored.start - 1..scored.end - 1, |first, logits| {
            let rows = logits.par_chunks_exact_mut(vocabulary).enumerate();
            let losses = rows.map(|(row, logits)| {
                let target = f64::from(logits[tokens[first + row + 1] as usize]);
                log_sum_exp(logits) - target
            });
            likelihoods.par_extend(losses);
        });
        likelihoods
    }

    /// Calls `receive` with the first position of some and their logits, until it has had all `positions`.
    fn each_head_block(
        &self,
        tokens: &[u32],
        positions: Range<usize>,
        mut receive: impl FnMut(usize, &mut [f32]) + Send,
    ) {
        if tokens.is_empty() {
            return;
        }
        let (hidden, vocabulary) = (self.sizes.hidden, self.vocab_size());
        let mut cache = LlamaCache::new(tokens.len());
        self.begin(tokens, &mut cache)
            .expect("a new cache for these tokens takes them");
        rayon::scope(|_| {
            for chunk in tokens.chunks(CHUNK) {
                let start = cache.len();
                self.advance(chunk, &mut cache);
                let asked = positions.start.max(start)..positions.end.min(start + chunk.len());
                let mut position = asked.start;
                while position < asked.end {
                    let rows = HEAD_ROWS.min(asked.end - position);
                    let buffers = &mut cache.buffers;
                    let states = &buffers.states[(position - start) * hidden..][..rows * hidden];
                    let normalized = sized(&mut buffers.normalized, rows * hidden);
                    normalize(&self.sizes, states, &self.norm, normalized);
                    let logits = sized(&mut buffers.logits, rows * vocabulary);
                    self.multiply_head(normalized, logits);
                    receive(position, logits);
                    position += rows;
                }
            }
        });
    }

    fn multiply_head(&self, states: &[f32], logits: &mut [f32]) {
        self.head()
            .matmul(states, logits)
            .expect("the buffers have the sizes of the head");
    }

    fn begin(&self, tokens: &[u32], cache: &mut LlamaCache) -> Result<(), CacheError> {
        let sizes = &self.sizes;
        let shape = CacheShape {
            layers: self.layers.len(),
            key_value_heads: sizes.key_value_heads,
            head_dim: sizes.width,
        };
        cache.begin(tokens.len(), shape)?;
        let unknown = tokens
            .iter()
            .find(|token| **token as usize >= self.vocab_size());
        assert!(
            unknown.is_none(),
            "token {unknown:?} is beyond the vocabulary of {}",
            self.vocab_size()
        );
        Ok(())
    }

    /// Takes tokens through the layers; their states are in the buffers then.
    fn advance(&self, tokens: &[u32], cache: &mut LlamaCache) {
        let (sizes, rows, start) = (&self.sizes, tokens.len(), cache.len());
        let buffers = &mut cache.buffers;
        for (buffer, features) in [
            (&mut buffers.states, sizes.hidden),
            (&mut buffers.normalized, sizes.hidden),
            (&mut buffers.projected, sizes.projected()),
            (&mut buffers.attended, sizes.queries()),
            (&mut buffers.gate_up, 2 * sizes.inner),
            (&mut buffers.inner, sizes.inner),
            (&mut buffers.update, sizes.hidden),
        ] {
            sized(buffer, rows * features);
        }
        buffers
            .attention
            .resize_with(sizes.key_value_heads, AttentionScratch::default);
        buffers.rotation.set(&self.frequencies, start, rows);
        let states = buffers.states[..rows * sizes.hidden].chunks_exact_mut(sizes.hidden);
        for (token, state) in tokens.iter().zip(states) {
            self.embed(*token, state);
        }
        for (layer, heads) in self.layers.iter().zip(&mut cache.heads) {
            self.project(layer, rows, buffers);
            self.remember(layer, rows, buffers, heads);
            self.attend(layer, rows, start, buffers, heads);
            self.feed_forward(layer, rows, buffers);
        }
        cache.advance(rows);
    }

    fn project(&self, layer: &Layer, rows: usize, buffers: &mut Buffers) {
        let sizes = &self.sizes;
        let step = rows_at_once(rows);
        let (hidden, projected) = (sizes.hidden, sizes.projected());
        let rotation = &buffers.rotation;
        buffers.states[..rows * hidden]
            .par_chunks(step * hidden)
            .zip(buffers.normalized[..rows * hidden].par_chunks_mut(step * hidden))
            .zip(buffers.projected[..rows * projected].par_chunks_mut(step * projected))
            .enumerate()
            .for_each(|(index, ((states, normalized), projected))| {
                layer.project(sizes, rotation, index * step, states, normalized, projected);
            });
    }

    fn remember(&self, layer: &Layer, rows: usize, buffers: &Buffers, heads: &mut [KeyValues]) {
        let projected = &buffers.projected[..rows * self.sizes.projected()];
        let remember = |(index, head)| layer.remember(&self.sizes, index, projected, head);
        match rows {
            1 => heads.iter_mut().enumerate().for_each(remember),
            _ => heads.par_iter_mut().enumerate().for_each(remember),
        }
    }

    fn attend(
        &self,
        layer: &Layer,
        rows: usize,
        start: usize,
        buffers: &mut Buffers,
        heads: &[KeyValues],
    ) {
        let sizes = &self.sizes;
        let (queries, group) = (sizes.queries(), sizes.group());
        let projected = &buffers.projected[..rows * sizes.projected()];
        let attended = &mut buffers.attended[..rows * queries];
        if rows == 1 {
            let one = |(index, (output, scratch)): (usize, (&mut [f32], &mut AttentionScratch))| {
                let head = (index, &heads[index]);
                layer.attend(sizes, head, start, projected, scratch, output);
            };
            // Below some thousand products a thread is not worth waking.
            let products = 2 * queries * (start + 1);
            let outputs = attended.chunks_exact_mut(group);
            let scratch = &mut buffers.attention;
            if products < PARALLEL_ATTENTION {
                outputs.zip(scratch).enumerate().for_each(one);
            } else {
                attended
                    .par_chunks_exact_mut(group)
                    .zip(scratch)
                    .enumerate()
                    .for_each(one);
            }
            return;
        }
        attended
            .par_chunks_mut(ATTENTION_ROWS * queries)
            .zip(projected.par_chunks(ATTENTION_ROWS * sizes.projected()))
            .enumerate()
            .for_each_init(
                || (AttentionScratch::default(), Vec::new()),
                |(scratch, columns), (block, (attended, projected))| {
                    let start = start + block * ATTENTION_ROWS;
                    let rows = attended.len() / queries;
                    for (index, head) in heads.iter().enumerate() {
                        let (head, columns) = ((index, head), sized(columns, rows * group));
                        layer.attend(sizes, head, start, projected, scratch, columns);
                        for (attended, columns) in attended
                            .chunks_exact_mut(queries)
                            .zip(columns.chunks_exact(group))
                        {
                            attended[index * group..][..group].copy_from_slice(columns);
                        }
                    }
                },
            );
    }

    fn feed_forward(&self, layer: &Layer, rows: usize, buffers: &mut Buffers) {
        let sizes = &self.sizes;
        let step = rows_at_once(rows);
        let (hidden, queries, inner) = (sizes.hidden, sizes.queries(), sizes.inner);
        buffers.attended[..rows * queries]
            .par_chunks(step * queries)
            .zip(buffers.states[..rows * hidden].par_chunks_mut(step * hidden))
            .zip(buffers.normalized[..rows * hidden].par_chunks_mut(step * hidden))
            .zip(buffers.gate_up[..2 * rows * inner].par_chunks_mut(2 * step * inner))
            .zip(buffers.inner[..rows * inner].par_chunks_mut(step * inner))
            .zip(buffers.update[..rows * hidden].par_chunks_mut(step * hidden))
            .for_each(
                |(((((attended, states), normalized), gate_up), inner), update)| {
                    layer.feed_forward(
                        sizes,
                        FeedForwardRows {
                            attended,
                            states,
                            normalized,
                            gate_up,
                            inner,
                            update,
                        },
                    );
                },
            );
    }
}

/// Products of queries with keys and of their weights with values from which the heads of one token are worth sharing out.
const PARALLEL_ATTENTION: usize = 1 << 18;

/// Rows of a chunk of `rows` that go through a step together; each thread gets some if there are enough.
fn rows_at_once(rows: usize) -> usize {
    let threads = rayon::current_num_threads();
    let parts = (rows / FEWEST_ROWS)
        .min(threads)
        .max(rows.div_ceil(MOST_ROWS))
        .max(1);
    rows.div_ceil(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_shared_out_evenly() {
        let pool = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build().unwrap()
        };
        let rows = |threads, rows| pool(threads).install(|| rows_at_once(rows));
        assert_eq!(
            (rows(2, 1), rows(2, 31), rows(2, 32), rows(2, 200)),
            (1, 31, 16, 50)
        );
        assert_eq!((rows(1, 64), rows(1, 65), rows(8, 128)), (64, 33, 16));
    }
}
