//! Activations as the kernels read them: padded to the steps of the weights.

use super::segments::{ACTIVATION_BLOCK, Segment};

/// A batch of activations in int8, in the scheme of llama.cpp's Q8_K: a block of 256 has the scale that takes its
/// element of largest magnitude to -127, and its elements are rounded to nearest, ties to even.
pub(super) struct Int8Activations {
    values: Vec<i8>,
    scales: Vec<f32>,
    sums: Vec<i32>,
    padded: usize,
    blocks: usize,
    segments: usize,
}

/// One row of a batch of int8 activations.
#[derive(Clone, Copy)]
pub(super) struct Int8Row<'a> {
    /// The values, padded with zeros to the steps.
    pub(super) values: &'a [i8],
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
            values: vec![0; batch * padded],
            scales: Vec::with_capacity(batch * blocks),
            sums: Vec::with_capacity(batch * segments.len()),
            padded,
            blocks,
            segments: segments.len(),
        };
        let mut quantized = vec![0_i8; columns];
        for (row, padded_row) in input
            .chunks_exact(columns)
            .zip(activations.values.chunks_exact_mut(padded))
        {
            for (block, values) in row
                .chunks(ACTIVATION_BLOCK)
                .zip(quantized.chunks_mut(ACTIVATION_BLOCK))
            {
                activations.scales.push(quantize_block(block, values));
            }
            for segment in segments {
                let values = &quantized[segment.columns.clone()];
                padded_row[segment.first_step * step_columns..][..values.len()]
                    .copy_from_slice(values);
                let sum = values.iter().map(|&value| i32::from(value)).sum();
                activations.sums.push(sum);
            }
        }
        activations
    }

    /// Adds 128 to the values, which are bytes without sign then; the sums stay.
    pub(super) fn raise(&mut self) {
        for value in &mut self.values {
            *value ^= -128;
        }
    }

    pub(super) fn row(&self, row: usize) -> Int8Row<'_> {
        Int8Row {
            values: &self.values[row * self.padded..][..self.padded],
            scales: &self.scales[row * self.blocks..][..self.blocks],
            sums: &self.sums[row * self.segments..][..self.segments],
        }
    }
}

/// Rows of `columns` floats, each padded with zeros to the steps.
pub(super) fn pad_floats(
    input: &[f32],
    columns: usize,
    segments: &[Segment],
    step_columns: usize,
) -> Vec<f32> {
    let padded = padded_columns(segments, step_columns);
    let mut output = vec![0.0; input.len() / columns * padded];
    for (row, padded_row) in input
        .chunks_exact(columns)
        .zip(output.chunks_exact_mut(padded))
    {
        for segment in segments {
            let values = &row[segment.columns.clone()];
            padded_row[segment.first_step * step_columns..][..values.len()].copy_from_slice(values);
        }
    }
    output
}

pub(super) fn padded_columns(segments: &[Segment], step_columns: usize) -> usize {
    segments
        .last()
        .map_or(0, |last| (last.first_step + last.steps) * step_columns)
}

/// Quantizes a block and returns its scale: NaN where an element is not finite, 0 where all are too small to scale.
fn quantize_block(block: &[f32], values: &mut [i8]) -> f32 {
    const INFINITE: u32 = 0x7f80_0000;
    /// Adding it leaves a float's integer part, rounded to nearest even, in the low bits of the mantissa.
    const ROUNDING: f32 = 12_582_912.0;
    let largest = block
        .iter()
        .fold(0, |largest, value| largest.max(value.abs().to_bits()));
    if largest >= INFINITE {
        values.fill(0);
        return f32::NAN;
    }
    let extreme = block
        .iter()
        .copied()
        .find(|value| value.abs().to_bits() == largest)
        .unwrap_or(0.0);
    let inverse = -127.0 / extreme;
    if !inverse.is_finite() {
        values.fill(0);
        return 0.0;
    }
    for (value, quantized) in block.iter().zip(values) {
        *quantized = ((inverse * value + ROUNDING).to_bits() & 0xff) as u8 as i8;
    }
    1.0 / inverse
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::segments::cut;

    #[test]
    fn a_block_takes_its_largest_element_to_minus_127() {
        let mut values = [0; 5];
        let scale = quantize_block(&[0.5, -2.0, 1.0, 0.0, 2.0], &mut values);
        assert_eq!(scale, 2.0 / 127.0);
        assert_eq!(values, [32, -127, 64, 0, 127]);
        // The first of two extremes decides the sign of the scale.
        let scale = quantize_block(&[2.0, -2.0], &mut values[..2]);
        assert_eq!((scale, &values[..2]), (-2.0 / 127.0, &[-127_i8, 127][..]));
    }

    #[test]
    fn halves_go_to_the_even_integer() {
        let mut values = [0; 5];
        quantize_block(&[-127.0, 0.5, 1.5, -2.5, 126.5], &mut values);
        assert_eq!(values, [-127, 0, 2, -2, 126]);
    }

    #[test]
    fn a_block_without_scale_is_zero_and_one_with_nan_is_nan() {
        let mut values = [7; 3];
        assert_eq!(quantize_block(&[0.0, 1e-44, -1e-44], &mut values), 0.0);
        assert_eq!(values, [0; 3]);
        assert!(quantize_block(&[1.0, f32::NAN, 0.0], &mut values).is_nan());
        assert!(quantize_block(&[1.0, f32::NEG_INFINITY, 0.0], &mut values).is_nan());
    }

    #[test]
    fn rows_are_padded_segment_by_segment() {
        let segments = cut(20, 10, 16);
        let input: Vec<f32> = (1..=20).map(|value| value as f32).collect();
        let padded = pad_floats(&input, 20, &segments, 16);
        assert_eq!(
            padded[..11],
            [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 0.0]
        );
        assert_eq!(padded[16..26], input[10..]);
        assert_eq!((padded.len(), padded[26..].iter().sum::<f32>()), (32, 0.0));
        let int8 = Int8Activations::new(&input, 20, &segments, 16);
        let row = int8.row(0);
        assert_eq!(
            (row.scales.len(), row.values[25], row.values[15]),
            (1, -127, 0)
        );
        assert_eq!(
            row.sums[1],
            row.values[16..].iter().map(|&v| i32::from(v)).sum::<i32>()
        );
    }
}
