//! Reads and writes GGUF files, and exports ternary models so that llama.cpp runs them.
//!
//! - [`write_gguf`] and [`read_gguf`] are the short way: any model that `t81-gguf` takes into a file, any file back.
//! - [`GgufFile`] opens a file by memory map and trusts nothing in it; [`GgufHeader`] parses plain bytes.
//! - [`GgufWriter`] streams tensors into a file that appears whole or not at all.
//! - [`export_t81`] turns a t81 directory into a GGUF file of TQ1_0, TQ2_0, Q2_0, F16 or F32 matrices, keeping every
//!   ternary code and scale; [`export_checkpoint`] and [`repack`] make a checkpoint or another GGUF file ternary on the way.
//! - [`dequant`] puts floats in place of blocks; [`check`] holds a file against everything that llama.cpp expects;
//!   [`Comparison`] compares the tensors of two files byte by byte.
//!
//! ```
//! use t81_gguf::{GgufFile, GgufWriter, Metadata, TensorPlan, TensorType};
//!
//! let directory = tempfile::tempdir()?;
//! let path = directory.path().join("tiny.gguf");
//! let mut metadata = Metadata::new();
//! metadata.set("general.architecture", "llama");
//! let plan = [TensorPlan { name: "output_norm.weight".into(), tensor_type: TensorType::F32, dimensions: vec![2] }];
//!
//! let mut writer = GgufWriter::create(&path, &metadata, &plan, false)?;
//! writer.write_tensor("output_norm.weight", &[0, 0, 128, 63, 0, 0, 0, 64])?;
//! writer.finish()?;
//!
//! let file = GgufFile::open(&path)?;
//! assert_eq!(file.metadata().string("general.architecture"), Some("llama"));
//! assert_eq!(file.tensor("output_norm.weight").unwrap().to_f32()?, [1.0, 2.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod architecture;
mod check;
pub mod command_line;
mod compare;
mod dequant;
mod dequantize;
mod encode;
mod error;
mod export;
mod fork_types;
mod format_error;
mod metadata;
mod parse;
mod pieces;
mod quantize_options;
mod reader;
mod repack;
mod temporary;
mod tensor_role;
mod tensor_type;
mod tokenizer;
mod validate;
mod write;
mod writer;

pub use check::{CheckReport, Problem, Rule, check};
pub use compare::{Comparison, DifferenceKind, TensorDifference};
pub use dequant::{FloatType, UnknownFloatType, dequant};
pub use error::GgufError;
pub use export::{
    CompleteExport, EmbeddingType, ExportOptions, ExportProgress, ExportSummary, ExportType,
    ExportedTensor, Fallback, ModelOutline, Origin, Profile, Progress, UnknownEmbeddingType,
    UnknownExportType, UnknownProfile, check_export, export, export_checkpoint, export_complete,
    export_t81, export_t81_with_progress,
};
pub use format_error::FormatError;
pub use metadata::{Metadata, MetadataArray, MetadataValue};
pub use parse::{GgufHeader, TensorInfo};
pub use quantize_options::QuantizeOptions;
pub use reader::{GgufFile, GgufTensor};
pub use repack::repack;
pub use tensor_type::TensorType;
pub use tokenizer::{PreTokenizerName, TokenizerError, UnknownPreTokenizerName};
pub use write::{read_gguf, write_gguf};
pub use writer::{CompleteFile, GgufWriter, TensorPlan, TensorSink, check_output};
