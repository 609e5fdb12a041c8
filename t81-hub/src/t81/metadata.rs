//! `t81_metadata.json`: how a t81 directory was made.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use t81_core::{ActivationPrecision, Granularity, Quantizer};

use super::plan::OutputFormat;
use crate::files::MAX_JSON_BYTES;
use crate::json::read_json;
use crate::{Dtype, HubError};

/// File name of the metadata; its presence makes a directory a t81 directory.
pub const METADATA_FILE: &str = "t81_metadata.json";

/// The version of the directory's format that this crate writes, and the only one that it reads.
pub const FORMAT_VERSION: u32 = 1;

/// Contents of `t81_metadata.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct T81Metadata {
    /// Always [`FORMAT_VERSION`].
    pub format_version: u32,
    /// How ternary tensors are stored; set by the writer.
    pub format: OutputFormat,
    /// Program that wrote the directory.
    pub tool: String,
    /// Its version.
    pub tool_version: String,
    /// The model that it was made from, as the user named it.
    pub source: String,
    /// Settings of the quantizer. A tensor's own granularity is in its [`TernaryTensorInfo`].
    pub quantizer: Quantizer,
    /// How activations entered the products with ternary weights when these were trained, if that is known; inference does
    /// best to do the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activations: Option<ActivationPrecision>,
    /// The `model_type` of `config.json`.
    pub architecture: String,
    /// Every ternary tensor by name; filled in by the writer.
    #[serde(default)]
    pub tensors: BTreeMap<String, TernaryTensorInfo>,
    /// Every tensor of floats by name; filled in by the writer.
    #[serde(default)]
    pub dense_tensors: BTreeMap<String, DenseTensorInfo>,
    /// Totals; filled in by the writer but for `source_bytes` and `relative_error`.
    #[serde(default)]
    pub statistics: T81Statistics,
    /// Anything else that the program wants to keep, for instance a training report.
    #[serde(default)]
    pub extra: Map<String, Value>,
}

/// One ternary tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TernaryTensorInfo {
    /// `[out, in]`.
    pub shape: Vec<usize>,
    /// Whether the float checkpoint, and so the dense format, stores the matrix `[in, out]` (GPT-2's `Conv1D`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub transposed: bool,
    /// How many weights share a scale.
    pub granularity: Granularity,
    /// Fraction of zero codes, 0 to 1.
    pub sparsity: f64,
    /// Bits of codes and scales per weight in the packed format.
    pub bits_per_weight: f64,
    /// `norm(w - q) / norm(w)` against the float weights, if these were known (Frobenius norm).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relative_error: Option<f64>,
    /// Bytes of the tensor in the source, if there was a source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_bytes: Option<u64>,
    /// Bytes of the tensor in this directory; 0 where an older version did not note them.
    #[serde(default)]
    pub stored_bytes: u64,
    /// `source_bytes / stored_bytes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
}

/// One tensor of floats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DenseTensorInfo {
    /// Its shape, outermost dimension first.
    pub shape: Vec<usize>,
    /// Its element type.
    pub dtype: Dtype,
    /// Bytes of the tensor in the source, if there was a source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_bytes: Option<u64>,
    /// Bytes of the tensor in this directory.
    pub stored_bytes: u64,
    /// `source_bytes / stored_bytes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
}

/// Totals over a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct T81Statistics {
    /// Bytes of the source's tensors, if there was a source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_bytes: Option<u64>,
    /// Size of `model.safetensors` in bytes.
    pub stored_bytes: u64,
    /// `source_bytes / stored_bytes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// Number of ternary weights.
    pub ternary_weights: u64,
    /// Number of weights kept as floats.
    pub dense_weights: u64,
    /// Fraction of zero codes among the ternary weights, 0 to 1.
    pub sparsity: f64,
    /// Bits of codes and scales per ternary weight in the packed format.
    pub bits_per_weight: f64,
    /// `norm(w - q) / norm(w)` over all ternary weights together, if the float weights were known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relative_error: Option<f64>,
}

impl T81Metadata {
    /// Metadata of a new directory; the writer adds what it knows better.
    pub fn new(
        tool: impl Into<String>,
        tool_version: impl Into<String>,
        source: impl Into<String>,
        quantizer: Quantizer,
        architecture: impl Into<String>,
    ) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            format: OutputFormat::default(),
            tool: tool.into(),
            tool_version: tool_version.into(),
            source: source.into(),
            quantizer,
            activations: None,
            architecture: architecture.into(),
            tensors: BTreeMap::new(),
            dense_tensors: BTreeMap::new(),
            statistics: T81Statistics::default(),
            extra: Map::new(),
        }
    }

    /// Reads the file and checks all that can be checked without the tensors.
    pub(super) fn read(path: &Path) -> Result<Self, HubError> {
        // The version first: a later one may have a schema that this one cannot parse.
        let raw: Value = read_json(path, MAX_JSON_BYTES)?;
        let problem = |problem: String| HubError::Metadata {
            path: path.to_path_buf(),
            problem,
        };
        match raw["format_version"].as_u64() {
            Some(version) if version == u64::from(FORMAT_VERSION) => {}
            Some(version) => {
                return Err(problem(format!(
                    "format version {version} is not supported (supported: {FORMAT_VERSION}); use a newer T81"
                )));
            }
            None => return Err(problem("format_version is missing or no integer".into())),
        }
        let metadata: Self = serde_json::from_value(raw).map_err(|source| HubError::Json {
            path: path.to_path_buf(),
            source,
        })?;
        for (name, info) in &metadata.tensors {
            if !matches!(info.shape[..], [rows, columns] if rows > 0 && columns > 0) {
                return Err(problem(format!(
                    "tensor `{name}` has the impossible shape {:?}",
                    info.shape
                )));
            }
            if !(0.0..=1.0).contains(&info.sparsity) {
                return Err(problem(format!(
                    "tensor `{name}` has the impossible sparsity {}",
                    info.sparsity
                )));
            }
        }
        Ok(metadata)
    }
}
