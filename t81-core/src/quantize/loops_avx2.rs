//! Loops along a row with AVX2 and BMI2; [`Base`](crate::vectorized::Base) has their twins in plain Rust.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

/// Sums of `abs(w)`.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn sums(eights: &[[f32; 8]]) -> [f32; 8] {
    let magnitude = _mm256_set1_epi32(0x7fff_ffff);
    let mut sums = _mm256_setzero_ps();
    for eight in eights {
        let bits = _mm256_and_si256(load(eight), magnitude);
        sums = _mm256_add_ps(sums, _mm256_castsi256_ps(bits));
    }
    store(sums)
}

/// Sums of the magnitudes above the limit, and their number.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn masked_sums(eights: &[[f32; 8]], limit: i32) -> ([f32; 8], u32) {
    let magnitude = _mm256_set1_epi32(0x7fff_ffff);
    let limit = _mm256_set1_epi32(limit);
    let (mut sums, mut counts) = (_mm256_setzero_ps(), _mm256_setzero_si256());
    for eight in eights {
        let bits = _mm256_and_si256(load(eight), magnitude);
        let above = _mm256_cmpgt_epi32(bits, limit);
        sums = _mm256_add_ps(sums, _mm256_castsi256_ps(_mm256_and_si256(bits, above)));
        // A mask is -1.
        counts = _mm256_sub_epi32(counts, above);
    }
    // Each lane counts at most 32: the sum of bytes is that of the lanes.
    let pairs = _mm256_sad_epu8(counts, _mm256_setzero_si256());
    let halves = _mm_add_epi64(
        _mm256_castsi256_si128(pairs),
        _mm256_extracti128_si256::<1>(pairs),
    );
    let count = _mm_cvtsi128_si64(halves) + _mm_extract_epi64::<1>(halves);
    (store(sums), count as u32)
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(eight: &[f32; 8]) -> __m256i {
    // SAFETY: 32 bytes are readable.
    unsafe { _mm256_loadu_si256(eight.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(lanes: __m256) -> [f32; 8] {
    let mut values = [0.0; 8];
    // SAFETY: 32 bytes are writable.
    unsafe { _mm256_storeu_ps(values.as_mut_ptr(), lanes) };
    values
}

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
