//! Packing runs of 32 weights with AVX2 and BMI2; [`pack_run`](super::row::pack_run) is its twin in plain Rust.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

/// The codes of 32 weights, two bits each.
#[inline]
#[target_feature(enable = "avx2,bmi2")]
pub(super) fn pack_run(run: &[f32; 32], limit: i32) -> u64 {
    let magnitude = _mm256_set1_epi32(0x7fff_ffff);
    let limit = _mm256_set1_epi32(limit);
    let (mut nonzero, mut positive) = (0_u32, 0_u32);
    for (index, eight) in run.as_chunks::<8>().0.iter().enumerate() {
        // SAFETY: 32 bytes are readable.
        let weights = unsafe { _mm256_loadu_si256(eight.as_ptr().cast()) };
        let above = _mm256_cmpgt_epi32(_mm256_and_si256(weights, magnitude), limit);
        let unsigned = _mm256_andnot_si256(weights, above);
        nonzero |= (_mm256_movemask_ps(_mm256_castsi256_ps(above)) as u32) << (8 * index);
        positive |= (_mm256_movemask_ps(_mm256_castsi256_ps(unsigned)) as u32) << (8 * index);
    }
    _pdep_u64(u64::from(!nonzero), 0x5555_5555_5555_5555)
        | _pdep_u64(u64::from(positive), 0xaaaa_aaaa_aaaa_aaaa)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_those_of_plain_rust() {
        if !(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi2")) {
            eprintln!("this machine has no AVX2 and BMI2: nothing compared");
            return;
        }
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
        for seed in 0..200_u32 {
            let run: [f32; 32] = std::array::from_fn(|index| {
                let bits = (seed * 32 + index as u32).wrapping_mul(0x9e37_79b9);
                match bits >> 29 {
                    0 => special[index % 8],
                    _ => (bits >> 8) as f32 / (1 << 23) as f32 - 1.0,
                }
            });
            for limit in [
                0,
                0.5_f32.to_bits() as i32,
                1.0_f32.to_bits() as i32,
                i32::MAX,
            ] {
                // SAFETY: the machine has both.
                let found = unsafe { pack_run(&run, limit) };
                assert_eq!(
                    found,
                    super::super::row::pack_run(&run, limit),
                    "{run:?} {limit}"
                );
            }
        }
    }
}
