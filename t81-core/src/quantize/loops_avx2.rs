//! Loops along and across rows with AVX2 and BMI2; [`Base`](crate::vectorized::Base) has their twins in plain Rust.
#![allow(unsafe_code, clippy::needless_range_loop)]

use std::arch::x86_64::*;

use super::columns::{SIDE, Side, SideSums, Source};
use crate::fetch::Ahead;

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

/// Copies rows to a tile's columns and adds the magnitudes to their sums, row `k` in lane `k % 8`.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn column_sums(source: Source<'_>, rows: &mut [Side], step: usize, sums: &mut SideSums) {
    let Source {
        values,
        stride,
        ahead,
    } = source;
    let magnitude = _mm256_set1_epi32(0x7fff_ffff);
    let count = rows.len().div_ceil(step);
    for half in 0..2 {
        let mut lanes = load_sums(sums, half);
        for first in (0..count).step_by(8) {
            for lane in 0..8 {
                let k = first + lane;
                if k < count {
                    if half == 0 {
                        ahead.fetch(k);
                    }
                    let source: &[f32; 8] = values[k * stride + 8 * half..]
                        .first_chunk()
                        .expect("a source has all rows of its tile");
                    rows[k * step].0.as_chunks_mut().0[half] = *source;
                    let weights = load(source);
                    let bits = _mm256_and_si256(weights, magnitude);
                    lanes[lane] = _mm256_add_ps(lanes[lane], _mm256_castsi256_ps(bits));
                }
            }
        }
        store_sums(lanes, sums, half);
    }
}

/// Adds the magnitudes above the limits of a tile's columns to their sums, row `k` in lane `k % 8`, and their numbers.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn column_masked_sums(
    rows: &[Side],
    step: usize,
    ahead: Ahead,
    limit: &[i32; SIDE],
    sums: &mut SideSums,
    counts: &mut [u32; SIDE],
) {
    let magnitude = _mm256_set1_epi32(0x7fff_ffff);
    let count = rows.len().div_ceil(step);
    for half in 0..2 {
        let mut lanes = load_sums(sums, half);
        // SAFETY: 32 bytes are readable at each.
        let (limit, mut total) = unsafe {
            (
                _mm256_loadu_si256(limit[8 * half..][..8].as_ptr().cast()),
                _mm256_loadu_si256(counts[8 * half..][..8].as_ptr().cast()),
            )
        };
        for first in (0..count).step_by(8) {
            for lane in 0..8 {
                let k = first + lane;
                if k < count {
                    if half == 0 {
                        ahead.fetch(k);
                    }
                    let weights = load(eight(&rows[k * step], half));
                    let bits = _mm256_and_si256(weights, magnitude);
                    let above = _mm256_cmpgt_epi32(bits, limit);
                    let masked = _mm256_castsi256_ps(_mm256_and_si256(bits, above));
                    lanes[lane] = _mm256_add_ps(lanes[lane], masked);
                    // A mask is -1.
                    total = _mm256_sub_epi32(total, above);
                }
            }
        }
        store_sums(lanes, sums, half);
        // SAFETY: 32 bytes are writable.
        unsafe { _mm256_storeu_si256(counts[8 * half..][..8].as_mut_ptr().cast(), total) };
    }
}

/// Writes a line past the caches if it begins at a multiple of 64.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn stream(values: &Side, line: &mut [f32; SIDE]) {
    if line.as_ptr().addr().is_multiple_of(64) {
        for (half, line) in line.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let values = _mm256_castsi256_ps(load(eight(values, half)));
            // SAFETY: 32 bytes are writable, at a multiple of 32.
            unsafe { _mm256_stream_ps(line.as_mut_ptr(), values) };
        }
    } else {
        *line = values.0;
    }
}

#[inline(always)]
fn eight(side: &Side, half: usize) -> &[f32; 8] {
    &side.0.as_chunks().0[half]
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_sums(sums: &SideSums, half: usize) -> [__m256; 8] {
    let mut lanes = [_mm256_setzero_ps(); 8];
    for (lane, sum) in lanes.iter_mut().zip(sums) {
        *lane = _mm256_castsi256_ps(load(eight(sum, half)));
    }
    lanes
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_sums(lanes: [__m256; 8], sums: &mut SideSums, half: usize) {
    for (lane, sum) in lanes.into_iter().zip(sums) {
        sum.0.as_chunks_mut().0[half] = store(lane);
    }
}
