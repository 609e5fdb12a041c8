//! Turning the tensors of a t81 directory into the bytes of a GGUF file.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;
use t81_core::TernaryMatrix;
use t81_hub::{Dtype, T81Tensor, TensorView, TernarySource};

use super::plan::PlannedTensor;
use crate::architectures::Source;
use crate::error::GgufError;
use crate::tensor_type::TensorType;
use crate::writer::TensorSink;

/// Elements converted at a time; bounds the memory that a large embedding takes.
const PIECE: usize = 1 << 20;

/// Elements converted by one task.
const TASK: usize = 1 << 14;

/// The smallest magnitude that rounds to infinity as F16: halfway between 65504 and the next step.
const F16_OVERFLOW: f32 = 65520.0;

/// The smallest float type whose range a tensor's values need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Range {
    F16,
    F32,
}

/// Finds the range of a dense tensor's values.
///
/// # Errors
///
/// [`GgufError::NonFinite`] for the first value that is infinite or undefined.
pub(super) fn range(view: &TensorView<'_>) -> Result<Range, GgufError> {
    let width = view.dtype.size_bytes();
    let pieces = view
        .bytes
        .par_chunks(PIECE * width)
        .enumerate()
        .map(|(piece, bytes)| {
            let mut values = vec![0.0; bytes.len() / width];
            decode(view.dtype, bytes, &mut values);
            match values.iter().position(|value| !value.is_finite()) {
                Some(at) => Err(GgufError::NonFinite {
                    tensor: view.name.to_owned(),
                    element: piece * PIECE + at,
                    value: values[at],
                }),
                None => Ok(values.iter().all(|value| value.abs() < F16_OVERFLOW)),
            }
        });
    let fits = pieces.collect::<Result<Vec<bool>, GgufError>>()?;
    Ok(if fits.into_iter().all(|fits| fits) {
        Range::F16
    } else {
        Range::F32
    })
}

/// Writes the planned tensor's data.
pub(super) fn write(
    source: &dyn TernarySource,
    planned: &PlannedTensor,
    sink: &mut TensorSink<'_>,
) -> Result<(), GgufError> {
    let (name, rows) = match &planned.mapped.source {
        Source::Computed(values) => return write_floats(values, planned.tensor_type, sink),
        Source::Checkpoint { name, rows } => (name, *rows),
    };
    let order = rows.sources(planned.mapped.shape[0]);
    match source.get(name)? {
        T81Tensor::Ternary(matrix) => {
            let matrix = match order {
                Some(order) => matrix
                    .permute_rows(&order)
                    .map_err(|source| codec(name, source.into()))?,
                None => matrix,
            };
            write_ternary(name, &matrix, planned.tensor_type, sink)
        }
        T81Tensor::Dense(view) => write_dense(&view, order.as_deref(), planned.tensor_type, sink),
    }
}

fn write_ternary(
    name: &str,
    matrix: &TernaryMatrix,
    tensor_type: TensorType,
    sink: &mut TensorSink<'_>,
) -> Result<(), GgufError> {
    if let Some(format) = tensor_type.block_format() {
        return sink.write(
            &format
                .encode(matrix)
                .map_err(|source| codec(name, source))?,
        );
    }
    let columns = matrix.columns();
    let rows_per_piece = (PIECE / columns).clamp(1, matrix.rows());
    let mut values = vec![0.0; rows_per_piece * columns];
    for first in (0..matrix.rows()).step_by(rows_per_piece) {
        let count = rows_per_piece.min(matrix.rows() - first);
        let values = &mut values[..count * columns];
        for (row, values) in values.chunks_exact_mut(columns).enumerate() {
            matrix
                .dequantize_row(first + row, values)
                .map_err(|source| codec(name, source.into()))?;
        }
        write_floats(values, tensor_type, sink)?;
    }
    Ok(())
}

fn write_dense(
    view: &TensorView<'_>,
    order: Option<&[usize]>,
    tensor_type: TensorType,
    sink: &mut TensorSink<'_>,
) -> Result<(), GgufError> {
    let width = view.dtype.size_bytes();
    let Some(order) = order else {
        let mut values = vec![0.0; PIECE.min(view.bytes.len() / width)];
        for bytes in view.bytes.chunks(PIECE * width) {
            let values = &mut values[..bytes.len() / width];
            decode(view.dtype, bytes, values);
            write_floats(values, tensor_type, sink)?;
        }
        return Ok(());
    };
    let row_bytes = view.bytes.len() / order.len();
    let mut values = vec![0.0; row_bytes / width];
    for &row in order {
        decode(
            view.dtype,
            &view.bytes[row * row_bytes..][..row_bytes],
            &mut values,
        );
        write_floats(&values, tensor_type, sink)?;
    }
    Ok(())
}

fn write_floats(
    values: &[f32],
    tensor_type: TensorType,
    sink: &mut TensorSink<'_>,
) -> Result<(), GgufError> {
    let width = if tensor_type == TensorType::F16 { 2 } else { 4 };
    let mut bytes = vec![0; values.len().min(PIECE) * width];
    for values in values.chunks(PIECE) {
        let bytes = &mut bytes[..values.len() * width];
        let tasks = values
            .par_chunks(TASK)
            .zip(bytes.par_chunks_mut(TASK * width));
        tasks.for_each(|(values, bytes)| encode(tensor_type, values, bytes));
        sink.write(bytes)?;
    }
    Ok(())
}

fn encode(tensor_type: TensorType, values: &[f32], bytes: &mut [u8]) {
    if tensor_type == TensorType::F16 {
        let mut halves = vec![f16::ZERO; values.len()];
        halves.convert_from_f32_slice(values);
        for (half, bytes) in halves.iter().zip(bytes.as_chunks_mut::<2>().0) {
            *bytes = half.to_le_bytes();
        }
    } else {
        for (value, bytes) in values.iter().zip(bytes.as_chunks_mut::<4>().0) {
            *bytes = value.to_le_bytes();
        }
    }
}

fn decode(dtype: Dtype, bytes: &[u8], values: &mut [f32]) {
    let tasks = bytes
        .par_chunks(TASK * dtype.size_bytes())
        .zip(values.par_chunks_mut(TASK));
    tasks.for_each(|(bytes, values)| decode_task(dtype, bytes, values));
}

fn decode_task(dtype: Dtype, bytes: &[u8], values: &mut [f32]) {
    match dtype {
        Dtype::F32 => {
            for (value, &bytes) in values.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *value = f32::from_le_bytes(bytes);
            }
        }
        Dtype::F16 => {
            let halves = bytes
                .as_chunks::<2>()
                .0
                .iter()
                .map(|&bytes| f16::from_le_bytes(bytes));
            halves.collect::<Vec<_>>().convert_to_f32_slice(values);
        }
        Dtype::BF16 => {
            for (value, &bytes) in values.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *value = bf16::from_le_bytes(bytes).to_f32();
            }
        }
    }
}

fn codec(tensor: &str, source: t81_core::CodecError) -> GgufError {
    GgufError::Codec {
        tensor: tensor.to_owned(),
        source,
    }
}
