//! Hugging Face checkpoints, from the Hub or on disk, and t81 directories.
//!
//! [`resolve`] turns what a user typed (a directory, or an id of the Hub) into a directory; [`HubClient`] downloads.
//! [`Checkpoint`] reads a model of floats (configuration, sharded safetensors), [`Tokenizer`] its tokenizer.
//! [`T81Writer`] and [`T81Directory`] write and read the ternary counterpart, and [`QuantizedCheckpoint`] makes a checkpoint
//! ternary tensor by tensor without writing anything. All files are input that nobody vouches for: damage is a [`HubError`]
//! that names the file and the tensor, never a panic. [`terminal`] is what command-line programs share.
//!
//! ```no_run
//! use t81_hub::{Checkpoint, ModelConfig};
//!
//! let checkpoint = Checkpoint::open("SmolLM2-135M")?;
//! checkpoint.config().check(&checkpoint)?;
//! for name in checkpoint.config().ternary_weight_names() {
//!     let weight = checkpoint.tensor(&name)?;
//!     println!("{name}: {} {:?}", weight.dtype, weight.shape);
//! }
//! # Ok::<(), t81_hub::HubError>(())
//! ```
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod architectures;
mod checkpoint;
mod config;
mod dtype;
mod error;
mod files;
mod foreign_content;
mod header;
mod json;
mod nearest;
mod output_path;
mod pages;
mod quantized;
mod remote;
mod resolve;
mod special_file;
mod streamed;
mod t81;
mod tensor_names;
mod tensor_view;
pub mod terminal;
mod tokenizer;

pub use architectures::{Architecture, Normalisation, RowOrder, TensorRole, TensorSpec};
pub use checkpoint::{Checkpoint, MemoryTensor};
pub use config::{AttentionBias, ModelConfig, Rope, RopeScaling, SlidingWindow};
pub use dtype::{Dtype, ParseDtypeError};
pub use error::HubError;
pub use foreign_content::ForeignContent;
pub use nearest::{did_you_mean, nearest, nearest_sibling};
pub use output_path::{GgufPlace, OutputFolder, check_apart, check_creatable, resolve_output};
pub use quantized::{QuantizedCheckpoint, TernarySource};
pub use remote::{
    DownloadProgress, HubClient, HubClientBuilder, RemoteError, RemoteFile, RepoId, RepoKind,
    RepoListing, SilentDownloads, TerminalDownloads,
};
pub use resolve::{ResolveOptions, local_directory, model_name, resolve};
pub use special_file::{SpecialFile, open_regular_file, read_if_exists};
pub use t81::{
    CompleteDirectory, DenseSink, DenseTensorInfo, FORMAT_VERSION, METADATA_FILE, OutputFormat,
    ParseOutputFormatError, Storage, T81Directory, T81Metadata, T81Statistics, T81Tensor,
    T81Writer, TensorPlan, TernaryTensorInfo,
};
pub use tensor_view::TensorView;
pub use tokenizer::{
    AddedToken, AddedTokenSource, Bpe, ChatTemplates, SpecialTokens, Tokenizer, TokenizerKind,
    TokenizerSettings, companion_files,
};

/// Version of T81 as its commands print it: the package's, and the commit that it was built from where one is known.
pub const VERSION: &str = env!("T81_VERSION");
