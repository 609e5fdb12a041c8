//! Activations as the kernels read them: padded to the steps of the weights.

use super::int8::{ACTIVATION_BLOCK, quantize_block};
use super::segments::Segment;
use crate::vectorized::vectorized;

/// A batch of activations in int8, block by block as [`quantize_block`] rounds them.
///
/// The values are stored as the products read them: in bands of [`BAND`] rows (the last may have fewer), in which every
/// four columns of all rows lie side by side. So a product reads along one address for all its rows, which as rows of
/// their own, a power of two apart, would also drive each other from the first-level cache.
pub(super) struct Int8Activations {
    /// `[bands, padded / 4, rows of the band]`.
    values: Vec<[i8; 4]>,
    rows: usize,
    scales: Vec<f32>,
    sums: Vec<i32>,
    padded: usize,
    blocks: usize,
    segments: usize,
}

/// Rows of a batch whose values lie side by side.
pub(super) const BAND: usize = 12;

/// The values of a band.
#[derive(Clone, Copy)]
pub(super) struct Band<'a> {
    /// `[padded / 4, rows]`: four columns of each row, padded with zeros to the steps.
    pub(super) values: &'a [[i8; 4]],
    /// Rows of the band.
    pub(super) rows: usize,
}

/// One row of a batch of int8 activations, without its values.
#[derive(Clone, Copy)]
pub(super) struct Int8Row<'a> {
    /// The scale of each block.
    pub(super) scales: &'a [f32],
    /// The sum of the values of each segment.
    pub(super) sums: &'a [i32],
}

impl Int8Activations {
    /// `input` holds rows of `columns`; a step takes `step_columns`.
    pub(super) fn new(
        input: &[f32],
        columns: usize,
        segments: &[Segment],
        step_columns: usize,
    ) -> Self {
        let batch = input.len() / columns;
        let padded = padded_columns(segments, step_columns);
        let blocks = columns.div_ceil(ACTIVATION_BLOCK);
        let mut activations = Self {
            values: vec![[0; 4]; batch * padded / 4],
            rows: batch,
            scales: Vec::with_capacity(batch * blocks),
            sums: Vec::with_capacity(batch * segments.len()),
            padded,
            blocks,
            segments: segments.len(),
        };
        let mut quantized = vec![0_i8; columns];
        let mut padded_row = vec![[0_i8; 4]; padded / 4];
        for (index, row) in input.chunks_exact(columns).enumerate() {
            for (block, values) in row
                .chunks(ACTIVATION_BLOCK)
                .zip(quantized.chunks_mut(ACTIVATION_BLOCK))
            {
                activations.scales.push(quantize_block(block, values));
            }
            for segment in segments {
                let values = &quantized[segment.columns.clone()];
                padded_row.as_flattened_mut()[segment.first_step * step_columns..][..values.len()]
                    .copy_from_slice(values);
                activations.sums.push(sum(values));
            }
            let first = index - index % BAND;
            let rows = BAND.min(batch - first);
            let places = activations.values[first * padded / 4 + index % BAND..].iter_mut();
            for (place, values) in places.step_by(rows).zip(&padded_row) {
                *place = *values;
            }
        }
        activations
    }

    /// Adds 128 to the values, which are bytes without sign then; the sums stay.
    pub(super) fn raise(&mut self) {
        for value in self.values.as_flattened_mut() {
            *value ^= -128;
        }
    }

    /// The values of the first row of a batch of one, padded with zeros to the steps.
    pub(super) fn only_row(&self) -> &[i8] {
        debug_assert_eq!(self.rows, 1);
        self.values.as_flattened()
    }

    /// The band that begins with a row, a multiple of [`BAND`].
    pub(super) fn band(&self, first: usize) -> Band<'_> {
        let rows = BAND.min(self.rows - first);
        Band {
            values: &self.values[first * self.padded / 4..][..rows * self.padded / 4],
            rows,
        }
    }

    /// Rows of the batch.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn row(&self, row: usize) -> Int8Row<'_> {
        Int8Row {
            scales: &self.scales[row * self.blocks..][..self.blocks],
            sums: &self.sums[row * self.segments..][..self.segments],
        }
    }
}

/// A batch of activations as floats, each row padded with zeros to the steps.
pub(super) struct PaddedRows {
    values: Vec<f32>,
    padded: usize,
}

impl PaddedRows {
    /// `input` holds rows of `columns`; a step takes `step_columns`.
    pub(super) fn new(
        input: &[f32],
        columns: usize,
        segments: &[Segment],
        step_columns: usize,
    ) -> Self {
        let padded = padded_columns(segments, step_columns);
        let mut values = vec![0.0; input.len() / columns * padded];
        for (row, padded_row) in input
            .chunks_exact(columns)
            .zip(values.chunks_exact_mut(padded))
        {
            for segment in segments {
                let values = &row[segment.columns.clone()];
                padded_row[segment.first_step * step_columns..][..values.len()]
                    .copy_from_slice(values);
            }
        }
        Self { values, padded }
    }

    /// Rows of the batch.
    pub(super) fn rows(&self) -> usize {
        self.values.len() / self.padded
    }

    pub(super) fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.padded..][..self.padded]
    }
}

pub(super) fn padded_columns(segments: &[Segment], step_columns: usize) -> usize {
    segments
        .last()
        .map_or(0, |last| (last.first_step + last.steps) * step_columns)
}

vectorized! {
    fn sum(values: &[i8]) -> i32 = sum_loop;
}

#[inline(always)]
fn sum_loop(values: &[i8]) -> i32 {
    values.iter().map(|&value| i32::from(value)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::segments::cut;

    #[test]
    fn rows_are_padded_segment_by_segment() {
        let segments = cut(20, 10, 16);
        let input: Vec<f32> = (1..=20).map(|value| value as f32).collect();
        let rows = PaddedRows::new(&input, 20, &segments, 16);
        let padded = rows.row(0);
        assert_eq!(rows.rows(), 1);
        assert_eq!(
            padded[..11],
            [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 0.0]
        );
        assert_eq!(padded[16..26], input[10..]);
        assert_eq!((padded.len(), padded[26..].iter().sum::<f32>()), (32, 0.0));
        let int8 = Int8Activations::new(&input, 20, &segments, 16);
        let (row, values) = (int8.row(0), int8.only_row());
        assert_eq!((row.scales.len(), values[25], values[15]), (1, -127, 0));
        assert_eq!(
            row.sums[1],
            values[16..].iter().map(|&v| i32::from(v)).sum::<i32>()
        );
    }

    #[test]
    fn rows_of_a_band_lie_side_by_side() {
        let segments = cut(8, 8, 16);
        let rows = BAND + 2;
        let input: Vec<f32> = (0..8 * rows).map(|i| (i % 127 + 1) as f32).collect();
        let batch = Int8Activations::new(&input, 8, &segments, 16);
        for row in 0..rows {
            let alone = Int8Activations::new(&input[8 * row..][..8], 8, &segments, 16);
            let band = batch.band(row - row % BAND);
            for (quad, values) in alone.values.iter().enumerate() {
                assert_eq!(band.values[quad * band.rows + row % BAND], *values);
            }
        }
        assert_eq!((batch.band(0).rows, batch.band(BAND).rows), (BAND, 2));
    }
}
