//! The `t81-qat` command.
#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

use t81_gguf::command_line::parse;
use t81_hub::terminal::print_error;
use t81_qat::{Cli, INTERRUPTED, Run, run_command};

fn main() -> ExitCode {
    match run_command(parse::<Cli>()) {
        Ok(Run::Finished) => ExitCode::SUCCESS,
        Ok(Run::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(error) => {
            let mut message = format!("error: {error}");
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                message.push_str(&format!(": {error}"));
                cause = error.source();
            }
            print_error(format_args!("{}", message.replace('\n', " ")));
            ExitCode::FAILURE
        }
    }
}
