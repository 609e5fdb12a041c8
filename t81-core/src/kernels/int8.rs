//! The int8 that activations are rounded to.

use rayon::prelude::*;

use crate::matrix::{MatrixError, check_length};
use crate::vectorized::vectorized;

/// Activations that share an int8 scale, as in llama.cpp's Q8_K; the last block of a row may be shorter.
pub const ACTIVATION_BLOCK: usize = 256;

/// Activations that a thread takes at once: input and output fit into its cache.
const TASK_ACTIVATIONS: usize = 1 << 14;

/// Replaces activations by what their int8 stands for: `scale * code`, as [`ActivationPrecision::Int8`] rounds them.
///
/// A block of [`ACTIVATION_BLOCK`] along a row, the last of which may be shorter, has the scale that takes its element of
/// largest magnitude, the first of several, to -127; all elements are divided by it and rounded to nearest, ties to even.
/// This is llama.cpp's Q8_K. A block whose elements are all too small to have a scale becomes 0, one that holds a NaN
/// or an infinity NaN.
///
/// A product of the result with the dequantized weights is [`InterleavedMatrix::matmul`] with
/// [`ActivationPrecision::Int8`], up to the rounding of f32 sums. Rounding once more gives the same codes, if perhaps
/// all those of a block with the other sign, and the same values but for the last bits of a scale.
///
/// [`ActivationPrecision::Int8`]: crate::ActivationPrecision::Int8
/// [`InterleavedMatrix::matmul`]: crate::InterleavedMatrix::matmul
///
/// # Shapes
///
/// - `input`, `output`: `[rows, columns]`, row-major
///
/// # Errors
///
/// When a length is off.
///
/// ```
/// let mut rounded = [0.0; 3];
/// t81_core::fake_quantize_activations(&[12.7, -0.31, 0.04], 3, &mut rounded)?;
/// // The scale is -12.7 / 127.
/// assert!((rounded[1] - -0.3).abs() < 1e-6, "{rounded:?}");
/// assert_eq!((rounded[0], rounded[2]), (12.7, 0.0));
/// # Ok::<(), t81_core::MatrixError>(())
/// ```
pub fn fake_quantize_activations(
    input: &[f32],
    columns: usize,
    output: &mut [f32],
) -> Result<(), MatrixError> {
    let rows = input.len().checked_div(columns).unwrap_or(0);
    check_length("the activations", rows * columns, input.len())?;
    check_length("the output", input.len(), output.len())?;
    if input.is_empty() {
        return Ok(());
    }
    let task = columns * (TASK_ACTIVATIONS / columns).max(1);
    input
        .par_chunks(task)
        .zip(output.par_chunks_mut(task))
        .for_each(|(input, output)| {
            let rows = input.chunks_exact(columns);
            for (input, output) in rows.zip(output.chunks_exact_mut(columns)) {
                fake_quantize_row(input, output);
            }
        });
    Ok(())
}

fn fake_quantize_row(input: &[f32], output: &mut [f32]) {
    let mut codes = [0; ACTIVATION_BLOCK];
    let blocks = input.chunks(ACTIVATION_BLOCK);
    for (block, output) in blocks.zip(output.chunks_mut(ACTIVATION_BLOCK)) {
        let codes = &mut codes[..block.len()];
        let scale = quantize_block(block, codes);
        dequantize_block(codes, scale, output);
    }
}

vectorized! {
    /// Quantizes a block and returns its scale: NaN where an element is not finite, 0 where all are too small to scale.
    pub(super) fn quantize_block(block: &[f32], values: &mut [i8]) -> f32 = quantize_block_loop;
    fn dequantize_block(codes: &[i8], scale: f32, output: &mut [f32]) = dequantize_block_loop;
}

#[inline(always)]
fn dequantize_block_loop(codes: &[i8], scale: f32, output: &mut [f32]) {
    for (&code, output) in codes.iter().zip(output) {
        *output = f32::from(code) * scale;
    }
}

#[inline(always)]
fn quantize_block_loop(block: &[f32], values: &mut [i8]) -> f32 {
    const INFINITE: u32 = 0x7f80_0000;
    const SIGN: u32 = 0x8000_0000;
    /// Adding it leaves a float's integer part, rounded to nearest even, in the low bits of the mantissa.
    const ROUNDING: f32 = 12_582_912.0;
    let largest = block
        .iter()
        .fold(0, |largest, value| largest.max(value.abs().to_bits()));
    if largest >= INFINITE {
        values.fill(0);
        return f32::NAN;
    }
    // The first of the extremes decides; seldom are there two of opposite signs.
    let (positive, negative) = block
        .iter()
        .fold((false, false), |(positive, negative), value| {
            (
                positive | (value.to_bits() == largest),
                negative | (value.to_bits() == largest | SIGN),
            )
        });
    let first = || {
        let mut extremes = block
            .iter()
            .filter(|value| value.abs().to_bits() == largest);
        extremes
            .next()
            .is_some_and(|value| value.is_sign_negative())
    };
    let extreme = match (positive, negative) {
        (true, true) if first() => -f32::from_bits(largest),
        (false, true) => -f32::from_bits(largest),
        _ => f32::from_bits(largest),
    };
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
}
