//! Reads and validates a t81 directory.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use half::f16;
use rayon::prelude::*;
use t81_core::{Granularity, TernaryMatrix};

use super::metadata::{METADATA_FILE, T81Metadata, TernaryTensorInfo};
use super::plan::{OutputFormat, codes_name, packed_shapes, scales_name, stored_shape};
use crate::config::check_shapes;
use crate::files::{RawTensor, TensorFiles};
use crate::resolve::local_directory;
use crate::{HubError, ModelConfig, TensorView};

/// A model whose linear weights are ternary, as `t81-convert` and `t81-qat` write it. Files are mapped, not read.
#[derive(Debug)]
pub struct T81Directory {
    files: TensorFiles,
    config: ModelConfig,
    metadata: T81Metadata,
    names: BTreeSet<String>,
}

/// One tensor of a t81 directory.
#[derive(Clone, Debug)]
pub enum T81Tensor<'a> {
    /// A weight of codes and scales, `[out, in]`.
    Ternary(TernaryMatrix),
    /// A tensor of floats.
    Dense(TensorView<'a>),
}

impl T81Directory {
    /// Opens a t81 directory, or the `t81` subdirectory of a training output, and validates all of it: metadata,
    /// configuration, names, dtypes and shapes, in the packed format also every code and scale. (Values of the dense format
    /// are validated by [`get`](Self::get).)
    ///
    /// # Errors
    /// Every [`HubError`] about a source, naming file and tensor.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, HubError> {
        let directory = locate(&local_directory(directory)?)?;
        let metadata_path = directory.join(METADATA_FILE);
        let metadata = T81Metadata::read(&metadata_path)?;
        let mut config = ModelConfig::from_file(&directory.join("config.json"))?;
        if metadata.architecture != config.model_type {
            let problem = format!(
                "architecture `{}` contradicts config.json's `{}`",
                metadata.architecture, config.model_type
            );
            return Err(HubError::Metadata {
                path: metadata_path,
                problem,
            });
        }
        let files = TensorFiles::open(&directory)?;
        let names = check_tensors(&files, &metadata)?;
        config.adopt_biases(|name| names.contains(name));
        check_shapes(
            config.expected_tensors(),
            &directory,
            |name| match metadata.tensors.get(name) {
                Some(info) => Some(stored_shape(&info.shape, info.transposed)),
                None => files.get(name).map(|raw| raw.shape.to_vec()),
            },
        )?;
        if metadata.format == OutputFormat::Packed {
            metadata
                .tensors
                .par_iter()
                .try_for_each(|(name, info)| check_packed(&files, name, info))?;
        }
        Ok(Self {
            files,
            config,
            metadata,
            names,
        })
    }

    /// The directory that holds `t81_metadata.json`.
    pub fn directory(&self) -> &Path {
        self.files.directory()
    }

    /// The parsed `config.json`.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The parsed `t81_metadata.json`.
    pub fn metadata(&self) -> &T81Metadata {
        &self.metadata
    }

    /// Names of all tensors in alphabetical order, as in the float checkpoint: `X.weight`, not `X.weight.codes`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The tensors that are stored as floats, in alphabetical order.
    pub fn dense_tensors(&self) -> impl Iterator<Item = TensorView<'_>> {
        let names = self
            .names()
            .filter(|name| !self.metadata.tensors.contains_key(*name));
        names.filter_map(|name| TensorView::from_raw(self.files.get(name)?).ok())
    }

    /// One tensor: a ternary one is copied out of the file, a dense one is a view.
    ///
    /// # Errors
    /// [`HubError::MissingTensor`]; in the dense format [`HubError::Tensor`] if a weight's values are not ternary.
    pub fn get(&self, name: &str) -> Result<T81Tensor<'_>, HubError> {
        let Some(info) = self.metadata.tensors.get(name) else {
            return TensorView::from_raw(find(&self.files, name)?).map(T81Tensor::Dense);
        };
        match self.metadata.format {
            OutputFormat::Packed => read_packed(&self.files, name, info),
            OutputFormat::Dense => read_dense(find(&self.files, name)?, info),
        }
        .map(T81Tensor::Ternary)
    }
}

fn locate(directory: &Path) -> Result<PathBuf, HubError> {
    for candidate in [directory.to_path_buf(), directory.join("t81")] {
        if candidate.join(METADATA_FILE).is_file() {
            return Ok(candidate);
        }
    }
    let has_model = directory.join("config.json").exists();
    Err(HubError::NotT81 {
        directory: directory.to_path_buf(),
        hint: if has_model {
            "; convert it with t81-convert first".into()
        } else {
            String::new()
        },
    })
}

fn find<'a>(files: &'a TensorFiles, name: &str) -> Result<RawTensor<'a>, HubError> {
    files.get(name).ok_or_else(|| HubError::MissingTensor {
        name: name.to_owned(),
        place: files.directory().to_path_buf(),
    })
}

/// Checks dtype and shape of every stored tensor; returns the names as in the float checkpoint.
fn check_tensors(
    files: &TensorFiles,
    metadata: &T81Metadata,
) -> Result<BTreeSet<String>, HubError> {
    let mut parts = BTreeSet::new();
    for (name, info) in &metadata.tensors {
        match metadata.format {
            OutputFormat::Packed => {
                let (codes, scales) = (codes_name(name), scales_name(name));
                let (rows, columns) = dimensions(info);
                let (codes_shape, scales_shape) = packed_shapes(rows, columns, info.granularity);
                check_part(files, &codes, safetensors::Dtype::U8, &codes_shape)?;
                check_part(files, &scales, safetensors::Dtype::F16, &scales_shape)?;
                if files.get(name).is_some() {
                    return Err(HubError::tensor(
                        name,
                        "is stored both as ternary and as floats",
                    ));
                }
                parts.extend([codes, scales]);
            }
            OutputFormat::Dense => {
                let shape = stored_shape(&info.shape, info.transposed);
                check_part(files, name, safetensors::Dtype::F16, &shape)?;
            }
        }
    }
    let mut names: BTreeSet<String> = metadata.tensors.keys().cloned().collect();
    for name in files.names().filter(|name| !parts.contains(*name)) {
        TensorView::from_raw(find(files, name)?)?;
        names.insert(name.to_owned());
    }
    Ok(names)
}

fn check_part(
    files: &TensorFiles,
    name: &str,
    dtype: safetensors::Dtype,
    shape: &[usize],
) -> Result<(), HubError> {
    let raw = find(files, name)?;
    if raw.dtype != dtype || raw.shape != shape {
        let problem = format!(
            "is {} {:?}, but {METADATA_FILE} implies {dtype} {shape:?}",
            raw.dtype, raw.shape
        );
        return Err(HubError::tensor(name, problem));
    }
    Ok(())
}

fn dimensions(info: &TernaryTensorInfo) -> (usize, usize) {
    (info.shape[0], info.shape[1])
}

fn check_packed(files: &TensorFiles, name: &str, info: &TernaryTensorInfo) -> Result<(), HubError> {
    let codes = find(files, &codes_name(name))?;
    let invalid = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0, |found, byte| found | (byte & (byte >> 1) & 0x55))
            != 0
    };
    if let Some(at) = codes.bytes.par_chunks(1 << 12).position_first(invalid) {
        let problem = format!(
            "has a code of value 3 between bytes {} and {}",
            at << 12,
            (at + 1) << 12
        );
        return Err(HubError::tensor(codes.name, problem));
    }
    let (rows, columns) = dimensions(info);
    let used = columns % 4;
    if used != 0 {
        let row_bytes = columns.div_ceil(4);
        let padding = 0xffu8 << (2 * used);
        let wrong =
            |row: &usize| codes.bytes[(row + 1) * row_bytes - 1] & padding != 0x55 & padding;
        if let Some(row) = (0..rows).find(wrong) {
            return Err(HubError::tensor(
                codes.name,
                format!("has a wrong padding at the end of row {row}"),
            ));
        }
    }
    codes.pages.release();
    let scales = find(files, &scales_name(name))?;
    let wrong = |bytes: &[u8; 2]| {
        let scale = f16::from_le_bytes(*bytes);
        !scale.is_finite() || scale.is_sign_negative()
    };
    if let Some(index) = scales.bytes.as_chunks::<2>().0.iter().position(wrong) {
        let scale = f16::from_le_bytes(scales.bytes.as_chunks::<2>().0[index]);
        return Err(HubError::tensor(
            scales.name,
            format!("has the impossible scale {scale} at index {index}"),
        ));
    }
    Ok(())
}

fn read_packed(
    files: &TensorFiles,
    name: &str,
    info: &TernaryTensorInfo,
) -> Result<TernaryMatrix, HubError> {
    let (rows, columns) = dimensions(info);
    let stored = find(files, &codes_name(name))?;
    let codes = stored.bytes.to_vec();
    stored.pages.release();
    let scales = find(files, &scales_name(name))?.bytes.as_chunks::<2>().0;
    let scales = scales
        .iter()
        .map(|bytes| f16::from_le_bytes(*bytes))
        .collect();
    TernaryMatrix::from_parts(codes, scales, rows, columns, info.granularity).map_err(|source| {
        HubError::Ternary {
            name: name.to_owned(),
            source,
        }
    })
}

/// Recovers codes and scales of plain F16 values: the scale of a group is the one magnitude that its non-zero values have.
fn read_dense(raw: RawTensor<'_>, info: &TernaryTensorInfo) -> Result<TernaryMatrix, HubError> {
    let (rows, columns) = dimensions(info);
    let values = if info.transposed {
        Cow::Owned(transposed(raw.bytes.as_chunks::<2>().0, rows, columns))
    } else {
        Cow::Borrowed(raw.bytes.as_chunks::<2>().0)
    };
    let not_ternary = |row: usize| {
        HubError::tensor(
            raw.name,
            format!(
                "is not ternary with scales per {}: see row {row}",
                info.granularity
            ),
        )
    };
    let group = match info.granularity {
        Granularity::Tensor | Granularity::Row => columns,
        Granularity::Group(size) => size.get().min(columns),
    };
    let row_bytes = columns.div_ceil(4);
    let mut codes = vec![0x55u8; rows * row_bytes];
    let mut scales = vec![f16::ZERO; rows * columns.div_ceil(group)];
    codes
        .par_chunks_mut(row_bytes)
        .zip(scales.par_chunks_mut(columns.div_ceil(group)))
        .zip(values.par_chunks(columns))
        .enumerate()
        .try_for_each(|(row, ((codes, scales), values))| {
            for ((index, values), scale) in values.chunks(group).enumerate().zip(scales) {
                *scale =
                    read_group(values, index * group, codes).ok_or_else(|| not_ternary(row))?;
            }
            Ok::<(), HubError>(())
        })?;
    if info.granularity == Granularity::Tensor {
        let scale = scales
            .iter()
            .copied()
            .find(|scale| *scale != f16::ZERO)
            .unwrap_or(f16::ZERO);
        if let Some(row) = scales
            .iter()
            .position(|other| *other != f16::ZERO && *other != scale)
        {
            return Err(not_ternary(row));
        }
        scales = vec![scale];
    }
    TernaryMatrix::from_parts(codes, scales, rows, columns, info.granularity).map_err(|source| {
        HubError::Ternary {
            name: raw.name.to_owned(),
            source,
        }
    })
}

/// Values stored `[columns, rows]` as `[rows, columns]`.
fn transposed(values: &[[u8; 2]], rows: usize, columns: usize) -> Vec<[u8; 2]> {
    let mut output = vec![[0; 2]; values.len()];
    output
        .par_chunks_mut(columns)
        .enumerate()
        .for_each(|(row, output)| {
            for (column, value) in output.iter_mut().enumerate() {
                *value = values[column * rows + row];
            }
        });
    output
}

/// Writes the codes of one group, whose first column is `first`, and returns its scale; none if two magnitudes differ.
fn read_group(values: &[[u8; 2]], first: usize, codes: &mut [u8]) -> Option<f16> {
    const SIGN: u16 = 0x8000;
    let mut scale = 0;
    for (column, bytes) in (first..).zip(values) {
        let bits = u16::from_le_bytes(*bytes);
        let magnitude = bits & !SIGN;
        if magnitude == 0 {
            continue;
        }
        if scale != 0 && magnitude != scale {
            return None;
        }
        scale = magnitude;
        // From 01 (code 0) to 10 (code +1) or 00 (code -1).
        let flip = if bits & SIGN == 0 { 0b11 } else { 0b01 };
        codes[column / 4] ^= flip << (2 * (column % 4));
    }
    Some(f16::from_bits(scale))
}
