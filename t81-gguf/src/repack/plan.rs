//! Deciding what becomes of each tensor before the first byte is written.

use std::collections::BTreeMap;
use std::path::Path;

use t81_core::{BlockFormat, Granularity, Quantizer};

use crate::dequantize::is_readable;
use crate::encode::storable;
use crate::error::GgufError;
use crate::export::layout::{TernaryLayout, best_lossless};
use crate::export::{
    ExportOptions, ExportSummary, ExportType, ExportedTensor, Fallback, describe_file,
    describe_quantizer, file_type, shown_source,
};
use crate::metadata::{Metadata, MetadataValue};
use crate::parse::tensor_bytes;
use crate::pieces::{largest, ternary_pattern};
use crate::quantize_options::QuantizeOptions;
use crate::reader::{GgufFile, GgufTensor};
use crate::tensor_role::TensorRole;
use crate::tensor_type::TensorType;
use crate::writer::TensorPlan;

use super::values;

/// Everything about a file but the tensor data.
pub(super) struct Plan<'a> {
    pub(super) metadata: Metadata,
    pub(super) tensors: Vec<PlannedTensor<'a>>,
    quant: ExportType,
    fallbacks: Vec<Fallback>,
    notes: Vec<String>,
}

/// A tensor of the file.
pub(super) struct PlannedTensor<'a> {
    pub(super) source: GgufTensor<'a>,
    pub(super) content: Content,
    pub(super) tensor_type: TensorType,
    pub(super) bytes: u64,
}

/// Where a tensor's data comes from.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    /// The source's bytes.
    Copied,
    /// The source's floats in another type.
    Converted,
    /// The source's codes and scales, in groups of this size.
    Kept(BlockFormat, usize),
    /// The source's floats, made ternary.
    Quantized(Quantizer),
}

impl Content {
    pub(super) fn is_ternary(&self) -> bool {
        matches!(self, Content::Kept(..) | Content::Quantized(_))
    }
}

impl PlannedTensor<'_> {
    pub(super) fn name(&self) -> &str {
        &self.source.info.name
    }

    pub(super) fn columns(&self) -> usize {
        self.source.info.columns() as usize
    }

    fn layout(&self) -> Option<TernaryLayout> {
        let granularity = match &self.content {
            Content::Kept(_, group) => Granularity::group(*group).unwrap_or(Granularity::Row),
            Content::Quantized(quantizer) => quantizer.granularity(),
            Content::Copied | Content::Converted => return None,
        };
        Some(TernaryLayout {
            columns: self.columns(),
            granularity,
        })
    }
}

impl Plan<'_> {
    pub(super) fn layout(&self) -> Vec<TensorPlan> {
        let planned = |tensor: &PlannedTensor<'_>| TensorPlan {
            name: tensor.name().to_owned(),
            tensor_type: tensor.tensor_type,
            dimensions: tensor.source.info.dimensions.clone(),
        };
        self.tensors.iter().map(planned).collect()
    }

    pub(super) fn into_summary(self, output: &Path) -> ExportSummary {
        let tensors = self
            .tensors
            .into_iter()
            .map(|tensor| ExportedTensor {
                name: tensor.name().to_owned(),
                tensor_type: tensor.tensor_type,
                dimensions: tensor.source.info.dimensions.clone(),
                bytes: tensor.bytes,
                ternary: tensor.content.is_ternary(),
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

/// Plans the repacking of `source`.
pub(super) fn plan<'a>(
    source: &'a GgufFile,
    quantize: &QuantizeOptions,
    options: &ExportOptions,
) -> Result<Plan<'a>, GgufError> {
    refuse_split(source)?;
    let mut tensors = Vec::with_capacity(source.header().tensors.len());
    let mut columns = BTreeMap::new();
    let mut candidates = 0;
    let mut vectors = 0;
    for tensor in source.tensors() {
        let info = tensor.info;
        let mut tensor_type = info.tensor_type;
        let mut content = Content::Copied;
        match TensorRole::of(info) {
            TensorRole::Linear => {
                candidates += 1;
                if quantize.selects(&info.name) {
                    content = match kept(&tensor)? {
                        Some(kept) => kept,
                        None => {
                            check_readable(&tensor)?;
                            columns.insert(info.name.clone(), info.columns() as usize);
                            // The quantizer's place; its granularity is known when all row lengths are.
                            Content::Quantized(Quantizer::bitnet())
                        }
                    };
                }
            }
            TensorRole::Embedding => {
                if let Some(asked) = options.embedding_type
                    && asked.tensor_type() != tensor_type
                {
                    check_readable(&tensor)?;
                    tensor_type = asked.tensor_type();
                    content = Content::Converted;
                }
            }
            TensorRole::Other => {
                let half = matches!(tensor_type, TensorType::F16 | TensorType::BF16);
                if half && info.dimensions.len() < 2 {
                    vectors += 1;
                    tensor_type = TensorType::F32;
                    content = Content::Converted;
                }
            }
        }
        tensors.push(PlannedTensor {
            source: tensor,
            content,
            tensor_type,
            bytes: info.bytes,
        });
    }
    if !tensors.iter().any(|tensor| tensor.content.is_ternary()) {
        return Err(GgufError::NothingSelected {
            path: source.path().to_owned(),
            candidates,
        });
    }

    let quantizes = !columns.is_empty();
    let quantization = quantize.quantization(columns, options.quant)?;
    let mut ternary_floats: BTreeMap<String, usize> = BTreeMap::new();
    for tensor in &mut tensors {
        if let Some(&granularity) = quantization.granularities.get(&tensor.source.info.name) {
            let mut granularity = granularity;
            if let Some(pattern) = ternary_pattern(&tensor.source)?
                && !pattern.keeps(granularity, tensor.columns())
            {
                let own = pattern.granularity();
                *ternary_floats.entry(own.to_string()).or_default() += 1;
                if quantize.granularity.is_none() {
                    granularity = own;
                }
            }
            let quantizer = quantization.quantizer.clone();
            tensor.content = Content::Quantized(quantizer.with_granularity(granularity));
        }
    }
    let quant = options
        .quant
        .unwrap_or_else(|| best_lossless(tensors.iter().filter_map(PlannedTensor::layout)));
    let mut fallbacks = Vec::new();
    for tensor in &mut tensors {
        let (asked, (written, reason)) = match (tensor.layout(), &tensor.content) {
            (Some(layout), _) => (quant.tensor_type(), layout.stored(quant.tensor_type())),
            (None, Content::Converted) => {
                let asked = tensor.tensor_type;
                let columns = tensor.source.info.columns();
                let largest = largest(&tensor.source)?;
                (asked, storable(asked, columns, largest))
            }
            (None, _) => continue,
        };
        tensor.tensor_type = written;
        if let Some(reason) = reason {
            fallbacks.push(Fallback {
                tensor: tensor.name().to_owned(),
                asked,
                written,
                reason,
            });
        }
        let info = tensor.source.info;
        tensor.bytes = tensor_bytes(&info.name, written, &info.dimensions).map_err(|reason| {
            GgufError::Plan {
                path: source.path().to_owned(),
                source: reason,
            }
        })?;
    }

    let mut metadata = source.metadata().clone();
    let ternary = tensors
        .iter()
        .filter(|tensor| tensor.content.is_ternary())
        .map(|tensor| (tensor.tensor_type, tensor.source.info.elements()));
    describe_file(file_type(ternary, quant), &mut metadata);
    if quantizes {
        let path = source.path().display().to_string();
        metadata.set("t81.source", shown_source(&path));
        metadata.set("t81.tool", concat!("t81-gguf ", env!("CARGO_PKG_VERSION")));
        describe_quantizer(&quantization.quantizer, &mut metadata);
    }
    let mut notes = notes(&tensors, vectors);
    notes.extend(
        ternary_floats
            .into_iter()
            .map(|(own, count)| ternary_note(count, &own, quantize.granularity)),
    );
    Ok(Plan {
        metadata,
        tensors,
        quant,
        fallbacks,
        notes,
    })
}

/// What becomes of floats that are ternary in groups that `granularity`, or else the automatic one, does not keep.
fn ternary_note(count: usize, own: &str, granularity: Option<Granularity>) -> String {
    match granularity {
        None => format!("{count} weights are ternary already ({own}): their codes are kept"),
        Some(granularity) => format!(
            "{count} weights are ternary already ({own}), and {granularity} does not keep their codes: leave the granularity out, \
             or choose {own}"
        ),
    }
}

/// What the table of types does not tell.
fn notes(tensors: &[PlannedTensor<'_>], vectors: usize) -> Vec<String> {
    let mut notes = Vec::new();
    let kept = tensors
        .iter()
        .filter(|tensor| matches!(tensor.content, Content::Kept(..)))
        .count();
    if kept > 0 {
        notes.push(format!(
            "{kept} matrices were ternary already; their codes and scales are kept"
        ));
    }
    if vectors > 0 {
        notes.push(format!(
            "{vectors} vectors of 16-bit floats became F32, as llama.cpp needs them"
        ));
    }
    notes
}

/// The content of a tensor of a ternary type, none when its blocks hold anything but ternary weights.
fn kept(tensor: &GgufTensor<'_>) -> Result<Option<Content>, GgufError> {
    let Some(format) = tensor.info.tensor_type.block_format() else {
        return Ok(None);
    };
    let group = values::widest_group(tensor, format)?;
    Ok(group.map(|group| Content::Kept(format, group)))
}

fn check_readable(tensor: &GgufTensor<'_>) -> Result<(), GgufError> {
    if is_readable(tensor.info.tensor_type) {
        Ok(())
    } else {
        Err(GgufError::NoFloats {
            tensor: tensor.info.name.clone(),
            tensor_type: tensor.info.tensor_type,
        })
    }
}

/// A file of several holds a part of the model's tensors only.
fn refuse_split(source: &GgufFile) -> Result<(), GgufError> {
    let count = match source.metadata().get("split.count") {
        Some(&MetadataValue::U16(count)) => u64::from(count),
        Some(&MetadataValue::U32(count)) => u64::from(count),
        Some(&MetadataValue::U64(count)) => count,
        _ => return Ok(()),
    };
    if count > 1 {
        return Err(GgufError::Split {
            path: source.path().to_owned(),
            count,
        });
    }
    Ok(())
}
