//! Token after token.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use t81_burn::models::CacheError;

use super::sampler::Sampler;
use crate::error::QatError;
use crate::inference::Sequence;

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
    /// Continues `prompt` in an empty `sequence`, giving each token to `receive` as soon as it is known, until a limit or
    /// until `receive` breaks. A token that ends the text is not given.
    pub(crate) fn generate(
        mut sequence: Sequence<'_>,
        prompt: &[u32],
        limits: Limits<'_>,
        sampler: &mut Sampler,
        mut receive: impl FnMut(u32) -> Result<ControlFlow<()>, QatError>,
    ) -> Result<Self, QatError> {
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
            logits = Some(sequence.advance(chunk).map_err(QatError::Prompt)?);
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
            if sequence.len() == limits.context_length {
                done.context_is_full = true;
                break;
            }
            logits = sequence.advance(&[token]).map_err(QatError::Prompt)?;
        }
        done.time = started.elapsed();
        Ok(done)
    }
}
