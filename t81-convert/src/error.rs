//! Why a conversion failed.

use std::path::PathBuf;

use t81_core::QuantizeError;
use t81_hub::HubError;

/// Why a conversion failed. Nothing then lies under the destination's name that was not there before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// The source cannot be read or the destination cannot be written.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The quantizer's settings make no sense.
    #[error(transparent)]
    Settings(#[from] QuantizeError),
    /// The destination is, or contains, the source.
    #[error("the destination `{}` is or contains the source; choose another", .0.display())]
    OverSource(PathBuf),
    /// Include and exclude patterns leave no tensor to make ternary.
    #[error(
        "--include and --exclude leave none of the {candidates} linear weights to make ternary"
    )]
    NothingSelected {
        /// How many weights the architecture offers.
        candidates: usize,
    },
    /// [`validate`](crate::ConvertOptions::validate) found that the written directory is not what the source gives.
    #[error(
        "tensor `{tensor}` was written and read back, and {problem}: the disk or the memory of this machine is at fault, or the \
         source changed meanwhile; nothing was kept"
    )]
    Validation {
        /// The tensor.
        tensor: String,
        /// What is wrong, to be read after "and".
        problem: String,
    },
    /// [`Progress::cancelled`](crate::Progress::cancelled) said so.
    #[error("interrupted; nothing was written")]
    Interrupted,
}
