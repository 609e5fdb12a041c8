//! A float checkpoint seen through the quantizer.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use t81_core::{Granularity, Layout, Quantizer, TernaryMatrix};

use crate::{
    Checkpoint, HubError, ModelConfig, Storage, T81Directory, T81Tensor, TensorPlan, TensorView,
};

/// A ternary model that yields its tensors one at a time: a [`T81Directory`], or a float [`Checkpoint`] that is quantized on
/// the way ([`QuantizedCheckpoint`]). Converters and exporters written against this trait accept both.
pub trait TernarySource {
    /// The directory with `config.json` and the tokenizer.
    fn directory(&self) -> &Path;

    /// The model's configuration.
    fn config(&self) -> &ModelConfig;

    /// Names and shapes of all tensors and how each is stored, without touching any value. Ternary tensors are
    /// described by their granularity.
    fn plan(&self) -> Vec<TensorPlan>;

    /// One tensor, ternary ones quantized.
    ///
    /// # Errors
    /// If the tensor is missing, or cannot be quantized.
    fn get(&self, name: &str) -> Result<T81Tensor<'_>, HubError>;
}

impl TernarySource for T81Directory {
    fn directory(&self) -> &Path {
        self.directory()
    }

    fn config(&self) -> &ModelConfig {
        self.config()
    }

    fn plan(&self) -> Vec<TensorPlan> {
        let ternary = self
            .metadata()
            .tensors
            .iter()
            .map(|(name, info)| TensorPlan {
                name: name.clone(),
                shape: info.shape.clone(),
                storage: Storage::Ternary {
                    granularity: info.granularity,
                    transposed: info.transposed,
                },
            });
        let dense = self.dense_tensors().map(|view| TensorPlan {
            name: view.name.to_owned(),
            shape: view.shape,
            storage: Storage::Dense(view.dtype),
        });
        ternary.chain(dense).collect()
    }

    fn get(&self, name: &str) -> Result<T81Tensor<'_>, HubError> {
        self.get(name)
    }
}

/// A float checkpoint whose linear weights are made ternary when they are asked for, one at a time, on all cores.
#[derive(Debug)]
pub struct QuantizedCheckpoint<'a> {
    checkpoint: &'a Checkpoint,
    quantizer: Quantizer,
    ternary: BTreeMap<String, Granularity>,
    /// Weights that the checkpoint stores `[in, out]`.
    transposed: BTreeSet<String>,
}

impl<'a> QuantizedCheckpoint<'a> {
    /// All linear weights of the architecture become ternary, with the quantizer's granularity. Checks that the
    /// checkpoint is complete.
    ///
    /// # Errors
    /// As [`ModelConfig::check`].
    pub fn new(checkpoint: &'a Checkpoint, quantizer: Quantizer) -> Result<Self, HubError> {
        let granularity = quantizer.granularity();
        let names = checkpoint.config().ternary_weight_names();
        Self::with_granularities(
            checkpoint,
            quantizer,
            names.into_iter().map(|name| (name, granularity)).collect(),
        )
    }

    /// The named weights become ternary, each with a granularity of its own. Checks that the checkpoint is complete.
    ///
    /// # Errors
    /// As [`ModelConfig::check`], and if a named weight is missing or no matrix.
    pub fn with_granularities(
        checkpoint: &'a Checkpoint,
        quantizer: Quantizer,
        ternary: BTreeMap<String, Granularity>,
    ) -> Result<Self, HubError> {
        checkpoint.config().check(checkpoint)?;
        for name in ternary.keys() {
            checkpoint.tensor(name)?.matrix_shape()?;
        }
        let transposed = checkpoint
            .config()
            .ternary_weights()
            .filter(|spec| spec.layout == Layout::InOut)
            .map(|spec| spec.name)
            .collect();
        Ok(Self {
            checkpoint,
            quantizer,
            ternary,
            transposed,
        })
    }

    /// The checkpoint underneath.
    pub fn checkpoint(&self) -> &'a Checkpoint {
        self.checkpoint
    }

    /// The quantizer; a tensor's own granularity takes precedence over its.
    pub fn quantizer(&self) -> &Quantizer {
        &self.quantizer
    }

    /// The granularity of a ternary tensor; none for a dense one.
    pub fn granularity(&self, name: &str) -> Option<Granularity> {
        self.ternary.get(name).copied()
    }

    /// `[out, in]` of a weight, whichever way the checkpoint stores it.
    ///
    /// # Errors
    /// If the tensor is missing or no matrix.
    pub fn matrix_shape(&self, name: &str) -> Result<(usize, usize), HubError> {
        let (rows, columns) = self.checkpoint.tensor(name)?.matrix_shape()?;
        Ok(match self.layout(name) {
            Layout::OutIn => (rows, columns),
            Layout::InOut => (columns, rows),
        })
    }

    /// How the checkpoint stores a weight.
    pub fn layout(&self, name: &str) -> Layout {
        if self.transposed.contains(name) {
            Layout::InOut
        } else {
            Layout::OutIn
        }
    }

    /// Quantizes weights that were decoded already, in the order in which the tensor `name` holds them.
    ///
    /// # Errors
    /// [`HubError::Quantize`] naming the tensor.
    pub fn quantize(
        &self,
        name: &str,
        weights: &[f32],
        rows: usize,
        columns: usize,
    ) -> Result<TernaryMatrix, HubError> {
        let granularity = self
            .granularity(name)
            .unwrap_or(self.quantizer.granularity());
        self.quantizer
            .clone()
            .with_granularity(granularity)
            .quantize(weights, rows, columns, self.layout(name))
            .map_err(|source| HubError::Quantize {
                name: name.to_owned(),
                source,
            })
    }
}

impl TernarySource for QuantizedCheckpoint<'_> {
    fn directory(&self) -> &Path {
        self.checkpoint.directory()
    }

    fn config(&self) -> &ModelConfig {
        self.checkpoint.config()
    }

    /// Every tensor in the order of the files, but for the redundant ones ([`ModelConfig::is_redundant`]).
    fn plan(&self) -> Vec<TensorPlan> {
        self.checkpoint
            .tensors()
            .filter(|tensor| !self.checkpoint.config().is_redundant(tensor.name))
            .map(
                |TensorView {
                     name,
                     dtype,
                     mut shape,
                     ..
                 }| {
                    let transposed = self.transposed.contains(name);
                    let storage = match self.granularity(name) {
                        Some(granularity) => Storage::Ternary {
                            granularity,
                            transposed,
                        },
                        None => Storage::Dense(dtype),
                    };
                    if transposed && self.granularity(name).is_some() {
                        shape.reverse();
                    }
                    TensorPlan {
                        name: name.to_owned(),
                        shape,
                        storage,
                    }
                },
            )
            .collect()
    }

    fn get(&self, name: &str) -> Result<T81Tensor<'_>, HubError> {
        let tensor = self.checkpoint.tensor(name)?;
        if !self.ternary.contains_key(name) {
            return Ok(T81Tensor::Dense(tensor));
        }
        let (rows, columns) = self.matrix_shape(name)?;
        self.quantize(name, &tensor.to_f32(), rows, columns)
            .map(T81Tensor::Ternary)
    }
}
