//! The t81 directory: a model whose linear weights are ternary.
//!
//! `config.json`, the tokenizer's files and `generation_config.json` lie as in the source. `model.safetensors` holds, in
//! the packed format, each ternary `X.weight` as
//! - `X.weight.codes`, U8 `[out, ceil(in / 4)]`: element `j` of a row in byte `j / 4`, bits `2 * (j % 4)` and up, value
//!   `code + 1`; the padding of a row's last byte is 1;
//! - `X.weight.scales`, F16 `[out, ceil(in / group)]`, `[out, 1]` for one scale a row, `[1, 1]` for one a tensor;
//!
//! and everything else as plain tensors. In the dense format it holds the same values as F16 under their own names,
//! exactly (an F16 scale times -1, 0 or 1), for any tool that reads Hugging Face models. `t81_metadata.json` tells the
//! two apart and says how each tensor was made.

mod atomic;
mod directory;
mod metadata;
mod plan;
mod writer;

pub use directory::{T81Directory, T81Tensor};
pub use metadata::{
    DenseTensorInfo, FORMAT_VERSION, METADATA_FILE, T81Metadata, T81Statistics, TernaryTensorInfo,
};
pub use plan::{OutputFormat, ParseOutputFormatError, Storage, TensorPlan};
pub use writer::{CompleteDirectory, DenseSink, T81Writer};
