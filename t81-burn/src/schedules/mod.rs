//! Warm-up schedules: plain values that say how threshold and blend evolve with the optimizer step.

mod handle;
mod ramp;
mod scheduler;

pub use handle::TernaryHandle;
pub use ramp::{Ramp, RampShape, TernarySchedule};
pub use scheduler::TernaryScheduler;
