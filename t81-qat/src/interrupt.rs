//! Ctrl-C: the first one asks the run to stop after the step in hand, the second one ends the process.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use t81_hub::terminal::{interruption_flag, print_error};

pub use t81_hub::terminal::INTERRUPTED;

static REQUESTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// A flag that becomes true at the first Ctrl-C, SIGTERM or hang-up of the terminal. The handler is installed once per
/// process; see [`interruption_flag`].
pub fn interrupt_flag() -> Arc<AtomicBool> {
    let install = || {
        let announce = || {
            print_error(
                "Interrupted: finishing this step, then saving. Ctrl-C again ends at once.",
            );
        };
        interruption_flag(announce).unwrap_or_else(|error| {
            print_error(format_args!(
                "warning: Ctrl-C will end the run without saving: {error}"
            ));
            Arc::default()
        })
    };
    REQUESTED.get_or_init(install).clone()
}
