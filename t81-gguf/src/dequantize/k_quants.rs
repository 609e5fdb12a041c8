//! K-quants, 256 weights each: sub-blocks with small integer scales under one f16 scale.

use super::half;

const LEN: usize = 256;

/// `d: f16, dmin: f16, scales: [u8; 12], qs: [u8; 128]`; 8 sub-blocks of 32 weights `d * scale * code - dmin * minimum`.
/// 32 bytes hold two sub-blocks, the first in the low halves.
pub(super) fn q4_k(bytes: &[u8], values: &mut [f32]) {
    for (block, values) in bytes.as_chunks::<144>().0.iter().zip(weights(values)) {
        let (header, qs) = block.split_at(16);
        let subs = sub_blocks(header);
        for ((values, qs), sub) in values
            .chunks_exact_mut(64)
            .zip(qs.chunks(32))
            .zip(subs.chunks(2))
        {
            let (low, high) = values.split_at_mut(32);
            for (value, byte) in low.iter_mut().zip(qs) {
                *value = sub[0].value(byte & 15);
            }
            for (value, byte) in high.iter_mut().zip(qs) {
                *value = sub[1].value(byte >> 4);
            }
        }
    }
}

/// `d: f16, dmin: f16, scales: [u8; 12], qh: [u8; 32], qs: [u8; 128]`: as Q4_K, with the fifth bit of weight m of
/// sub-block n in bit n of `qh[m]`.
pub(super) fn q5_k(bytes: &[u8], values: &mut [f32]) {
    for (block, values) in bytes.as_chunks::<176>().0.iter().zip(weights(values)) {
        let (header, codes) = block.split_at(16);
        let (qh, qs) = codes.split_at(32);
        let subs = sub_blocks(header);
        for (n, values) in values.chunks_exact_mut(32).enumerate() {
            let qs = &qs[n / 2 * 32..][..32];
            for ((value, byte), high) in values.iter_mut().zip(qs).zip(qh) {
                let low = byte >> (4 * (n % 2)) & 15;
                *value = subs[n].value(low | (high >> n & 1) << 4);
            }
        }
    }
}

/// `ql: [u8; 128], qh: [u8; 64], scales: [i8; 16], d: f16`; 16 sub-blocks of 16 weights `d * scale * (code - 32)`.
/// Each half of the block has 64 bytes of `ql` and 32 of `qh`: for its weights `32 n + m` the low bits are a half of
/// `ql[m + 32 (n % 2)]`, the high ones bits `2 n..` of `qh[m]`.
pub(super) fn q6_k(bytes: &[u8], values: &mut [f32]) {
    for (block, values) in bytes.as_chunks::<210>().0.iter().zip(weights(values)) {
        let (ql, rest) = block.split_at(128);
        let (qh, rest) = rest.split_at(64);
        let (scales, d) = rest.split_at(16);
        let d = half([d[0], d[1]]);
        let halves = ql.chunks(64).zip(qh.chunks(32)).zip(scales.chunks(8));
        for (values, ((ql, qh), scales)) in values.chunks_exact_mut(128).zip(halves) {
            for (n, values) in values.chunks_exact_mut(32).enumerate() {
                let ql = &ql[n % 2 * 32..][..32];
                for (m, value) in values.iter_mut().enumerate() {
                    let low = ql[m] >> (n / 2 * 4) & 15;
                    let high = qh[m] >> (2 * n) & 3;
                    let scale = f32::from(scales[2 * n + m / 16] as i8);
                    *value = d * scale * (f32::from(low | high << 4) - 32.0);
                }
            }
        }
    }
}

/// Scale and minimum of a sub-block.
#[derive(Clone, Copy, Default)]
struct SubBlock {
    scale: f32,
    minimum: f32,
}

impl SubBlock {
    fn value(self, code: u8) -> f32 {
        self.scale * f32::from(code) - self.minimum
    }
}

/// The sub-blocks that `d: f16, dmin: f16, scales: [u8; 12]` describes. Scales and minima have 6 bits: those of the
/// first four in the low bits of bytes 0 to 3 and 4 to 7, whose top two bits are the top bits of the last four,
/// which have their low bits in the halves of bytes 8 to 11.
fn sub_blocks(header: &[u8]) -> [SubBlock; 8] {
    let d = half([header[0], header[1]]);
    let dmin = half([header[2], header[3]]);
    let packed = &header[4..16];
    let mut subs = [SubBlock::default(); 8];
    for (n, sub) in subs.iter_mut().enumerate() {
        let (scale, minimum) = if n < 4 {
            (packed[n] & 63, packed[n + 4] & 63)
        } else {
            (
                packed[n + 4] & 15 | packed[n - 4] >> 6 << 4,
                packed[n + 4] >> 4 | packed[n] >> 6 << 4,
            )
        };
        sub.scale = d * f32::from(scale);
        sub.minimum = dmin * f32::from(minimum);
    }
    subs
}

fn weights(values: &mut [f32]) -> std::slice::IterMut<'_, [f32; LEN]> {
    values.as_chunks_mut::<LEN>().0.iter_mut()
}
