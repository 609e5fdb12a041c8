//! Arguments of `evaluate`.

use std::path::PathBuf;

use clap::Args;

use super::choices::ActivationChoice;
use super::values::positive;

/// Arguments of `evaluate`.
#[derive(Args, Clone, Debug)]
pub struct EvaluateArguments {
    /// A t81 directory, or the output directory of a run.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Text to evaluate on.
    #[arg(long, value_name = "FILE")]
    pub text: PathBuf,
    /// Tokens a window; the second half of each is scored [default: 512, or the model's context if that is shorter].
    #[arg(long, value_name = "TOKENS", value_parser = positive)]
    pub block_size: Option<usize>,
    /// Windows to evaluate at most.
    #[arg(long, value_name = "N", value_parser = positive)]
    pub max_windows: Option<usize>,
    /// How activations enter the products with ternary weights: as they are, or rounded to int8 as llama.cpp does, which is
    /// several times faster [default: as in training where the directory says how, else float32].
    #[arg(long, value_name = "TYPE", value_enum)]
    pub activations: Option<ActivationChoice>,
    /// Write the logits of the first window as raw little-endian f32, [tokens, vocabulary].
    #[arg(long, value_name = "FILE")]
    pub logits_out: Option<PathBuf>,
    /// Write the token ids of the first window, separated by spaces.
    #[arg(long, value_name = "FILE")]
    pub ids_out: Option<PathBuf>,
}
