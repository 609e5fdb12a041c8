//! A Burn learning-rate scheduler that moves the ternary schedule along.

use burn::lr_scheduler::{LrScheduler, LrSchedulerRecord};
use burn::optim::LearningRate;

use super::{TernaryHandle, TernarySchedule};

/// Wraps a learning-rate scheduler and advances the ternary schedule by one at each of its steps.
///
/// Burn's learner calls [`LrScheduler::step`] once per optimizer step, right before the update, and saves the
/// scheduler's record with each checkpoint: so the ternary schedule is driven, checkpointed and restored with it.
/// At the call for optimizer step `n` the handle moves on to step `n + 1`, which the next forward pass uses.
#[derive(Clone)]
pub struct TernaryScheduler {
    learning_rate: Box<dyn LrScheduler>,
    schedule: TernarySchedule,
    handle: TernaryHandle,
    step: usize,
}

impl TernaryScheduler {
    /// Drives `handle` along `schedule`, and the learning rate along `learning_rate`.
    pub fn new(
        learning_rate: impl LrScheduler + 'static,
        schedule: TernarySchedule,
        handle: TernaryHandle,
    ) -> Self {
        handle.set_step(&schedule, 0);
        Self {
            learning_rate: Box::new(learning_rate),
            schedule,
            handle,
            step: 0,
        }
    }
}

impl LrScheduler for TernaryScheduler {
    fn step(&mut self) -> LearningRate {
        self.step += 1;
        self.handle.set_step(&self.schedule, self.step);
        self.learning_rate.step()
    }

    fn to_record(&self) -> LrSchedulerRecord {
        LrSchedulerRecord::new()
            .with_scalar("ternary_step", self.step as u64)
            .with_record("learning_rate", self.learning_rate.to_record())
    }

    fn load_record(&mut self, record: LrSchedulerRecord) {
        self.learning_rate
            .load_record(record.record("learning_rate"));
        if let Some(step) = record.scalar::<u64>("ternary_step") {
            self.step = step as usize;
            self.handle.set_step(&self.schedule, self.step);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedules::RampShape;

    fn scheduler() -> (TernaryScheduler, TernaryHandle) {
        let schedule = TernarySchedule::constant(0.5)
            .with_threshold_warmup(RampShape::Linear, 5)
            .with_blend_warmup(RampShape::Linear, 10);
        let handle = TernaryHandle::new(&schedule);
        let scheduler = TernaryScheduler::new(Counter(0.0), schedule, handle.clone());
        (scheduler, handle)
    }

    /// A learning rate that is its own step count, so that the test sees which record was restored.
    #[derive(Clone)]
    struct Counter(f64);

    impl LrScheduler for Counter {
        fn step(&mut self) -> LearningRate {
            self.0 += 1.0;
            self.0
        }
        fn to_record(&self) -> LrSchedulerRecord {
            LrSchedulerRecord::new().with_scalar("count", self.0)
        }
        fn load_record(&mut self, record: LrSchedulerRecord) {
            self.0 = record.scalar("count").unwrap();
        }
    }

    #[test]
    fn handle_follows_the_optimizer_step() {
        let (mut scheduler, handle) = scheduler();
        assert_eq!(
            (handle.step(), handle.threshold(), handle.blend()),
            (0, 1.0, 0.0)
        );
        assert_eq!(scheduler.step(), 1.0);
        assert_eq!(
            (handle.step(), handle.threshold(), handle.blend()),
            (1, 0.9, 0.1)
        );
        for _ in 0..9 {
            scheduler.step();
        }
        assert_eq!(
            (handle.step(), handle.threshold(), handle.blend()),
            (10, 0.5, 1.0)
        );
    }

    #[test]
    fn a_record_restores_step_learning_rate_and_handle() {
        let (mut scheduler, _) = scheduler();
        for _ in 0..3 {
            scheduler.step();
        }
        let bytes = scheduler.to_record().into_bytes().unwrap();

        let (mut restored, handle) = self::scheduler();
        restored.load_record(LrSchedulerRecord::from_bytes(bytes).unwrap());
        assert_eq!(handle.step(), 3);
        assert!((handle.blend() - 0.3).abs() < 1e-6);
        assert!((handle.threshold() - 0.7).abs() < 1e-6);
        assert_eq!(restored.step(), 4.0);
        assert_eq!(handle.step(), 4);
    }
}
