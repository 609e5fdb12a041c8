//! Downloads as a user of a command line sees them.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::DownloadProgress;
use crate::terminal::print_error;

/// How often a line says how far a download is, where there is no terminal to draw on.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// A progress bar for each file on standard error, or plain lines where that is no terminal.
pub struct TerminalDownloads {
    display: Display,
    cancelled: Box<dyn Fn() -> bool + Send + Sync>,
}

enum Display {
    Quiet,
    Bars {
        group: MultiProgress,
        bars: Mutex<HashMap<String, ProgressBar>>,
    },
    Lines(Mutex<HashMap<String, Lines>>),
}

/// A download of which lines tell.
struct Lines {
    size: u64,
    last: Instant,
}

impl TerminalDownloads {
    /// Shows nothing if `quiet`. `cancelled` is asked often; true stops all downloads.
    pub fn new(quiet: bool, cancelled: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        let display = if quiet {
            Display::Quiet
        } else if std::io::stderr().is_terminal() {
            Display::Bars {
                group: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()),
                bars: Mutex::default(),
            }
        } else {
            Display::Lines(Mutex::default())
        };
        Self {
            display,
            cancelled: Box::new(cancelled),
        }
    }
}

impl DownloadProgress for TerminalDownloads {
    fn started(&self, file: &str, size: u64, have: u64) {
        match &self.display {
            Display::Quiet => {}
            Display::Bars { group, bars } => {
                let bar = group.add(ProgressBar::new(size).with_position(have));
                let style = ProgressStyle::with_template(
                    "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {wide_msg}",
                );
                let bar = match style {
                    Ok(style) => bar.with_style(style),
                    Err(_) => bar,
                };
                bar.set_message(file.to_owned());
                // A rate that counted what was there before would be a boast.
                bar.reset_eta();
                locked(bars).insert(file.to_owned(), bar);
            }
            Display::Lines(lines) => {
                let resumed = match have {
                    0 => String::new(),
                    have => format!(", {} of them are there", HumanBytes(have)),
                };
                print_error(format_args!(
                    "downloading {file}: {}{resumed}",
                    HumanBytes(size)
                ));
                let last = Instant::now();
                locked(lines).insert(file.to_owned(), Lines { size, last });
            }
        }
    }

    fn advanced(&self, file: &str, have: u64) {
        match &self.display {
            Display::Quiet => {}
            Display::Bars { bars, .. } => {
                if let Some(bar) = locked(bars).get(file) {
                    bar.set_position(have);
                }
            }
            Display::Lines(lines) => {
                if let Some(line) = locked(lines).get_mut(file)
                    && line.last.elapsed() >= LINE_INTERVAL
                {
                    line.last = Instant::now();
                    let (have, size) = (HumanBytes(have), HumanBytes(line.size));
                    print_error(format_args!("downloading {file}: {have} of {size}"));
                }
            }
        }
    }

    fn finished(&self, file: &str) {
        match &self.display {
            Display::Quiet => {}
            Display::Bars { bars, .. } => {
                if let Some(bar) = locked(bars).remove(file) {
                    bar.finish();
                }
            }
            Display::Lines(lines) => {
                locked(lines).remove(file);
            }
        }
    }

    fn note(&self, text: &str) {
        match &self.display {
            Display::Quiet => {}
            Display::Bars { group, .. } => {
                let _ = group.println(text);
            }
            Display::Lines(_) => print_error(text),
        }
    }

    fn cancelled(&self) -> bool {
        (self.cancelled)()
    }
}

/// A display that panicked while it was locked is still a display.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
