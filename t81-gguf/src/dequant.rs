//! Rewriting a GGUF file with floats in place of blocks, for runtimes without ternary types.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use t81_hub::check_apart;

use crate::dequantize::is_readable;
use crate::encode::storable;
use crate::error::GgufError;
use crate::export::{
    ExportSummary, ExportType, ExportedTensor, Fallback, Progress, stream, write_floats,
};
use crate::parse::tensor_bytes;
use crate::pieces::{float_pieces, largest};
use crate::reader::{GgufFile, GgufTensor};
use crate::tensor_role::TensorRole;
use crate::tensor_type::TensorType;
use crate::writer::{GgufWriter, TensorPlan, check_output};

/// What matrices are rewritten as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FloatType {
    /// 16-bit floats, which hold ternary weights exactly.
    #[default]
    F16,
    /// 32-bit floats, which hold everything exactly.
    F32,
}

impl FloatType {
    fn tensor_type(self) -> TensorType {
        self.export_type().tensor_type()
    }

    fn export_type(self) -> ExportType {
        match self {
            Self::F16 => ExportType::F16,
            Self::F32 => ExportType::F32,
        }
    }

    /// The `general.file_type` of a file that is mostly of this type.
    fn file_type(self) -> u32 {
        match self {
            Self::F16 => 1,
            Self::F32 => 0,
        }
    }
}

impl fmt::Display for FloatType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tensor_type().fmt(f)
    }
}

/// A name that is neither F16 nor F32.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no type to dequantize to (F16 and F32 are)")]
pub struct UnknownFloatType(String);

impl FromStr for FloatType {
    type Err = UnknownFloatType;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::F16, Self::F32]
            .into_iter()
            .find(|known| known.tensor_type().name().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownFloatType(text.to_owned()))
    }
}

/// A tensor of the file to be written.
struct PlannedTensor<'a> {
    source: GgufTensor<'a>,
    tensor_type: TensorType,
    bytes: u64,
}

/// Writes `source` to the GGUF file `output` with every block type replaced by floats. F16 holds ternary weights exactly.
///
/// The matrices of blocks, the token embedding and the output matrix get `float_type`, and so does every other tensor
/// of two dimensions that is neither F32 nor F16. Vectors (norms, biases) are F32. Values that F16 cannot hold make
/// their tensor F32, which the summary says. Metadata is kept but for `general.file_type`.
///
/// # Errors
///
/// [`GgufError::NoFloats`] for a type whose blocks cannot be read; [`GgufError::NonFinite`] for values that are no
/// numbers; [`GgufError::OutputExists`] without `overwrite`; [`GgufError::Hub`] for an `output` that is the source; [`GgufError::Io`] for a full or read-only disk;
/// [`GgufError::Interrupted`] when `progress` breaks off. None leaves a file behind.
pub fn dequant(
    source: &GgufFile,
    output: &Path,
    float_type: FloatType,
    overwrite: bool,
    progress: Progress<'_>,
) -> Result<ExportSummary, GgufError> {
    check_output(output, overwrite)?;
    check_apart(output, [source.path()])?;
    let mut fallbacks = Vec::new();
    let tensors = source
        .tensors()
        .map(|tensor| plan(source, tensor, float_type, &mut fallbacks))
        .collect::<Result<Vec<_>, GgufError>>()?;
    let mut metadata = source.metadata().clone();
    metadata.set("general.file_type", float_type.file_type());
    let layout: Vec<TensorPlan> = tensors
        .iter()
        .map(|planned| TensorPlan {
            name: planned.source.info.name.clone(),
            tensor_type: planned.tensor_type,
            dimensions: planned.source.info.dimensions.clone(),
        })
        .collect();
    let mut writer = GgufWriter::create(output, &metadata, &layout, overwrite)?;
    stream(
        &mut writer,
        &tensors,
        |planned| (&planned.source.info.name, planned.bytes),
        |planned, sink| {
            if planned.tensor_type == planned.source.info.tensor_type {
                sink.write(planned.source.bytes)?;
                planned.source.release();
                return Ok(());
            }
            float_pieces(&planned.source, |_, values| {
                write_floats(values, planned.tensor_type, sink)
            })
        },
        progress,
    )?;
    writer.finish()?;
    Ok(ExportSummary {
        output: output.to_owned(),
        quant: float_type.export_type(),
        tensors: tensors
            .iter()
            .map(|planned| ExportedTensor {
                name: planned.source.info.name.clone(),
                tensor_type: planned.tensor_type,
                dimensions: planned.source.info.dimensions.clone(),
                bytes: planned.bytes,
                ternary: planned.source.info.tensor_type.block_format().is_some(),
            })
            .collect(),
        fallbacks,
        notes: Vec::new(),
    })
}

fn plan<'a>(
    file: &GgufFile,
    tensor: GgufTensor<'a>,
    float_type: FloatType,
    fallbacks: &mut Vec<Fallback>,
) -> Result<PlannedTensor<'a>, GgufError> {
    let info = tensor.info;
    let present = info.tensor_type;
    let asked = match (TensorRole::of(info), present) {
        (TensorRole::Linear | TensorRole::Embedding, _) => float_type.tensor_type(),
        (TensorRole::Other, TensorType::F32) => TensorType::F32,
        (TensorRole::Other, TensorType::F16) if info.dimensions.len() > 1 => TensorType::F16,
        (TensorRole::Other, TensorType::F16 | TensorType::BF16) if info.dimensions.len() < 2 => {
            TensorType::F32
        }
        // Integers and doubles are no quantized weights.
        (TensorRole::Other, _) if present.block_len() == 1 && present != TensorType::BF16 => {
            present
        }
        (TensorRole::Other, _) => float_type.tensor_type(),
    };
    let mut tensor_type = asked;
    if asked != present {
        if !is_readable(present) {
            return Err(GgufError::NoFloats {
                tensor: info.name.clone(),
                tensor_type: present,
            });
        }
        if asked == TensorType::F16 {
            let (stored, reason) = storable(asked, info.columns(), largest(&tensor)?);
            if let Some(reason) = reason {
                fallbacks.push(Fallback {
                    tensor: info.name.clone(),
                    asked,
                    written: stored,
                    reason,
                });
            }
            tensor_type = stored;
        }
    }
    let bytes = tensor_bytes(&info.name, tensor_type, &info.dimensions).map_err(|source| {
        GgufError::Plan {
            path: file.path().to_owned(),
            source,
        }
    })?;
    Ok(PlannedTensor {
        source: tensor,
        tensor_type,
        bytes,
    })
}
