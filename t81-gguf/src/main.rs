//! `t81-gguf`: exports ternary models as GGUF, and looks into GGUF files.

mod arguments;
mod commands;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    // As diff(1) does: 1 says that files differ, 2 that they could not be compared.
    let trouble = match cli.command {
        Some(Command::Diff { .. }) => ExitCode::from(2),
        _ => ExitCode::FAILURE,
    };
    let outcome = match (cli.command, cli.export) {
        (Some(Command::Info { file, json }), _) => commands::info::run(&file, json),
        (Some(Command::Diff { first, second }), _) => commands::diff::run(&first, &second),
        (None, Some(arguments)) => commands::export::run(&arguments),
        (None, None) => {
            Err("OUT and one of --from-t81 and --from-hf are needed; see --help".into())
        }
    };
    match outcome {
        Ok(code) => code,
        Err(error) if commands::is_closed_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", commands::one_line(&*error));
            trouble
        }
    }
}
