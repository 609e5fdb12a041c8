//! `t81-gguf OUT --from-t81 DIR`, `t81-gguf OUT --from-hf MODEL` and `t81-gguf OUT --from-gguf IN`

use std::error::Error;
use std::path::{Path, PathBuf};

use t81_gguf::{
    ExportProgress, ExportSummary, GgufFile, check_output, export_checkpoint,
    export_t81_with_progress, repack,
};
use t81_hub::{Checkpoint, T81Directory, check_apart, model_name, resolve};

use super::Outcome;
use super::terminal::Terminal;
use t81_gguf::command_line::ExportArguments;

const UNTRAINED: &str = "a model that was not trained with ternary weights is unusable after this step alone; train it with t81-qat";

pub(crate) fn run(arguments: &ExportArguments) -> Outcome {
    check_output(&arguments.output, arguments.overwrite)?;
    // As they were typed: a run's directory, say, of which the export reads a part.
    let sources = [
        &arguments.from_t81,
        &arguments.from_hf,
        &arguments.from_gguf,
    ];
    check_apart(
        &arguments.output,
        sources.into_iter().flatten().map(PathBuf::as_path),
    )?;
    let terminal = Terminal::new(arguments.quiet)?;
    let (exported, remark) = match arguments {
        ExportArguments {
            from_t81: Some(path),
            ..
        } => (from_t81(arguments, path, &terminal), None),
        ExportArguments {
            from_hf: Some(path),
            ..
        } => (from_checkpoint(arguments, path, &terminal), Some(UNTRAINED)),
        ExportArguments {
            from_gguf: Some(path),
            ..
        } => (from_gguf(arguments, path, &terminal), Some(UNTRAINED)),
        _ => (
            Err("one of --from-t81, --from-hf and --from-gguf is needed".into()),
            None,
        ),
    };
    terminal.conclude(exported, remark)
}

fn from_t81(
    arguments: &ExportArguments,
    path: &Path,
    terminal: &Terminal,
) -> Result<ExportSummary, Box<dyn Error>> {
    let directory = T81Directory::open(path)?;
    let mut report = |progress: &ExportProgress<'_>| terminal.report(progress);
    Ok(export_t81_with_progress(
        &directory,
        &arguments.output,
        &arguments.options(),
        &mut report,
    )?)
}

fn from_checkpoint(
    arguments: &ExportArguments,
    path: &Path,
    terminal: &Terminal,
) -> Result<ExportSummary, Box<dyn Error>> {
    let directory = resolve(path, &terminal.downloads(arguments.revision.clone()))?;
    let name = model_name(path, arguments.revision.as_deref(), &directory);
    let checkpoint = Checkpoint::open(directory)?;
    let mut report = |progress: &ExportProgress<'_>| terminal.report(progress);
    Ok(export_checkpoint(
        &checkpoint,
        &name,
        &arguments.output,
        &arguments.quantize_options(),
        &arguments.options(),
        &mut report,
    )?)
}

fn from_gguf(
    arguments: &ExportArguments,
    path: &Path,
    terminal: &Terminal,
) -> Result<ExportSummary, Box<dyn Error>> {
    let source = GgufFile::open(path)?;
    let mut report = |progress: &ExportProgress<'_>| terminal.report(progress);
    Ok(repack(
        &source,
        &arguments.output,
        &arguments.quantize_options(),
        &arguments.options(),
        &mut report,
    )?)
}
