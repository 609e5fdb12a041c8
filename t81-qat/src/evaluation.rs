//! Cross-entropy and perplexity of a decoder.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use burn::module::Module;
use burn::tensor::Device;
use burn::train::InferenceStep;
use t81_datasets::TokenBlock;

use crate::error::QatError;
use crate::training::{EvaluationLoader, QatModel, StepOutput, TokenBatch};

/// Mean cross-entropy over some targets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// Mean negative log-likelihood in nats.
    pub loss: f64,
    /// Targets that were scored.
    pub tokens: usize,
}

impl Evaluation {
    /// The mean of losses that add up to `sum`.
    ///
    /// # Errors
    /// If there is no target to take the mean of.
    pub(crate) fn new(sum: f64, tokens: usize) -> Result<Self, QatError> {
        if tokens == 0 {
            return Err(failure(
                "no token was scored; pass more text, or a larger --block-size",
            ));
        }
        Ok(Self {
            loss: sum / tokens as f64,
            tokens,
        })
    }

    /// `exp(loss)`.
    pub fn perplexity(&self) -> f64 {
        self.loss.exp()
    }
}

/// The step outputs of all batches of `loader`, in order, computed by one worker per device (which may be the same
/// device several times).
pub(crate) fn step_outputs(
    model: &QatModel,
    loader: &EvaluationLoader,
    devices: &[Device],
) -> Result<Vec<StepOutput>, QatError> {
    let batches: Vec<TokenBatch> = loader
        .batches()
        .collect::<Result<_, _>>()
        .map_err(|error| failure(&error.to_string()))?;
    in_parallel(batches, model, devices)
}

/// Mean cross-entropy of `model` on all batches of `loader`.
pub(crate) fn evaluate(
    model: &QatModel,
    loader: &EvaluationLoader,
    devices: &[Device],
) -> Result<Evaluation, QatError> {
    mean(&step_outputs(model, loader, devices)?)
}

/// The mean over the outputs of several batches.
///
/// # Errors
/// If they have no target.
pub(crate) fn mean(outputs: &[StepOutput]) -> Result<Evaluation, QatError> {
    let tokens = outputs.iter().map(|output| output.tokens).sum();
    let sum: f64 = outputs
        .iter()
        .map(|output| {
            let likelihood = output.negative_log_likelihood.clone();
            likelihood.into_data().iter::<f64>().sum::<f64>()
        })
        .sum();
    Evaluation::new(sum, tokens)
}

/// Mean cross-entropy of `windows` by the rule of llama-perplexity: of each window only the second half is scored, so
/// that every scored token is predicted from at least half a window.
pub(crate) fn evaluate_windows(
    model: &QatModel,
    windows: &[Vec<u32>],
    devices: &[Device],
) -> Result<Evaluation, QatError> {
    let batches = windows
        .iter()
        .map(|window| {
            let block = TokenBlock {
                tokens: window.clone(),
            };
            // The target of position i is token i + 1.
            let first = t81_datasets::scored_positions(window.len())
                .start
                .saturating_sub(1);
            TokenBatch::new(&[block]).scored_from(first)
        })
        .collect();
    mean(&in_parallel(batches, model, devices)?)
}

fn in_parallel(
    batches: Vec<TokenBatch>,
    model: &QatModel,
    devices: &[Device],
) -> Result<Vec<StepOutput>, QatError> {
    let next = AtomicUsize::new(0);
    let work = |device: &Device| {
        let model = model.clone().fork(device);
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(batch) = batches.get(index) else {
                return done;
            };
            done.push((index, InferenceStep::step(&model, batch.clone())));
        }
    };
    let parts = thread::scope(|scope| {
        let workers: Vec<_> = devices
            .iter()
            .map(|device| scope.spawn(|| work(device)))
            .collect();
        workers
            .into_iter()
            .map(|worker| {
                worker
                    .join()
                    .map_err(|_| failure("an evaluation worker panicked"))
            })
            .collect::<Result<Vec<_>, _>>()
    })?;
    let mut outputs: Vec<_> = parts.into_iter().flatten().collect();
    outputs.sort_by_key(|(index, _)| *index);
    Ok(outputs.into_iter().map(|(_, output)| output).collect())
}

fn failure(message: &str) -> QatError {
    QatError::Evaluation {
        message: message.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_evaluation_that_scores_nothing_is_an_error() {
        let error = mean(&[]).unwrap_err();
        assert!(error.to_string().contains("--block-size"), "{error}");
        let evaluation = Evaluation::new(6.0, 4).unwrap();
        assert_eq!((evaluation.loss, evaluation.tokens), (1.5, 4));
    }
}
