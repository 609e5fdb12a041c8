//! What a model for inference remembers, and where it computes.

use t81_core::dense::{AttentionScratch, KeyValues};

use super::rotation::Rotation;
use crate::models::{CacheError, CacheShape};

/// Keys and values of the tokens of one sequence that a [`LlamaInference`](super::LlamaInference) has seen, and its buffers.
///
/// Belongs to the model that it was first used with; a model of another shape refuses it.
#[derive(Clone, Debug)]
pub struct LlamaCache {
    /// `[layers][key_value_heads]`
    pub(super) heads: Vec<Vec<KeyValues>>,
    pub(super) buffers: Buffers,
    shape: CacheShape,
    length: usize,
    context_length: usize,
}

/// Buffers of a forward pass, each `[tokens, ...]`.
#[derive(Clone, Debug, Default)]
pub(super) struct Buffers {
    pub(super) states: Vec<f32>,
    pub(super) normalized: Vec<f32>,
    /// Queries, keys and values.
    pub(super) projected: Vec<f32>,
    pub(super) attended: Vec<f32>,
    pub(super) gate_up: Vec<f32>,
    pub(super) inner: Vec<f32>,
    pub(super) update: Vec<f32>,
    pub(super) logits: Vec<f32>,
    pub(super) rotation: Rotation,
    /// Of each key and value head.
    pub(super) attention: Vec<AttentionScratch>,
}

impl LlamaCache {
    /// An empty cache for at most `context_length` tokens.
    pub fn new(context_length: usize) -> Self {
        Self {
            heads: Vec::new(),
            buffers: Buffers::default(),
            shape: CacheShape::default(),
            length: 0,
            context_length,
        }
    }

    /// Tokens seen.
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
        self.heads.clear();
        self.length = 0;
    }

    /// Makes room for `added` tokens in a model of `shape`.
    pub(super) fn begin(&mut self, added: usize, shape: CacheShape) -> Result<(), CacheError> {
        if added == 0 {
            return Err(CacheError::Empty);
        }
        if added > self.context_length.saturating_sub(self.length) {
            return Err(CacheError::ContextOverflow {
                length: self.length,
                added,
                context_length: self.context_length,
            });
        }
        if self.is_empty() {
            self.shape = shape;
            let layer = vec![KeyValues::new(shape.head_dim); shape.key_value_heads];
            self.heads = vec![layer; shape.layers];
        }
        if self.shape != shape {
            return Err(CacheError::Shape {
                expected: self.shape,
                found: shape,
            });
        }
        Ok(())
    }

    /// Counts tokens that every layer has seen.
    pub(super) fn advance(&mut self, added: usize) {
        self.length += added;
    }
}

/// A buffer of `length` floats.
pub(super) fn sized(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    if buffer.len() < length {
        buffer.resize(length, 0.0);
    }
    &mut buffer[..length]
}
