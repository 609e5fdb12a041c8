//! The progress bar, and Ctrl-C.

use std::error::Error;
use std::io;
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use t81_gguf::{ExportProgress, ExportSummary, GgufError};
use t81_hub::terminal::{INTERRUPTED, interruption_flag, print, print_error};
use t81_hub::{HubError, ResolveOptions};

use super::Outcome;

/// The terminal of a command that writes a file.
pub(crate) struct Terminal {
    bar: ProgressBar,
    interrupted: Arc<AtomicBool>,
    quiet: bool,
}

impl Terminal {
    /// Installs the handler: the first Ctrl-C stops before the next tensor, so that the temporary file is removed; a
    /// second one ends the program at once.
    pub(crate) fn new(quiet: bool) -> io::Result<Self> {
        let interrupted = interruption_flag(|| ())?;
        // Indicatif hides a bar by itself where standard error is no terminal.
        let target = if quiet {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {wide_msg}");
        Ok(Self {
            bar: style
                .map(|style| bar.clone().with_style(style))
                .unwrap_or(bar),
            interrupted,
            quiet,
        })
    }

    /// How a model is fetched from the Hub: with bars of its own, until Ctrl-C.
    pub(crate) fn downloads(&self, revision: Option<String>) -> ResolveOptions {
        let interrupted = Arc::clone(&self.interrupted);
        let cancelled = move || interrupted.load(Ordering::SeqCst);
        ResolveOptions::for_terminal(revision, self.quiet, cancelled)
    }

    /// Shows how far the work has come; breaks off after Ctrl-C.
    pub(crate) fn report(&self, progress: &ExportProgress<'_>) -> ControlFlow<()> {
        self.bar.set_length(progress.bytes_total);
        self.bar.set_position(progress.bytes_done);
        self.bar.set_message(progress.tensor.to_owned());
        if self.interrupted.load(Ordering::SeqCst) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    /// Prints what was written, and `remark` below it.
    pub(crate) fn conclude(
        self,
        written: Result<ExportSummary, Box<dyn Error>>,
        remark: Option<&str>,
    ) -> Outcome {
        self.bar.finish_and_clear();
        let summary = match written {
            Err(error) if is_interruption(&*error) => {
                print_error(format_args!("error: {error}"));
                return Ok(ExitCode::from(INTERRUPTED));
            }
            other => other?,
        };
        if !self.quiet {
            print(summary);
            if let Some(remark) = remark {
                print(format_args!("note: {remark}"));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Whether Ctrl-C is all that went wrong, during a download or later.
fn is_interruption(error: &(dyn Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(GgufError::Interrupted))
        || error
            .downcast_ref::<HubError>()
            .is_some_and(HubError::is_interruption)
}
