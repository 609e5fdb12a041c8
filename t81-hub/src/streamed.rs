//! Quantizing a tensor straight from its file: a few rows at a time on every core, never as a whole.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use t81_core::{Distortion, Layout, QuantizeError, Quantizer, TernaryMatrix, TernaryPattern};

use crate::{HubError, TensorView};

/// Weights of one task, about: their floats and bytes fit a second-level cache.
const TASK_WEIGHTS: usize = 1 << 15;

/// Rows of one task that are gathered from the `[in, out]` layout: whole cache lines of the file.
const GATHERED_ROWS: usize = 64;

/// How much of the file may be in memory at once, about.
const RESIDENT_BYTES: usize = 32 << 20;

/// The ternary matrix of a tensor that is stored in the given layout, and its distance from the tensor.
pub(crate) fn quantize(
    view: &TensorView<'_>,
    layout: Layout,
    quantizer: &Quantizer,
) -> Result<(TernaryMatrix, Distortion), HubError> {
    let (rows, columns, chunk_rows) = match (layout, view.matrix_shape()?) {
        (Layout::OutIn, (rows, columns)) => (rows, columns, TASK_WEIGHTS / columns.max(1)),
        (Layout::InOut, (columns, rows)) => (rows, columns, GATHERED_ROWS),
    };
    let read = AtomicUsize::new(0);
    let fill = |range: Range<usize>, weights: &mut [f32]| {
        if layout == Layout::InOut {
            gather(view, rows, range, weights);
            return Ok(());
        }
        view.decode_elements(range.start * columns, weights);
        let bytes = weights.len() * view.dtype.size_bytes();
        let before = read.fetch_add(bytes, Ordering::Relaxed);
        if before / RESIDENT_BYTES != (before + bytes) / RESIDENT_BYTES {
            // What other threads are reading just now they fault in again.
            view.release();
        }
        Ok::<(), QuantizeError>(())
    };
    let quantized = quantizer.quantize_rows(rows, columns, chunk_rows, fill);
    view.release();
    quantized.map_err(|source| HubError::Quantize {
        name: view.name.to_owned(),
        source,
    })
}

/// The pattern of a tensor whose weights are ternary already; none for ordinary weights, of which little is read.
pub(crate) fn pattern(
    view: &TensorView<'_>,
    layout: Layout,
) -> Result<Option<TernaryPattern>, HubError> {
    let (rows, columns, chunk_rows) = match (layout, view.matrix_shape()?) {
        (Layout::OutIn, (rows, columns)) => (rows, columns, TASK_WEIGHTS / columns.max(1)),
        (Layout::InOut, (columns, rows)) => (rows, columns, GATHERED_ROWS),
    };
    if rows == 0 || columns == 0 {
        return Ok(None);
    }
    let chunk_rows = chunk_rows.clamp(1, rows);
    let of_chunk = |first: usize| {
        let range = first..(first + chunk_rows).min(rows);
        let mut weights = vec![0.0; range.len() * columns];
        match layout {
            Layout::OutIn => view.decode_elements(first * columns, &mut weights),
            Layout::InOut => gather(view, rows, range, &mut weights),
        }
        weights
            .chunks(columns)
            .map(TernaryPattern::of_row)
            .reduce(|one, other| Some(one?.merge(other?)))
            .flatten()
    };
    // The first rows tell ordinary weights, before every core reads some.
    let Some(first) = of_chunk(0) else {
        view.release();
        return Ok(None);
    };
    let mut found = Some(first);
    let chunks: Vec<usize> = (chunk_rows..rows).step_by(chunk_rows).collect();
    let resident = RESIDENT_BYTES / (chunk_rows * columns * view.dtype.size_bytes()).max(1);
    for chunks in chunks.chunks(resident.max(1)) {
        let part = chunks
            .par_iter()
            .map(|&first| of_chunk(first))
            .try_reduce_with(|one, other| Some(one.merge(other)));
        view.release();
        found = match (found, part.flatten()) {
            (Some(found), Some(part)) => Some(found.merge(part)),
            _ => return Ok(None),
        };
    }
    Ok(found)
}

/// Decodes some output features of a tensor that is stored `[in, out]`, turned to `[out, in]`. Each task goes through all
/// of the file, whose pages are released at the end only.
fn gather(view: &TensorView<'_>, outputs: usize, rows: Range<usize>, weights: &mut [f32]) {
    let inputs = weights.len() / rows.len();
    let mut values = [0.0; GATHERED_ROWS];
    let values = &mut values[..rows.len()];
    for input in 0..inputs {
        view.decode_elements(input * outputs + rows.start, values);
        for (row, &value) in values.iter().enumerate() {
            weights[row * inputs + input] = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use t81_core::Granularity;

    use super::*;
    use crate::Dtype;

    #[test]
    fn either_layout_gives_the_matrix_of_the_whole() {
        let (rows, columns) = (150, 300);
        let values: Vec<f32> = (0..rows * columns)
            .map(|i| ((i * 7919 % 10_007) as f32 - 5000.0) / 5000.0)
            .collect();
        let turned: Vec<f32> = (0..rows * columns)
            .map(|i| values[i % rows * columns + i / rows])
            .collect();
        let bytes = |values: &[f32]| -> Vec<u8> {
            values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect()
        };
        for granularity in [
            Granularity::group(64).unwrap(),
            Granularity::Row,
            Granularity::Tensor,
        ] {
            let quantizer = Quantizer::new(granularity, 0.7).unwrap();
            let whole = quantizer
                .quantize(&values, rows, columns, Layout::OutIn)
                .unwrap();
            let mut distances = Vec::new();
            for (layout, values, shape) in [
                (Layout::OutIn, &values, [rows, columns]),
                (Layout::InOut, &turned, [columns, rows]),
            ] {
                let bytes = bytes(values);
                let view = TensorView::new("w", Dtype::F32, &shape, &bytes).unwrap();
                let (matrix, distance) = quantize(&view, layout, &quantizer).unwrap();
                assert_eq!(matrix, whole, "{granularity} {layout:?}");
                distances.push(distance);
            }
            assert_eq!(distances[0], distances[1]);
        }
    }

    #[test]
    fn either_layout_has_the_pattern_of_the_whole() {
        let (rows, columns) = (150, 1024);
        let scale = |row: usize, column: usize| 0.5 + (row % 7 + column / 128) as f32 / 64.0;
        let values: Vec<f32> = (0..rows * columns)
            .map(|i| scale(i / columns, i % columns) * ((i * 7919 % 13) as f32 % 3.0 - 1.0))
            .collect();
        let turned: Vec<f32> = (0..rows * columns)
            .map(|i| values[i % rows * columns + i / rows])
            .collect();
        let found = |values: &[f32], layout, shape: [usize; 2]| {
            let bytes: Vec<u8> = values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            let view = TensorView::new("w", Dtype::F32, &shape, &bytes).unwrap();
            pattern(&view, layout)
                .unwrap()
                .map(TernaryPattern::granularity)
        };
        let expected = Granularity::group(128).ok();
        assert_eq!(found(&values, Layout::OutIn, [rows, columns]), expected);
        assert_eq!(found(&turned, Layout::InOut, [columns, rows]), expected);
        let mut ordinary = values;
        ordinary[149 * columns + 3] = 0.123;
        ordinary[149 * columns + 4] = 0.124;
        assert_eq!(found(&ordinary, Layout::OutIn, [rows, columns]), None);
        assert_eq!(found(&[], Layout::OutIn, [0, 4]), None);
    }

    #[test]
    fn a_weight_that_is_no_number_is_named() {
        let mut bytes = vec![0; 4 * 6];
        bytes[4 * 4..4 * 5].copy_from_slice(&f32::NAN.to_le_bytes());
        let view = TensorView::new("w", Dtype::F32, &[2, 3], &bytes).unwrap();
        let quantizer = Quantizer::bitnet();
        for (layout, place) in [(Layout::OutIn, (1, 1)), (Layout::InOut, (1, 1))] {
            match quantize(&view, layout, &quantizer).unwrap_err() {
                HubError::Quantize {
                    name,
                    source: QuantizeError::NonFinite { row, column, .. },
                } => assert_eq!((name.as_str(), (row, column)), ("w", place)),
                other => panic!("{other}"),
            }
        }
    }
}
