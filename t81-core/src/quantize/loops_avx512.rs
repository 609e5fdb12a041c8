//! Loops along and across rows with AVX-512 and BMI2; [`Base`](crate::vectorized::Base) has their twins in plain Rust.
#![allow(unsafe_code, clippy::needless_range_loop)]

use std::arch::x86_64::*;

use super::columns::{SIDE, Side, SideSums, Source};
use crate::fetch::Ahead;

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

/// Copies rows to a tile's columns and adds the magnitudes to their sums, row `k` in lane `k % 8`.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn column_sums(source: Source<'_>, rows: &mut [Side], step: usize, sums: &mut SideSums) {
    let Source {
        values,
        stride,
        ahead,
    } = source;
    let magnitude = _mm512_set1_epi32(0x7fff_ffff);
    let mut lanes = load_sums(sums);
    let count = rows.len().div_ceil(step);
    assert!(count == 0 || (count - 1) * stride + SIDE <= values.len());
    for first in (0..count).step_by(8) {
        for lane in 0..8 {
            let k = first + lane;
            if k < count {
                ahead.fetch(k);
                // SAFETY: 64 bytes are readable, as asserted, and writable at a multiple of 64.
                let weights = unsafe {
                    let weights = _mm512_loadu_si512(values.as_ptr().add(k * stride).cast());
                    _mm512_store_si512(
                        rows.get_unchecked_mut(k * step).0.as_mut_ptr().cast(),
                        weights,
                    );
                    weights
                };
                let bits = _mm512_and_si512(weights, magnitude);
                lanes[lane] = _mm512_add_ps(lanes[lane], _mm512_castsi512_ps(bits));
            }
        }
    }
    store_sums(lanes, sums);
}

/// Adds the magnitudes above the limits of a tile's columns to their sums, row `k` in lane `k % 8`, and their numbers.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn column_masked_sums(
    rows: &[Side],
    step: usize,
    ahead: Ahead,
    limit: &[i32; SIDE],
    sums: &mut SideSums,
    counts: &mut [u32; SIDE],
) {
    let magnitude = _mm512_set1_epi32(0x7fff_ffff);
    let one = _mm512_set1_epi32(1);
    let mut lanes = load_sums(sums);
    // SAFETY: 64 bytes are readable at each.
    let (limit, mut total) = unsafe {
        (
            _mm512_loadu_si512(limit.as_ptr().cast()),
            _mm512_loadu_si512(counts.as_ptr().cast()),
        )
    };
    let count = rows.len().div_ceil(step);
    for first in (0..count).step_by(8) {
        for lane in 0..8 {
            let k = first + lane;
            if k < count {
                ahead.fetch(k);
                // SAFETY: `k * step` is below the number of rows.
                let weights = load(unsafe { rows.get_unchecked(k * step) });
                let bits = _mm512_and_si512(weights, magnitude);
                let above = _mm512_cmpgt_epi32_mask(bits, limit);
                // A sum is never -0, so that leaving it alone is adding 0.
                lanes[lane] =
                    _mm512_mask_add_ps(lanes[lane], above, lanes[lane], _mm512_castsi512_ps(bits));
                total = _mm512_mask_add_epi32(total, above, total, one);
            }
        }
    }
    store_sums(lanes, sums);
    // SAFETY: 64 bytes are writable.
    unsafe { _mm512_storeu_si512(counts.as_mut_ptr().cast(), total) };
}

/// Writes a line past the caches if it begins at a multiple of 64.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn stream(values: &Side, line: &mut [f32; SIDE]) {
    if line.as_ptr().addr().is_multiple_of(64) {
        // SAFETY: 64 bytes are writable, at a multiple of 64.
        unsafe { _mm512_stream_si512(line.as_mut_ptr().cast(), load(values)) };
    } else {
        *line = values.0;
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(side: &Side) -> __m512i {
    // SAFETY: 64 bytes are readable, at a multiple of 64.
    unsafe { _mm512_load_si512(side.0.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_sums(sums: &SideSums) -> [__m512; 8] {
    let mut lanes = [_mm512_setzero_ps(); 8];
    for (lane, sum) in lanes.iter_mut().zip(sums) {
        *lane = _mm512_castsi512_ps(load(sum));
    }
    lanes
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store_sums(lanes: [__m512; 8], sums: &mut SideSums) {
    for (lane, sum) in lanes.into_iter().zip(sums) {
        // SAFETY: 64 bytes are writable, at a multiple of 64.
        unsafe { _mm512_store_ps(sum.0.as_mut_ptr(), lane) };
    }
}
