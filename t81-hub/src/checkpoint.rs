//! A Hugging Face checkpoint directory.

use std::collections::BTreeSet;
use std::path::Path;

use t81_core::TernaryPattern;

use crate::files::{MAX_JSON_BYTES, TensorFiles};
use crate::json::read_json;
use crate::resolve::local_directory;
use crate::streamed;
use crate::t81::METADATA_FILE;
use crate::tensor_names::{self, HEAD};
use crate::{Dtype, HubError, ModelConfig, TensorSpec, TensorView};

const CONFIG_FILE: &str = "config.json";

/// A model of floats in a local directory: `config.json` plus `model.safetensors` or the shards that
/// `model.safetensors.index.json` lists. The files are mapped, not read; opening costs their headers.
#[derive(Debug)]
pub struct Checkpoint {
    files: TensorFiles,
    config: ModelConfig,
    notes: Vec<String>,
    changed_config: bool,
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
        let mut config = ModelConfig::from_file(&directory.join(CONFIG_FILE))?;
        if is_packed_t81(&directory) {
            return Err(HubError::AlreadyPacked(directory));
        }
        let mut files = TensorFiles::open(&directory)?;
        let taken_off = tensor_names::normalize(&mut files, &config)?;
        let mut notes: Vec<String> = taken_off
            .into_iter()
            .map(|part| format!("tensor names have `{part}`, which is taken off"))
            .collect();
        notes.extend(config.adopt_biases(|name| files.get(name).is_some()));
        let dropped = drop_quantization(&mut config, &files)?;
        let changed_config = dropped.is_some();
        notes.extend(dropped);
        for raw in files.in_file_order() {
            if !config.is_redundant(raw.name) {
                TensorView::from_raw(raw)?;
            }
        }
        Ok(Self {
            files,
            config,
            notes,
            changed_config,
        })
    }

    /// A checkpoint of tensors in memory, named and shaped as the architecture's are on disk. Tensors that the architecture
    /// needs are checked by [`ModelConfig::check`].
    ///
    /// # Errors
    /// If a tensor's bytes do not fit its shape, or a name occurs twice.
    pub fn in_memory(
        mut config: ModelConfig,
        tensors: impl IntoIterator<Item = MemoryTensor>,
    ) -> Result<Self, HubError> {
        let files = TensorFiles::in_memory(tensors)?;
        let notes = config.adopt_biases(|name| files.get(name).is_some());
        Ok(Self {
            files,
            config,
            notes: notes.into_iter().collect(),
            changed_config: true,
        })
    }

    /// The directory that was opened; empty for a checkpoint in memory.
    pub fn directory(&self) -> &Path {
        self.files.directory()
    }

    /// The parsed `config.json`.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Whether [`config`](Self::config) differs from the directory's `config.json`, or there is none: whoever copies the model
    /// then writes [`ModelConfig::raw`].
    pub fn has_changed_config(&self) -> bool {
        self.changed_config
    }

    /// What is read otherwise than it lies in the directory, a sentence each, for the user: names, fields and tensors that are
    /// left out. Reads the output matrix if the configuration ties it to the embedding.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.notes.clone();
        if self.config.tie_word_embeddings && self.head_differs() {
            notes.push(format!(
                "{HEAD} differs from the embedding, but config.json ties them: it is left out, as transformers does (set \
                 tie_word_embeddings to false to keep it)"
            ));
        }
        notes
    }

    fn head_differs(&self) -> bool {
        let embedding = self.config.tensors().into_iter().next();
        let Some((head, spec)) = self.files.get(HEAD).zip(embedding) else {
            return false;
        };
        match (TensorView::from_raw(head), self.tensor(&spec.name)) {
            (Ok(head), Ok(embedding)) => !head.has_values_of(&embedding),
            _ => true,
        }
    }

    /// Tensors that no program needs or knows: neither the architecture's nor such as old checkpoints carry. In alphabetical
    /// order.
    pub fn unexpected(&self) -> Vec<String> {
        let expected = self.config.expected_tensors().into_iter();
        let expected: BTreeSet<String> = expected.map(|(name, _)| name).collect();
        self.names()
            .filter(|name| !expected.contains(*name) && !self.config.is_redundant(name))
            .map(str::to_owned)
            .collect()
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

    /// How coarsely a weight of the architecture that is ternary already shares its magnitudes; none for ordinary weights, of
    /// which only the beginning is read.
    ///
    /// # Errors
    /// [`HubError::MissingTensor`], and [`HubError::Tensor`] if it is no matrix.
    pub fn ternary_pattern(&self, weight: &TensorSpec) -> Result<Option<TernaryPattern>, HubError> {
        streamed::pattern(&self.tensor(&weight.name)?, weight.layout)
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

/// What the configuration of a float checkpoint says of a quantization that it no longer has: nothing may come of it, or it would
/// be undone in the written model.
///
/// # Errors
/// [`HubError::Config`] if the weights are not all there as floats, so that the field may well be true.
fn drop_quantization(
    config: &mut ModelConfig,
    files: &TensorFiles,
) -> Result<Option<String>, HubError> {
    const FIELD: &str = "quantization_config";
    if config.raw.get(FIELD).is_none_or(serde_json::Value::is_null) {
        return Ok(None);
    }
    let is_float = |spec: TensorSpec| {
        let raw = files.get(&spec.name);
        raw.is_some_and(|raw| {
            Dtype::from_safetensors(raw.dtype).is_some() && raw.shape == spec.stored_shape()
        })
    };
    if !config.ternary_weights().all(is_float) {
        return Err(HubError::Config {
            path: files.directory().join(CONFIG_FILE),
            field: FIELD.into(),
            problem: "says that the weights are quantized already; pass the float checkpoint"
                .into(),
        });
    }
    if let Some(fields) = config.raw.as_object_mut() {
        fields.remove(FIELD);
    }
    Ok(Some(format!(
        "config.json has a {FIELD}, but the weights are floats: it is left out"
    )))
}

fn is_packed_t81(directory: &Path) -> bool {
    let path = directory.join(METADATA_FILE);
    path.exists()
        && read_json::<serde_json::Value>(&path, MAX_JSON_BYTES)
            .is_ok_and(|metadata| metadata["format"] == "packed")
}
