//! The state that the schedule writes and every ternary weight reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::TernarySchedule;

#[derive(Debug)]
struct State {
    step: AtomicU64,
    threshold: AtomicU32,
    blend: AtomicU32,
}

/// A shared view of the current optimizer step, threshold and blend.
///
/// Burn's modules do not know the step, so a [`TernaryScheduler`](super::TernaryScheduler) (or a loop of your own)
/// writes it here and the ternary weights of the model, which hold clones of the handle, read it at their next forward
/// pass. Clones share one state. The three values are written between forward passes, not during one.
#[derive(Clone, Debug)]
pub struct TernaryHandle(Arc<State>);

impl TernaryHandle {
    /// A handle that stands at step 0 of `schedule`.
    pub fn new(schedule: &TernarySchedule) -> Self {
        let handle = Self(Arc::new(State {
            step: AtomicU64::new(0),
            threshold: AtomicU32::new(0),
            blend: AtomicU32::new(0),
        }));
        handle.set_step(schedule, 0);
        handle
    }

    /// Moves to `step` of `schedule`: what the next forward pass uses. Both values are kept within 0..=1.
    pub fn set_step(&self, schedule: &TernarySchedule, step: usize) {
        let state = &self.0;
        state.step.store(step as u64, Ordering::Release);
        state.threshold.store(
            schedule.threshold.value_at(step).clamp(0.0, 1.0).to_bits(),
            Ordering::Release,
        );
        state.blend.store(
            schedule.blend.value_at(step).clamp(0.0, 1.0).to_bits(),
            Ordering::Release,
        );
    }

    /// Optimizer steps done so far.
    pub fn step(&self) -> usize {
        self.0.step.load(Ordering::Acquire) as usize
    }

    /// Threshold of the next forward pass.
    pub fn threshold(&self) -> f32 {
        f32::from_bits(self.0.threshold.load(Ordering::Acquire))
    }

    /// Blend of the next training forward pass, 0 (float) to 1 (ternary).
    pub fn blend(&self) -> f32 {
        f32::from_bits(self.0.blend.load(Ordering::Acquire))
    }
}
