//! Deciding what an exported file will hold before its first byte is written.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use t81_hub::TensorPlan as SourcePlan;
use t81_hub::{
    ModelConfig, Storage, T81Tensor, TensorRole, TensorSpec, TensorView, TernarySource, Tokenizer,
};

use super::layout::{TernaryLayout, best_lossless};
use super::origin::{describe_origin, file_type};
use super::summary::{ExportSummary, ExportedTensor, Fallback};
use super::values;
use super::{EmbeddingType, ExportOptions, ExportType, Origin};
use crate::architecture::{self, MappedTensor, Source};
use crate::encode::storable;
use crate::error::GgufError;
use crate::metadata::Metadata;
use crate::parse::tensor_bytes;
use crate::tensor_type::TensorType;
use crate::tokenizer::{self, PreTokenizerName};
use crate::writer::TensorPlan;

/// Everything about a file but the tensor data.
pub(super) struct Plan {
    pub(super) metadata: Metadata,
    pub(super) tensors: Vec<PlannedTensor>,
    quant: ExportType,
    fallbacks: Vec<Fallback>,
    notes: Vec<String>,
}

/// A tensor of the file.
pub(super) struct PlannedTensor {
    pub(super) mapped: MappedTensor,
    pub(super) tensor_type: TensorType,
    pub(super) bytes: u64,
    ternary: bool,
}

impl PlannedTensor {
    fn dimensions(&self) -> Vec<u64> {
        self.mapped
            .shape
            .iter()
            .rev()
            .map(|&dimension| dimension as u64)
            .collect()
    }
}

impl Plan {
    pub(super) fn layout(&self) -> Vec<TensorPlan> {
        let planned = |tensor: &PlannedTensor| TensorPlan {
            name: tensor.mapped.name.clone(),
            tensor_type: tensor.tensor_type,
            dimensions: tensor.dimensions(),
        };
        self.tensors.iter().map(planned).collect()
    }

    /// The plan with remarks on its source before its own.
    pub(super) fn with_notes(mut self, notes: Vec<String>) -> Self {
        self.notes.splice(0..0, notes);
        self
    }

    pub(super) fn into_summary(self, output: &Path) -> ExportSummary {
        let tensors = self
            .tensors
            .into_iter()
            .map(|tensor| ExportedTensor {
                dimensions: tensor.dimensions(),
                name: tensor.mapped.name,
                tensor_type: tensor.tensor_type,
                bytes: tensor.bytes,
                ternary: tensor.ternary,
            })
            .collect();
        ExportSummary {
            output: output.to_owned(),
            quant: self.quant,
            tensors,
            fallbacks: self.fallbacks,
            notes: self.notes,
        }
    }
}

/// A model but for the values of its tensors.
#[derive(Clone, Debug)]
pub struct ModelOutline<'a> {
    /// The directory with the tokenizer.
    pub directory: &'a Path,
    /// The configuration.
    pub config: &'a ModelConfig,
    /// Names and shapes of all tensors and how each is stored.
    pub tensors: Vec<SourcePlan>,
}

impl<'a> ModelOutline<'a> {
    /// The outline of `source`, without a look at any value.
    pub fn of(source: &'a dyn TernarySource) -> Self {
        Self {
            directory: source.directory(),
            config: source.config(),
            tensors: source.plan(),
        }
    }
}

/// Plans the export of `source`.
pub(super) fn plan(
    source: &dyn TernarySource,
    origin: &Origin,
    options: &ExportOptions,
) -> Result<Plan, GgufError> {
    plan_with(&ModelOutline::of(source), origin, options, &|spec| {
        values::largest(&dense_view(source, spec)?)
    })
}

/// Plans the export of a model without values: as if each fitted the type asked for.
pub(super) fn plan_outline(
    model: &ModelOutline<'_>,
    origin: &Origin,
    options: &ExportOptions,
) -> Result<Plan, GgufError> {
    plan_with(model, origin, options, &|_| Ok(0.0))
}

/// `largest` returns the largest magnitude of a tensor of floats.
fn plan_with(
    model: &ModelOutline<'_>,
    origin: &Origin,
    options: &ExportOptions,
    largest: &dyn Fn(&TensorSpec) -> Result<f32, GgufError>,
) -> Result<Plan, GgufError> {
    let config = model.config;
    let architecture = config.architecture.gguf_name();
    let mapped = architecture::tensors(config);
    let stored: BTreeMap<String, SourcePlan> = model
        .tensors
        .iter()
        .map(|plan| (plan.name.clone(), plan.clone()))
        .collect();
    check_all_mapped(model, &stored, &mapped, architecture)?;

    let layouts: Vec<Option<TernaryLayout>> = mapped
        .iter()
        .map(|mapped| ternary_layout(mapped, &stored))
        .collect();
    let quant = options
        .quant
        .unwrap_or_else(|| best_lossless(layouts.iter().copied().flatten()));
    let embedding_type = options.embedding_type.unwrap_or(match quant {
        ExportType::F32 => EmbeddingType::F32,
        ExportType::F16 | ExportType::Ternary(_) => EmbeddingType::F16,
    });
    let mut fallbacks = Vec::new();
    let mut tensors = Vec::with_capacity(mapped.len());
    for (mapped, layout) in mapped.into_iter().zip(layouts) {
        let tensor_type = tensor_type(
            largest,
            &mapped,
            layout,
            quant,
            embedding_type,
            &mut fallbacks,
        )?;
        let dimensions: Vec<u64> = mapped
            .shape
            .iter()
            .rev()
            .map(|&dimension| dimension as u64)
            .collect();
        let bytes = tensor_bytes(&mapped.name, tensor_type, &dimensions).map_err(|reason| {
            GgufError::Plan {
                path: model.directory.to_owned(),
                source: reason,
            }
        })?;
        tensors.push(PlannedTensor {
            mapped,
            tensor_type,
            bytes,
            ternary: layout.is_some(),
        });
    }

    let mut metadata = Metadata::new();
    metadata.set("general.architecture", architecture);
    let ternary = tensors
        .iter()
        .filter(|tensor| tensor.ternary && tensor.mapped.role == TensorRole::Linear)
        .map(|tensor| {
            let weights: usize = tensor.mapped.shape.iter().product();
            (tensor.tensor_type, weights as u64)
        });
    describe_origin(origin, file_type(ternary, quant), &mut metadata);
    let mut notes = architecture::describe(config, &mut metadata)?;
    let tokenizer = Tokenizer::open(model.directory)?;
    let pre_override = options.tokenizer_pre.map(PreTokenizerName::as_str);
    let remarks = tokenizer::describe(
        &tokenizer,
        config,
        config.vocab_size,
        pre_override,
        &mut metadata,
    )
    .map_err(|reason| GgufError::Tokenizer {
        path: model.directory.to_owned(),
        source: reason,
    })?;
    notes.extend(remarks);
    notes.extend(tokenizer::avoid_misleading_name(&mut metadata));
    Ok(Plan {
        metadata,
        tensors,
        quant,
        fallbacks,
        notes,
    })
}

fn ternary_layout(
    mapped: &MappedTensor,
    stored: &BTreeMap<String, SourcePlan>,
) -> Option<TernaryLayout> {
    let Source::Checkpoint(spec) = &mapped.source else {
        return None;
    };
    let plan = stored.get(&spec.name)?;
    match plan.storage {
        Storage::Ternary { granularity, .. } => Some(TernaryLayout {
            columns: *plan.shape.last()?,
            granularity,
        }),
        Storage::Dense(_) => None,
    }
}

/// Decides a tensor's type; a type other than the one asked for is recorded with its reason.
fn tensor_type(
    largest: &dyn Fn(&TensorSpec) -> Result<f32, GgufError>,
    mapped: &MappedTensor,
    layout: Option<TernaryLayout>,
    quant: ExportType,
    embedding_type: EmbeddingType,
    fallbacks: &mut Vec<Fallback>,
) -> Result<TensorType, GgufError> {
    let asked = match mapped.role {
        TensorRole::Vector | TensorRole::Positions => TensorType::F32,
        TensorRole::Embedding => embedding_type.tensor_type(),
        TensorRole::Linear => quant.tensor_type(),
    };
    let mut fall_back = |written: TensorType, reason: String| {
        fallbacks.push(Fallback {
            tensor: mapped.name.clone(),
            asked,
            written,
            reason,
        });
        written
    };
    let Source::Checkpoint(spec) = &mapped.source else {
        return Ok(asked);
    };
    match (asked.block_format(), layout) {
        (None, Some(_)) => Ok(asked),
        (Some(_), Some(layout)) => Ok(match layout.stored(asked) {
            (stored, Some(reason)) => fall_back(stored, reason),
            (stored, None) => stored,
        }),
        (block_format, None) => {
            let largest = largest(spec)?;
            let dense = if block_format.is_some() {
                TensorType::F16
            } else {
                asked
            };
            let columns = mapped.shape.last().copied().unwrap_or(1) as u64;
            Ok(match storable(dense, columns, largest) {
                (stored, Some(reason)) => fall_back(stored, reason),
                (stored, None) if stored != asked => {
                    fall_back(stored, "it is not ternary in the model".to_owned())
                }
                _ => asked,
            })
        }
    }
}

fn dense_view<'a>(
    source: &'a dyn TernarySource,
    spec: &TensorSpec,
) -> Result<TensorView<'a>, GgufError> {
    let expected = spec.stored_shape();
    let found = match source.get(&spec.name)? {
        T81Tensor::Dense(view) if view.shape == expected => return Ok(view),
        T81Tensor::Dense(view) => view.shape,
        T81Tensor::Ternary(matrix) => vec![matrix.rows(), matrix.columns()],
    };
    Err(GgufError::TensorShape {
        tensor: spec.name.clone(),
        expected,
        found,
    })
}

/// Checks that every tensor that the file needs is there in its shape, and that no other tensor is.
fn check_all_mapped(
    model: &ModelOutline<'_>,
    stored: &BTreeMap<String, SourcePlan>,
    mapped: &[MappedTensor],
    architecture: &'static str,
) -> Result<(), GgufError> {
    let mut consumed = HashSet::new();
    for tensor in mapped {
        let Source::Checkpoint(spec) = &tensor.source else {
            continue;
        };
        let Some(plan) = stored.get(&spec.name) else {
            return Err(GgufError::MissingTensor {
                path: model.directory.to_owned(),
                tensor: spec.name.clone(),
            });
        };
        let expected = match plan.storage {
            Storage::Ternary { .. } => spec.shape.clone(),
            Storage::Dense(_) => spec.stored_shape(),
        };
        if plan.shape != expected {
            return Err(GgufError::TensorShape {
                tensor: spec.name.clone(),
                expected,
                found: plan.shape.clone(),
            });
        }
        consumed.insert(spec.name.as_str());
    }
    match stored
        .keys()
        .find(|name| !consumed.contains(name.as_str()) && !model.config.is_redundant(name))
    {
        Some(name) => Err(GgufError::UnmappedTensor {
            path: model.directory.to_owned(),
            tensor: name.clone(),
            architecture,
        }),
        None => Ok(()),
    }
}
