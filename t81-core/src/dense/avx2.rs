//! Sixteen floats in two vectors of AVX2.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use half::{bf16, f16};

use super::lanes::{Lanes, PANEL};

/// Must only be used inside a function compiled for `avx2,fma,f16c` on a machine that has them: every intrinsic below
/// relies on it, which is the safety argument of each `unsafe` block here beside the loads and stores, whose memory is
/// that of a reference of sufficient length.
pub(super) struct Avx2;

impl Lanes for Avx2 {
    const WIDE_BATCHES: bool = false;

    type Floats = [__m256; 2];

    #[inline(always)]
    fn zero() -> [__m256; 2] {
        // SAFETY: see `Avx2`.
        unsafe { [_mm256_setzero_ps(); 2] }
    }

    #[inline(always)]
    fn load(values: &[f32; PANEL]) -> [__m256; 2] {
        // SAFETY: 64 bytes are readable; see `Avx2` for the instruction set.
        unsafe {
            let values = values.as_ptr();
            [_mm256_loadu_ps(values), _mm256_loadu_ps(values.add(8))]
        }
    }

    #[inline(always)]
    fn load_f16(values: &[f16; PANEL]) -> [__m256; 2] {
        // SAFETY: 32 bytes are readable; see `Avx2` for the instruction set.
        unsafe {
            let values: *const __m128i = values.as_ptr().cast();
            [
                _mm256_cvtph_ps(_mm_loadu_si128(values)),
                _mm256_cvtph_ps(_mm_loadu_si128(values.add(1))),
            ]
        }
    }

    #[inline(always)]
    fn load_bf16(values: &[bf16; PANEL]) -> [__m256; 2] {
        // SAFETY: 32 bytes are readable; see `Avx2` for the instruction set. A bf16 is the upper half of an f32.
        unsafe {
            let values: *const __m128i = values.as_ptr().cast();
            let low = _mm256_cvtepu16_epi32(_mm_loadu_si128(values));
            let high = _mm256_cvtepu16_epi32(_mm_loadu_si128(values.add(1)));
            [
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(low)),
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(high)),
            ]
        }
    }

    #[inline(always)]
    fn multiply_add(sums: [__m256; 2], weights: [__m256; 2], value: f32) -> [__m256; 2] {
        // SAFETY: see `Avx2`.
        unsafe {
            let value = _mm256_set1_ps(value);
            [
                _mm256_fmadd_ps(weights[0], value, sums[0]),
                _mm256_fmadd_ps(weights[1], value, sums[1]),
            ]
        }
    }

    #[inline(always)]
    fn store(floats: [__m256; 2], output: &mut [f32; PANEL]) {
        // SAFETY: 64 bytes are writable; see `Avx2` for the instruction set.
        unsafe {
            let output = output.as_mut_ptr();
            _mm256_storeu_ps(output, floats[0]);
            _mm256_storeu_ps(output.add(8), floats[1]);
        }
    }
}
