//! The older block types, 32 weights each: a scale, perhaps a minimum, and codes of 4, 5 or 8 bits.
//!
//! 4-bit codes: the low halves of the 16 bytes are the first 16 weights, the high halves the others.

use super::half;

/// `d: f16, qs: [u8; 16]`; weight `d * (code - 8)`.
pub(super) fn q4_0(bytes: &[u8], values: &mut [f32]) {
    for (&block, values) in blocks::<18>(bytes).zip(weights(values)) {
        let [d0, d1, qs @ ..] = block;
        let d = half([d0, d1]);
        nibbles(&qs, |at, code| values[at] = (f32::from(code) - 8.0) * d);
    }
}

/// `d: f16, m: f16, qs: [u8; 16]`; weight `d * code + m`.
pub(super) fn q4_1(bytes: &[u8], values: &mut [f32]) {
    for (&block, values) in blocks::<20>(bytes).zip(weights(values)) {
        let [d0, d1, m0, m1, qs @ ..] = block;
        let (d, m) = (half([d0, d1]), half([m0, m1]));
        nibbles(&qs, |at, code| values[at] = f32::from(code) * d + m);
    }
}

/// `d: f16, qh: [u8; 4], qs: [u8; 16]`; bit i of `qh` is the fifth bit of code i; weight `d * (code - 16)`.
pub(super) fn q5_0(bytes: &[u8], values: &mut [f32]) {
    for (&block, values) in blocks::<22>(bytes).zip(weights(values)) {
        let [d0, d1, h0, h1, h2, h3, qs @ ..] = block;
        let d = half([d0, d1]);
        let qh = u32::from_le_bytes([h0, h1, h2, h3]);
        nibbles(&qs, |at, code| {
            values[at] = (f32::from(fifth_bit(qh, at, code)) - 16.0) * d;
        });
    }
}

/// `d: f16, m: f16, qh: [u8; 4], qs: [u8; 16]`; weight `d * code + m`.
pub(super) fn q5_1(bytes: &[u8], values: &mut [f32]) {
    for (&block, values) in blocks::<24>(bytes).zip(weights(values)) {
        let [d0, d1, m0, m1, h0, h1, h2, h3, qs @ ..] = block;
        let (d, m) = (half([d0, d1]), half([m0, m1]));
        let qh = u32::from_le_bytes([h0, h1, h2, h3]);
        nibbles(&qs, |at, code| {
            values[at] = f32::from(fifth_bit(qh, at, code)) * d + m;
        });
    }
}

/// `d: f16, qs: [i8; 32]`; weight `d * code`.
pub(super) fn q8_0(bytes: &[u8], values: &mut [f32]) {
    for (&block, values) in blocks::<34>(bytes).zip(weights(values)) {
        let [d0, d1, qs @ ..] = block;
        let d = half([d0, d1]);
        for (value, code) in values.iter_mut().zip(qs) {
            *value = f32::from(code as i8) * d;
        }
    }
}

fn blocks<const BYTES: usize>(bytes: &[u8]) -> std::slice::Iter<'_, [u8; BYTES]> {
    bytes.as_chunks::<BYTES>().0.iter()
}

fn weights(values: &mut [f32]) -> std::slice::IterMut<'_, [f32; 32]> {
    values.as_chunks_mut::<32>().0.iter_mut()
}

/// Calls `put` with the position and the 4-bit code of each weight.
fn nibbles(qs: &[u8; 16], mut put: impl FnMut(usize, u8)) {
    for (at, byte) in qs.iter().enumerate() {
        put(at, byte & 15);
        put(at + 16, byte >> 4);
    }
}

fn fifth_bit(qh: u32, at: usize, code: u8) -> u8 {
    code | ((qh >> at & 1) as u8) << 4
}
