//! The command line.

mod failure;
mod terminal;

use t81_convert::command_line::Arguments;
use t81_convert::convert_with_progress;
use t81_hub::resolve;
use t81_hub::terminal::print;

use failure::Failure;
use terminal::Terminal;

/// Converts, exports if asked to, and prints a summary.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut options = arguments.options()?;
    if let Some(gguf) = &options.gguf {
        gguf.check_path(&arguments.out)?;
    }
    let mut terminal = Terminal::new(arguments.quiet)?;
    let downloads = terminal.downloads(arguments.revision.clone());
    let source = resolve(&arguments.source, &downloads)?;
    options.source_name = Some(arguments.source_name(&source));
    let converted = convert_with_progress(&source, &arguments.out, &options, &mut terminal);
    terminal.finish();
    let report = converted?;
    if arguments.quiet {
        return Ok(());
    }
    if let Some(device_map) = arguments.accelerator() {
        print(format_args!(
            "note: --device-map {device_map} has no effect, conversion streams on the CPU"
        ));
    }
    print(format_args!("{report}"));
    if let Some(summary) = &report.gguf {
        print(format_args!("\n{summary}"));
    }
    Ok(())
}
