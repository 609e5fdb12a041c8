//! The command line.

mod failure;
mod terminal;

use std::path::Path;

use t81_convert::command_line::Arguments;
use t81_convert::convert_with_progress;
use t81_gguf::{ExportOptions, ExportType, check_output, export_t81_with_progress};
use t81_hub::terminal::print;
use t81_hub::{T81Directory, Tokenizer, resolve};

use failure::Failure;
use terminal::Terminal;

/// Converts, exports if asked to, and prints a summary.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    if let Some(gguf) = &arguments.output_gguf {
        check_export(arguments, gguf)?;
    }
    let mut terminal = Terminal::new(arguments.quiet)?;
    let downloads = terminal.downloads(arguments.revision.clone());
    let source = resolve(&arguments.source, &downloads)?;
    if arguments.output_gguf.is_some() {
        Tokenizer::open(&source)?;
    }
    let options = arguments.options();
    let converted = convert_with_progress(&source, &arguments.out, &options, &mut terminal);
    terminal.finish();
    let report = converted?;
    if !arguments.quiet {
        if let Some(device_map) = arguments.accelerator() {
            print(format_args!(
                "note: --device-map {device_map} has no effect, conversion streams on the CPU"
            ));
        }
        print(&report);
    }
    if let Some(gguf) = &arguments.output_gguf {
        let directory = T81Directory::open(&report.directory)?;
        let options = ExportOptions {
            quant: arguments.quant.map(ExportType::Ternary),
            overwrite: arguments.overwrite,
            validate: arguments.validate,
            ..Default::default()
        };
        let exported = export_t81_with_progress(&directory, gguf, &options, &mut |progress| {
            terminal.exported(progress)
        });
        terminal.finish();
        let summary = exported?;
        if !arguments.quiet {
            print(format_args!("\n{summary}"));
        }
    }
    Ok(())
}

/// What would make the export fail after the work is done.
fn check_export(arguments: &Arguments, gguf: &Path) -> Result<(), Failure> {
    // A file within OUT goes with whatever OUT is replaced by, and its folder need not exist yet.
    if gguf.parent() != Some(&arguments.out) {
        check_output(gguf, arguments.overwrite)?;
    }
    Ok(())
}
