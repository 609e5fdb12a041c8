//! Loops along a row with AVX-512 and BMI2; [`Base`](crate::vectorized::Base) has their twins in plain Rust.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

/// Sums of the magnitudes above the limit, and their number. (The sums of all magnitudes gain nothing over AVX2: the
/// canonical order has eight lanes.)
#[inline]
#[target_feature(enable = "avx512f,avx512vl,avx2")]
pub(super) fn masked_sums(eights: &[[f32; 8]], limit: i32) -> ([f32; 8], u32) {
    let magnitude = _mm256_set1_epi32(0x7fff_ffff);
    let (limit, one) = (_mm256_set1_epi32(limit), _mm256_set1_epi32(1));
    let (mut sums, mut counts) = (_mm256_setzero_ps(), _mm256_setzero_si256());
    for eight in eights {
        // SAFETY: 32 bytes are readable.
        let weights = unsafe { _mm256_loadu_si256(eight.as_ptr().cast()) };
        let bits = _mm256_and_si256(weights, magnitude);
        let above = _mm256_cmpgt_epi32_mask(bits, limit);
        // A sum is never -0, so that leaving it alone is adding 0.
        sums = _mm256_mask_add_ps(sums, above, sums, _mm256_castsi256_ps(bits));
        counts = _mm256_mask_add_epi32(counts, above, counts, one);
    }
    // Each lane counts at most 32: the sum of bytes is that of the lanes.
    let pairs = _mm256_sad_epu8(counts, _mm256_setzero_si256());
    let halves = _mm_add_epi64(
        _mm256_castsi256_si128(pairs),
        _mm256_extracti128_si256::<1>(pairs),
    );
    let count = _mm_cvtsi128_si64(halves) + _mm_extract_epi64::<1>(halves);
    let mut lanes = [0.0; 8];
    // SAFETY: 32 bytes are writable.
    unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), sums) };
    (lanes, count as u32)
}

/// The codes of 32 weights, two bits each.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,bmi2")]
pub(super) fn pack_run(run: &[f32; 32], limit: i32) -> u64 {
    let (nonzero, positive) = masks(run, limit);
    _pdep_u64(u64::from(!nonzero), 0x5555_5555_5555_5555)
        | _pdep_u64(u64::from(positive), 0xaaaa_aaaa_aaaa_aaaa)
}

/// A bit for each weight whose code is not zero, and for each whose code is 1.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,bmi2")]
fn masks(run: &[f32; 32], limit: i32) -> (u32, u32) {
    let magnitude = _mm512_set1_epi32(0x7fff_ffff);
    let limit = _mm512_set1_epi32(limit);
    let (mut nonzero, mut negative) = (0, 0);
    for (half, weights) in run.as_chunks::<16>().0.iter().enumerate() {
        // SAFETY: 64 bytes are readable.
        let weights = unsafe { _mm512_loadu_si512(weights.as_ptr().cast()) };
        let above = _mm512_cmpgt_epi32_mask(_mm512_and_si512(weights, magnitude), limit);
        nonzero |= u32::from(above) << (16 * half);
        negative |= u32::from(_mm512_movepi32_mask(weights)) << (16 * half);
    }
    (nonzero, nonzero & !negative)
}
