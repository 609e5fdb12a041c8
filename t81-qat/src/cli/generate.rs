//! Arguments of `generate`.

use clap::{ArgAction, Args};

use super::choices::ActivationChoice;
use super::values::{non_negative_float, positive, positive_float, positive_fraction};
use crate::device::DeviceChoice;

/// Arguments of `generate`.
#[derive(Args, Clone, Debug)]
pub struct GenerateArguments {
    /// A t81 directory, the output directory of a run, a checkpoint directory, or an id of the Hugging Face Hub.
    #[arg(value_name = "DIR")]
    pub model: String,
    /// Text to continue; may be empty.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub prompt: String,
    /// Branch, tag or commit of a model of the Hugging Face Hub [default: main].
    #[arg(long, value_name = "REVISION")]
    pub revision: Option<String>,
    /// Tokens to generate at most.
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = positive)]
    pub max_new_tokens: usize,
    /// Divisor of the logits; 0 takes the most probable token each time.
    #[arg(long, value_name = "T", default_value_t = 0.0, value_parser = non_negative_float)]
    pub temperature: f32,
    /// Draw from this many of the most probable tokens; 0 for all.
    #[arg(long, value_name = "K", default_value_t = 50)]
    pub top_k: usize,
    /// Draw from the fewest tokens that together have this probability; 1 for all.
    #[arg(long, value_name = "P", default_value_t = 1.0, value_parser = positive_fraction)]
    pub top_p: f32,
    /// Make tokens that were there before less probable; 1 for no penalty.
    #[arg(long, value_name = "PENALTY", default_value_t = 1.0, value_parser = positive_float)]
    pub repetition_penalty: f32,
    /// Where the random numbers start: the same seed draws the same text.
    #[arg(long, value_name = "SEED", default_value_t = 42)]
    pub seed: u64,
    /// Stop where the model ends its text; `--stop-at-eos=false` goes on.
    #[arg(
        long,
        value_name = "BOOL",
        action = ArgAction::Set,
        default_value_t = true,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true
    )]
    pub stop_at_eos: bool,
    /// How activations enter the products with ternary weights: as they are, or rounded to int8 as llama.cpp does, which is
    /// several times faster [default: as in training where the directory says how, else float32].
    #[arg(long, value_name = "TYPE", value_enum)]
    pub activations: Option<ActivationChoice>,
    /// Where to compute: auto (a GPU if there is one), cpu, gpu, or one as in vulkan:0, metal:0, cuda:0.
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
}
