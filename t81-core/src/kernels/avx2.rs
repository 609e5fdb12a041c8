//! The kernel for x86-64 with AVX2, FMA and F16C.
//!
//! Sums of 16 bits hold: a segment has at most 256 columns of (code + 1) * value with code + 1 <= 2 and value in
//! -127 ..= 127, or of code * (value + 128); two columns go into one of 16 lanes of a vector, so that a lane adds up at
//! most 64 pairs of at most 510, or 16 pairs of at most 2032 where the codes still stand at four times their value.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use half::f16;

use super::interleaved::{PANEL, STEP};
use super::kernel::Kernel;

/// Must only be used inside a function compiled for `avx2,fma,f16c` on a machine that has them: every intrinsic below
/// relies on it, which is the safety argument of each `unsafe` block here beside the loads and stores, whose memory is
/// that of a reference of sufficient length.
pub(super) struct Avx2;

type Half = [u8; STEP / 2];

#[inline(always)]
fn halves(step: &[u8; STEP]) -> [__m256i; 2] {
    let (low, high) = step.split_at(STEP / 2);
    [low, high].map(|half| load(half.try_into().expect("half of a step")))
}

#[inline(always)]
fn load(bytes: &Half) -> __m256i {
    // SAFETY: 32 bytes are readable; see `Avx2` for the instruction set.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline(always)]
fn store(bytes: &mut Half, value: __m256i) {
    // SAFETY: 32 bytes are writable; see `Avx2` for the instruction set.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), value) }
}

/// Four values in every 32-bit lane.
#[inline(always)]
fn broadcast(values: &[i8; 4]) -> __m256i {
    // SAFETY: see `Avx2`.
    unsafe { _mm256_set1_epi32(i32::from_ne_bytes(values.map(|value| value as u8))) }
}

#[inline(always)]
fn scales_of(scales: &[f16; PANEL]) -> [__m256; 2] {
    let (scales, _) = scales.as_chunks::<8>();
    // SAFETY: 16 bytes are readable at each of the two; see `Avx2` for the instruction set.
    [&scales[0], &scales[1]]
        .map(|scales| unsafe { _mm256_cvtph_ps(_mm_loadu_si128(scales.as_ptr().cast())) })
}

#[inline(always)]
fn add_to(totals: &mut [f32; PANEL], terms: [__m256; 2]) {
    for (totals, term) in totals.as_chunks_mut::<8>().0.iter_mut().zip(terms) {
        // SAFETY: 32 bytes are readable and writable; see `Avx2` for the instruction set.
        unsafe {
            let sum = _mm256_add_ps(_mm256_loadu_ps(totals.as_ptr()), term);
            _mm256_storeu_ps(totals.as_mut_ptr(), sum);
        }
    }
}

impl Kernel for Avx2 {
    type Integers = [__m256i; 2];
    type Floats = [__m256; 2];

    #[inline(always)]
    fn two_bit(codes: &[[u8; STEP]], values: &[i8]) -> [__m256i; 2] {
        // SAFETY: see `Avx2`.
        unsafe {
            let zero = _mm256_setzero_si256();
            let (low, high) = (_mm256_set1_epi8(3), _mm256_set1_epi8(12));
            // Sums of single codes, and of codes at four times their value.
            let (mut single, mut second, mut fourth) = ([zero; 2], [zero; 2], [zero; 2]);
            for (codes, values) in codes.iter().zip(values.as_chunks::<16>().0) {
                let (values, _) = values.as_chunks::<4>();
                let values: [__m256i; 4] = std::array::from_fn(|n| broadcast(&values[n]));
                for (half, codes) in halves(codes).into_iter().enumerate() {
                    let upper = _mm256_srli_epi16::<4>(codes);
                    let pairs = _mm256_maddubs_epi16(_mm256_and_si256(codes, low), values[0]);
                    single[half] = _mm256_add_epi16(single[half], pairs);
                    let pairs = _mm256_maddubs_epi16(_mm256_and_si256(codes, high), values[1]);
                    second[half] = _mm256_add_epi16(second[half], pairs);
                    let pairs = _mm256_maddubs_epi16(_mm256_and_si256(upper, low), values[2]);
                    single[half] = _mm256_add_epi16(single[half], pairs);
                    let pairs = _mm256_maddubs_epi16(_mm256_and_si256(upper, high), values[3]);
                    fourth[half] = _mm256_add_epi16(fourth[half], pairs);
                }
            }
            let ones = _mm256_set1_epi16(1);
            std::array::from_fn(|half| {
                let fourfold = _mm256_add_epi32(
                    _mm256_madd_epi16(second[half], ones),
                    _mm256_madd_epi16(fourth[half], ones),
                );
                _mm256_add_epi32(
                    _mm256_madd_epi16(single[half], ones),
                    _mm256_srai_epi32::<2>(fourfold),
                )
            })
        }
    }

    #[inline(always)]
    fn base_three(codes: &[[u8; STEP]], sums: &[i16; PANEL], values: &[i8]) -> [__m256i; 2] {
        // SAFETY: see `Avx2`; 16 bytes are readable at each half of the sums.
        unsafe {
            let offset = _mm256_set1_epi8(-128);
            let (upper, lower) = (_mm256_set1_epi8(42), _mm256_set1_epi8(-42));
            let mut negative = [_mm256_setzero_si256(); 2];
            for (codes, values) in codes.iter().zip(values.as_chunks::<20>().0) {
                let (values, _) = values.as_chunks::<4>();
                let values: [__m256i; 5] =
                    std::array::from_fn(|n| _mm256_xor_si256(broadcast(&values[n]), offset));
                for (half, mut rest) in halves(codes).into_iter().enumerate() {
                    for value in values {
                        // The digit is 2 from 171 on and 0 below 86: from 43 on and below -42 with the top bit flipped,
                        // which multiplication by 3 leaves flipped.
                        let negated = _mm256_sub_epi8(
                            _mm256_cmpgt_epi8(rest, upper),
                            _mm256_cmpgt_epi8(lower, rest),
                        );
                        let pairs = _mm256_maddubs_epi16(value, negated);
                        negative[half] = _mm256_add_epi16(negative[half], pairs);
                        rest = _mm256_add_epi8(_mm256_add_epi8(rest, rest), rest);
                    }
                }
            }
            let ones = _mm256_set1_epi16(1);
            let (sums, _) = sums.as_chunks::<8>();
            std::array::from_fn(|half| {
                // Each value was taken 128 too large.
                let sums = _mm256_cvtepi16_epi32(_mm_loadu_si128(sums[half].as_ptr().cast()));
                let excess = _mm256_slli_epi32::<7>(sums);
                let negative = _mm256_madd_epi16(negative[half], ones);
                _mm256_sub_epi32(_mm256_setzero_si256(), _mm256_add_epi32(negative, excess))
            })
        }
    }

    #[inline(always)]
    fn unpack_two_bit(codes: &[[u8; STEP]], quads: &mut [[u8; STEP]]) {
        let (quads, _) = quads.as_chunks_mut::<4>();
        for (codes, quads) in codes.iter().zip(quads) {
            for (half, codes) in halves(codes).into_iter().enumerate() {
                // SAFETY: see `Avx2`.
                let unpacked = unsafe {
                    let low = _mm256_set1_epi8(3);
                    [
                        _mm256_and_si256(codes, low),
                        _mm256_and_si256(_mm256_srli_epi16::<2>(codes), low),
                        _mm256_and_si256(_mm256_srli_epi16::<4>(codes), low),
                        _mm256_and_si256(_mm256_srli_epi16::<6>(codes), low),
                    ]
                };
                for (quad, unpacked) in quads.iter_mut().zip(unpacked) {
                    store(&mut quad.as_chunks_mut().0[half], unpacked);
                }
            }
        }
    }

    #[inline(always)]
    fn unpack_base_three(codes: &[[u8; STEP]], quads: &mut [[u8; STEP]]) {
        let (quads, _) = quads.as_chunks_mut::<5>();
        for (codes, quads) in codes.iter().zip(quads) {
            for (half, mut rest) in halves(codes).into_iter().enumerate() {
                for quad in quads.iter_mut() {
                    // SAFETY: see `Avx2`.
                    let digits = unsafe {
                        let negated = _mm256_sub_epi8(
                            _mm256_cmpgt_epi8(rest, _mm256_set1_epi8(42)),
                            _mm256_cmpgt_epi8(_mm256_set1_epi8(-42), rest),
                        );
                        rest = _mm256_add_epi8(_mm256_add_epi8(rest, rest), rest);
                        _mm256_sub_epi8(_mm256_set1_epi8(1), negated)
                    };
                    store(&mut quad.as_chunks_mut().0[half], digits);
                }
            }
        }
    }

    #[inline(always)]
    fn tile<const C: usize>(quads: &[[u8; STEP]], values: [&[i8]; C]) -> [[__m256i; 2]; C] {
        let values = values.map(|values| &values.as_chunks::<4>().0[..quads.len()]);
        // SAFETY: see `Avx2`.
        unsafe {
            let mut pairs = [[_mm256_setzero_si256(); 2]; C];
            for (index, quad) in quads.iter().enumerate() {
                let codes = halves(quad);
                for (pairs, values) in pairs.iter_mut().zip(values) {
                    let value = broadcast(&values[index]);
                    for (pairs, codes) in pairs.iter_mut().zip(codes) {
                        *pairs = _mm256_add_epi16(*pairs, _mm256_maddubs_epi16(codes, value));
                    }
                }
            }
            let ones = _mm256_set1_epi16(1);
            pairs.map(|pairs| pairs.map(|pairs| _mm256_madd_epi16(pairs, ones)))
        }
    }

    #[inline(always)]
    fn accumulate(
        totals: &mut [f32; PANEL],
        integers: [__m256i; 2],
        bias: i32,
        scales: &[f16; PANEL],
        value_scale: f32,
    ) {
        let scales = scales_of(scales);
        // SAFETY: see `Avx2`.
        let terms = std::array::from_fn(|half| unsafe {
            let integers = _mm256_sub_epi32(integers[half], _mm256_set1_epi32(bias));
            let scale = _mm256_mul_ps(scales[half], _mm256_set1_ps(value_scale));
            _mm256_mul_ps(scale, _mm256_cvtepi32_ps(integers))
        });
        add_to(totals, terms);
    }

    #[inline(always)]
    fn floats(quads: &[[u8; STEP]], weights: &mut [[f32; PANEL]]) {
        let (weights, _) = weights.as_chunks_mut::<4>();
        for (quad, weights) in quads.iter().zip(weights) {
            for (half, mut codes) in halves(quad).into_iter().enumerate() {
                for weights in weights.iter_mut() {
                    let weights = &mut weights.as_chunks_mut::<8>().0[half];
                    // SAFETY: 32 bytes are writable; see `Avx2` for the instruction set.
                    unsafe {
                        _mm256_storeu_ps(
                            weights.as_mut_ptr(),
                            _mm256_permutevar_ps(table(), codes),
                        );
                        codes = _mm256_srli_epi32::<8>(codes);
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn float_vector<const P: usize>(quads: [&[[u8; STEP]]; P], values: &[f32]) -> [[__m256; 2]; P] {
        let (values, _) = values.as_chunks::<4>();
        let quads = quads.map(|quads| &quads[..values.len()]);
        // SAFETY: see `Avx2`.
        unsafe {
            let mut sums = [[_mm256_setzero_ps(); 2]; P];
            for (index, values) in values.iter().enumerate() {
                let values = values.map(|value| _mm256_set1_ps(value));
                for (sums, quads) in sums.iter_mut().zip(quads) {
                    for (sum, mut codes) in sums.iter_mut().zip(halves(&quads[index])) {
                        for value in values {
                            let weights = _mm256_permutevar_ps(table(), codes);
                            *sum = _mm256_fmadd_ps(weights, value, *sum);
                            codes = _mm256_srli_epi32::<8>(codes);
                        }
                    }
                }
            }
            sums
        }
    }

    #[inline(always)]
    fn float_tile<const C: usize>(
        weights: &[[f32; PANEL]],
        values: [&[f32]; C],
    ) -> [[__m256; 2]; C] {
        let values = values.map(|values| &values[..weights.len()]);
        // SAFETY: 32 bytes are readable at each half of the weights; see `Avx2` for the instruction set.
        unsafe {
            let mut sums = [[_mm256_setzero_ps(); 2]; C];
            for (index, weights) in weights.iter().enumerate() {
                let (weights, _) = weights.as_chunks::<8>();
                let weights = [&weights[0], &weights[1]].map(|half| _mm256_loadu_ps(half.as_ptr()));
                for (sums, values) in sums.iter_mut().zip(values) {
                    let value = _mm256_set1_ps(values[index]);
                    for (sum, weights) in sums.iter_mut().zip(weights) {
                        // A product with -1, 0 or 1 is exact: fused or not, the sum is the same.
                        *sum = _mm256_fmadd_ps(weights, value, *sum);
                    }
                }
            }
            sums
        }
    }

    #[inline(always)]
    fn accumulate_floats(totals: &mut [f32; PANEL], sums: [__m256; 2], scales: &[f16; PANEL]) {
        let scales = scales_of(scales);
        // SAFETY: see `Avx2`.
        let terms = std::array::from_fn(|half| unsafe { _mm256_mul_ps(scales[half], sums[half]) });
        add_to(totals, terms);
    }
}

/// The codes that the digits 0, 1 and 2 stand for, in each half.
#[inline(always)]
fn table() -> __m256 {
    // SAFETY: see `Avx2`.
    unsafe { _mm256_setr_ps(-1.0, 0.0, 1.0, 0.0, -1.0, 0.0, 1.0, 0.0) }
}
