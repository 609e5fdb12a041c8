//! A tensor of a file, some rows at a time.

use rayon::prelude::*;
use t81_core::TernaryPattern;

use crate::error::GgufError;
use crate::reader::GgufTensor;

/// Elements in memory at a time, but for a longer row.
pub(crate) const PIECE: usize = 1 << 22;

/// First row and number of rows of each piece.
pub(crate) fn pieces(
    tensor: &GgufTensor<'_>,
    elements: usize,
) -> impl Iterator<Item = (u64, usize)> + use<> {
    let rows = tensor.rows();
    let step = (elements as u64 / tensor.info.columns()).clamp(1, rows);
    (0..rows)
        .step_by(step as usize)
        .map(move |first| (first, step.min(rows - first) as usize))
}

/// Calls `take` with the first row and the floats of each piece.
pub(crate) fn float_pieces(
    tensor: &GgufTensor<'_>,
    mut take: impl FnMut(u64, &[f32]) -> Result<(), GgufError>,
) -> Result<(), GgufError> {
    let columns = tensor.info.columns() as usize;
    let mut values = Vec::new();
    for (first, rows) in pieces(tensor, PIECE) {
        values.resize(rows * columns, 0.0);
        tensor.read_rows(first, &mut values)?;
        take(first, &values)?;
        tensor.release();
    }
    Ok(())
}

/// The pattern of floats that are ternary already; none for ordinary weights, of which little is read.
///
/// # Errors
///
/// [`GgufError::NoFloats`] for a type that cannot be read.
pub(crate) fn ternary_pattern(
    tensor: &GgufTensor<'_>,
) -> Result<Option<TernaryPattern>, GgufError> {
    let columns = tensor.info.columns() as usize;
    let mut values = vec![0.0; columns];
    tensor.read_rows(0, &mut values)?;
    let mut found = TernaryPattern::of_row(&values);
    for (first, rows) in pieces(tensor, PIECE) {
        let Some(before) = found else {
            return Ok(None);
        };
        values.resize(rows * columns, 0.0);
        tensor.read_rows(first, &mut values)?;
        let piece = values
            .par_chunks(columns)
            .map(TernaryPattern::of_row)
            .try_reduce_with(|one, other| Some(one.merge(other)));
        found = piece.flatten().map(|piece| before.merge(piece));
        tensor.release();
    }
    Ok(found)
}

/// The largest magnitude of a tensor.
///
/// # Errors
///
/// [`GgufError::NonFinite`] for the first value that is infinite or undefined.
pub(crate) fn largest(tensor: &GgufTensor<'_>) -> Result<f32, GgufError> {
    let mut largest = 0.0f32;
    let columns = tensor.info.columns() as usize;
    float_pieces(tensor, |first, values| {
        if let Some(at) = values.par_iter().position_first(|value| !value.is_finite()) {
            return Err(GgufError::NonFinite {
                tensor: tensor.info.name.clone(),
                element: first as usize * columns + at,
                value: values[at],
            });
        }
        let of_piece = values
            .par_iter()
            .map(|value| value.abs())
            .reduce(|| 0.0, f32::max);
        largest = largest.max(of_piece);
        Ok(())
    })?;
    Ok(largest)
}
