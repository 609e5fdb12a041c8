//! The progress bar and Ctrl-C.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use t81_convert::Progress;
use t81_gguf::ExportProgress;
use t81_hub::ResolveOptions;
use t81_hub::terminal::{interruption_flag, print_error};

use super::failure::Failure;

/// How often a line tells of progress where there is no terminal for a bar.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// A progress bar on standard error, or a line now and then where that is no terminal, and a flag that Ctrl-C sets.
pub(crate) struct Terminal {
    bar: ProgressBar,
    quiet: bool,
    /// When the last line was written; none for a bar, or for silence.
    line: Option<Instant>,
    interrupted: Arc<AtomicBool>,
}

impl Terminal {
    /// Installs the handler: the first Ctrl-C stops before the next tensor, so that unfinished output is removed; a second
    /// one ends the program at once.
    pub(crate) fn new(quiet: bool) -> Result<Self, Failure> {
        let interrupted = interruption_flag(|| ())?;
        // Indicatif hides a bar by itself where standard error is no terminal.
        let target = if quiet {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        let line = (bar.is_hidden() && !quiet).then(Instant::now);
        let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {wide_msg}");
        Ok(Self {
            bar: style
                .map(|style| bar.clone().with_style(style))
                .unwrap_or(bar),
            quiet,
            line,
            interrupted,
        })
    }

    /// How a model is fetched from the Hub: with bars of its own, until Ctrl-C.
    pub(crate) fn downloads(&self, revision: Option<String>) -> ResolveOptions {
        let interrupted = Arc::clone(&self.interrupted);
        let cancelled = move || interrupted.load(Ordering::SeqCst);
        ResolveOptions::for_terminal(revision, self.quiet, cancelled)
    }

    fn tell(&mut self, what: &str) {
        if let Some(last) = &mut self.line
            && last.elapsed() >= LINE_EVERY
        {
            *last = Instant::now();
            let (done, total) = (self.bar.position(), self.bar.length().unwrap_or_default());
            let (done, total) = (done / 1_000_000, total / 1_000_000);
            print_error(format_args!("{what}: {done} of {total} MB"));
        }
    }

    /// Takes the bar off the screen.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Terminal {
    fn started(&mut self, _tensors: usize, bytes: u64) {
        self.bar.set_length(bytes);
    }

    fn tensor(&mut self, name: &str) {
        self.bar.set_message(name.to_owned());
    }

    fn advanced(&mut self, bytes: u64) {
        self.bar.inc(bytes);
        self.tell("converting");
    }

    fn validating(&mut self, name: &str) {
        self.bar.set_message(format!("validating {name}"));
        self.tell("validating");
    }

    fn exporting(&mut self, progress: &ExportProgress<'_>) {
        self.bar.set_length(progress.bytes_total);
        self.bar.set_position(progress.bytes_done);
        self.bar.set_message(progress.tensor.to_owned());
        self.tell("exporting");
    }

    fn cancelled(&self) -> bool {
        self.interrupted.load(Ordering::SeqCst)
    }
}
