//! A float checkpoint seen through the quantizer.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use t81_core::{Distortion, Granularity, Layout, Quantizer, Reference, ScaleRule, TernaryMatrix};

use crate::streamed;
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

    /// What is read otherwise than it lies in the directory, a sentence each, for the user.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
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
    notes: Vec<String>,
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
            notes: Vec::new(),
        })
    }

    /// Looks for weights that are ternary already, in groups that the granularity at hand does not keep. With `adapt` they get
    /// the groups that they have, so that their codes stay and their scales are only rounded to 16 bits; without, a note says
    /// what is lost. Reads such weights, and of ordinary ones the beginning.
    ///
    /// # Errors
    /// If a weight is no matrix.
    pub fn keeping_ternary_codes(mut self, adapt: bool) -> Result<Self, HubError> {
        // The mean magnitude of a group with zeros is not the magnitude of its other weights.
        let rescales = self.quantizer.scale() == ScaleRule::Reference
            && self.quantizer.reference() == Reference::AbsMean;
        let mut found: BTreeMap<String, usize> = BTreeMap::new();
        for (name, granularity) in &mut self.ternary {
            let layout = match self.transposed.contains(name) {
                true => Layout::InOut,
                false => Layout::OutIn,
            };
            let tensor = self.checkpoint.tensor(name)?;
            let columns = match (layout, tensor.matrix_shape()?) {
                (Layout::OutIn, (_, columns)) | (Layout::InOut, (columns, _)) => columns,
            };
            let Some(pattern) = streamed::pattern(&tensor, layout)? else {
                continue;
            };
            if pattern.keeps(*granularity, columns) {
                continue;
            }
            let own = pattern.granularity();
            *found.entry(own.to_string()).or_default() += 1;
            if adapt {
                *granularity = own;
            }
        }
        let lost = |own: &str, count: usize, granularity: Granularity| {
            format!(
                "{count} weights are ternary already ({own}), and {granularity} does not keep their codes: leave the granularity \
                 out, or choose {own}"
            )
        };
        for (own, count) in found {
            self.notes.push(match adapt {
                true if rescales => format!(
                    "{count} weights are ternary already ({own}): their groups are kept, but not their scales, which are \
                     least-squares ones"
                ),
                true => format!("{count} weights are ternary already ({own}): their codes are kept"),
                false => lost(&own, count, self.quantizer.granularity()),
            });
        }
        let mut granularities = self.ternary.values();
        if let Some(first) = granularities.next().copied()
            && granularities.all(|other| *other == first)
        {
            self.quantizer = self.quantizer.with_granularity(first);
        }
        Ok(self)
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

    /// How the checkpoint stores a weight.
    pub fn layout(&self, name: &str) -> Layout {
        if self.transposed.contains(name) {
            Layout::InOut
        } else {
            Layout::OutIn
        }
    }

    /// Makes one tensor ternary, and says how far it is from the float weights. The tensor is read a few rows at a time: beside
    /// the result this takes some tens of megabytes, whatever its size.
    ///
    /// # Errors
    /// If there is no such tensor, and [`HubError::Quantize`] naming it.
    pub fn quantize(&self, name: &str) -> Result<(TernaryMatrix, Distortion), HubError> {
        let granularity = self
            .granularity(name)
            .unwrap_or(self.quantizer.granularity());
        let quantizer = self.quantizer.clone().with_granularity(granularity);
        let tensor = self.checkpoint.tensor(name)?;
        streamed::quantize(&tensor, self.layout(name), &quantizer)
    }
}

impl TernarySource for QuantizedCheckpoint<'_> {
    fn directory(&self) -> &Path {
        self.checkpoint.directory()
    }

    fn config(&self) -> &ModelConfig {
        self.checkpoint.config()
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = self.checkpoint.notes();
        notes.extend(self.notes.iter().cloned());
        notes
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
        self.quantize(name)
            .map(|(matrix, _)| T81Tensor::Ternary(matrix))
    }
}
