//! Turning the tensors of a t81 directory into the bytes of a GGUF file.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;
use t81_core::{Layout, TernaryMatrix};
use t81_hub::{Dtype, T81Tensor, TensorSpec, TensorView, TernarySource};

use super::plan::PlannedTensor;
use crate::architecture::Source;
use crate::encode::encode;
use crate::error::GgufError;
use crate::tensor_type::TensorType;
use crate::writer::TensorSink;

/// Elements converted at a time; bounds the memory that a large embedding takes.
const PIECE: usize = 1 << 20;

/// Elements converted by one task.
const TASK: usize = 1 << 14;

/// The largest magnitude of a dense tensor's values.
///
/// # Errors
///
/// [`GgufError::NonFinite`] for the first value that is infinite or undefined.
pub(super) fn largest(view: &TensorView<'_>) -> Result<f32, GgufError> {
    let width = view.dtype.size_bytes();
    let mut largest = 0.0f32;
    let mut first = 0;
    for chunk in view.chunks() {
        let pieces = chunk.bytes.par_chunks(TASK * width).enumerate();
        let largest_of = pieces.map(|(piece, bytes)| {
            let mut values = vec![0.0; bytes.len() / width];
            decode_task(view.dtype, bytes, &mut values);
            match values.iter().position(|value| !value.is_finite()) {
                Some(at) => Err(GgufError::NonFinite {
                    tensor: view.name.to_owned(),
                    element: first + piece * TASK + at,
                    value: values[at],
                }),
                None => Ok(values
                    .iter()
                    .fold(0.0f32, |largest, value| largest.max(value.abs()))),
            }
        });
        let of_pieces = largest_of.collect::<Result<Vec<f32>, GgufError>>()?;
        largest = of_pieces.into_iter().fold(largest, f32::max);
        first += chunk.len();
        chunk.release();
    }
    Ok(largest)
}

/// Writes the planned tensor's data, and returns whether it is ternary and holds nothing but zeros.
pub(super) fn write(
    source: &dyn TernarySource,
    planned: &PlannedTensor,
    sink: &mut TensorSink<'_>,
) -> Result<bool, GgufError> {
    let spec = match &planned.mapped.source {
        Source::Computed(values) => {
            write_floats(values, planned.tensor_type, sink)?;
            return Ok(false);
        }
        Source::Checkpoint(spec) => spec,
    };
    let name = &spec.name;
    let order = spec.rows.sources(spec.shape[0]);
    match source.get(name)? {
        T81Tensor::Ternary(matrix) => {
            let matrix = match order {
                Some(order) => matrix
                    .permute_rows(&order)
                    .map_err(|source| codec(name, source.into()))?,
                None => matrix,
            };
            write_ternary(name, &matrix, planned.tensor_type, sink)?;
            Ok(matrix.sparsity() == 1.0)
        }
        T81Tensor::Dense(view) => {
            let order = order.as_deref();
            write_dense(&view, spec, order, planned.tensor_type, sink)?;
            Ok(false)
        }
    }
}

/// Writes ternary weights in a block format that holds them, or as F16 or F32.
pub(crate) fn write_ternary(
    name: &str,
    matrix: &TernaryMatrix,
    tensor_type: TensorType,
    sink: &mut TensorSink<'_>,
) -> Result<(), GgufError> {
    if sink.compare_ternary(matrix)? {
        return Ok(());
    }
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

/// Writes a tensor of floats, its rows in the order of `order` (or as they are), a piece of rows at a time.
fn write_dense(
    view: &TensorView<'_>,
    spec: &TensorSpec,
    order: Option<&[usize]>,
    tensor_type: TensorType,
    sink: &mut TensorSink<'_>,
) -> Result<(), GgufError> {
    let rows = spec.shape[0];
    let columns: usize = spec.shape[1..].iter().product();
    let rows_per_piece = (PIECE / columns.max(1)).clamp(1, rows);
    let mut values = vec![0.0; rows_per_piece * columns];
    for first in (0..rows).step_by(rows_per_piece) {
        let count = rows_per_piece.min(rows - first);
        let values = &mut values[..count * columns];
        match (spec.layout, order) {
            (Layout::InOut, _) => decode_columns(view, first, count, values),
            (Layout::OutIn, None) => {
                decode(view.dtype, row_bytes(view, first, count, columns), values)
            }
            (Layout::OutIn, Some(order)) => {
                let sources = &order[first..first + count];
                values
                    .par_chunks_mut(columns)
                    .zip(sources)
                    .for_each(|(values, &row)| {
                        decode_task(view.dtype, row_bytes(view, row, 1, columns), values);
                    });
            }
        }
        if spec.offset != 0.0 {
            values.iter_mut().for_each(|value| *value += spec.offset);
        }
        write_floats(values, tensor_type, sink)?;
        if spec.layout == Layout::OutIn {
            view.release();
        }
    }
    view.release();
    Ok(())
}

fn row_bytes<'a>(view: &TensorView<'a>, first: usize, count: usize, columns: usize) -> &'a [u8] {
    let row = columns * view.dtype.size_bytes();
    &view.bytes[first * row..(first + count) * row]
}

/// Decodes `count` columns of a tensor stored `[in, out]` as rows of `values`.
fn decode_columns(view: &TensorView<'_>, first: usize, count: usize, values: &mut [f32]) {
    let (inputs, outputs) = (view.shape[0], view.shape[1]);
    let mut run = vec![0.0; count];
    for input in 0..inputs {
        let width = view.dtype.size_bytes();
        let start = (input * outputs + first) * width;
        decode_task(
            view.dtype,
            &view.bytes[start..start + count * width],
            &mut run,
        );
        for (row, value) in run.iter().enumerate() {
            values[row * inputs + input] = *value;
        }
    }
}

/// Writes finite floats as F32, F16, BF16 or Q8_0.
pub(crate) fn write_floats(
    values: &[f32],
    tensor_type: TensorType,
    sink: &mut TensorSink<'_>,
) -> Result<(), GgufError> {
    let stored_bytes = |count: usize| {
        count / tensor_type.block_len() as usize * tensor_type.block_bytes() as usize
    };
    let mut bytes = vec![0; stored_bytes(values.len().min(PIECE))];
    for values in values.chunks(PIECE) {
        let bytes = &mut bytes[..stored_bytes(values.len())];
        encode(tensor_type, values, bytes);
        sink.write(bytes)?;
    }
    Ok(())
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
