//! Ctrl-C and the other requests to stop.

use std::io;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Exit code of a process that Ctrl-C ended, as shells report it (128 + SIGINT).
pub const INTERRUPTED: u8 = 130;

/// Returns a flag that becomes true when the process is asked to stop: by Ctrl-C, by SIGTERM, or by a terminal that hangs up
/// (SIGHUP), unless the process was started to ignore that, as `nohup` does.
///
/// `announce` runs at the first request. A second Ctrl-C or SIGTERM ends the process at once with exit code [`INTERRUPTED`]; a
/// second SIGHUP does not, because a closed session sends several.
///
/// # Errors
///
/// If the handler cannot be installed.
pub fn interruption_flag(announce: impl Fn() + Send + 'static) -> io::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let requested = Arc::clone(&flag);
    let mut by_hand = false;
    watch(move |hangs_up| {
        if !hangs_up && std::mem::replace(&mut by_hand, true) {
            process::exit(INTERRUPTED.into());
        }
        if !requested.swap(true, Ordering::SeqCst) {
            announce();
        }
    })?;
    Ok(flag)
}

/// Calls `receive` on a thread of its own at every request, with whether it is a terminal that hangs up.
#[cfg(unix)]
fn watch(mut receive: impl FnMut(bool) + Send + 'static) -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;

    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    if !ignores_hang_up() {
        signals.handle().add_signal(SIGHUP)?;
    }
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                receive(signal == SIGHUP);
            }
        })
        .map(drop)
}

#[cfg(not(unix))]
fn watch(mut receive: impl FnMut(bool) + Send + 'static) -> io::Result<()> {
    ctrlc::set_handler(move || receive(false)).map_err(io::Error::other)
}

/// Whether the process was started with SIGHUP ignored. Only Linux says so without system calls that are unsafe in Rust.
#[cfg(unix)]
fn ignores_hang_up() -> bool {
    let status = std::fs::read_to_string("/proc/self/status");
    status.is_ok_and(|status| is_ignored(&status, signal_hook::consts::SIGHUP))
}

/// Reads `SigIgn` of a `/proc/PID/status`: bit `n - 1` stands for signal `n` (proc_pid_status(5)).
#[cfg(unix)]
fn is_ignored(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals_is_read_from_the_right() {
        let status = |mask: &str| format!("Name:\tx\nSigIgn:\t{mask}\nSigCgt:\tffffffffffffffff\n");
        assert!(is_ignored(&status("0000000000000001"), 1));
        assert!(is_ignored(&status("0000000000001001"), 13));
        assert!(!is_ignored(&status("0000000000001000"), 1));
        assert!(!is_ignored("Name:\tx\n", 1));
    }
}
