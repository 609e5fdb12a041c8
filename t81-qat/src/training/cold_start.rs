//! What a GPU's first minutes are spent on, told while they last.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use t81_hub::terminal::print;

use super::reporter::duration;

/// A warm start is over before the first line.
const FIRST_LINE: Duration = Duration::from_secs(5);
const LATER_LINES: Duration = Duration::from_secs(15);

/// Says from time to time, while it lives, that a GPU compiles and tunes its kernels.
pub(crate) struct ColdStart {
    /// Dropping it ends the thread.
    alive: Option<Sender<()>>,
    speaker: Option<thread::JoinHandle<()>>,
}

impl ColdStart {
    /// Speaks about `what`, the work that waits for the kernels.
    pub(crate) fn watch(what: &'static str) -> Self {
        Self::speak(FIRST_LINE, LATER_LINES, move |elapsed| {
            print(format_args!(
                "{what}: compiling and tuning the GPU's kernels, {} so far (minutes on the first run, kept for the next)",
                duration(elapsed.as_secs_f64()),
            ));
        })
    }

    fn speak(first: Duration, later: Duration, say: impl Fn(Duration) + Send + 'static) -> Self {
        let (alive, ended) = channel::<()>();
        let speaker = thread::spawn(move || {
            let started = Instant::now();
            let mut wait = first;
            while ended.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                say(started.elapsed());
                wait = later;
            }
        });
        Self {
            alive: Some(alive),
            speaker: Some(speaker),
        }
    }
}

impl Drop for ColdStart {
    fn drop(&mut self) {
        self.alive = None;
        if let Some(speaker) = self.speaker.take() {
            // It only speaks: that it panicked changes nothing.
            let _ = speaker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn lines_within(first: Duration, lived: Duration) -> usize {
        let count = Arc::new(AtomicUsize::new(0));
        let counter = count.clone();
        let watch = ColdStart::speak(first, Duration::from_millis(20), move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        thread::sleep(lived);
        drop(watch);
        let spoken = count.load(Ordering::Relaxed);
        thread::sleep(Duration::from_millis(60));
        assert_eq!(
            count.load(Ordering::Relaxed),
            spoken,
            "it spoke after its end"
        );
        spoken
    }

    #[test]
    fn a_long_start_is_told_again_and_again_and_a_short_one_not_at_all() {
        assert!(lines_within(Duration::from_millis(10), Duration::from_millis(400)) >= 2);
        assert_eq!(
            lines_within(Duration::from_secs(60), Duration::from_millis(40)),
            0
        );
    }
}
