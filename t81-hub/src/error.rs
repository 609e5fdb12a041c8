//! The one error type of the crate.

use std::path::{Path, PathBuf};

use crate::{Dtype, ForeignContent, RemoteError, SpecialFile, did_you_mean};

/// What can go wrong with the files of a model. Each message names the file and, where there is one, the tensor
/// or field, and says the way out where one exists.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// The source names no directory of this machine.
    #[error("directory `{directory}` was not found{}", did_you_mean(nearest.as_deref()))]
    DirectoryNotFound {
        /// The directory, as it was typed.
        directory: String,
        /// An existing directory of a similar name.
        nearest: Option<String>,
    },
    /// A revision was asked for of a directory, which has none.
    #[error("`{}` is a directory of this machine, which has no revision `{revision}`; leave --revision out", directory.display())]
    RevisionOfDirectory {
        /// The directory.
        directory: PathBuf,
        /// The revision.
        revision: String,
    },
    /// The Hugging Face Hub did not give what was asked for.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The operating system refused a file operation.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was being done, as a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The reason given by the operating system.
        source: std::io::Error,
    },
    /// A path that must be a regular file is something else.
    #[error("`{}` is {kind}, not a regular file{}", path.display(), kind.hint())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it leads to.
        kind: SpecialFile,
    },
    /// A JSON file is larger than anything sensible.
    #[error("`{}` has {bytes} bytes, more than the {limit} that such a file may have", path.display())]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The largest size accepted.
        limit: u64,
    },
    /// A file is not the JSON it should be.
    #[error("`{}` cannot be parsed", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Position and reason.
        source: serde_json::Error,
    },
    /// Something else lies where a file of the model should.
    #[error("`{}` is {found}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What lies there.
        found: ForeignContent,
    },
    /// A field of `config.json` is missing, mistyped or out of range.
    #[error("`{}`: {field} {problem}", path.display())]
    Config {
        /// The configuration file.
        path: PathBuf,
        /// The field's name.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The model's architecture is not one that T81 knows.
    #[error("`{}`: model_type `{model_type}` is not supported (supported: {supported})", path.display())]
    UnsupportedModelType {
        /// The configuration file.
        path: PathBuf,
        /// The `model_type` found.
        model_type: String,
        /// The ones that would do.
        supported: String,
    },
    /// The rotary embedding is scaled in a way that T81 does not know.
    #[error("`{}`: rope scaling of type `{kind}` is not supported (supported: default, linear, llama3, yarn, longrope)", path.display())]
    UnsupportedRopeScaling {
        /// The configuration file.
        path: PathBuf,
        /// The `rope_type` found.
        kind: String,
    },
    /// The directory holds no safetensors.
    #[error("`{}` holds neither model.safetensors nor model.safetensors.index.json{hint}", directory.display())]
    NoWeights {
        /// The directory.
        directory: PathBuf,
        /// What to do about it, starting with punctuation; may be empty.
        hint: String,
    },
    /// The index lists a shard that does not exist.
    #[error("shard `{}`, listed in `{}`, does not exist: the download is incomplete", path.display(), index.display())]
    MissingShard {
        /// The shard's path.
        path: PathBuf,
        /// The index file.
        index: PathBuf,
    },
    /// The index names a shard outside its own directory.
    #[error("`{}` names the shard `{shard}`, which is not a plain .safetensors file name", index.display())]
    ShardName {
        /// The index file.
        index: PathBuf,
        /// The offending name.
        shard: String,
    },
    /// A safetensors file does not hold what its header promises.
    #[error("`{}` is not a valid safetensors file: {problem}", path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Two files hold a tensor of the same name.
    #[error("tensor `{name}` is in both `{}` and `{}`", first.display(), second.display())]
    DuplicateTensor {
        /// The tensor.
        name: String,
        /// One file.
        first: PathBuf,
        /// The other file.
        second: PathBuf,
    },
    /// A tensor that should be there is not.
    #[error("tensor `{name}` is missing from `{}`", place.display())]
    MissingTensor {
        /// The tensor.
        name: String,
        /// The file or directory searched.
        place: PathBuf,
    },
    /// An untied model has no output matrix.
    #[error(
        "`{}` has no lm_head.weight, and its config.json does not tie the output matrix to the embedding; if the model was trained \
         with both tied, set \"tie_word_embeddings\": true there (llama.cpp takes the embedding, transformers random values)", .0.display()
    )]
    MissingHead(PathBuf),
    /// The names of all tensors begin with what the architecture does not have and no known framework puts there.
    #[error("`{}` calls the token embedding `{found}`, not `{expected}`; rename its tensors", place.display())]
    UnknownPrefix {
        /// The directory.
        place: PathBuf,
        /// The embedding's name in it.
        found: String,
        /// The architecture's name.
        expected: String,
    },
    /// The tensors of an adapter lie beside the model's or in their place.
    #[error(
        "`{}` holds an adapter that is not merged (`{name}`); merge it first: load it with peft's AutoPeftModelForCausalLM and save \
         the result of merge_and_unload() with save_pretrained", place.display()
    )]
    Adapter {
        /// A tensor of the adapter.
        name: String,
        /// The directory.
        place: PathBuf,
    },
    /// A tensor's element type is not a float that T81 reads.
    #[error("tensor `{name}` in `{}` has dtype {dtype}; only F32, F16 and BF16 can be read", path.display())]
    UnsupportedDtype {
        /// The tensor.
        name: String,
        /// Its file.
        path: PathBuf,
        /// Its dtype, as safetensors spells it.
        dtype: String,
    },
    /// A tensor's shape is not the one that the configuration implies.
    #[error("tensor `{name}` has shape {found:?}, but config.json implies {expected:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// The shape found.
        found: Vec<usize>,
        /// The shape expected.
        expected: Vec<usize>,
    },
    /// A tensor's values or parts are not acceptable.
    #[error("tensor `{name}` {problem}")]
    Tensor {
        /// The tensor.
        name: String,
        /// What is wrong, to be read after the name.
        problem: String,
    },
    /// A value of a tensor does not fit the dtype that it is to be stored in.
    #[error(
        "tensor `{name}` holds values that {dtype} cannot hold; store it as float32 or bfloat16"
    )]
    Overflow {
        /// The tensor.
        name: String,
        /// The dtype asked for.
        dtype: Dtype,
    },
    /// The quantizer refused a tensor.
    #[error("tensor `{name}` cannot be made ternary")]
    Quantize {
        /// The tensor.
        name: String,
        /// The quantizer's reason.
        source: t81_core::QuantizeError,
    },
    /// A packed ternary tensor is damaged.
    #[error("tensor `{name}` is not a valid ternary tensor")]
    Ternary {
        /// The tensor.
        name: String,
        /// The reason.
        source: t81_core::MatrixError,
    },
    /// The tokenizer is not one that T81 can use.
    #[error("`{}`: {problem}", path.display())]
    Tokenizer {
        /// The tokenizer file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A directory that should be a t81 directory is none.
    #[error("`{}` is not a t81 directory: it has no t81_metadata.json{hint}", directory.display())]
    NotT81 {
        /// The directory.
        directory: PathBuf,
        /// What to do about it, starting with punctuation; may be empty.
        hint: String,
    },
    /// A directory that should be a plain checkpoint is a packed t81 directory.
    #[error(
        "`{}` is a packed t81 directory, its weights are ternary already; pass the original checkpoint", .0.display()
    )]
    AlreadyPacked(PathBuf),
    /// `t81_metadata.json` contradicts itself or the tensors.
    #[error("`{}`: {problem}", path.display())]
    Metadata {
        /// The metadata file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The output exists and may not be replaced.
    #[error("`{}` exists already; pass --overwrite (in code: overwrite = true) to replace it", .0.display())]
    OutputExists(PathBuf),
    /// The output exists and is nothing that this crate wrote, so it is never replaced.
    #[error(
        "`{}` exists and is not a t81 directory, so it will not be replaced; choose another name or remove it", .0.display()
    )]
    NotReplaceable(PathBuf),
    /// An output whose writing would destroy something that is read.
    #[error(
        "the output `{}` is or contains `{}`, which this command reads or writes beside it; choose another path",
        output.display(), input.display()
    )]
    OverInput {
        /// The output.
        output: PathBuf,
        /// What would be lost.
        input: PathBuf,
    },
    /// A GGUF file among the files of a model or a run, which is not named as one.
    #[error(
        "`{}` lies in `{}`, where a GGUF file must be named *.gguf; choose another path",
        gguf.display(), directory.display()
    )]
    GgufName {
        /// The file.
        gguf: PathBuf,
        /// The directory that is written as well.
        directory: PathBuf,
    },
    /// The caller of the writer broke its own plan.
    #[error("cannot write `{name}`: {problem}")]
    Plan {
        /// The tensor or file.
        name: String,
        /// What is wrong.
        problem: String,
    },
}

impl HubError {
    /// Whether a download was stopped by whoever watched it, which is no failure.
    pub fn is_interruption(&self) -> bool {
        matches!(self, Self::Remote(RemoteError::Interrupted))
    }

    /// Shorthand for `map_err` on file operations.
    pub(crate) fn io<'a>(
        action: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(std::io::Error) -> HubError + 'a {
        move |source| HubError::Io {
            action,
            path: path.to_path_buf(),
            source,
        }
    }

    pub(crate) fn tensor(name: &str, problem: impl Into<String>) -> HubError {
        HubError::Tensor {
            name: name.to_owned(),
            problem: problem.into(),
        }
    }

    pub(crate) fn plan(name: &str, problem: impl Into<String>) -> HubError {
        HubError::Plan {
            name: name.to_owned(),
            problem: problem.into(),
        }
    }
}
