//! The one optional argument of an example.

use std::error::Error;
use std::str::FromStr;

use crate::Failure;

/// The first argument of the program, or `default` if there is none.
///
/// # Errors
///
/// When the argument does not parse.
pub fn argument_or<T>(default: T) -> Result<T, Failure>
where
    T: FromStr<Err: Error + Send + Sync + 'static>,
{
    match std::env::args().nth(1) {
        Some(text) => text
            .parse()
            .map_err(|error| format!("`{text}`: {error}").into()),
        None => Ok(default),
    }
}
