//! Ctrl-C: the first one asks the run to stop after the step in hand, the second one ends the process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// Exit code of a process that Ctrl-C ended, as shells have it (128 + SIGINT).
pub const INTERRUPTED: u8 = 130;

static REQUESTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// A flag that becomes true at the first Ctrl-C (or SIGTERM). The handler is installed once per process.
pub fn interrupt_flag() -> Arc<AtomicBool> {
    REQUESTED
        .get_or_init(|| {
            let flag = Arc::new(AtomicBool::new(false));
            let requested = flag.clone();
            let installed = ctrlc::set_handler(move || {
                if requested.swap(true, Ordering::SeqCst) {
                    std::process::exit(i32::from(INTERRUPTED));
                }
                eprintln!(
                    "Interrupted: finishing this step, then saving. Ctrl-C again ends at once."
                );
            });
            if let Err(error) = installed {
                eprintln!("warning: Ctrl-C will end the run without saving: {error}");
            }
            flag
        })
        .clone()
}
