//! Which tensors a t81 directory will hold, and where in the file each will lie.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr;

use safetensors::tensor::{Metadata, TensorInfo};
use serde::{Deserialize, Serialize};
use t81_core::Granularity;

use crate::header::MAX_HEADER_BYTES;
use crate::{Dtype, HubError};

/// A tensor that a [`T81Writer`](crate::T81Writer) is going to be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorPlan {
    /// Name as in the float checkpoint, for example `model.layers.0.self_attn.q_proj.weight`.
    pub name: String,
    /// Shape as in the float checkpoint, but always `[out, in]` for a ternary weight.
    pub shape: Vec<usize>,
    /// How its values are stored.
    pub storage: Storage,
}

/// How a tensor's values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// As a ternary matrix with scales of this granularity.
    Ternary {
        /// How many weights share a scale.
        granularity: Granularity,
        /// Whether the float checkpoint stores the matrix `[in, out]` (GPT-2's `Conv1D`).
        transposed: bool,
    },
    /// As floats.
    Dense(Dtype),
}

/// How a t81 directory stores ternary tensors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputFormat {
    /// 2-bit codes and F16 scales.
    #[default]
    Packed,
    /// The same values as F16, readable by every tool for Hugging Face models.
    Dense,
}

impl fmt::Display for OutputFormat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            OutputFormat::Packed => "packed",
            OutputFormat::Dense => "dense",
        })
    }
}

/// The text names no [`OutputFormat`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown format `{0}` (known: packed, dense)")]
pub struct ParseOutputFormatError(String);

impl FromStr for OutputFormat {
    type Err = ParseOutputFormatError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "packed" => Ok(OutputFormat::Packed),
            "dense" => Ok(OutputFormat::Dense),
            _ => Err(ParseOutputFormatError(text.to_owned())),
        }
    }
}

/// Name of the tensor that holds the codes of `name`.
pub(super) fn codes_name(name: &str) -> String {
    format!("{name}.codes")
}

/// Name of the tensor that holds the scales of `name`.
pub(super) fn scales_name(name: &str) -> String {
    format!("{name}.scales")
}

/// The shape in which plain floats of an `[out, in]` matrix are stored.
pub(super) fn stored_shape(shape: &[usize], transposed: bool) -> Vec<usize> {
    let mut shape = shape.to_vec();
    if transposed {
        shape.reverse();
    }
    shape
}

/// Shapes of codes and scales of a `rows` x `columns` matrix.
pub(super) fn packed_shapes(
    rows: usize,
    columns: usize,
    granularity: Granularity,
) -> ([usize; 2], [usize; 2]) {
    let scale_rows = if granularity == Granularity::Tensor {
        1
    } else {
        rows
    };
    (
        [rows, columns.div_ceil(4)],
        [scale_rows, granularity.scales_per_row(columns)],
    )
}

/// A tensor's place in the file: bytes from the start of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) offset: u64,
    pub(super) length: usize,
}

/// The finished header of a safetensors file and the places of its tensors.
pub(super) struct FileLayout {
    /// Length field and JSON.
    pub(super) header: Vec<u8>,
    pub(super) slots: HashMap<String, Slot>,
    /// Size of the whole file.
    pub(super) file_bytes: u64,
}

impl FileLayout {
    /// Lays the tensors out by falling element size, so that each is aligned, and in the plan's order within a size.
    pub(super) fn new(plan: &[TensorPlan], format: OutputFormat) -> Result<Self, HubError> {
        let mut stored: Vec<(String, safetensors::Dtype, Vec<usize>)> = Vec::new();
        for tensor in plan {
            let name = &tensor.name;
            match tensor.storage {
                Storage::Dense(dtype) => {
                    stored.push((name.clone(), dtype.to_safetensors(), tensor.shape.clone()));
                }
                Storage::Ternary {
                    granularity,
                    transposed,
                } => {
                    let [rows, columns] = tensor.shape[..] else {
                        return Err(HubError::plan(
                            name,
                            "a ternary tensor must have two dimensions",
                        ));
                    };
                    if rows == 0 || columns == 0 {
                        return Err(HubError::plan(
                            name,
                            "a ternary tensor must not have a dimension of zero",
                        ));
                    }
                    if format == OutputFormat::Dense {
                        let shape = stored_shape(&tensor.shape, transposed);
                        stored.push((name.clone(), safetensors::Dtype::F16, shape));
                        continue;
                    }
                    let (codes, scales) = packed_shapes(rows, columns, granularity);
                    stored.push((codes_name(name), safetensors::Dtype::U8, codes.into()));
                    stored.push((scales_name(name), safetensors::Dtype::F16, scales.into()));
                }
            }
        }
        stored.sort_by_key(|(_, dtype, _)| std::cmp::Reverse(dtype.bitsize()));
        check_names(&stored)?;
        let mut offset = 0usize;
        let mut infos = Vec::with_capacity(stored.len());
        for (name, dtype, shape) in stored {
            let too_large = || HubError::plan(&name, format!("shape {shape:?} is too large"));
            let length = shape
                .iter()
                .try_fold(dtype.bitsize() / 8, |bytes, &size| bytes.checked_mul(size))
                .ok_or_else(too_large)?;
            let end = offset
                .checked_add(length)
                .filter(|&end| end <= isize::MAX as usize)
                .ok_or_else(too_large)?;
            let info = TensorInfo {
                dtype,
                shape,
                data_offsets: (offset, end),
            };
            infos.push((name, info));
            offset = end;
        }
        Self::with_infos(infos, offset)
    }

    fn with_infos(infos: Vec<(String, TensorInfo)>, data_bytes: usize) -> Result<Self, HubError> {
        let failed = |problem: String| HubError::plan("model.safetensors", problem);
        // transformers refuses a file that does not say which framework laid out its tensors.
        let metadata = [("format".to_owned(), "pt".to_owned())].into();
        let metadata = Metadata::new(Some(metadata), infos.clone())
            .map_err(|error| failed(error.to_string()))?;
        let mut json = serde_json::to_vec(&metadata).map_err(|error| failed(error.to_string()))?;
        json.resize(json.len().next_multiple_of(8), b' ');
        if json.len() as u64 > MAX_HEADER_BYTES {
            return Err(failed(format!(
                "its header has {} bytes, too many",
                json.len()
            )));
        }
        let mut header = (json.len() as u64).to_le_bytes().to_vec();
        header.append(&mut json);
        let base = header.len() as u64;
        let slots = infos
            .into_iter()
            .map(|(name, info)| {
                let (start, end) = info.data_offsets;
                (
                    name,
                    Slot {
                        offset: base + start as u64,
                        length: end - start,
                    },
                )
            })
            .collect();
        Ok(Self {
            file_bytes: base + data_bytes as u64,
            header,
            slots,
        })
    }
}

fn check_names(stored: &[(String, safetensors::Dtype, Vec<usize>)]) -> Result<(), HubError> {
    let mut seen = BTreeMap::new();
    for (name, ..) in stored {
        if name.is_empty() || name == "__metadata__" {
            return Err(HubError::plan(name, "not a usable tensor name"));
        }
        if seen.insert(name, ()).is_some() {
            return Err(HubError::plan(name, "planned twice"));
        }
    }
    Ok(())
}
