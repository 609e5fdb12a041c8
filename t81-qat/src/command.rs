//! What the command line asks for.

use crate::bench;
use crate::cli::{Cli, Command};
use crate::error::QatError;
use crate::evaluate;
use crate::generate;
use crate::report;
use crate::run;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// It did all that it was asked for.
    Finished,
    /// Ctrl-C stopped it; it saved and said how to resume.
    Interrupted,
}

/// Does what `cli` asks for.
///
/// # Errors
///
/// Whatever stops it.
pub fn run_command(cli: Cli) -> Result<Run, QatError> {
    match (cli.command, cli.train) {
        (Some(Command::Bench(arguments)), _) => bench::run(&arguments),
        (Some(Command::Evaluate(arguments)), _) => evaluate::run(&arguments),
        (Some(Command::Generate(arguments)), _) => generate::run(&arguments),
        (Some(Command::Report(arguments)), _) => report::run(&arguments),
        (None, Some(arguments)) => run::train(&arguments),
        (None, None) => Ok(Run::Finished),
    }
}
