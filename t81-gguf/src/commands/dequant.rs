//! `t81-gguf dequant IN OUT`

use t81_gguf::{ExportProgress, GgufFile, check_output, dequant};

use super::Outcome;
use super::terminal::Terminal;
use t81_gguf::command_line::DequantArguments;

pub(crate) fn run(arguments: &DequantArguments) -> Outcome {
    check_output(&arguments.output, arguments.overwrite)?;
    let source = GgufFile::open(&arguments.input)?;
    let terminal = Terminal::new(arguments.quiet)?;
    let mut report = |progress: &ExportProgress<'_>| terminal.report(progress);
    let written = dequant(
        &source,
        &arguments.output,
        arguments.float_type,
        arguments.overwrite,
        &mut report,
    );
    terminal.conclude(written.map_err(Into::into), None)
}
