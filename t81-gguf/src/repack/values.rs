//! Turning the tensors of a GGUF file into those of another, a piece at a time.

use rayon::prelude::*;
use t81_core::{BlockFormat, CodecError, Granularity, Layout, QuantizeError, TernaryMatrix};

use super::plan::{Content, PlannedTensor};
use crate::error::GgufError;
use crate::export::{write_floats, write_ternary};
use crate::pieces::{PIECE, float_pieces, pieces};
use crate::reader::GgufTensor;
use crate::writer::TensorSink;

/// Bytes copied at a time.
const COPY: usize = 1 << 22;

/// The group of a Q2_0 block, and that of the other ternary types.
const NARROW: usize = 64;
const WIDE: usize = 256;

/// Writes the planned tensor's data, and returns whether it is ternary and holds nothing but zeros.
pub(super) fn write(
    planned: &PlannedTensor<'_>,
    sink: &mut TensorSink<'_>,
) -> Result<bool, GgufError> {
    let mut only_zeros = planned.content.is_ternary();
    match &planned.content {
        Content::Copied => planned.source.bytes.chunks(COPY).try_for_each(|bytes| {
            sink.write(bytes)?;
            planned.source.release();
            Ok(())
        }),
        Content::Converted => float_pieces(&planned.source, |_, values| {
            write_floats(values, planned.tensor_type, sink)
        }),
        Content::Kept(..) | Content::Quantized(_) => ternary_pieces(planned, |matrix| {
            only_zeros = only_zeros && matrix.sparsity() == 1.0;
            write_ternary(planned.name(), matrix, planned.tensor_type, sink)
        }),
    }?;
    Ok(only_zeros)
}

/// The largest group, 64 or 256 weights, that has one scale throughout a tensor of a ternary type; none when some block
/// holds what no ternary matrix does.
///
/// # Errors
///
/// [`GgufError::Codec`] for a scale that is not finite.
pub(super) fn widest_group(
    tensor: &GgufTensor<'_>,
    format: BlockFormat,
) -> Result<Option<usize>, GgufError> {
    let columns = tensor.info.columns() as usize;
    let mut group = if format.block_len() == WIDE || columns.is_multiple_of(WIDE) {
        WIDE
    } else {
        NARROW
    };
    for (first, rows) in pieces(tensor, PIECE) {
        match decode(tensor, format, first, rows) {
            Ok(matrix) => {
                tensor.release();
                if format.block_len() < group && merged(&matrix).is_none() {
                    group = NARROW;
                }
            }
            Err(CodecError::InvalidCode { .. }) => return Ok(None),
            Err(source) => {
                return Err(GgufError::Codec {
                    tensor: tensor.info.name.clone(),
                    source,
                });
            }
        }
    }
    Ok(Some(group))
}

/// Calls `take` with the ternary weights of each piece.
fn ternary_pieces(
    planned: &PlannedTensor<'_>,
    mut take: impl FnMut(&TernaryMatrix) -> Result<(), GgufError>,
) -> Result<(), GgufError> {
    let tensor = &planned.source;
    let columns = planned.columns();
    match &planned.content {
        Content::Copied | Content::Converted => Ok(()),
        Content::Kept(format, group) => {
            for (first, rows) in pieces(tensor, PIECE) {
                let matrix =
                    decode(tensor, *format, first, rows).map_err(|source| GgufError::Codec {
                        tensor: tensor.info.name.clone(),
                        source,
                    })?;
                let matrix = match merged(&matrix) {
                    Some(wide) if *group > format.block_len() => wide,
                    _ => matrix,
                };
                take(&matrix)?;
                tensor.release();
            }
            Ok(())
        }
        Content::Quantized(quantizer) => {
            let elements = match quantizer.granularity() {
                // One scale needs all weights at once.
                Granularity::Tensor => usize::MAX,
                Granularity::Row | Granularity::Group(_) => PIECE,
            };
            let mut values = Vec::new();
            for (first, rows) in pieces(tensor, elements) {
                values.resize(rows * columns, 0.0);
                tensor.read_rows(first, &mut values)?;
                let matrix = quantizer
                    .quantize(&values, rows, columns, Layout::OutIn)
                    .map_err(|source| GgufError::Quantize {
                        tensor: tensor.info.name.clone(),
                        source: below(source, first as usize),
                    })?;
                take(&matrix)?;
                tensor.release();
            }
            Ok(())
        }
    }
}

fn decode(
    tensor: &GgufTensor<'_>,
    format: BlockFormat,
    first: u64,
    rows: usize,
) -> Result<TernaryMatrix, CodecError> {
    let row_bytes = (tensor.info.bytes / tensor.rows()) as usize;
    let bytes = &tensor.bytes[first as usize * row_bytes..][..rows * row_bytes];
    format.decode(bytes, rows, tensor.info.columns() as usize)
}

/// The same weights in groups of 256; none when the scales of four blocks differ, zeros aside.
fn merged(matrix: &TernaryMatrix) -> Option<TernaryMatrix> {
    const CODE_BYTES: usize = NARROW / 4;
    const ZERO_CODES: u8 = 0b01_01_01_01;
    if !matrix.columns().is_multiple_of(WIDE)
        || matrix.scales_per_row() * NARROW != matrix.columns()
    {
        return None;
    }
    let blocks_of_group = WIDE / NARROW;
    let scales = matrix
        .scales()
        .par_chunks(blocks_of_group)
        .zip(matrix.codes().par_chunks(blocks_of_group * CODE_BYTES))
        .map(|(scales, codes)| {
            let mut used = scales
                .iter()
                .zip(codes.chunks(CODE_BYTES))
                .filter(|(_, codes)| codes.iter().any(|&byte| byte != ZERO_CODES))
                .map(|(scale, _)| *scale);
            let scale = used.next().unwrap_or_default();
            used.all(|other| other == scale).then_some(scale)
        })
        .collect::<Option<Vec<_>>>()?;
    TernaryMatrix::from_parts(
        matrix.codes().to_vec(),
        scales,
        matrix.rows(),
        matrix.columns(),
        Granularity::group(WIDE).ok()?,
    )
    .ok()
}

/// The error with its row counted from the tensor's first.
fn below(error: QuantizeError, first: usize) -> QuantizeError {
    match error {
        QuantizeError::NonFinite { row, column, value } => QuantizeError::NonFinite {
            row: row + first,
            column,
            value,
        },
        QuantizeError::ScaleOverflow { row, column } => QuantizeError::ScaleOverflow {
            row: row + first,
            column,
        },
        other => other,
    }
}
