//! The commands of the binary.

pub(crate) mod check;
pub(crate) mod dequant;
pub(crate) mod diff;
pub(crate) mod export;
pub(crate) mod info;
mod terminal;

use std::error::Error;
use std::process::ExitCode;

use t81_hub::terminal::write_result;

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
    printable(&line.replace('\n', " "))
}

/// Text from a file that nobody vouches for, its control characters (which could command the terminal) spelt out.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|character| {
            let escaped = character.is_control() && character != '\n';
            let plain = (!escaped).then_some(character);
            let spelt = escaped.then(|| character.escape_default());
            plain.into_iter().chain(spelt.into_iter().flatten())
        })
        .collect()
}

/// Writes what a command found to standard output. A reader that went away (`t81-gguf info FILE | head`) is no error and
/// changes no verdict.
pub(crate) fn print_result(text: &[u8]) -> Result<(), Box<dyn Error>> {
    match write_result(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("cannot write to standard output: {error}").into()),
    }
}
