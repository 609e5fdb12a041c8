//! `t81-gguf OUT --from-t81 DIR`

use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use t81_gguf::{ExportOptions, ExportProgress, export_t81_with_progress};
use t81_hub::T81Directory;

use super::Outcome;
use crate::ExportArguments;

pub(crate) fn run(arguments: &ExportArguments) -> Outcome {
    let directory = T81Directory::open(&arguments.from_t81)?;
    let options = ExportOptions {
        quant: arguments.quant,
        embedding_type: arguments.embedding_type,
        tokenizer_pre: arguments.tokenizer_pre.clone(),
        overwrite: arguments.overwrite,
    };
    // On Ctrl-C the export stops before the next tensor and takes its temporary file along.
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed))?;

    let bar = progress_bar(arguments.quiet);
    let mut report = |progress: &ExportProgress<'_>| {
        bar.set_length(progress.bytes_total);
        bar.set_position(progress.bytes_done);
        bar.set_message(progress.tensor.to_owned());
        if interrupted.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let exported = export_t81_with_progress(&directory, &arguments.output, &options, &mut report);
    bar.finish_and_clear();
    let summary = exported?;
    if !arguments.quiet {
        writeln!(io::stdout(), "{summary}")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn progress_bar(quiet: bool) -> ProgressBar {
    let hidden = quiet || !io::stderr().is_terminal();
    let target = if hidden {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr()
    };
    let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {wide_msg}");
    let bar = ProgressBar::with_draw_target(None, target);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
