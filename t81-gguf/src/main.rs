//! `t81-gguf`: exports ternary models as GGUF, looks into GGUF files, checks and rewrites them.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod commands;

use std::process::ExitCode;

use t81_gguf::command_line::{Cli, Command, parse};
use t81_hub::terminal::print_error;

fn main() -> ExitCode {
    let cli: Cli = parse();
    // As diff(1) does: 1 says that files differ (or have problems), 2 that they could not be compared (or read).
    let trouble = match cli.command {
        Some(Command::Diff { .. } | Command::Check { .. }) => ExitCode::from(2),
        _ => ExitCode::FAILURE,
    };
    let outcome = match (cli.command, cli.export) {
        (Some(Command::Info(arguments)), _) => commands::info::run(&arguments),
        (Some(Command::Check { files, json }), _) => commands::check::run(&files, json),
        (Some(Command::Dequant(arguments)), _) => commands::dequant::run(&arguments),
        (Some(Command::Diff { first, second }), _) => commands::diff::run(&first, &second),
        (None, Some(arguments)) => commands::export::run(&arguments),
        (None, None) => Err(
            "OUT and one of --from-t81, --from-hf and --from-gguf are needed; see --help".into(),
        ),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            print_error(format_args!("error: {}", commands::one_line(&*error)));
            trouble
        }
    }
}
