//! A learning rate for `t81_burn::TernaryScheduler` to wrap.

use burn::lr_scheduler::{LrScheduler, LrSchedulerRecord};

/// Falls from its highest value to 0 in equal steps, which lets ternary codes settle at the end.
#[derive(Clone, Debug)]
pub struct FallingRate {
    highest: f64,
    steps: usize,
    step: usize,
}

impl FallingRate {
    /// For a training of `steps` optimizer steps.
    pub fn new(highest: f64, steps: usize) -> Self {
        Self {
            highest,
            steps,
            step: 0,
        }
    }
}

impl LrScheduler for FallingRate {
    fn step(&mut self) -> f64 {
        let left = self.steps.saturating_sub(self.step);
        self.step += 1;
        self.highest * left as f64 / self.steps as f64
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
