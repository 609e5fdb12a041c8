//! `t81-gguf OUT --from-t81 DIR` and `t81-gguf OUT --from-hf DIR`

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use t81_core::{BlockFormat, Granularity, Quantizer};
use t81_gguf::{
    ExportProgress, ExportSummary, ExportType, GgufError, Origin, check_output, export,
    export_t81_with_progress,
};
use t81_hub::{Checkpoint, QuantizedCheckpoint, T81Directory};

use super::Outcome;
use crate::arguments::ExportArguments;

/// As shells report a program that SIGINT ended.
const INTERRUPTED: u8 = 130;

pub(crate) fn run(arguments: &ExportArguments) -> Outcome {
    check_output(&arguments.output, arguments.overwrite)?;
    let terminal = Terminal::new(arguments.quiet)?;
    let exported = match (&arguments.from_t81, &arguments.from_hf) {
        (Some(path), _) => from_t81(arguments, path, &terminal),
        (None, Some(path)) => from_checkpoint(arguments, path, &terminal),
        (None, None) => Err("one of --from-t81 and --from-hf is needed".into()),
    };
    terminal.bar.finish_and_clear();
    let summary = match exported {
        Err(error) if matches!(error.downcast_ref(), Some(GgufError::Interrupted)) => {
            eprintln!("error: {error}");
            return Ok(ExitCode::from(INTERRUPTED));
        }
        other => other?,
    };
    if !arguments.quiet {
        let mut out = io::stdout().lock();
        writeln!(out, "{summary}")?;
        if arguments.from_hf.is_some() {
            writeln!(
                out,
                "note: a model that was not trained with ternary weights is unusable after this step alone; train it with t81-qat"
            )?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn from_t81(
    arguments: &ExportArguments,
    path: &Path,
    terminal: &Terminal,
) -> Result<ExportSummary, Box<dyn Error>> {
    let directory = T81Directory::open(path)?;
    let options = arguments.options();
    let mut report = |progress: &ExportProgress<'_>| terminal.report(progress);
    Ok(export_t81_with_progress(
        &directory,
        &arguments.output,
        &options,
        &mut report,
    )?)
}

fn from_checkpoint(
    arguments: &ExportArguments,
    path: &Path,
    terminal: &Terminal,
) -> Result<ExportSummary, Box<dyn Error>> {
    let checkpoint = Checkpoint::open(path)?;
    checkpoint.config().check(&checkpoint)?;
    let columns = ternary_columns(&checkpoint);
    let auto = Granularity::auto(columns.values().copied());
    let overall = arguments.granularity().unwrap_or(match arguments.quant {
        Some(ExportType::Ternary(format)) => block(format),
        _ => auto,
    });
    let quantizer = Quantizer::new(overall, arguments.threshold)?
        .with_scale(arguments.scale)
        .with_reference(arguments.reference);
    // Rows that the asked format cannot hold go to Q2_0, whose groups they get.
    let granularities = columns
        .into_iter()
        .map(|(name, columns)| {
            let narrow = match (arguments.granularity(), arguments.quant) {
                (None, Some(ExportType::Ternary(format))) => {
                    !columns.is_multiple_of(format.block_len())
                }
                _ => false,
            };
            (
                name,
                if narrow {
                    block(BlockFormat::Q2_0)
                } else {
                    overall
                },
            )
        })
        .collect();
    let origin = Origin {
        source: path.display().to_string(),
        tool: concat!("t81-gguf ", env!("CARGO_PKG_VERSION")).to_owned(),
        quantizer: quantizer.clone(),
    };
    let source = QuantizedCheckpoint::with_granularities(&checkpoint, quantizer, granularities)?;
    let mut report = |progress: &ExportProgress<'_>| terminal.report(progress);
    Ok(export(
        &source,
        &origin,
        &arguments.output,
        &arguments.options(),
        &mut report,
    )?)
}

/// Row lengths of the weights that become ternary, by name.
fn ternary_columns(checkpoint: &Checkpoint) -> BTreeMap<String, usize> {
    let weights = checkpoint.config().ternary_weights();
    weights.map(|spec| (spec.name, spec.shape[1])).collect()
}

/// Groups of a format's block length.
fn block(format: BlockFormat) -> Granularity {
    // Block lengths are not zero, so the row granularity is never reached.
    Granularity::group(format.block_len()).unwrap_or(Granularity::Row)
}

/// The progress bar, and Ctrl-C.
struct Terminal {
    bar: ProgressBar,
    interrupted: Arc<AtomicBool>,
}

impl Terminal {
    /// Installs the handler: the first Ctrl-C stops before the next tensor, so that the temporary file is removed; a
    /// second one ends the program at once.
    fn new(quiet: bool) -> Result<Self, ctrlc::Error> {
        let interrupted = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&interrupted);
        ctrlc::set_handler(move || {
            if flag.swap(true, Ordering::SeqCst) {
                process::exit(INTERRUPTED.into());
            }
        })?;
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
        })
    }

    fn report(&self, progress: &ExportProgress<'_>) -> ControlFlow<()> {
        self.bar.set_length(progress.bytes_total);
        self.bar.set_position(progress.bytes_done);
        self.bar.set_message(progress.tensor.to_owned());
        if self.interrupted.load(Ordering::SeqCst) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}
