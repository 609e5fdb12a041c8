//! Deciding what an exported file will hold before its first byte is written.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use t81_core::BlockFormat;
use t81_hub::TensorPlan as SourcePlan;
use t81_hub::{Storage, T81Tensor, TensorRole, TensorSpec, TensorView, TernarySource, Tokenizer};

use super::layout::{TernaryLayout, best_lossless};
use super::summary::{ExportSummary, ExportedTensor, Fallback};
use super::values::{self, Range};
use super::{EmbeddingType, ExportOptions, ExportType, Origin};
use crate::architecture::{self, MappedTensor, Source};
use crate::error::GgufError;
use crate::metadata::Metadata;
use crate::parse::tensor_bytes;
use crate::tensor_type::TensorType;
use crate::tokenizer;
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

/// Plans the export of `source`.
pub(super) fn plan(
    source: &dyn TernarySource,
    origin: &Origin,
    options: &ExportOptions,
) -> Result<Plan, GgufError> {
    let config = source.config();
    let architecture = config.architecture.gguf_name();
    let mapped = architecture::tensors(config);
    let stored: BTreeMap<String, SourcePlan> = source
        .plan()
        .into_iter()
        .map(|plan| (plan.name.clone(), plan))
        .collect();
    check_all_mapped(source, &stored, &mapped, architecture)?;

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
            source,
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
                path: source.directory().to_owned(),
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
    describe_origin(origin, file_type(&tensors, quant), &mut metadata);
    let mut notes = architecture::describe(config, &mut metadata)?;
    let tokenizer = Tokenizer::open(source.directory())?;
    let pre_override = options.tokenizer_pre.as_deref();
    let remarks = tokenizer::describe(
        &tokenizer,
        config,
        config.vocab_size,
        pre_override,
        &mut metadata,
    )
    .map_err(|reason| GgufError::Tokenizer {
        path: source.directory().to_owned(),
        source: reason,
    })?;
    notes.extend(remarks);
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
    source: &dyn TernarySource,
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
        (Some(format), Some(layout)) => Ok(
            match (layout.obstacle(format), layout.obstacle(BlockFormat::Q2_0)) {
                (None, _) => asked,
                (Some(reason), None) => fall_back(TensorType::Q2_0, reason),
                (Some(_), Some(reason)) => fall_back(TensorType::F16, reason),
            },
        ),
        (block_format, None) => {
            let view = dense_view(source, spec)?;
            let fits = match values::range(&view)? {
                Range::F16 => true,
                Range::F32 => false,
            };
            let dense = if block_format.is_some() {
                TensorType::F16
            } else {
                asked
            };
            Ok(if dense == TensorType::F16 && !fits {
                fall_back(
                    TensorType::F32,
                    "it has values beyond the range of F16 (65504)".to_owned(),
                )
            } else if dense != asked {
                fall_back(dense, "it is not ternary in the model".to_owned())
            } else {
                asked
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
    source: &dyn TernarySource,
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
                path: source.directory().to_owned(),
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
        .find(|name| !consumed.contains(name.as_str()) && !source.config().is_redundant(name))
    {
        Some(name) => Err(GgufError::UnmappedTensor {
            path: source.directory().to_owned(),
            tensor: name.clone(),
            architecture,
        }),
        None => Ok(()),
    }
}

/// `general.file_type`: the type of most ternary weights, as llama.cpp names a file by its majority.
fn file_type(tensors: &[PlannedTensor], quant: ExportType) -> u32 {
    let mut weights: BTreeMap<TensorType, u64> = BTreeMap::new();
    for tensor in tensors
        .iter()
        .filter(|tensor| tensor.ternary && tensor.mapped.role == TensorRole::Linear)
    {
        *weights.entry(tensor.tensor_type).or_default() +=
            tensor.mapped.shape.iter().product::<usize>() as u64;
    }
    let majority = weights
        .into_iter()
        .max_by_key(|&(_, weights)| weights)
        .map_or(quant.tensor_type(), |(kind, _)| kind);
    match majority.block_format() {
        Some(format) => format.file_type(),
        None if majority == TensorType::F32 => 0,
        None => 1,
    }
}

/// Names, and how the weights came to be ternary.
fn describe_origin(origin: &Origin, file_type: u32, metadata: &mut Metadata) {
    let path = origin.source.trim_end_matches(['/', '\\']);
    let name = path
        .rsplit(['/', '\\'])
        .next()
        .filter(|name| !name.is_empty())
        .unwrap_or("model");
    // A file that is passed on does not tell where its maker keeps models.
    let source = if Path::new(path).is_absolute() {
        name
    } else {
        path
    };
    metadata.set("general.type", "model");
    metadata.set("general.name", name);
    metadata.set("general.file_type", file_type);
    metadata.set("general.quantization_version", 2u32);
    metadata.set(
        "general.quantized_by",
        concat!("t81-gguf ", env!("CARGO_PKG_VERSION")),
    );
    metadata.set("t81.source", source);
    metadata.set("t81.tool", origin.tool.as_str());
    let quantizer = &origin.quantizer;
    metadata.set(
        "t81.quantizer.granularity",
        quantizer.granularity().to_string(),
    );
    metadata.set("t81.quantizer.threshold", quantizer.threshold());
    metadata.set("t81.quantizer.reference", quantizer.reference().to_string());
    metadata.set("t81.quantizer.scale", quantizer.scale().to_string());
    metadata.set("t81.quantizer.rounding", quantizer.rounding().to_string());
}
