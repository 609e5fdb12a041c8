//! Floats to the bytes of a tensor: F32, F16, BF16, Q8_0.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;

use crate::tensor_type::TensorType;

/// Elements encoded by one task; a multiple of every block length.
const TASK: usize = 1 << 14;

/// Weights in a Q8_0 block.
const Q8_0_LEN: usize = 32;
/// Bytes of a Q8_0 block: `d: f16, qs: [i8; 32]`.
const Q8_0_BYTES: usize = 34;

/// The type to store floats as: the one asked for, or a wider one with the reason.
///
/// `largest` is the largest magnitude of the tensor, `columns` the length of its rows.
pub(crate) fn storable(
    asked: TensorType,
    columns: u64,
    largest: f32,
) -> (TensorType, Option<String>) {
    if !columns.is_multiple_of(asked.block_len()) {
        let reason = format!(
            "rows of {columns} weights are no multiple of the {} of a {asked} block",
            asked.block_len()
        );
        let (stored, range) = storable(TensorType::F16, columns, largest);
        return (stored, range.or(Some(reason)));
    }
    let (in_range, limit) = match asked {
        TensorType::F16 => (f16::from_f32(largest).is_finite(), " (65504)"),
        TensorType::BF16 => (bf16::from_f32(largest).is_finite(), ""),
        TensorType::Q8_0 => (f16::from_f32(largest / 127.0).is_finite(), ""),
        _ => (true, ""),
    };
    if in_range {
        (asked, None)
    } else {
        let reason = format!("it has values beyond the range of {asked}{limit}");
        (TensorType::F32, Some(reason))
    }
}

/// Writes finite `values` as F16, BF16 (rounded to nearest, ties to even), Q8_0 (as ggml does) or F32, the type of
/// everything else, on all cores. `bytes` has the length that the type gives.
pub(crate) fn encode(tensor_type: TensorType, values: &[f32], bytes: &mut [u8]) {
    let encode: fn(&[f32], &mut [u8]) = match tensor_type {
        TensorType::F16 => f16_bytes,
        TensorType::BF16 => bf16_bytes,
        TensorType::Q8_0 => q8_0_bytes,
        _ => f32_bytes,
    };
    let task_bytes = TASK / tensor_type.block_len() as usize * tensor_type.block_bytes() as usize;
    values
        .par_chunks(TASK)
        .zip(bytes.par_chunks_mut(task_bytes))
        .for_each(|(values, bytes)| encode(values, bytes));
}

fn f32_bytes(values: &[f32], bytes: &mut [u8]) {
    for (value, bytes) in values.iter().zip(bytes.as_chunks_mut::<4>().0) {
        *bytes = value.to_le_bytes();
    }
}

fn f16_bytes(values: &[f32], bytes: &mut [u8]) {
    let mut halves = vec![f16::ZERO; values.len()];
    halves.convert_from_f32_slice(values);
    for (half, bytes) in halves.iter().zip(bytes.as_chunks_mut::<2>().0) {
        *bytes = half.to_le_bytes();
    }
}

fn bf16_bytes(values: &[f32], bytes: &mut [u8]) {
    for (value, bytes) in values.iter().zip(bytes.as_chunks_mut::<2>().0) {
        *bytes = bf16::from_f32(*value).to_le_bytes();
    }
}

/// ggml's `quantize_row_q8_0_ref`: the scale is a 127th of the largest magnitude, codes are rounded to nearest, ties away
/// from 0, with the scale as it was before it became an f16.
fn q8_0_bytes(values: &[f32], bytes: &mut [u8]) {
    let blocks = values.as_chunks::<Q8_0_LEN>().0;
    for (values, bytes) in blocks.iter().zip(bytes.as_chunks_mut::<Q8_0_BYTES>().0) {
        let largest = values
            .iter()
            .fold(0.0f32, |largest, value| largest.max(value.abs()));
        let scale = largest / 127.0;
        let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
        let (d, codes) = bytes.split_at_mut(2);
        d.copy_from_slice(&f16::from_f32(scale).to_le_bytes());
        for (code, value) in codes.iter_mut().zip(values) {
            *code = (value * inverse).round() as i8 as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_that_cannot_hold_a_tensor_gives_way_to_a_wider_one() {
        let stored = |asked, columns, largest| storable(asked, columns, largest).0;
        assert_eq!(stored(TensorType::F16, 7, 65504.0), TensorType::F16);
        assert_eq!(stored(TensorType::F16, 7, 65520.0), TensorType::F32);
        assert_eq!(stored(TensorType::BF16, 7, 65520.0), TensorType::BF16);
        assert_eq!(stored(TensorType::BF16, 7, f32::MAX), TensorType::F32);
        assert_eq!(stored(TensorType::Q8_0, 64, 65520.0), TensorType::Q8_0);
        assert_eq!(stored(TensorType::Q8_0, 64, 1e7), TensorType::F32);
        assert_eq!(stored(TensorType::Q8_0, 100, 1.0), TensorType::F16);
        assert_eq!(stored(TensorType::Q8_0, 100, 1e6), TensorType::F32);
        assert_eq!(stored(TensorType::F32, 7, f32::MAX), TensorType::F32);
        let (_, reason) = storable(TensorType::Q8_0, 100, 1.0);
        assert_eq!(
            reason.as_deref(),
            Some("rows of 100 weights are no multiple of the 32 of a Q8_0 block")
        );
    }
}
