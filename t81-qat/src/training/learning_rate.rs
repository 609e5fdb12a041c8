//! Learning-rate schedules by the names of `transformers`.

use burn::lr_scheduler::{LrScheduler, LrSchedulerRecord};
use burn::optim::LearningRate;

use crate::cli::LearningRateType;

/// Share of the highest rate at which the cosine ends.
const COSINE_FLOOR: f64 = 0.1;

/// The learning rate of a run: a linear rise, then a fall of the kind that `--lr-scheduler-type` names.
///
/// ```
/// use t81_qat::{LearningRateType, WarmupDecay};
///
/// let rates = WarmupDecay::new(LearningRateType::Linear, 1e-3, 4, 104);
/// assert_eq!(rates.rate_at(4), 1e-3);
/// assert_eq!(rates.rate_at(54), 5e-4);
/// ```
#[derive(Clone, Debug)]
pub struct WarmupDecay {
    kind: LearningRateType,
    highest: LearningRate,
    warmup_steps: usize,
    total_steps: usize,
    step: usize,
}

impl WarmupDecay {
    /// A schedule at step 0 that rises to `highest` over `warmup_steps` optimizer steps and falls until `total_steps`.
    pub fn new(
        kind: LearningRateType,
        highest: LearningRate,
        warmup_steps: usize,
        total_steps: usize,
    ) -> Self {
        Self {
            kind,
            highest,
            warmup_steps,
            total_steps,
            step: 0,
        }
    }

    /// The rate of optimizer step `step`, counted from 0. The rise ends with step `warmup_steps`, so that no step is
    /// wasted on a rate of 0.
    pub fn rate_at(&self, step: usize) -> LearningRate {
        if step < self.warmup_steps {
            return self.highest * (step + 1) as f64 / (self.warmup_steps + 1) as f64;
        }
        let length = self.total_steps.saturating_sub(self.warmup_steps).max(1);
        let progress = ((step - self.warmup_steps) as f64 / length as f64).min(1.0);
        self.highest
            * match self.kind {
                LearningRateType::Constant => 1.0,
                LearningRateType::Linear => 1.0 - progress,
                LearningRateType::Cosine => {
                    let wave = 0.5 + 0.5 * (std::f64::consts::PI * progress).cos();
                    COSINE_FLOOR + (1.0 - COSINE_FLOOR) * wave
                }
            }
    }
}

impl LrScheduler for WarmupDecay {
    fn step(&mut self) -> LearningRate {
        let rate = self.rate_at(self.step);
        self.step += 1;
        rate
    }

    fn to_record(&self) -> LrSchedulerRecord {
        LrSchedulerRecord::new().with_scalar("step", self.step as u64)
    }

    fn load_record(&mut self, record: LrSchedulerRecord) {
        if let Some(step) = record.scalar::<u64>("step") {
            self.step = step as usize;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(kind: LearningRateType) -> WarmupDecay {
        WarmupDecay::new(kind, 1e-3, 4, 104)
    }

    #[test]
    fn rises_then_falls_by_the_formula() {
        let mut cosine = schedule(LearningRateType::Cosine);
        let rates: Vec<f64> = (0..104).map(|_| cosine.step()).collect();
        for (step, expected) in [(0, 2e-4), (3, 8e-4), (4, 1e-3), (54, 5.5e-4)] {
            assert!((rates[step] - expected).abs() < 1e-12, "step {step}");
        }
        assert!(rates[103] > 1e-4 && rates[103] < 1.01e-4);

        let linear = schedule(LearningRateType::Linear);
        assert!((linear.rate_at(54) - 5e-4).abs() < 1e-12);
        assert_eq!(linear.rate_at(104), 0.0);
        assert_eq!(schedule(LearningRateType::Constant).rate_at(90), 1e-3);
    }

    #[test]
    fn a_record_restores_the_step() {
        let mut original = schedule(LearningRateType::Linear);
        for _ in 0..10 {
            original.step();
        }
        let mut restored = schedule(LearningRateType::Linear);
        restored.load_record(original.to_record());
        assert_eq!(restored.step(), original.step());
    }
}
