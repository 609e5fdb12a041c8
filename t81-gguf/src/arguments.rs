//! Flags and their meaning.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use t81_core::{Granularity, Reference, ScaleRule};
use t81_gguf::{EmbeddingType, ExportOptions, ExportType};

/// Write a ternary model as a GGUF file that llama.cpp, Ollama and LM Studio run, or look into a GGUF file.
#[derive(Debug, Parser)]
#[command(
    name = "t81-gguf",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) export: Option<ExportArguments>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the metadata and tensors of a GGUF file
    Info {
        /// The GGUF file
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Compare the tensors of two GGUF files byte by byte; exits with 1 when they differ, with 2 on an error
    Diff {
        /// A GGUF file
        first: PathBuf,
        /// Another GGUF file
        second: PathBuf,
    },
}

/// Heading of the quantizer's flags, which are those of t81-convert.
const WITH_FROM_HF: &str = "With --from-hf";

#[derive(Args, Debug)]
pub(crate) struct ExportArguments {
    /// The GGUF file to write
    #[arg(value_name = "OUT")]
    pub(crate) output: PathBuf,
    /// The t81 directory to export, as written by t81-convert and t81-qat
    #[arg(
        long,
        value_name = "DIR",
        required_unless_present = "from_hf",
        conflicts_with = "from_hf"
    )]
    pub(crate) from_t81: Option<PathBuf>,
    /// A Hugging Face checkpoint to make ternary on the way
    #[arg(long, value_name = "DIR")]
    pub(crate) from_hf: Option<PathBuf>,
    /// Type of the ternary matrices: TQ1_0, TQ2_0, Q2_0, F16 or F32 [default: TQ2_0 if it holds all of them without
    /// loss, else Q2_0]
    #[arg(long, value_name = "TYPE")]
    pub(crate) quant: Option<ExportType>,
    /// Type of the token embedding and the output matrix: F16 or F32 [default: F16, with --quant F32 F32]
    #[arg(long, value_name = "TYPE")]
    embedding_type: Option<EmbeddingType>,
    /// llama.cpp's name of the pre-tokenizer, where it is not recognised from tokenizer.json
    #[arg(long, value_name = "NAME")]
    tokenizer_pre: Option<String>,
    /// Replace OUT if it exists
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Print errors only
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Weights below this fraction of their group's reference magnitude become 0; from 0 to 1
    #[arg(help_heading = WITH_FROM_HF, long, default_value_t = 0.45, conflicts_with = "from_t81")]
    pub(crate) threshold: f32,
    /// Weights that share a scale: auto, tensor, row or group:N; auto takes groups that --quant holds without loss
    #[arg(help_heading = WITH_FROM_HF, long, default_value = "auto", value_parser = granularity, conflicts_with = "from_t81")]
    granularity: GranularityChoice,
    /// Where a scale comes from: least-squares or reference
    #[arg(help_heading = WITH_FROM_HF, long, default_value_t, conflicts_with = "from_t81")]
    pub(crate) scale: ScaleRule,
    /// The magnitude that the threshold is a fraction of: abs-mean or abs-max
    #[arg(help_heading = WITH_FROM_HF, long, default_value_t, conflicts_with = "from_t81")]
    pub(crate) reference: Reference,
    /// Accepted for compatibility: weights are quantized as float32; --embedding-type sets what stays float
    #[arg(help_heading = WITH_FROM_HF, long, value_name = "DTYPE")]
    torch_dtype: Option<String>,
    /// Accepted for compatibility: the export reads one tensor at a time and runs on the CPU
    #[arg(help_heading = WITH_FROM_HF, long, value_name = "MAP")]
    device_map: Option<String>,
    /// Accepted for compatibility: the export always runs on the CPU
    #[arg(help_heading = WITH_FROM_HF, long)]
    force_cpu_device_map: bool,
}

impl ExportArguments {
    /// The granularity asked for; none lets the export choose.
    pub(crate) fn granularity(&self) -> Option<Granularity> {
        self.granularity.0
    }

    pub(crate) fn options(&self) -> ExportOptions {
        ExportOptions {
            quant: self.quant,
            embedding_type: self.embedding_type,
            tokenizer_pre: self.tokenizer_pre.clone(),
            overwrite: self.overwrite,
        }
    }
}

/// `--granularity`, where `auto` is none.
#[derive(Clone, Copy, Debug)]
struct GranularityChoice(Option<Granularity>);

fn granularity(text: &str) -> Result<GranularityChoice, String> {
    if text == "auto" {
        return Ok(GranularityChoice(None));
    }
    let granularity = text.parse().map_err(|error| format!("{error}, or auto"))?;
    Ok(GranularityChoice(Some(granularity)))
}
