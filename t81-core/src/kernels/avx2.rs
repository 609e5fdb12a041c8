//! The kernel for x86-64 with AVX2, FMA and F16C.
//!
//! Sums of 16 bits hold: a segment has at most 256 columns of (code + 1) * value with code + 1 <= 2 and value in
//! -127 ..= 127, or of code * (value + 128); two columns go into one of 16 lanes of a vector, so that a lane adds up at
//! most 64 pairs of at most 510, or 16 pairs of at most 2032 where the codes still stand at four times their value.
//!
//! Intrinsics are only inlined into functions compiled for their instruction set: loops, not closures, hold them.
#![allow(unsafe_code, clippy::needless_range_loop)]

use std::arch::x86_64::*;

use half::f16;

use super::activations::PaddedRows;
use super::interleaved::{InterleavedMatrix, PANEL, STEP, Step};
use super::kernel::{FloatScratch, Kernel};
use super::{avx2_batch, avx2_row};

/// Must only be used inside a function compiled for `avx2,fma,f16c` on a machine that has them: every intrinsic below
/// relies on it, which is the safety argument of each `unsafe` block here beside the loads and stores, whose memory is
/// that of a reference of sufficient length.
pub(super) struct Avx2;

type Half = [u8; STEP / 2];

#[inline(always)]
pub(super) fn halves(step: &Step) -> [__m256i; 2] {
    let (halves, _) = step.0.as_chunks();
    [load(&halves[0]), load(&halves[1])]
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
pub(super) fn broadcast(values: &[i8; 4]) -> __m256i {
    // SAFETY: four bytes are readable; see `Avx2` for the instruction set.
    unsafe { _mm256_set1_epi32(values.as_ptr().cast::<i32>().read_unaligned()) }
}

/// [`broadcast`] of the first `N` quads of values.
#[inline(always)]
fn broadcasts<const N: usize>(values: &[[i8; 4]]) -> [__m256i; N] {
    // SAFETY: see `Avx2`.
    let mut vectors = [unsafe { _mm256_setzero_si256() }; N];
    for n in 0..N {
        vectors[n] = broadcast(&values[n]);
    }
    vectors
}

#[inline(always)]
fn scales_of(scales: &[f16; PANEL]) -> [__m256; 2] {
    let (scales, _) = scales.as_chunks::<8>();
    // SAFETY: 16 bytes are readable at each of the two; see `Avx2` for the instruction set.
    unsafe {
        [
            _mm256_cvtph_ps(_mm_loadu_si128(scales[0].as_ptr().cast())),
            _mm256_cvtph_ps(_mm_loadu_si128(scales[1].as_ptr().cast())),
        ]
    }
}

#[inline(always)]
fn add_to(totals: &mut [f32; PANEL], terms: [__m256; 2]) {
    let (totals, _) = totals.as_chunks_mut::<8>();
    for half in 0..2 {
        // SAFETY: 32 bytes are readable and writable; see `Avx2` for the instruction set.
        unsafe {
            let sum = _mm256_add_ps(_mm256_loadu_ps(totals[half].as_ptr()), terms[half]);
            _mm256_storeu_ps(totals[half].as_mut_ptr(), sum);
        }
    }
}

impl Kernel for Avx2 {
    type Integers = [__m256i; 2];
    type Floats = [__m256; 2];

    #[inline(always)]
    fn two_bit(codes: &[Step], values: &[i8]) -> [__m256i; 2] {
        // SAFETY: see `Avx2`.
        unsafe {
            let zero = _mm256_setzero_si256();
            let (low, high) = (_mm256_set1_epi8(3), _mm256_set1_epi8(12));
            // Sums of single codes, and of codes at four times their value.
            let (mut single, mut second, mut fourth) = ([zero; 2], [zero; 2], [zero; 2]);
            for (codes, values) in codes.iter().zip(values.as_chunks::<16>().0) {
                let (values, _) = values.as_chunks::<4>();
                let values: [_; 4] = broadcasts(values);
                let halves = halves(codes);
                for half in 0..2 {
                    let codes = halves[half];
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
            let mut sums = [zero; 2];
            for half in 0..2 {
                let fourfold = _mm256_add_epi32(
                    _mm256_madd_epi16(second[half], ones),
                    _mm256_madd_epi16(fourth[half], ones),
                );
                sums[half] = _mm256_add_epi32(
                    _mm256_madd_epi16(single[half], ones),
                    _mm256_srai_epi32::<2>(fourfold),
                );
            }
            sums
        }
    }

    #[inline(always)]
    fn base_three(codes: &[Step], sums: &[i16; PANEL], values: &[i8]) -> [__m256i; 2] {
        // SAFETY: see `Avx2`; 16 bytes are readable at each half of the sums.
        unsafe {
            let (upper, lower) = (_mm256_set1_epi8(42), _mm256_set1_epi8(-42));
            let mut negative = [_mm256_setzero_si256(); 2];
            for (codes, values) in codes.iter().zip(values.as_chunks::<20>().0) {
                let (values, _) = values.as_chunks::<4>();
                let values: [_; 5] = broadcasts(values);
                let codes = halves(codes);
                for half in 0..2 {
                    let mut rest = codes[half];
                    for n in 0..5 {
                        // The digit is 2 from 171 on and 0 below 86: from 43 on and below -42 with the top bit flipped,
                        // which multiplication by 3 leaves flipped.
                        let negated = _mm256_sub_epi8(
                            _mm256_cmpgt_epi8(rest, upper),
                            _mm256_cmpgt_epi8(lower, rest),
                        );
                        let pairs = _mm256_maddubs_epi16(values[n], negated);
                        negative[half] = _mm256_add_epi16(negative[half], pairs);
                        if n < 4 {
                            rest = threefold(rest);
                        }
                    }
                }
            }
            let ones = _mm256_set1_epi16(1);
            let (sums, _) = sums.as_chunks::<8>();
            for half in 0..2 {
                // Each value was taken 128 too large.
                let sums = _mm256_cvtepi16_epi32(_mm_loadu_si128(sums[half].as_ptr().cast()));
                let excess = _mm256_slli_epi32::<7>(sums);
                let sum = _mm256_add_epi32(_mm256_madd_epi16(negative[half], ones), excess);
                negative[half] = _mm256_sub_epi32(_mm256_setzero_si256(), sum);
            }
            negative
        }
    }

    #[inline(always)]
    fn unpack_two_bit(codes: &[Step], quads: &mut [Step]) {
        let (quads, _) = quads.as_chunks_mut::<4>();
        for (codes, quads) in codes.iter().zip(quads) {
            let halves = halves(codes);
            for half in 0..2 {
                let codes = halves[half];
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
                for n in 0..4 {
                    store(&mut quads[n].0.as_chunks_mut().0[half], unpacked[n]);
                }
            }
        }
    }

    #[inline(always)]
    fn unpack_base_three(codes: &[Step], quads: &mut [Step]) {
        let (quads, _) = quads.as_chunks_mut::<5>();
        for (codes, quads) in codes.iter().zip(quads) {
            let halves = halves(codes);
            for half in 0..2 {
                let mut rest = halves[half];
                for quad in quads.iter_mut() {
                    // SAFETY: see `Avx2`.
                    let digits = unsafe {
                        let negated = _mm256_sub_epi8(
                            _mm256_cmpgt_epi8(rest, _mm256_set1_epi8(42)),
                            _mm256_cmpgt_epi8(_mm256_set1_epi8(-42), rest),
                        );
                        rest = threefold(rest);
                        _mm256_sub_epi8(_mm256_set1_epi8(1), negated)
                    };
                    store(&mut quad.0.as_chunks_mut().0[half], digits);
                }
            }
        }
    }

    #[inline(always)]
    fn tile<const C: usize, const P: usize>(
        quads: [&[Step]; P],
        values: &[[i8; 4]],
        stride: usize,
    ) -> [[[__m256i; 2]; C]; P] {
        // SAFETY: see `Avx2`.
        unsafe {
            let mut sums = [[[_mm256_setzero_si256(); 2]; C]; P];
            for panel in 0..P {
                let mut pairs = [[_mm256_setzero_si256(); 2]; C];
                for (quad, values) in quads[panel].iter().zip(values.chunks(stride)) {
                    let codes = halves(quad);
                    for row in 0..C {
                        let value = broadcast(&values[row]);
                        for half in 0..2 {
                            let products = _mm256_maddubs_epi16(codes[half], value);
                            pairs[row][half] = _mm256_add_epi16(pairs[row][half], products);
                        }
                    }
                }
                let ones = _mm256_set1_epi16(1);
                for row in 0..C {
                    for half in 0..2 {
                        sums[panel][row][half] = _mm256_madd_epi16(pairs[row][half], ones);
                    }
                }
            }
            sums
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
        let mut terms = scales_of(scales);
        for half in 0..2 {
            // SAFETY: see `Avx2`.
            unsafe {
                let integers = _mm256_sub_epi32(integers[half], _mm256_set1_epi32(bias));
                let scale = _mm256_mul_ps(terms[half], _mm256_set1_ps(value_scale));
                terms[half] = _mm256_mul_ps(scale, _mm256_cvtepi32_ps(integers));
            }
        }
        add_to(totals, terms);
    }

    #[inline(always)]
    fn float_panels(
        matrix: &InterleavedMatrix,
        first: usize,
        batch: &PaddedRows,
        scratch: &mut FloatScratch,
        output: &mut [[f32; PANEL]],
    ) {
        match batch.rows() {
            1 => avx2_row::products(matrix, first, batch.row(0), &mut scratch.row, output),
            _ => avx2_batch::products(matrix, first, batch, &mut scratch.pairs, output),
        }
    }

    #[inline(always)]
    fn accumulate_floats(totals: &mut [f32; PANEL], sums: [__m256; 2], scales: &[f16; PANEL]) {
        let mut terms = scales_of(scales);
        for half in 0..2 {
            // SAFETY: see `Avx2`.
            terms[half] = unsafe { _mm256_mul_ps(terms[half], sums[half]) };
        }
        add_to(totals, terms);
    }
}

/// Bytes times three, modulo 256. Left to itself the compiler makes one multiplication, which bytes do not have, of
/// several of them.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn threefold(bytes: __m256i) -> __m256i {
    let mut sum = _mm256_add_epi8(_mm256_add_epi8(bytes, bytes), bytes);
    // SAFETY: the assembly is empty.
    unsafe {
        std::arch::asm!("/* {0} */", inout(ymm_reg) sum, options(pure, nomem, nostack, preserves_flags));
    }
    sum
}

/// The codes that the digits 0, 1 and 2 stand for, in each half.
#[inline(always)]
pub(super) fn codes_as_floats() -> __m256 {
    // SAFETY: see `Avx2`.
    unsafe { _mm256_setr_ps(-1.0, 0.0, 1.0, 0.0, -1.0, 0.0, 1.0, 0.0) }
}
