//! The commands of the binary.

pub(crate) mod diff;
pub(crate) mod export;
pub(crate) mod info;

use std::error::Error;
use std::process::ExitCode;

/// How a command ends: with an exit code, or with an error for the user.
pub(crate) type Outcome = Result<ExitCode, Box<dyn Error>>;

/// An error and its causes in one line.
pub(crate) fn one_line(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // An error may have quoted its cause already.
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line.replace('\n', " ")
}
