//! A Hugging Face checkpoint directory.

use std::path::Path;

use crate::files::{MAX_JSON_BYTES, TensorFiles};
use crate::json::read_json;
use crate::resolve::local_directory;
use crate::t81::METADATA_FILE;
use crate::{Dtype, HubError, ModelConfig, TensorView};

/// A model of floats in a local directory: `config.json` plus `model.safetensors` or the shards that
/// `model.safetensors.index.json` lists. The files are mapped, not read; opening costs their headers.
#[derive(Debug)]
pub struct Checkpoint {
    files: TensorFiles,
    config: ModelConfig,
}

impl Checkpoint {
    /// Opens a directory and validates configuration, index and headers. Values are not looked at, and tensors that
    /// the architecture needs are checked by [`ModelConfig::check`].
    ///
    /// # Errors
    /// Every [`HubError`] about a source: missing directory, shard or weights, damaged headers, repeated tensors, dtypes other
    /// than F32, F16 and BF16, a configuration that is out of range or of an unsupported architecture.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, HubError> {
        let directory = local_directory(directory)?;
        let config = ModelConfig::from_file(&directory.join("config.json"))?;
        if is_packed_t81(&directory) {
            return Err(HubError::AlreadyPacked(directory));
        }
        let mut files = TensorFiles::open(&directory)?;
        add_missing_prefix(&mut files, &config);
        for raw in files.in_file_order() {
            TensorView::from_raw(raw)?;
        }
        Ok(Self { files, config })
    }

    /// A checkpoint of tensors in memory, named and shaped as the architecture's are on disk. Tensors that the architecture
    /// needs are checked by [`ModelConfig::check`].
    ///
    /// # Errors
    /// If a tensor's bytes do not fit its shape, or a name occurs twice.
    pub fn in_memory(
        config: ModelConfig,
        tensors: impl IntoIterator<Item = MemoryTensor>,
    ) -> Result<Self, HubError> {
        let files = TensorFiles::in_memory(tensors)?;
        Ok(Self { files, config })
    }

    /// The directory that was opened; empty for a checkpoint in memory.
    pub fn directory(&self) -> &Path {
        self.files.directory()
    }

    /// The parsed `config.json`.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Tensor names in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.names()
    }

    /// True if there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.files.get(name).is_some()
    }

    /// One tensor.
    ///
    /// # Errors
    /// [`HubError::MissingTensor`].
    pub fn tensor(&self, name: &str) -> Result<TensorView<'_>, HubError> {
        let raw = self
            .files
            .get(name)
            .ok_or_else(|| HubError::MissingTensor {
                name: name.to_owned(),
                place: self.directory().to_path_buf(),
            })?;
        TensorView::from_raw(raw)
    }

    /// All tensors in the order in which they lie on disk: the fastest order to read them in.
    pub fn tensors(&self) -> impl Iterator<Item = TensorView<'_>> {
        self.files
            .in_file_order()
            .filter_map(|raw| TensorView::from_raw(raw).ok())
    }
}

/// One tensor of a checkpoint in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct MemoryTensor {
    /// The tensor's name, for example `model.layers.0.self_attn.q_proj.weight`.
    pub name: String,
    /// Its element type.
    pub dtype: Dtype,
    /// Its shape, outermost dimension first.
    pub shape: Vec<usize>,
    /// Its elements: row-major, little endian.
    pub bytes: Vec<u8>,
}

impl MemoryTensor {
    /// A tensor of these values.
    pub fn from_f32(name: impl Into<String>, shape: &[usize], values: &[f32]) -> Self {
        Self {
            name: name.into(),
            dtype: Dtype::F32,
            shape: shape.to_vec(),
            bytes: values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
        }
    }
}

/// A checkpoint saved from the bare model, without its output matrix, lacks the prefix of all names (`gpt2` on the Hub does).
fn add_missing_prefix(files: &mut TensorFiles, config: &ModelConfig) {
    let prefix = config.architecture.family().prefix;
    let Some(embedding) = config.tensors().into_iter().next() else {
        return;
    };
    let bare = embedding.name.strip_prefix(prefix).unwrap_or_default();
    if files.get(&embedding.name).is_none() && files.get(bare).is_some() {
        files.rename(|name| {
            let output = name.starts_with("lm_head.") || name.starts_with(prefix);
            (!output).then(|| format!("{prefix}{name}"))
        });
    }
}

fn is_packed_t81(directory: &Path) -> bool {
    let path = directory.join(METADATA_FILE);
    path.exists()
        && read_json::<serde_json::Value>(&path, MAX_JSON_BYTES)
            .is_ok_and(|metadata| metadata["format"] == "packed")
}
