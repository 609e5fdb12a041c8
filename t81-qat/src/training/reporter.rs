//! What a run says: lines on the terminal, and the same as JSON in `metrics.jsonl`.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use t81_hub::terminal::print;

use super::samples::SampleLine;
use crate::error::QatError;

/// A line of progress.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepLine {
    /// Optimizer steps done.
    pub step: usize,
    /// Targets trained on.
    pub tokens: u64,
    /// Mean cross-entropy of the step in nats, with the weights of the step's forward pass.
    pub loss: f64,
    /// Learning rate of the update.
    pub learning_rate: f64,
    /// Norm of the gradient before clipping.
    pub gradient_norm: Option<f32>,
    /// Ternary threshold of the forward pass.
    pub threshold: f32,
    /// Share of the ternary value in the forward pass.
    #[serde(rename = "lambda")]
    pub blend: f32,
    /// Share of zeros among the ternary codes after the update.
    pub sparsity: f64,
    /// Speed since the line before.
    pub tokens_per_second: f64,
    /// Seconds of training so far.
    pub seconds: f64,
    /// Seconds that the rest will take at the speed so far.
    pub seconds_left: f64,
}

/// The outcome of an evaluation during training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationLine {
    /// Optimizer steps done.
    pub step: usize,
    /// Targets trained on.
    pub tokens: u64,
    /// Mean cross-entropy of the evaluation blocks in nats, with exact ternary weights.
    pub eval_loss: f64,
    /// Targets evaluated.
    pub eval_tokens: usize,
}

/// A line of `metrics.jsonl`, with the perplexity beside each loss.
#[derive(Serialize)]
struct Record<'a, T> {
    #[serde(flatten)]
    line: &'a T,
    #[serde(skip_serializing_if = "Option::is_none")]
    perplexity: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    eval_perplexity: Option<f64>,
}

/// Writes the lines of a run.
#[derive(Debug)]
pub(crate) struct Reporter {
    path: PathBuf,
    file: File,
    total_steps: usize,
    speaks: bool,
    /// Whether the run has ternary weights to speak of.
    is_ternary: bool,
    evaluations: Vec<EvaluationLine>,
}

impl Reporter {
    /// Continues `metrics.jsonl` of a run that stands at `step`; later lines, from beyond the checkpoint, are dropped.
    pub(crate) fn open(
        path: &Path,
        step: usize,
        total_steps: usize,
        speaks: bool,
        is_ternary: bool,
    ) -> Result<Self, QatError> {
        let (kept, evaluations) = kept_lines(path, step)?;
        let temporary = path.with_extension("jsonl.partial");
        std::fs::write(&temporary, kept).map_err(QatError::file("write", &temporary))?;
        std::fs::rename(&temporary, path).map_err(QatError::file("write", path))?;
        let file = OpenOptions::new()
            .append(true)
            .open(path)
            .map_err(QatError::file("write", path))?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            total_steps,
            speaks,
            is_ternary,
            evaluations,
        })
    }

    pub(crate) fn step(&mut self, line: &StepLine) -> Result<(), QatError> {
        let perplexity = line.loss.exp();
        if self.speaks {
            let width = self.total_steps.to_string().len();
            let ternary = match self.is_ternary {
                true => format!(
                    "  threshold {:.2}  lambda {:.2}  sparsity {:.1} %",
                    line.threshold,
                    line.blend,
                    100.0 * line.sparsity
                ),
                false => String::new(),
            };
            print(format_args!(
                "step {:>width$}/{}  loss {:.4}  perplexity {}  lr {:.2e}{ternary}  {} tokens/s  {} left",
                line.step,
                self.total_steps,
                line.loss,
                short(perplexity),
                line.learning_rate,
                short(line.tokens_per_second),
                duration(line.seconds_left),
            ));
        }
        self.write(&Record {
            line,
            perplexity: Some(perplexity),
            eval_perplexity: None,
        })
    }

    pub(crate) fn evaluation(&mut self, line: &EvaluationLine) -> Result<(), QatError> {
        let perplexity = line.eval_loss.exp();
        if self.speaks {
            let width = self.total_steps.to_string().len();
            let weights = match self.is_ternary {
                true => ", exact ternary weights",
                false => "",
            };
            print(format_args!(
                "eval {:>width$}/{}  loss {:.4}  perplexity {}  on {} tokens{weights}",
                line.step,
                self.total_steps,
                line.eval_loss,
                short(perplexity),
                line.eval_tokens,
            ));
        }
        self.evaluations.push(line.clone());
        self.write(&Record {
            line,
            perplexity: None,
            eval_perplexity: Some(perplexity),
        })
    }

    pub(crate) fn sample(&mut self, line: &SampleLine) -> Result<(), QatError> {
        if self.speaks {
            let width = self.total_steps.to_string().len();
            let text = format!("{}{}", line.sample_prompt, line.sample);
            print(format_args!(
                "sample {:>width$}/{}  {}",
                line.step,
                self.total_steps,
                text.replace('\n', "\\n"),
            ));
        }
        self.write(&Record {
            line,
            perplexity: None,
            eval_perplexity: None,
        })
    }

    /// The evaluations of the run so far.
    pub(crate) fn evaluations(&self) -> &[EvaluationLine] {
        &self.evaluations
    }

    fn write<T: Serialize>(&mut self, record: &Record<'_, T>) -> Result<(), QatError> {
        let mut text = serde_json::to_string(record)
            .map_err(std::io::Error::other)
            .map_err(QatError::file("write", &self.path))?;
        text.push('\n');
        self.file
            .write_all(text.as_bytes())
            .map_err(QatError::file("write", &self.path))
    }
}

/// The lines of `path` up to `step`, and the evaluations among them.
fn kept_lines(path: &Path, step: usize) -> Result<(String, Vec<EvaluationLine>), QatError> {
    let (mut kept, mut evaluations) = (String::new(), Vec::new());
    let file = match File::open(path) {
        Ok(file) if step > 0 => file,
        Ok(_) => return Ok((kept, evaluations)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok((kept, evaluations));
        }
        Err(error) => return Err(QatError::file("read", path)(error)),
    };
    for line in BufReader::new(file).lines() {
        let line = line.map_err(QatError::file("read", path))?;
        // A line that a kill cut short belongs to no checkpoint.
        let Ok(value) = serde_json::from_str::<serde_json::Value>(&line) else {
            continue;
        };
        let at = value["step"].as_u64().unwrap_or(u64::MAX);
        if at <= step as u64 {
            if let Ok(evaluation) = serde_json::from_value::<EvaluationLine>(value) {
                evaluations.push(evaluation);
            }
            kept.push_str(&line);
            kept.push('\n');
        }
    }
    Ok((kept, evaluations))
}

/// A number in about four characters.
pub(crate) fn short(value: f64) -> String {
    match value {
        value if !value.is_finite() => value.to_string(),
        value if value >= 1e6 => format!("{value:.2e}"),
        value if value >= 1e4 => format!("{:.1}k", value / 1e3),
        value if value >= 100.0 => format!("{value:.0}"),
        value => format!("{value:.2}"),
    }
}

/// Seconds for people.
pub(crate) fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(step: usize) -> EvaluationLine {
        EvaluationLine {
            step,
            tokens: 100,
            eval_loss: 2.0,
            eval_tokens: 50,
        }
    }

    #[test]
    fn a_resumed_run_drops_what_lies_beyond_its_checkpoint() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metrics.jsonl");
        let mut reporter = Reporter::open(&path, 0, 30, false, true).unwrap();
        for step in [10, 20, 30] {
            reporter.evaluation(&line(step)).unwrap();
        }
        let mut text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.contains("\"eval_perplexity\":7.38905609893065"),
            "{text}"
        );
        text.push_str("{\"step\": 2");
        std::fs::write(&path, text).unwrap();

        let reporter = Reporter::open(&path, 20, 30, false, true).unwrap();
        assert_eq!(reporter.evaluations(), [line(10), line(20)]);
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);

        let reporter = Reporter::open(&path, 0, 30, false, true).unwrap();
        assert_eq!(reporter.evaluations(), []);
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!(short(2.71534), "2.72");
        assert_eq!(short(1234.5), "1234");
        assert_eq!(short(45678.0), "45.7k");
        assert_eq!(short(2.5e9), "2.50e9");
        assert_eq!(duration(59.4), "59s");
        assert_eq!(duration(61.0), "1m01s");
        assert_eq!(duration(7260.0), "2h01m");
    }
}
