//! Makes a Hugging Face checkpoint ternary.
//!
//! [`convert`] reads a checkpoint one tensor at a time, quantizes the linear weights of every block on all cores and
//! writes a t81 directory ([`t81_hub::T81Directory`]), which `t81-qat` and `t81-gguf` read.
//!
//! A model that was not trained with ternary weights says nothing sensible after conversion: it needs quantization-aware
//! training first. Measured: SmolLM2-135M-Instruct, converted by `t81-convert SmolLM2 OUT --output-gguf M.gguf`, has a
//! perplexity of 5.07 million by `llama-perplexity -m M.gguf -f valid.txt -c 512 --chunks 4` (llama.cpp b11434, WikiText-2
//! validation text).
//!
//! ```no_run
//! use t81_convert::{ConvertOptions, convert};
//!
//! let report = convert("SmolLM2-135M", "SmolLM2-135M-t81", &ConvertOptions::default())?;
//! println!("{report}");
//! # Ok::<(), t81_convert::ConvertError>(())
//! ```
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod command_line;
mod convert;
mod error;
mod gguf;
mod options;
mod pretrained;
mod progress;
mod report;
mod selection;
mod validate;

pub use convert::{convert, convert_with_progress};
pub use error::ConvertError;
pub use gguf::GgufOutput;
pub use options::ConvertOptions;
pub use pretrained::{from_pretrained_t81, save_pretrained_t81};
pub use progress::{Progress, Silent};
pub use report::{ConversionReport, DenseTotals, TernaryReport, Unheld};
