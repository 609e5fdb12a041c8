//! A short training run with the schedules of threshold and lambda.

use std::fmt;
use std::fs;

use clap::Parser;
use serde::Serialize;

use crate::cli::Cli;
use crate::command::Run;
use crate::error::QatError;
use crate::metrics_log::MetricsLog;
use crate::run::train;

/// Evaluations of the run at least, if it has as many steps.
const EVALUATIONS: usize = 5;

/// How training went.
#[derive(Debug, Serialize)]
pub(super) struct Convergence {
    model: &'static str,
    dataset: &'static str,
    seed: u64,
    steps: usize,
    tokens: u64,
    /// Cross-entropy in nats of the first and the last step, by the weights that the schedules made.
    first_loss: f64,
    last_loss: f64,
    /// Cross-entropy in nats of the first and the last evaluation, by the exact ternary weights.
    first_eval_loss: f64,
    last_eval_loss: f64,
    tokens_per_second: f64,
    evaluations: Vec<Evaluated>,
}

/// An evaluation and where the schedules stood in the step before it.
#[derive(Debug, Serialize)]
struct Evaluated {
    step: usize,
    eval_loss: f64,
    eval_perplexity: f64,
    threshold: f32,
    lambda: f32,
}

/// Trains `tiny` on generated stories for `steps`, the threshold and lambda warming up over the first half. None if the user
/// stopped it.
pub(super) fn measure(steps: usize) -> Result<Option<Convergence>, QatError> {
    let scratch = tempfile::tempdir().map_err(QatError::file("write to", std::env::temp_dir()))?;
    let run = scratch.path().join("run");
    let (steps_text, half) = (steps.to_string(), (steps / 2).to_string());
    let eval_steps = (steps / EVALUATIONS).max(1).to_string();
    let flags = [
        ["--dataset-name", "stories"],
        ["--max-steps", &steps_text],
        ["--eval-steps", &eval_steps],
        ["--save-steps", &steps_text],
        ["--logging-steps", "1"],
        ["--block-size", "64"],
        ["--max-eval-samples", "16"],
        ["--ternary-warmup-steps", &half],
        ["--lambda-warmup-steps", &half],
        ["--device", "cpu"],
        ["--seed", "42"],
    ];
    let mut line = vec!["t81-qat", "tiny", "--no-token-cache"];
    line.extend(flags.iter().flatten());
    let directory = run.to_string_lossy();
    line.extend(["--output-dir", &directory]);
    let cli = Cli::try_parse_from(line).map_err(unfinished)?;
    let arguments = cli.train.ok_or_else(|| unfinished("nothing to train"))?;
    if train(&arguments)? == Run::Interrupted {
        return Ok(None);
    }
    let path = run.join("metrics.jsonl");
    let bytes = fs::read(&path).map_err(QatError::file("read", &path))?;
    summarize(&MetricsLog::parse(&bytes), arguments.seed).map(Some)
}

fn summarize(log: &MetricsLog, seed: u64) -> Result<Convergence, QatError> {
    let (Some(first), Some(last)) = (log.steps.first(), log.steps.last()) else {
        return Err(unfinished("no step was logged"));
    };
    let evaluations: Vec<Evaluated> = log
        .evaluations
        .iter()
        .filter_map(|line| {
            let step = log.steps.iter().find(|step| step.step == line.step)?;
            Some(Evaluated {
                step: line.step,
                eval_loss: line.eval_loss,
                eval_perplexity: line.eval_loss.exp(),
                threshold: step.threshold,
                lambda: step.blend,
            })
        })
        .collect();
    let (Some(first_eval), Some(last_eval)) = (evaluations.first(), evaluations.last()) else {
        return Err(unfinished("no evaluation was logged"));
    };
    Ok(Convergence {
        model: "tiny",
        dataset: "stories",
        seed,
        steps: last.step,
        tokens: last.tokens,
        first_loss: first.loss,
        last_loss: last.loss,
        first_eval_loss: first_eval.eval_loss,
        last_eval_loss: last_eval.eval_loss,
        tokens_per_second: last.tokens as f64 / last.seconds.max(1e-9),
        evaluations,
    })
}

fn unfinished(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> QatError {
    QatError::benchmark("the training run")(error.into())
}

impl fmt::Display for Convergence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "training, {} on {}: loss {:.4} after step 1, {:.4} after step {}; {:.0} tokens/s",
            self.model,
            self.dataset,
            self.first_loss,
            self.last_loss,
            self.steps,
            self.tokens_per_second
        )
    }
}
