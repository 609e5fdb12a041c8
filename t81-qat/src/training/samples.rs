//! What the model in training writes: greedy continuations of fixed prompts.

use std::ops::ControlFlow;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use t81_burn::models::Decoder;
use tokenizers::Tokenizer;

use crate::error::QatError;
use crate::generate::{
    Continuation, Limits, Sampler, Sampling, TextBounds, TextStream, encode_prompt,
};
use crate::inference::Sequence;
use crate::source::Source;

/// A continuation of a prompt during training.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleLine {
    /// Optimizer steps done.
    pub step: usize,
    /// The prompt.
    pub sample_prompt: String,
    /// What the exact ternary weights make of it, each token the most probable one.
    pub sample: String,
}

/// `--sample-prompt` and `--sample-tokens`.
#[derive(Debug)]
pub(crate) struct SamplePrompts {
    prompts: Vec<(String, Vec<u32>)>,
    max_new_tokens: usize,
    tokenizer: Tokenizer,
    bounds: TextBounds,
    context_length: usize,
}

impl SamplePrompts {
    /// Prompts for the model of `source`, each to be continued by `max_new_tokens` tokens.
    pub(crate) fn new(
        texts: &[String],
        max_new_tokens: usize,
        source: &Source,
    ) -> Result<Self, QatError> {
        let bounds = source.text_bounds()?;
        let context_length = source.config.context_length();
        let tokens = |text: &String| {
            let tokens = encode_prompt(&source.tokenizer, text, bounds.first)?;
            if tokens.len() >= context_length {
                return Err(QatError::SamplePrompt {
                    tokens: tokens.len(),
                    context_length,
                });
            }
            Ok((text.clone(), tokens))
        };
        Ok(Self {
            prompts: texts.iter().map(tokens).collect::<Result<_, _>>()?,
            max_new_tokens,
            tokenizer: source.tokenizer.clone(),
            context_length,
            bounds,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.prompts.is_empty()
    }

    /// The continuations of all prompts by `decoder` on `device`.
    pub(crate) fn write(
        &self,
        step: usize,
        decoder: &Decoder,
        device: &Device,
    ) -> Result<Vec<SampleLine>, QatError> {
        let limits = Limits {
            max_new_tokens: self.max_new_tokens,
            context_length: self.context_length,
            stop_tokens: &self.bounds.stop,
        };
        let line = |(text, prompt): &(String, Vec<u32>)| {
            let mut sampler = Sampler::new(Sampling::GREEDY);
            let mut stream = TextStream::new(&self.tokenizer, prompt);
            let mut sample = String::new();
            let sequence = Sequence::of_decoder(decoder, device, self.context_length);
            Continuation::generate(sequence, prompt, limits, &mut sampler, |token| {
                sample.push_str(&stream.push(token)?);
                Ok(ControlFlow::Continue(()))
            })?;
            sample.push_str(&stream.finish()?);
            Ok(SampleLine {
                step,
                sample_prompt: text.clone(),
                sample,
            })
        };
        self.prompts.iter().map(line).collect()
    }
}
