//! Loops along a row that have vector code of their own, and packing, which is made of one.

use super::fold::{BLOCK, LANES, fold_lanes};
use super::group::{magnitude_bits, masked_magnitude, nonzero_mask};
use crate::vectorized::Base;
#[cfg(target_arch = "x86_64")]
use crate::vectorized::{Avx2, Avx512};

/// 2-bit values of weights: 0, 1 or 2.
#[inline(always)]
fn value(weight: f32, limit: i32) -> u8 {
    let nonzero = u8::from(magnitude_bits(weight) > limit);
    let negative = (weight.to_bits() >> 31) as u8;
    // 1 for a zero code, else 2 or 0 by the sign.
    1 + nonzero - 2 * (nonzero & negative)
}

/// Loops of an instruction set. Each type but [`Base`] is only named inside functions compiled for its instruction set, on
/// machines that have it: that is the safety argument of each `unsafe` block of theirs.
pub(super) trait RowLoops {
    /// Adds `abs(w)` to the lanes of a block.
    fn sums(eights: &[[f32; LANES]]) -> [f32; LANES];

    /// Adds the magnitudes above the limit to the lanes of a block, and gives their number.
    fn masked_sums(eights: &[[f32; LANES]], limit: i32) -> ([f32; LANES], u32);

    /// The codes of 32 weights, two bits each.
    fn pack(run: &[f32; 32], limit: i32) -> u64;
}

impl RowLoops for Base {
    #[inline(always)]
    fn sums(eights: &[[f32; LANES]]) -> [f32; LANES] {
        let mut sums = [0.0; LANES];
        for eight in eights {
            for (sum, weight) in sums.iter_mut().zip(eight) {
                *sum += weight.abs();
            }
        }
        sums
    }

    #[inline(always)]
    fn masked_sums(eights: &[[f32; LANES]], limit: i32) -> ([f32; LANES], u32) {
        let (mut sums, mut count) = ([0.0; LANES], 0);
        for eight in eights {
            for (sum, &weight) in sums.iter_mut().zip(eight) {
                let mask = nonzero_mask(weight, limit);
                *sum += masked_magnitude(weight, mask);
                count += mask & 1;
            }
        }
        (sums, count)
    }

    #[inline(always)]
    fn pack(run: &[f32; 32], limit: i32) -> u64 {
        (0..).zip(run).fold(0, |bits, (place, &weight)| {
            bits | u64::from(value(weight, limit)) << (2 * place)
        })
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
impl RowLoops for Avx2 {
    #[inline(always)]
    fn sums(eights: &[[f32; LANES]]) -> [f32; LANES] {
        // SAFETY: see `RowLoops`.
        unsafe { super::loops_avx2::sums(eights) }
    }

    #[inline(always)]
    fn masked_sums(eights: &[[f32; LANES]], limit: i32) -> ([f32; LANES], u32) {
        // SAFETY: see `RowLoops`.
        unsafe { super::loops_avx2::masked_sums(eights, limit) }
    }

    #[inline(always)]
    fn pack(run: &[f32; 32], limit: i32) -> u64 {
        // SAFETY: see `RowLoops`.
        unsafe { super::loops_avx2::pack_run(run, limit) }
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
impl RowLoops for Avx512 {
    #[inline(always)]
    fn sums(eights: &[[f32; LANES]]) -> [f32; LANES] {
        // SAFETY: see `RowLoops`.
        unsafe { super::loops_avx2::sums(eights) }
    }

    #[inline(always)]
    fn masked_sums(eights: &[[f32; LANES]], limit: i32) -> ([f32; LANES], u32) {
        // SAFETY: see `RowLoops`.
        unsafe { super::loops_avx512::masked_sums(eights, limit) }
    }

    #[inline(always)]
    fn pack(run: &[f32; 32], limit: i32) -> u64 {
        // SAFETY: see `RowLoops`.
        unsafe { super::loops_avx512::pack_run(run, limit) }
    }
}

/// The sum of `abs(w)` of a block in the canonical order.
#[inline(always)]
pub(super) fn sum<L: RowLoops>(block: &[f32]) -> f32 {
    debug_assert!(block.len() <= BLOCK);
    let (eights, rest) = block.as_chunks();
    let mut sums = L::sums(eights);
    for (sum, weight) in sums.iter_mut().zip(rest) {
        *sum += weight.abs();
    }
    fold_lanes(sums)
}

/// The sum of the magnitudes above the limit, in the canonical order, and their number.
#[inline(always)]
pub(super) fn masked<L: RowLoops>(block: &[f32], limit: i32) -> (f32, u32) {
    debug_assert!(block.len() <= BLOCK);
    let (eights, rest) = block.as_chunks();
    let (mut sums, mut count) = L::masked_sums(eights, limit);
    for (sum, &weight) in sums.iter_mut().zip(rest) {
        let mask = nonzero_mask(weight, limit);
        *sum += masked_magnitude(weight, mask);
        count += mask & 1;
    }
    (fold_lanes(sums), count)
}

/// Packs a block into the codes of its row, of which `column` is the first.
#[inline(always)]
pub(super) fn pack<P: RowLoops>(block: &[f32], limit: i32, column: usize, codes: &mut [u8]) {
    let mut put = |column: usize, weight: f32| {
        codes[column / 4] |= value(weight, limit) << (2 * (column % 4))
    };
    let aligned = column.next_multiple_of(4).min(column + block.len()) - column;
    let (head, body) = block.split_at(aligned);
    for (column, &weight) in (column..).zip(head) {
        put(column, weight);
    }
    let (fours, tail) = body.as_chunks::<4>();
    let first = column + aligned;
    for (column, &weight) in (first + 4 * fours.len()..).zip(tail) {
        put(column, weight);
    }
    let mut bytes = codes[first.div_ceil(4)..].iter_mut();
    let (runs, fours) = fours.as_chunks::<8>();
    for run in runs {
        let run = run.as_flattened().try_into().expect("eight fours");
        // The codes first: a zip takes from its first side before it sees that the other has ended.
        for (value, byte) in P::pack(run, limit)
            .to_le_bytes()
            .into_iter()
            .zip(&mut bytes)
        {
            *byte = value;
        }
    }
    for (byte, four) in bytes.zip(fours) {
        let [a, b, c, d] = four.map(|weight| value(weight, limit));
        *byte = a | b << 2 | c << 4 | d << 6;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectorized::vectorized;

    /// The codes, the two sums' bits and the count.
    type Results = ([u8; 64], u32, u32, u32);

    vectorized! {
        /// On the best that the machine has.
        fn best(block: &[f32], limit: i32) -> Results = all::<_>;
    }

    #[inline(always)]
    fn all<L: RowLoops>(block: &[f32], limit: i32) -> Results {
        let mut codes = [0; 64];
        pack::<L>(block, limit, 0, &mut codes);
        let (masked, count) = masked::<L>(block, limit);
        (codes, sum::<L>(block).to_bits(), masked.to_bits(), count)
    }

    #[test]
    fn every_instruction_set_gives_the_bits_of_plain_rust() {
        let special = [
            0.0,
            -0.0,
            f32::MIN_POSITIVE,
            -1e-45,
            1.0,
            -1.0,
            f32::MAX,
            f32::NEG_INFINITY,
        ];
        for seed in 0..400_u32 {
            let len = [256, 64, 32, 255, 31, 8, 5, 0, 100, 257 - 16][seed as usize % 10];
            let block: Vec<f32> = (0..len)
                .map(|index| {
                    let bits = (seed * 256 + index as u32).wrapping_mul(0x9e37_79b9);
                    match bits >> 29 {
                        0 if seed % 3 == 0 => special[index % 8],
                        _ => (bits >> 8) as f32 / (1 << 23) as f32 - 1.0,
                    }
                })
                .collect();
            for limit in [
                0,
                0.5_f32.to_bits() as i32,
                1.0_f32.to_bits() as i32,
                i32::MAX,
            ] {
                let expected = all::<Base>(&block, limit);
                assert_eq!(best(&block, limit), expected, "{block:?} {limit}");
                #[cfg(target_arch = "x86_64")]
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi2") {
                    #[target_feature(enable = "avx2,bmi2")]
                    fn compiled(block: &[f32], limit: i32) -> Results {
                        all::<Avx2>(block, limit)
                    }
                    // SAFETY: the machine has both.
                    #[allow(unsafe_code)]
                    let found = unsafe { compiled(&block, limit) };
                    assert_eq!(found, expected, "{block:?} {limit}");
                }
            }
        }
    }
}
