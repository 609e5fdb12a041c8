//! The command line of `t81-gguf`: flags and their meaning.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgGroup, Args, Command as ClapCommand, Parser, Subcommand};
use regex::Regex;
use t81_core::{GranularityChoice, Reference, ScaleRule};
use t81_hub::nearest;

use crate::{
    EmbeddingType, ExportOptions, ExportType, FloatType, PreTokenizerName, Profile, QuantizeOptions,
};

/// Write a ternary model as a GGUF file that llama.cpp, Ollama and LM Studio run, or look into a GGUF file.
#[derive(Debug, Parser)]
#[command(
    name = "t81-gguf",
    version = t81_hub::VERSION,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    group = ArgGroup::new("source").args(["from_t81", "from_hf", "from_gguf"]).required(true)
)]
pub struct Cli {
    /// What to do instead of an export.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The export.
    #[command(flatten)]
    pub export: Option<ExportArguments>,
}

/// Parses the command line of a program, or ends it with clap's answer. What looks like a mistyped command is answered with
/// the nearest one: beside commands, clap takes a first word for a positional argument.
pub fn parse<P: Parser>() -> P {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    P::try_parse_from(&arguments).unwrap_or_else(|error| {
        let mistyped = error
            .use_stderr()
            .then(|| mistyped_command(P::command(), arguments.get(1)?.to_str()?))
            .flatten();
        mistyped.unwrap_or(error).exit()
    })
}

/// The answer to `word` if it is like a command, but neither one nor a path.
fn mistyped_command(mut program: ClapCommand, word: &str) -> Option<clap::Error> {
    program.build();
    let commands = program.get_subcommands().map(ClapCommand::get_name);
    let command = nearest(word, commands)?.to_owned();
    let is_word = word.bytes().all(|byte| byte.is_ascii_alphabetic());
    if command == word || !is_word || Path::new(word).exists() {
        return None;
    }
    let mut error = clap::Error::new(ErrorKind::InvalidSubcommand).with_cmd(&program);
    error.insert(
        ContextKind::InvalidSubcommand,
        ContextValue::String(word.to_owned()),
    );
    error.insert(
        ContextKind::SuggestedSubcommand,
        ContextValue::Strings(vec![command]),
    );
    Some(error)
}

/// What `t81-gguf` does besides exporting.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the metadata, tensors and sparsity of a GGUF file
    Info(InfoArguments),
    /// Check GGUF files against everything that llama.cpp expects, every value included; exits with 1 when something is
    /// wrong, with 2 when a file cannot be read
    Check {
        /// The GGUF files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Write a GGUF file with floats in place of blocks, for runtimes without ternary types
    Dequant(DequantArguments),
    /// Compare the tensors of two GGUF files byte by byte; exits with 1 when they differ, with 2 on an error
    Diff {
        /// A GGUF file
        first: PathBuf,
        /// Another GGUF file
        second: PathBuf,
    },
}

/// Arguments of `info`.
#[derive(Args, Debug)]
pub struct InfoArguments {
    /// The GGUF file
    pub file: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Do not read the ternary tensors to count their zeros
    #[arg(long)]
    pub no_sparsity: bool,
    /// Leave the list of tensors out
    #[arg(long)]
    pub no_tensors: bool,
}

/// Arguments of `dequant`.
#[derive(Args, Debug)]
pub struct DequantArguments {
    /// The GGUF file to read
    #[arg(value_name = "IN")]
    pub input: PathBuf,
    /// The GGUF file to write
    #[arg(value_name = "OUT")]
    pub output: PathBuf,
    /// Type of the matrices: F16 or F32; vectors are F32
    #[arg(long = "type", value_name = "TYPE", default_value_t)]
    pub float_type: FloatType,
    /// Replace OUT if it exists
    #[arg(long)]
    pub overwrite: bool,
    /// Print errors only
    #[arg(short, long)]
    pub quiet: bool,
}

/// Help of `--tokenizer-pre`, a flag of every program that writes GGUF files.
pub const TOKENIZER_PRE_HELP: &str =
    "llama.cpp's name of the pre-tokenizer, if it is not recognized from tokenizer.json";

/// Heading of the quantizer's flags, which are those of t81-convert.
const WITH_FLOATS: &str = "With --from-hf and --from-gguf";

/// Arguments of an export.
#[derive(Args, Debug)]
pub struct ExportArguments {
    /// The GGUF file to write
    #[arg(value_name = "OUT")]
    pub output: PathBuf,
    /// The t81 directory to export, as written by t81-convert and t81-qat
    #[arg(long, value_name = "DIR")]
    pub from_t81: Option<PathBuf>,
    /// A Hugging Face checkpoint to make ternary on the way: an id of the Hugging Face Hub, or a directory
    #[arg(long, value_name = "MODEL")]
    pub from_hf: Option<PathBuf>,
    /// Branch, tag or commit of a model of the Hugging Face Hub [default: main]
    #[arg(long, requires = "from_hf")]
    pub revision: Option<String>,
    /// A GGUF file to make ternary, its metadata kept: F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K; matrices
    /// that are ternary already keep their codes and scales
    #[arg(long, value_name = "IN")]
    pub from_gguf: Option<PathBuf>,
    /// Type of the ternary matrices: TQ1_0, TQ2_0, Q2_0, F16 or F32 [default: TQ2_0 if it holds all of them without
    /// loss, else Q2_0]
    #[arg(long, value_name = "TYPE")]
    pub quant: Option<ExportType>,
    /// Type of the token embedding and the output matrix: F32, F16, BF16 or Q8_0 [default: F16, with --quant F32 F32, with
    /// --from-gguf as they are]
    #[arg(long, value_name = "TYPE")]
    embedding_type: Option<EmbeddingType>,
    /// Choices for a purpose, which --quant and --embedding-type override: compression-first is the smallest file that
    /// llama.cpp runs with sense (TQ1_0 where it fits, else Q2_0; embedding and output matrix Q8_0)
    #[arg(long, value_name = "PROFILE")]
    profile: Option<Profile>,
    #[arg(long, value_name = "NAME", help = TOKENIZER_PRE_HELP, conflicts_with = "from_gguf")]
    tokenizer_pre: Option<PreTokenizerName>,
    /// Read the file again before it takes its name: check it as `t81-gguf check` does, and compare every tensor with the
    /// source
    #[arg(long)]
    validate: bool,
    /// Replace OUT if it exists
    #[arg(long)]
    pub overwrite: bool,
    /// Print errors only
    #[arg(short, long)]
    pub quiet: bool,
    /// Weights below this fraction of their group's reference magnitude become 0; from 0 to 1
    #[arg(help_heading = WITH_FLOATS, long, default_value_t = 0.45, conflicts_with = "from_t81")]
    threshold: f32,
    /// Weights that share a scale: auto, tensor, row or group:N; auto takes groups that --quant holds without loss
    #[arg(help_heading = WITH_FLOATS, long, default_value = "auto", conflicts_with = "from_t81")]
    granularity: GranularityChoice,
    /// Where a scale comes from: least-squares or reference
    #[arg(help_heading = WITH_FLOATS, long, default_value_t, conflicts_with = "from_t81")]
    scale: ScaleRule,
    /// The magnitude that the threshold is a fraction of: abs-mean or abs-max
    #[arg(help_heading = WITH_FLOATS, long, default_value_t, conflicts_with = "from_t81")]
    reference: Reference,
    /// Make only weights ternary whose name in the source matches this regular expression; may be repeated
    #[arg(help_heading = WITH_FLOATS, long, value_name = "REGEX", conflicts_with = "from_t81")]
    include: Vec<Regex>,
    /// Leave weights whose name in the source matches this regular expression as they are; may be repeated
    #[arg(help_heading = WITH_FLOATS, long, value_name = "REGEX", conflicts_with = "from_t81")]
    exclude: Vec<Regex>,
    /// Accepted for compatibility: weights are quantized as float32; --embedding-type sets what stays float
    #[arg(help_heading = WITH_FLOATS, long, value_name = "DTYPE")]
    torch_dtype: Option<String>,
    /// Accepted for compatibility: the export reads one tensor at a time and runs on the CPU
    #[arg(help_heading = WITH_FLOATS, long, value_name = "MAP")]
    device_map: Option<String>,
    /// Accepted for compatibility: the export always runs on the CPU
    #[arg(help_heading = WITH_FLOATS, long)]
    force_cpu_device_map: bool,
}

impl ExportArguments {
    /// What the flags ask of an export.
    pub fn options(&self) -> ExportOptions {
        let options = ExportOptions {
            quant: self.quant,
            embedding_type: self.embedding_type,
            tokenizer_pre: self.tokenizer_pre,
            overwrite: self.overwrite,
            validate: self.validate,
        };
        match self.profile {
            Some(profile) => profile.complete(options),
            None => options,
        }
    }

    /// What the flags ask of the quantizer.
    pub fn quantize_options(&self) -> QuantizeOptions {
        QuantizeOptions {
            threshold: self.threshold,
            granularity: self.granularity.0,
            scale: self.scale,
            reference: self.reference,
            include: self.include.clone(),
            exclude: self.exclude.clone(),
        }
    }
}
