//! Types without blocks: F32, F16, BF16.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

pub(super) fn f32(bytes: &[u8], values: &mut [f32]) {
    for (value, &bytes) in values.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *value = f32::from_le_bytes(bytes);
    }
}

pub(super) fn f16(bytes: &[u8], values: &mut [f32]) {
    // Small enough for the stack; the conversion of a slice uses the processor's instructions.
    const PIECE: usize = 1024;
    let mut halves = [f16::ZERO; PIECE];
    for (values, bytes) in values.chunks_mut(PIECE).zip(bytes.chunks(2 * PIECE)) {
        let halves = &mut halves[..values.len()];
        for (half, &bytes) in halves.iter_mut().zip(bytes.as_chunks::<2>().0) {
            *half = f16::from_le_bytes(bytes);
        }
        halves.convert_to_f32_slice(values);
    }
}

pub(super) fn bf16(bytes: &[u8], values: &mut [f32]) {
    for (value, &bytes) in values.iter_mut().zip(bytes.as_chunks::<2>().0) {
        *value = bf16::from_le_bytes(bytes).to_f32();
    }
}
