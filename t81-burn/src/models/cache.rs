//! What a decoder remembers of the tokens it has seen, so that the next ones need no second pass over them.

use std::fmt;

use burn::tensor::{Tensor, s};
use thiserror::Error;

/// Positions that a buffer grows by at least.
const SHORTEST_GROWTH: usize = 64;

/// Keys and values of the tokens that a decoder has seen, layer by layer, for
/// [`Decoder::forward_cached`](super::Decoder::forward_cached).
///
/// Buffers grow by half of their length at a time and are written in place, so a token costs no copy of those before it. A
/// layer with a sliding window forgets what lies outside of it.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use t81_burn::models::DecoderConfig;
/// use t81_burn::models::llama::LlamaConfig;
///
/// let device = Device::default();
/// let config = DecoderConfig::Llama(LlamaConfig::new(97, 64, 128, 2, 4));
/// let model = config.init(&device);
/// let mut cache = config.cache();
/// let prompt = Tensor::<2, Int>::from_data([[1, 2, 3]], &device);
/// let logits = model.forward_cached(prompt, &mut cache)?;
/// let next = logits.argmax(1);
/// let logits = model.forward_cached(next, &mut cache)?;
/// assert_eq!((cache.len(), logits.dims()), (4, [1, 97]));
/// # Ok::<(), t81_burn::models::CacheError>(())
/// ```
#[derive(Clone, Debug)]
pub struct DecoderCache {
    layers: Vec<LayerCache>,
    shape: CacheShape,
    batch: usize,
    length: usize,
    context_length: usize,
}

/// Tokens that a decoder cannot take with its cache. The cache stays as it was.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum CacheError {
    /// The sequence would be longer than the context.
    #[error(
        "{added} tokens after {length} exceed the context of {context_length} tokens; start a new cache with fewer tokens"
    )]
    ContextOverflow {
        /// Tokens in the cache.
        length: usize,
        /// Tokens to add.
        added: usize,
        /// Tokens that fit.
        context_length: usize,
    },
    /// There is no token to compute the logits of.
    #[error("no token to continue with; pass at least one")]
    Empty,
    /// The cache holds other sequences.
    #[error("the cache holds {expected} sequences, the tokens are of {found}; start a new cache")]
    Batch {
        /// Sequences in the cache.
        expected: usize,
        /// Sequences of the tokens.
        found: usize,
    },
    /// The cache was filled by a model of another shape.
    #[error("the cache belongs to a model of {expected}, this one has {found}; start a new cache")]
    Shape {
        /// What the cache holds.
        expected: CacheShape,
        /// What the model needs.
        found: CacheShape,
    },
}

/// What a model keeps of each token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheShape {
    /// Number of layers.
    pub layers: usize,
    /// Number of key and value heads of each layer.
    pub key_value_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
}

impl fmt::Display for CacheShape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            layers,
            key_value_heads,
            head_dim,
        } = self;
        write!(
            formatter,
            "{layers} layers of {key_value_heads} key and value heads {head_dim} wide"
        )
    }
}

impl DecoderCache {
    /// An empty cache for at most `context_length` tokens.
    pub fn new(context_length: usize) -> Self {
        Self {
            layers: Vec::new(),
            shape: CacheShape::default(),
            batch: 0,
            length: 0,
            context_length,
        }
    }

    /// Tokens seen, of each sequence.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether no token was seen.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Tokens that fit at most, those seen included.
    pub fn context_length(&self) -> usize {
        self.context_length
    }

    /// Forgets all tokens.
    pub fn clear(&mut self) {
        *self = Self::new(self.context_length);
    }

    /// Makes room for tokens `[batch, added]` in a model of `shape` that takes at most `positions` tokens.
    pub(super) fn begin(
        &mut self,
        [batch, added]: [usize; 2],
        shape: CacheShape,
        positions: Option<usize>,
    ) -> Result<(), CacheError> {
        let context_length = positions.map_or(self.context_length, |positions| {
            positions.min(self.context_length)
        });
        if batch == 0 || added == 0 {
            return Err(CacheError::Empty);
        }
        if added > context_length.saturating_sub(self.length) {
            return Err(CacheError::ContextOverflow {
                length: self.length,
                added,
                context_length,
            });
        }
        if self.is_empty() {
            self.batch = batch;
            self.shape = shape;
            self.layers = vec![LayerCache::default(); shape.layers];
        }
        if self.batch != batch {
            return Err(CacheError::Batch {
                expected: self.batch,
                found: batch,
            });
        }
        if self.shape != shape {
            return Err(CacheError::Shape {
                expected: self.shape,
                found: shape,
            });
        }
        Ok(())
    }

    /// The layers, first to last.
    pub(super) fn layers(&mut self) -> &mut [LayerCache] {
        &mut self.layers
    }

    /// Counts tokens that every layer has seen.
    pub(super) fn advance(&mut self, added: usize) {
        self.length += added;
    }
}

/// Keys and values of one layer.
#[derive(Clone, Debug, Default)]
pub(super) struct LayerCache {
    /// `[batch, key_value_heads, capacity, head_dim]` each.
    buffers: Option<(Tensor<4>, Tensor<4>)>,
    /// Position of the first key in the buffers.
    first: usize,
    /// Keys in the buffers.
    kept: usize,
}

/// Keys and values of consecutive positions.
pub(super) struct CachedKeys {
    pub(super) keys: Tensor<4>,
    pub(super) values: Tensor<4>,
    /// Position of the first of them.
    pub(super) first: usize,
}

impl LayerCache {
    /// Adds keys and values `[batch, key_value_heads, length, head_dim]` and gives those that the new positions may look at: all, with a
    /// `window` at least the last `window` before each.
    pub(super) fn append(
        &mut self,
        keys: Tensor<4>,
        values: Tensor<4>,
        window: Option<usize>,
    ) -> CachedKeys {
        let added = keys.dims()[2];
        let (key_buffer, value_buffer) = self.room(&keys, &values, window);
        let (start, end) = (self.kept, self.kept + added);
        let place = s![.., .., start..end, ..];
        let key_buffer = key_buffer.slice_assign(place, keys);
        let value_buffer = value_buffer.slice_assign(place, values);
        self.kept = end;
        let seen = CachedKeys {
            keys: key_buffer.clone().narrow(2, 0, end),
            values: value_buffer.clone().narrow(2, 0, end),
            first: self.first,
        };
        self.buffers = Some((key_buffer, value_buffer));
        seen
    }

    /// Takes the buffers out, so that they are written in place, with room for `keys` and `values`.
    fn room(
        &mut self,
        keys: &Tensor<4>,
        values: &Tensor<4>,
        window: Option<usize>,
    ) -> (Tensor<4>, Tensor<4>) {
        let added = keys.dims()[2];
        let old = self.buffers.take();
        if let Some((key_buffer, value_buffer)) = old {
            if self.kept + added <= key_buffer.dims()[2] {
                return (key_buffer, value_buffer);
            }
            // The first new position sees itself and one less than a window before it.
            let still_seen = window.map_or(self.kept, |window| self.kept.min(window - 1));
            let forgotten = self.kept - still_seen;
            let capacity = capacity(still_seen + added);
            let moved = |old: Tensor<4>, like: &Tensor<4>| {
                let new = buffer(like, capacity);
                match still_seen {
                    0 => new,
                    _ => new.slice_assign(
                        s![.., .., 0..still_seen, ..],
                        old.narrow(2, forgotten, still_seen),
                    ),
                }
            };
            self.first += forgotten;
            self.kept = still_seen;
            return (moved(key_buffer, keys), moved(value_buffer, values));
        }
        let capacity = capacity(added);
        (buffer(keys, capacity), buffer(values, capacity))
    }
}

/// An empty buffer for `capacity` positions of heads as those of `like`.
fn buffer(like: &Tensor<4>, capacity: usize) -> Tensor<4> {
    let [batch, heads, _, width] = like.dims();
    Tensor::zeros(
        [batch, heads, capacity, width],
        (&like.device(), like.dtype()),
    )
}

/// Positions to make room for when `needed` are needed now.
fn capacity(needed: usize) -> usize {
    needed + (needed / 2).max(SHORTEST_GROWTH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    /// A key at each of `positions` that is its position.
    fn keys(positions: std::ops::Range<usize>) -> Tensor<4> {
        let values: Vec<f32> = positions.clone().map(|position| position as f32).collect();
        Tensor::<1>::from_data(values.as_slice(), &Device::default()).reshape([
            1,
            1,
            positions.len(),
            1,
        ])
    }

    fn values(seen: Tensor<4>) -> Vec<f32> {
        seen.into_data().try_into_vec().unwrap()
    }

    #[test]
    fn all_keys_are_seen_in_order() {
        let mut layer = LayerCache::default();
        let mut end = 0;
        for added in [3, 1, 100, 1, 200, 1] {
            let seen = layer.append(keys(end..end + added), keys(end..end + added), None);
            end += added;
            assert_eq!(seen.first, 0);
            let expected: Vec<f32> = (0..end).map(|position| position as f32).collect();
            assert_eq!(values(seen.keys), expected);
            assert_eq!(values(seen.values), expected);
        }
    }

    #[test]
    fn a_window_bounds_the_buffers() {
        let mut layer = LayerCache::default();
        for position in 0..1000 {
            let seen = layer.append(
                keys(position..position + 1),
                keys(position..position + 1),
                Some(8),
            );
            let expected: Vec<f32> = (seen.first..=position).map(|key| key as f32).collect();
            assert!(seen.first <= (position + 1).saturating_sub(8));
            assert_eq!(values(seen.keys), expected);
        }
        let (buffer, _) = layer.buffers.unwrap();
        assert!(buffer.dims()[2] <= 8 + SHORTEST_GROWTH);
    }
}
