//! Q2_0: `d: f16, qs: [u8; 16]`; `qs` holds 64 sequential 2-bit values `code + 1`, the order of a packed matrix.

use half::f16;

use super::error::BlockFault;
use super::{count_zero_pairs, read_scale, unpack};
use crate::matrix::has_invalid_code;

pub(super) const LEN: usize = 64;
pub(super) const BYTES: usize = 18;

pub(super) fn encode(codes: &[u8], scale: f16, block: &mut [u8]) {
    block[..2].copy_from_slice(&scale.to_le_bytes());
    block[2..].copy_from_slice(codes);
}

pub(super) fn decode(block: &[u8], codes: &mut [u8]) -> Result<f16, BlockFault> {
    if let Some(byte) = block[2..].iter().position(|&byte| has_invalid_code(byte)) {
        return Err(BlockFault::Code(2 + byte, block[2 + byte]));
    }
    codes.copy_from_slice(&block[2..]);
    Ok(read_scale(block[0], block[1]))
}

/// The format's fourth value is `2 * scale`.
pub(super) fn dequantize(block: &[u8], weights: &mut [f32]) {
    let scale = read_scale(block[0], block[1]).to_f32();
    for (weight, value) in weights.iter_mut().zip(unpack::<LEN>(&block[2..])) {
        *weight = (f32::from(value) - 1.0) * scale;
    }
}

pub(super) fn zero_codes(block: &[u8]) -> u32 {
    count_zero_pairs(&block[2..])
}
