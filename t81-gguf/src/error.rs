//! The crate's error type.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

use t81_core::{CodecError, QuantizeError};
use t81_hub::{HubError, SpecialFile, did_you_mean, nearest_sibling};
use thiserror::Error;

use crate::format_error::FormatError;
use crate::tensor_type::TensorType;
use crate::tokenizer::TokenizerError;

/// Why a GGUF file could not be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GgufError {
    /// The operating system refused to read or write a file.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file to read does not exist.
    #[error("cannot open `{}`{}", path.display(), did_you_mean(nearest.as_deref()))]
    NotFound {
        /// The file.
        path: PathBuf,
        /// An existing file of a similar name.
        nearest: Option<String>,
        /// The system's reason.
        source: io::Error,
    },
    /// A directory, pipe or device where a regular file belongs.
    #[error("`{}` is {kind}, not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it leads to.
        kind: SpecialFile,
    },
    /// The output exists and overwriting was not asked for.
    #[error("`{}` exists already; pass --overwrite to replace it", path.display())]
    OutputExists {
        /// The output.
        path: PathBuf,
    },
    /// The bytes are no valid GGUF file.
    #[error("cannot read `{}` as GGUF", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: FormatError,
    },
    /// A tensor or metadata entry that no valid GGUF file can hold.
    #[error("cannot plan `{}`", path.display())]
    Plan {
        /// The output.
        path: PathBuf,
        /// What is wrong.
        source: FormatError,
    },
    /// A tensor was written out of the planned order.
    #[error("tensor `{found}` was written where the plan has {expected}")]
    TensorOrder {
        /// What the plan has next.
        expected: String,
        /// What was written.
        found: String,
    },
    /// A tensor was written with too many or too few bytes.
    #[error("tensor `{tensor}` was written with {found} bytes; its plan has {expected}")]
    TensorSize {
        /// The tensor.
        tensor: String,
        /// Bytes planned.
        expected: u64,
        /// Bytes written.
        found: u64,
    },
    /// An earlier error left a tensor half written; the file has to be started anew.
    #[error("tensor `{tensor}` is half written; the file cannot be finished")]
    HalfWritten {
        /// The tensor.
        tensor: String,
    },
    /// A tensor type whose elements this crate cannot compute.
    #[error(
        "tensor `{tensor}` is {tensor_type}, which cannot be read as floats here ({} can)",
        crate::dequantize::READABLE
    )]
    NoFloats {
        /// The tensor.
        tensor: String,
        /// Its type.
        tensor_type: TensorType,
    },
    /// A ternary tensor could not be encoded or decoded.
    #[error("tensor `{tensor}`")]
    Codec {
        /// The tensor.
        tensor: String,
        /// The codec's reason.
        source: CodecError,
    },
    /// Settings that no quantizer has.
    #[error(transparent)]
    Settings {
        /// What is wrong with them.
        source: QuantizeError,
    },
    /// A tensor that cannot be made ternary.
    #[error("tensor `{tensor}`")]
    Quantize {
        /// The tensor.
        tensor: String,
        /// The quantizer's reason.
        source: QuantizeError,
    },
    /// No matrix would become ternary.
    #[error(
        "nothing in `{}` would become ternary: of its {candidates} matrices inside blocks none is selected (see --include and --exclude)",
        path.display()
    )]
    NothingSelected {
        /// The model.
        path: PathBuf,
        /// Matrices that could have been selected.
        candidates: usize,
    },
    /// One file of a model that is spread over several.
    #[error(
        "`{}` is one of {count} files of a split model; join them first: llama-gguf-split --merge FIRST OUT",
        path.display()
    )]
    Split {
        /// The file.
        path: PathBuf,
        /// Files in all.
        count: u64,
    },
    /// A file that was just written breaks a rule.
    #[error(
        "`{}` was not written, as its content is not valid ({others} more problems beside this): {problem}",
        path.display()
    )]
    Invalid {
        /// The output.
        path: PathBuf,
        /// The first problem.
        problem: String,
        /// How many more there are.
        others: usize,
    },
    /// A tensor that was just written does not hold what its source does.
    #[error(
        "tensor `{tensor}` was written with other values than its source has, at element {element}"
    )]
    Differs {
        /// The tensor.
        tensor: String,
        /// The first differing element, row-major.
        element: u64,
    },
    /// The model's files could not be read.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The tokenizer has no GGUF counterpart.
    #[error("cannot describe the tokenizer in `{}` to llama.cpp", path.display())]
    Tokenizer {
        /// The model directory.
        path: PathBuf,
        /// What stands in the way.
        source: TokenizerError,
    },
    /// The model lacks a tensor that its architecture needs.
    #[error("`{}` lacks the tensor `{tensor}`, which its config.json calls for", path.display())]
    MissingTensor {
        /// The model directory.
        path: PathBuf,
        /// The tensor.
        tensor: String,
    },
    /// The model has a tensor that its configuration does not call for; llama.cpp loads no file with such a tensor.
    #[error(
        "`{}` has the tensor `{tensor}`, which is none of a `{architecture}` model with its config.json, so that llama.cpp would not \
         load the file; remove it, or mend config.json", path.display()
    )]
    UnmappedTensor {
        /// The model directory.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The GGUF architecture.
        architecture: &'static str,
    },
    /// A tensor of another shape than config.json says.
    #[error("tensor `{tensor}` has the shape {found:?}, but config.json says {expected:?}")]
    TensorShape {
        /// The tensor.
        tensor: String,
        /// The shape that follows from config.json.
        expected: Vec<usize>,
        /// The shape found.
        found: Vec<usize>,
    },
    /// A setting of the model that llama.cpp's architecture cannot express.
    #[error("llama.cpp cannot run this model: {reason}")]
    UnsupportedModel {
        /// What cannot be expressed.
        reason: String,
    },
    /// An infinite or undefined weight.
    #[error(
        "tensor `{tensor}` holds {value} at element {element}; only finite weights can be exported"
    )]
    NonFinite {
        /// The tensor.
        tensor: String,
        /// The element's position, row-major.
        element: usize,
        /// Its value.
        value: f32,
    },
    /// The caller's progress function asked to stop.
    #[error("interrupted; nothing was written")]
    Interrupted,
}

impl GgufError {
    /// Checks that `attributes`, of what `path` leads to, are those of a regular file.
    pub(crate) fn check_regular(path: &Path, attributes: &Metadata) -> Result<(), Self> {
        match SpecialFile::of(attributes.file_type()) {
            None => Ok(()),
            Some(kind) => Err(Self::NotAFile {
                path: path.to_owned(),
                kind,
            }),
        }
    }

    /// The failure to open `path` for reading.
    pub(crate) fn open(path: &Path, source: io::Error) -> Self {
        if source.kind() != io::ErrorKind::NotFound {
            return Self::io("open", path, source);
        }
        Self::NotFound {
            path: path.to_owned(),
            nearest: nearest_sibling(path, Path::is_file),
            source,
        }
    }

    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        GgufError::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}
