//! Why a conversion failed.

use t81_core::{BlockFormat, QuantizeError};
use t81_gguf::GgufError;
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
    /// The GGUF file cannot be planned or written.
    #[error(transparent)]
    Gguf(GgufError),
    /// Groups that the GGUF type cannot hold are asked for.
    #[error(
        "--quant {groups} makes groups of {} weights, but --gguf-quant {file} has one scale for {}; pass --quant {file}, or a \
         --gguf-quant that holds them (Q2_0, F16, F32)",
        groups.block_len(), file.block_len()
    )]
    Groups {
        /// The type that groups are chosen for.
        groups: BlockFormat,
        /// The type of the file.
        file: BlockFormat,
    },
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

impl From<GgufError> for ConvertError {
    fn from(error: GgufError) -> Self {
        match error {
            GgufError::Interrupted => Self::Interrupted,
            error => Self::Gguf(error),
        }
    }
}
