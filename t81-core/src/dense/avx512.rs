//! Sixteen floats in one vector of AVX-512.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use half::{bf16, f16};

use super::lanes::{Lanes, PANEL};

/// Must only be used inside a function compiled for `avx512f,avx2,fma,f16c` on a machine that has them: every intrinsic
/// below relies on it, which is the safety argument of each `unsafe` block here beside the loads and stores, whose memory
/// is that of a reference of sufficient length.
pub(super) struct Avx512;

impl Lanes for Avx512 {
    const WIDE_BATCHES: bool = true;

    type Floats = __m512;

    #[inline(always)]
    fn zero() -> __m512 {
        // SAFETY: see `Avx512`.
        unsafe { _mm512_setzero_ps() }
    }

    #[inline(always)]
    fn load(values: &[f32; PANEL]) -> __m512 {
        // SAFETY: 64 bytes are readable; see `Avx512` for the instruction set.
        unsafe { _mm512_loadu_ps(values.as_ptr()) }
    }

    #[inline(always)]
    fn load_f16(values: &[f16; PANEL]) -> __m512 {
        // SAFETY: 32 bytes are readable; see `Avx512` for the instruction set.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(values.as_ptr().cast())) }
    }

    #[inline(always)]
    fn load_bf16(values: &[bf16; PANEL]) -> __m512 {
        // SAFETY: 32 bytes are readable; see `Avx512` for the instruction set. A bf16 is the upper half of an f32.
        unsafe {
            let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(values.as_ptr().cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
        }
    }

    #[inline(always)]
    fn multiply_add(sums: __m512, weights: __m512, value: f32) -> __m512 {
        // SAFETY: see `Avx512`.
        unsafe { _mm512_fmadd_ps(weights, _mm512_set1_ps(value), sums) }
    }

    #[inline(always)]
    fn store(floats: __m512, output: &mut [f32; PANEL]) {
        // SAFETY: 64 bytes are writable; see `Avx512` for the instruction set.
        unsafe { _mm512_storeu_ps(output.as_mut_ptr(), floats) }
    }
}
