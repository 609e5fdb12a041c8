//! The commands of the binary.

pub(crate) mod check;
pub(crate) mod dequant;
pub(crate) mod diff;
pub(crate) mod export;
pub(crate) mod info;
mod terminal;

use std::error::Error;
use std::io;
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

/// Whether the reader of our output went away (`t81-gguf info FILE | head`), which is its right.
pub(crate) fn is_closed_pipe(error: &(dyn Error + 'static)) -> bool {
    let direct = error.downcast_ref::<io::Error>().map(io::Error::kind);
    let through_json = error
        .downcast_ref::<serde_json::Error>()
        .and_then(serde_json::Error::io_error_kind);
    direct.or(through_json) == Some(io::ErrorKind::BrokenPipe)
}
