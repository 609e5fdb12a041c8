//! Speed between two lines of progress.

use super::checkpoint::RunState;

/// The optimizer steps since the last line of progress.
pub(super) struct Window {
    tokens: u64,
    seconds: f64,
}

impl Window {
    pub(super) fn start(state: &RunState) -> Self {
        Self {
            tokens: state.tokens,
            seconds: state.seconds,
        }
    }

    /// Speed from then to `state`.
    pub(super) fn tokens_per_second(&self, state: &RunState) -> f64 {
        let seconds = state.seconds - self.seconds;
        if seconds > 0.0 {
            (state.tokens - self.tokens) as f64 / seconds
        } else {
            0.0
        }
    }
}
