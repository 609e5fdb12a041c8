//! From an error to a message and an exit code.

use std::error::Error;
use std::process::ExitCode;

use t81_convert::ConvertError;
use t81_hub::HubError;
use t81_hub::terminal::{INTERRUPTED, print_error};

/// Why the program ends without having done its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Ctrl-C or another request to end.
    Interrupted,
    /// The same while a model was being downloaded.
    DownloadInterrupted(HubError),
    /// Anything else.
    Error(Box<dyn Error>),
}

impl Failure {
    /// Tells the user on standard error: one line, and one for each cause.
    pub(crate) fn report(self) -> ExitCode {
        match self {
            Failure::Interrupted => {
                print_error("interrupted; the unfinished output was removed");
                ExitCode::from(INTERRUPTED)
            }
            Failure::DownloadInterrupted(error) => {
                print_error(error);
                ExitCode::from(INTERRUPTED)
            }
            Failure::Error(error) => {
                print_error(format_args!("error: {error}"));
                let mut cause = error.source();
                while let Some(error) = cause {
                    print_error(format_args!("  cause: {error}"));
                    cause = error.source();
                }
                ExitCode::FAILURE
            }
        }
    }
}

impl From<ConvertError> for Failure {
    fn from(error: ConvertError) -> Self {
        match error {
            ConvertError::Interrupted => Failure::Interrupted,
            error => Failure::Error(Box::new(error)),
        }
    }
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        if error.is_interruption() {
            Failure::DownloadInterrupted(error)
        } else {
            Failure::Error(Box::new(error))
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Failure::Error(Box::new(error))
    }
}
