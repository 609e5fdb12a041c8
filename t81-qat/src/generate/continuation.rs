//! Token after token, by a decoder with a cache.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use burn::tensor::{Device, Int, Tensor, TensorData};
use t81_burn::models::{CacheError, Decoder, DecoderCache};

use super::sampler::Sampler;
use crate::error::QatError;

/// Tokens of a prompt that are computed at once.
const PROMPT_CHUNK: usize = 512;

/// Where a continuation ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits<'a> {
    /// Tokens to generate at most.
    pub(crate) max_new_tokens: usize,
    /// Tokens of the model's context, prompt included.
    pub(crate) context_length: usize,
    /// Tokens that end a text.
    pub(crate) stop_tokens: &'a [u32],
}

/// How a continuation went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Continuation {
    /// Tokens of the prompt, and the time until the first token was known.
    pub(crate) prompt_tokens: usize,
    pub(crate) prompt_time: Duration,
    /// Tokens generated, one that ends the text included, and the time of all but the first.
    pub(crate) tokens: usize,
    pub(crate) time: Duration,
    /// Whether it ended at the end of the context.
    pub(crate) context_is_full: bool,
}

impl Continuation {
    /// Continues `prompt` by `decoder` on `device`, giving each token to `receive` as soon as it is known, until a limit or
    /// until `receive` breaks. A token that ends the text is not given.
    pub(crate) fn generate(
        decoder: &Decoder,
        device: &Device,
        prompt: &[u32],
        limits: Limits<'_>,
        sampler: &mut Sampler,
        mut receive: impl FnMut(u32) -> Result<ControlFlow<()>, QatError>,
    ) -> Result<Self, QatError> {
        let mut cache = DecoderCache::new(limits.context_length);
        if prompt.len() > limits.context_length {
            // Before anything is computed.
            return Err(QatError::Prompt(CacheError::ContextOverflow {
                length: 0,
                added: prompt.len(),
                context_length: limits.context_length,
            }));
        }
        let started = Instant::now();
        let mut logits = None;
        for chunk in prompt.chunks(PROMPT_CHUNK) {
            logits = Some(advance(decoder, device, chunk, &mut cache)?);
        }
        let mut logits = logits.ok_or(QatError::EmptyPrompt)?;
        let mut done = Self {
            prompt_tokens: prompt.len(),
            prompt_time: started.elapsed(),
            tokens: 0,
            time: Duration::ZERO,
            context_is_full: false,
        };
        let started = Instant::now();
        let mut seen = prompt.to_vec();
        while done.tokens < limits.max_new_tokens {
            let token = sampler
                .next(logits, &seen)
                .ok_or(QatError::NonFiniteLogits {
                    position: seen.len(),
                })?;
            seen.push(token);
            done.tokens += 1;
            if limits.stop_tokens.contains(&token) || receive(token)?.is_break() {
                break;
            }
            if done.tokens == limits.max_new_tokens {
                break;
            }
            if cache.len() == limits.context_length {
                done.context_is_full = true;
                break;
            }
            logits = advance(decoder, device, &[token], &mut cache)?;
        }
        done.time = started.elapsed();
        Ok(done)
    }
}

/// The logits after `tokens`, which follow those of the cache.
fn advance(
    decoder: &Decoder,
    device: &Device,
    tokens: &[u32],
    cache: &mut DecoderCache,
) -> Result<Vec<f32>, QatError> {
    let ids: Vec<i32> = tokens.iter().map(|&id| id as i32).collect();
    let shape = [1, ids.len()];
    let tokens = Tensor::<2, Int>::from_data(TensorData::new(ids, shape), device);
    let logits = decoder
        .forward_cached(tokens, cache)
        .map_err(QatError::Prompt)?;
    Ok(logits.into_data().iter::<f32>().collect())
}
