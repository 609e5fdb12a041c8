//! `summary.json` and the last lines of a run.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::memory::PeakMemory;
use crate::settings::RunSettings;
use crate::training::{EvaluatedStep, duration, short};

/// Perplexities on the evaluation blocks before the first update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// The float model, if it was pretrained.
    pub float_perplexity: Option<f64>,
    /// The same weights made ternary without training.
    pub ternary_perplexity: f64,
}

/// The outcome of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Version of the tool.
    pub tool_version: String,
    /// Perplexities before training.
    pub before: Baseline,
    /// Perplexity of the exact ternary weights after training.
    pub perplexity: f64,
    /// Its mean cross-entropy in nats.
    pub loss: f64,
    /// Targets of the evaluation.
    pub eval_tokens: usize,
    /// Optimizer step whose weights are the result; before the last one if the best model was loaded.
    pub result_step: usize,
    /// The evaluation with the lowest loss.
    pub best: Option<EvaluatedStep>,
    /// Whether the run ended because evaluations stopped getting better.
    pub stopped_early: bool,
    /// Share of zeros among the ternary codes.
    pub sparsity: f64,
    /// Ternary weights.
    pub ternary_weights: usize,
    /// Parameters that stayed float.
    pub float_parameters: usize,
    /// Bits a ternary weight, scales included, as packed in the t81 directory.
    pub bits_per_ternary_weight: f64,
    /// Bytes of all parameters in f32, in the t81 directory and, where it was written, in the GGUF.
    pub bytes: Sizes,
    /// Optimizer steps.
    pub steps: usize,
    /// Targets trained on.
    pub tokens: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// The most memory that was held.
    #[serde(default)]
    pub peak_memory: PeakMemory,
    /// The run's settings.
    pub settings: RunSettings,
}

/// Sizes in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizes {
    /// All parameters in f32.
    pub float32: u64,
    /// All parameters in the t81 directory.
    pub t81: u64,
    /// The GGUF file.
    pub gguf: Option<u64>,
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_float = self.ternary_weights == 0;
        let before = match self.before.float_perplexity {
            Some(float) if is_float => format!("before {}", short(float)),
            None if is_float => "from fresh weights".to_string(),
            Some(float) => format!(
                "float model {}, ternary without training {}",
                short(float),
                short(self.before.ternary_perplexity)
            ),
            None => format!("untrained {}", short(self.before.ternary_perplexity)),
        };
        writeln!(
            formatter,
            "Perplexity {} on {} tokens ({before}) after {} steps, {} tokens, {}",
            short(self.perplexity),
            self.eval_tokens,
            self.steps,
            self.tokens,
            duration(self.seconds),
        )?;
        if let Some(best) = self.best
            && (best.step != self.steps || self.result_step != self.steps)
        {
            writeln!(
                formatter,
                "Best evaluation after step {}: perplexity {}; the result is the model after step {}{}",
                best.step,
                short(best.loss.exp()),
                self.result_step,
                match self.result_step == best.step {
                    true => "",
                    false => " (--load-best-model-at-end takes the best)",
                },
            )?;
        }
        let PeakMemory { host, device } = self.peak_memory;
        let peaks = [(host, "the process"), (device, "the GPU")];
        let held: Vec<String> = peaks
            .into_iter()
            .filter_map(|(bytes, place)| Some(format!("{} MB in {place}", megabytes(bytes?))))
            .collect();
        if !held.is_empty() {
            writeln!(formatter, "Peak memory {}", held.join(", "))?;
        }
        if is_float {
            return write!(formatter, "{} float parameters", self.float_parameters);
        }
        write!(
            formatter,
            "{} ternary weights ({:.1} % zeros, {:.2} bits each) and {} float parameters: {} MB, in f32 {} MB",
            self.ternary_weights,
            100.0 * self.sparsity,
            self.bits_per_ternary_weight,
            self.float_parameters,
            megabytes(self.bytes.t81),
            megabytes(self.bytes.float32),
        )
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}
