//! The kernel for x86-64 with AVX2 and AVX-VNNI: sums of integers by one instruction for four columns, and all else as
//! with AVX2.
//!
//! Intrinsics are only inlined into functions compiled for their instruction set: loops, not closures, hold them.
#![allow(unsafe_code, clippy::needless_range_loop)]

use std::arch::x86_64::*;

use half::f16;

use super::activations::PaddedRows;
use super::avx2::{Avx2, broadcast, halves, threefold};
use super::interleaved::{InterleavedMatrix, PANEL, Step};
use super::kernel::{FloatScratch, Kernel};

/// Must only be used inside a function compiled for `avxvnni,avx2,fma,f16c` on a machine that has them: every intrinsic
/// below relies on it, and so does `Avx2`; that is the safety argument of each `unsafe` block here.
pub(super) struct AvxVnni;

impl Kernel for AvxVnni {
    type Integers = [__m256i; 2];
    type Floats = [__m256; 2];

    #[inline(always)]
    fn two_bit(codes: &[Step], values: &[i8]) -> [__m256i; 2] {
        // SAFETY: see `AvxVnni`.
        unsafe {
            let zero = _mm256_setzero_si256();
            let (low, high) = (_mm256_set1_epi8(3), _mm256_set1_epi8(12));
            // Sums of single codes, and of codes at four times their value.
            let (mut single, mut second, mut fourth) = ([zero; 2], [zero; 2], [zero; 2]);
            for (codes, values) in codes.iter().zip(values.as_chunks::<16>().0) {
                let (values, _) = values.as_chunks::<4>();
                let values = [
                    broadcast(&values[0]),
                    broadcast(&values[1]),
                    broadcast(&values[2]),
                    broadcast(&values[3]),
                ];
                let halves = halves(codes);
                for half in 0..2 {
                    let codes = halves[half];
                    let upper = _mm256_srli_epi16::<4>(codes);
                    let lowest = _mm256_and_si256(codes, low);
                    single[half] = _mm256_dpbusd_avx_epi32(single[half], lowest, values[0]);
                    let next = _mm256_and_si256(codes, high);
                    second[half] = _mm256_dpbusd_avx_epi32(second[half], next, values[1]);
                    let next = _mm256_and_si256(upper, low);
                    single[half] = _mm256_dpbusd_avx_epi32(single[half], next, values[2]);
                    let highest = _mm256_and_si256(upper, high);
                    fourth[half] = _mm256_dpbusd_avx_epi32(fourth[half], highest, values[3]);
                }
            }
            for half in 0..2 {
                let fourfold = _mm256_add_epi32(second[half], fourth[half]);
                single[half] = _mm256_add_epi32(single[half], _mm256_srai_epi32::<2>(fourfold));
            }
            single
        }
    }

    /// Three times a byte, less what remains of that in a byte, is 256 times the leading digit; read with a sign, as
    /// the flipped top bit lets them, the bytes give 256 times the code. So the digits need not be taken out: the sums
    /// of products with the bytes before and after each multiplication by 3 have all the codes.
    #[inline(always)]
    fn base_three(codes: &[Step], sums: &[i16; PANEL], values: &[i8]) -> [__m256i; 2] {
        // SAFETY: see `AvxVnni`; 16 bytes are readable at each half of the sums.
        unsafe {
            let zero = _mm256_setzero_si256();
            let (mut before, mut after) = ([zero; 2], [zero; 2]);
            for (codes, values) in codes.iter().zip(values.as_chunks::<20>().0) {
                let (values, _) = values.as_chunks::<4>();
                let mut rest = halves(codes);
                for n in 0..5 {
                    let values = broadcast(&values[n]);
                    for half in 0..2 {
                        before[half] = _mm256_dpbusd_avx_epi32(before[half], values, rest[half]);
                        rest[half] = threefold(rest[half]);
                        after[half] = _mm256_dpbusd_avx_epi32(after[half], values, rest[half]);
                    }
                }
            }
            let (sums, _) = sums.as_chunks::<8>();
            for half in 0..2 {
                let before_thrice =
                    _mm256_add_epi32(_mm256_slli_epi32::<1>(before[half]), before[half]);
                let products = _mm256_sub_epi32(before_thrice, after[half]);
                // Each value was taken 128 too large.
                let sums = _mm256_cvtepi16_epi32(_mm_loadu_si128(sums[half].as_ptr().cast()));
                before[half] = _mm256_sub_epi32(
                    _mm256_srai_epi32::<8>(products),
                    _mm256_slli_epi32::<7>(sums),
                );
            }
            before
        }
    }

    #[inline(always)]
    fn unpack_two_bit(codes: &[Step], quads: &mut [Step]) {
        Avx2::unpack_two_bit(codes, quads);
    }

    #[inline(always)]
    fn unpack_base_three(codes: &[Step], quads: &mut [Step]) {
        Avx2::unpack_base_three(codes, quads);
    }

    #[inline(always)]
    fn tile<const C: usize, const P: usize>(
        quads: [&[Step]; P],
        values: &[[i8; 4]],
        stride: usize,
    ) -> [[[__m256i; 2]; C]; P] {
        // SAFETY: see `AvxVnni`.
        unsafe {
            let mut sums = [[[_mm256_setzero_si256(); 2]; C]; P];
            for panel in 0..P {
                for (quad, values) in quads[panel].iter().zip(values.chunks(stride)) {
                    let codes = halves(quad);
                    for row in 0..C {
                        let value = broadcast(&values[row]);
                        for half in 0..2 {
                            let sum = &mut sums[panel][row][half];
                            *sum = _mm256_dpbusd_avx_epi32(*sum, codes[half], value);
                        }
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
        Avx2::accumulate(totals, integers, bias, scales, value_scale);
    }

    #[inline(always)]
    fn float_panels(
        matrix: &InterleavedMatrix,
        first: usize,
        batch: &PaddedRows,
        scratch: &mut FloatScratch,
        output: &mut [[f32; PANEL]],
    ) {
        Avx2::float_panels(matrix, first, batch, scratch, output);
    }

    #[inline(always)]
    fn accumulate_floats(totals: &mut [f32; PANEL], sums: [__m256; 2], scales: &[f16; PANEL]) {
        Avx2::accumulate_floats(totals, sums, scales);
    }
}
