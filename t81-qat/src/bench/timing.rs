//! Times of a piece of work.

use std::time::Instant;

use serde::Serialize;

/// Passes at least.
const PASSES: usize = 5;

/// Seconds of a pass, over many.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Timing {
    /// Of the fastest pass.
    pub(super) best_seconds: f64,
    /// Of the pass in the middle.
    pub(super) median_seconds: f64,
    pub(super) passes: usize,
}

impl Timing {
    /// Times `pass` for `seconds`, and five times at least, after one that does not count.
    pub(super) fn of<E>(seconds: f64, mut pass: impl FnMut() -> Result<(), E>) -> Result<Self, E> {
        pass()?;
        let begin = Instant::now();
        let mut times = Vec::new();
        while times.len() < PASSES || begin.elapsed().as_secs_f64() < seconds {
            let start = Instant::now();
            pass()?;
            times.push(start.elapsed().as_secs_f64());
        }
        times.sort_by(f64::total_cmp);
        // A clock may be too coarse to see a pass at all.
        let seen = |time: f64| time.max(1e-9);
        Ok(Self {
            best_seconds: seen(times[0]),
            median_seconds: seen(times[times.len() / 2]),
            passes: times.len(),
        })
    }

    /// Billions of `amount` a second, in the fastest pass.
    pub(super) fn giga_per_second(&self, amount: usize) -> f64 {
        amount as f64 / self.best_seconds / 1e9
    }
}
