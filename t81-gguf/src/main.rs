//! `t81-gguf`: exports ternary models as GGUF, and looks into GGUF files.

mod commands;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use t81_gguf::{EmbeddingType, ExportType};

/// Write a ternary model as a GGUF file that llama.cpp, Ollama and LM Studio run, or look into a GGUF file.
#[derive(Debug, Parser)]
#[command(
    name = "t81-gguf",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    export: Option<ExportArguments>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the metadata and tensors of a GGUF file
    Info {
        /// The GGUF file
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Compare the tensors of two GGUF files byte by byte; exits with 1 when they differ
    Diff {
        /// A GGUF file
        first: PathBuf,
        /// Another GGUF file
        second: PathBuf,
    },
}

#[derive(Args, Debug)]
struct ExportArguments {
    /// The GGUF file to write
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// The t81 directory to export, as written by t81-convert and t81-qat
    #[arg(long, value_name = "DIR")]
    from_t81: PathBuf,
    /// Type of the ternary matrices: TQ1_0, TQ2_0, Q2_0, F16 or F32 [default: TQ2_0 if it holds all of them without
    /// loss, else Q2_0]
    #[arg(long, value_name = "TYPE")]
    quant: Option<ExportType>,
    /// Type of the token embedding and the output matrix: F16 or F32 [default: F16, with --quant F32 F32]
    #[arg(long, value_name = "TYPE")]
    embedding_type: Option<EmbeddingType>,
    /// llama.cpp's name of the pre-tokenizer, where it is not recognised from tokenizer.json
    #[arg(long, value_name = "NAME")]
    tokenizer_pre: Option<String>,
    /// Replace OUT if it exists
    #[arg(long)]
    overwrite: bool,
    /// Print errors only
    #[arg(short, long)]
    quiet: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match (cli.command, cli.export) {
        (Some(Command::Info { file, json }), _) => commands::info::run(&file, json),
        (Some(Command::Diff { first, second }), _) => commands::diff::run(&first, &second),
        (None, Some(arguments)) => commands::export::run(&arguments),
        (None, None) => unreachable!("clap asks for OUT and --from-t81"),
    };
    match outcome {
        Ok(code) => code,
        Err(error) if commands::is_closed_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", commands::one_line(&*error));
            ExitCode::from(2)
        }
    }
}
