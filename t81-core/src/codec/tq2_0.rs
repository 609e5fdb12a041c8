//! TQ2_0: `qs: [u8; 64], d: f16`; bits `2n..` of byte `j + m`, j in {0, 32}, m < 32, hold `code + 1` of element
//! `4j + 32n + m`.

use half::f16;

use super::error::BlockFault;
use super::{count_zero_pairs, pack, read_scale, unpack};
use crate::matrix::has_invalid_code;
use crate::vectorized::vectorized;

pub(super) const LEN: usize = 256;
pub(super) const BYTES: usize = 66;
const CODE_BYTES: usize = 64;

vectorized! {
    /// Writes a block of these codes.
    pub(super) fn encode(codes: &[u8], scale: f16, block: &mut [u8]) = encode_loop;
}

#[inline(always)]
fn encode_loop(codes: &[u8], scale: f16, block: &mut [u8]) {
    let values = unpack::<LEN>(codes);
    let (qs, d) = block.split_at_mut(CODE_BYTES);
    for (qs, values) in qs.chunks_exact_mut(32).zip(values.chunks_exact(128)) {
        for (m, byte) in qs.iter_mut().enumerate() {
            *byte = values[m] | values[32 + m] << 2 | values[64 + m] << 4 | values[96 + m] << 6;
        }
    }
    d.copy_from_slice(&scale.to_le_bytes());
}

pub(super) fn decode(block: &[u8], codes: &mut [u8]) -> Result<f16, BlockFault> {
    let qs = &block[..CODE_BYTES];
    if let Some(byte) = qs.iter().position(|&byte| has_invalid_code(byte)) {
        return Err(BlockFault::Code(byte, qs[byte]));
    }
    pack(&values(qs), codes);
    Ok(read_scale(block[64], block[65]))
}

pub(super) fn dequantize(block: &[u8], weights: &mut [f32]) {
    let scale = read_scale(block[64], block[65]).to_f32();
    for (weight, value) in weights.iter_mut().zip(values(&block[..CODE_BYTES])) {
        *weight = (f32::from(value) - 1.0) * scale;
    }
}

pub(super) fn zero_codes(block: &[u8]) -> u32 {
    count_zero_pairs(&block[..CODE_BYTES])
}

/// The 2-bit values in element order.
fn values(qs: &[u8]) -> [u8; LEN] {
    let mut values = [0; LEN];
    for (values, qs) in values.chunks_exact_mut(128).zip(qs.chunks_exact(32)) {
        for (n, values) in values.chunks_exact_mut(32).enumerate() {
            for (value, byte) in values.iter_mut().zip(qs) {
                *value = byte >> (2 * n) & 3;
            }
        }
    }
    values
}
