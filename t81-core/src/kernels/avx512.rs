//! The kernel for x86-64 with AVX-512 and its VNNI: a step is one vector with a row of the panel in each lane, and one
//! instruction multiplies four columns and adds them to the sums of the rows.
//!
//! Intrinsics are only inlined into functions compiled for their instruction set: loops, not closures, hold them.
#![allow(unsafe_code, clippy::needless_range_loop)]

use std::arch::x86_64::*;

use half::f16;

use super::activations::PaddedRows;
use super::avx512_tables;
use super::interleaved::{InterleavedMatrix, PANEL, Step};
use super::kernel::{FloatScratch, Kernel};

/// Must only be used inside a function compiled for `avx512f,avx512bw,avx512vnni` on a machine that has them: every
/// intrinsic below relies on it, which is the safety argument of each `unsafe` block here beside the loads and stores,
/// whose memory is that of a reference of sufficient length.
pub(super) struct Avx512;

#[inline(always)]
fn load(step: &Step) -> __m512i {
    // SAFETY: 64 bytes are readable, at a multiple of 64; see `Avx512` for the instruction set.
    unsafe { _mm512_load_si512(std::ptr::from_ref(step).cast()) }
}

#[inline(always)]
fn store(step: &mut Step, value: __m512i) {
    // SAFETY: 64 bytes are writable, at a multiple of 64; see `Avx512` for the instruction set.
    unsafe { _mm512_store_si512(std::ptr::from_mut(step).cast(), value) }
}

/// Four values in every lane.
#[inline(always)]
fn broadcast(values: &[i8; 4]) -> __m512i {
    // SAFETY: four bytes are readable; see `Avx512` for the instruction set.
    unsafe { _mm512_set1_epi32(values.as_ptr().cast::<i32>().read_unaligned()) }
}

#[inline(always)]
fn scales_of(scales: &[f16; PANEL]) -> __m512 {
    // SAFETY: 32 bytes are readable; see `Avx512` for the instruction set.
    unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(scales.as_ptr().cast())) }
}

#[inline(always)]
fn add_to(totals: &mut [f32; PANEL], terms: __m512) {
    // SAFETY: 64 bytes are readable and writable; see `Avx512` for the instruction set.
    unsafe {
        let sum = _mm512_add_ps(_mm512_loadu_ps(totals.as_ptr()), terms);
        _mm512_storeu_ps(totals.as_mut_ptr(), sum);
    }
}

impl Kernel for Avx512 {
    /// Twenty-four sums of two panels leave registers for the codes, and have two multiplications for each reading.
    const TILE: usize = 12;
    const PANELS: usize = 2;

    type Integers = __m512i;
    type Floats = __m512;

    #[inline(always)]
    fn two_bit(codes: &[Step], values: &[i8]) -> __m512i {
        // SAFETY: see `Avx512`.
        unsafe {
            let masks = [
                _mm512_set1_epi8(3),
                _mm512_set1_epi8(12),
                _mm512_set1_epi8(48),
                _mm512_set1_epi8(-64),
            ];
            // Sums of codes at 1, 4, 16 and 64 times their value.
            let mut sums = [_mm512_setzero_si512(); 4];
            for (codes, values) in codes.iter().zip(values.as_chunks::<16>().0) {
                let (values, _) = values.as_chunks::<4>();
                let codes = load(codes);
                for n in 0..4 {
                    let codes = _mm512_and_si512(codes, masks[n]);
                    sums[n] = _mm512_dpbusd_epi32(sums[n], codes, broadcast(&values[n]));
                }
            }
            _mm512_add_epi32(
                _mm512_add_epi32(sums[0], _mm512_srai_epi32::<2>(sums[1])),
                _mm512_add_epi32(
                    _mm512_srai_epi32::<4>(sums[2]),
                    _mm512_srai_epi32::<6>(sums[3]),
                ),
            )
        }
    }

    /// Three times a byte, less what remains of that in a byte, is 256 times the leading digit; read with a sign, as
    /// the flipped top bit lets them, the bytes give 256 times the code. So the digits need not be taken out: the sums
    /// of products with the bytes before and after each multiplication by 3 have all the codes.
    #[inline(always)]
    fn base_three(codes: &[Step], sums: &[i16; PANEL], values: &[i8]) -> __m512i {
        // SAFETY: see `Avx512`; 32 bytes of sums are readable.
        unsafe {
            let zero = _mm512_setzero_si512();
            // Two of each, since every step adds five times to them.
            let (mut before, mut after) = ([zero; 2], [zero; 2]);
            for (codes, values) in codes.iter().zip(values.as_chunks::<20>().0) {
                let (values, _) = values.as_chunks::<4>();
                let mut rest = load(codes);
                for n in 0..5 {
                    let values = broadcast(&values[n]);
                    before[n % 2] = _mm512_dpbusd_epi32(before[n % 2], values, rest);
                    rest = threefold(rest);
                    after[n % 2] = _mm512_dpbusd_epi32(after[n % 2], values, rest);
                }
            }
            let before = _mm512_add_epi32(before[0], before[1]);
            let after = _mm512_add_epi32(after[0], after[1]);
            let before = _mm512_add_epi32(_mm512_slli_epi32::<1>(before), before);
            let products = _mm512_srai_epi32::<8>(_mm512_sub_epi32(before, after));
            // Each value was taken 128 too large.
            let sums = _mm512_cvtepi16_epi32(_mm256_loadu_si256(sums.as_ptr().cast()));
            _mm512_sub_epi32(products, _mm512_slli_epi32::<7>(sums))
        }
    }

    #[inline(always)]
    fn unpack_two_bit(codes: &[Step], quads: &mut [Step]) {
        let (quads, _) = quads.as_chunks_mut::<4>();
        for (codes, quads) in codes.iter().zip(quads) {
            let codes = load(codes);
            // SAFETY: see `Avx512`.
            let unpacked = unsafe {
                let low = _mm512_set1_epi8(3);
                [
                    _mm512_and_si512(codes, low),
                    _mm512_and_si512(_mm512_srli_epi16::<2>(codes), low),
                    _mm512_and_si512(_mm512_srli_epi16::<4>(codes), low),
                    _mm512_and_si512(_mm512_srli_epi16::<6>(codes), low),
                ]
            };
            for n in 0..4 {
                store(&mut quads[n], unpacked[n]);
            }
        }
    }

    #[inline(always)]
    fn unpack_base_three(codes: &[Step], quads: &mut [Step]) {
        let (quads, _) = quads.as_chunks_mut::<5>();
        for (codes, quads) in codes.iter().zip(quads) {
            let mut rest = load(codes);
            for quad in quads {
                // SAFETY: see `Avx512`.
                let digits = unsafe {
                    // The digit is 2 from 171 on and 0 below 86: from 43 on and below -42 with the top bit flipped,
                    // which multiplication by 3 leaves flipped.
                    let two = _mm512_cmpgt_epi8_mask(rest, _mm512_set1_epi8(42));
                    let not_zero = _mm512_cmpgt_epi8_mask(rest, _mm512_set1_epi8(-43));
                    rest = threefold(rest);
                    let digits = _mm512_maskz_mov_epi8(not_zero, _mm512_set1_epi8(1));
                    _mm512_mask_mov_epi8(digits, two, _mm512_set1_epi8(2))
                };
                store(quad, digits);
            }
        }
    }

    #[inline(always)]
    fn tile<const C: usize, const P: usize>(
        quads: [&[Step]; P],
        values: &[[i8; 4]],
        stride: usize,
    ) -> [[__m512i; C]; P] {
        let count = quads[0].len();
        for panel in 0..P {
            assert_eq!(quads[panel].len(), count, "panels have the same steps");
        }
        assert!(count == 0 || (count - 1) * stride + C <= values.len());
        // SAFETY: every quad of each panel and `C` values from each multiple of the stride exist, as asserted; see
        // `Avx512` for the instruction set.
        unsafe {
            let mut sums = [[_mm512_setzero_si512(); C]; P];
            let mut row_values = values.as_ptr();
            for index in 0..count {
                let mut codes = [_mm512_setzero_si512(); P];
                for panel in 0..P {
                    codes[panel] = load(quads[panel].get_unchecked(index));
                }
                for row in 0..C {
                    let values = broadcast(&*row_values.add(row));
                    for panel in 0..P {
                        sums[panel][row] =
                            _mm512_dpbusd_epi32(sums[panel][row], codes[panel], values);
                    }
                }
                row_values = row_values.wrapping_add(stride);
            }
            sums
        }
    }

    #[inline(always)]
    fn accumulate(
        totals: &mut [f32; PANEL],
        integers: __m512i,
        bias: i32,
        scales: &[f16; PANEL],
        value_scale: f32,
    ) {
        let scales = scales_of(scales);
        // SAFETY: see `Avx512`.
        let terms = unsafe {
            let integers = _mm512_sub_epi32(integers, _mm512_set1_epi32(bias));
            let scales = _mm512_mul_ps(scales, _mm512_set1_ps(value_scale));
            _mm512_mul_ps(scales, _mm512_cvtepi32_ps(integers))
        };
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
        avx512_tables::products(matrix, first, batch, &mut scratch.tables, output);
    }

    #[inline(always)]
    fn accumulate_floats(totals: &mut [f32; PANEL], sums: __m512, scales: &[f16; PANEL]) {
        // SAFETY: see `Avx512`.
        let terms = unsafe { _mm512_mul_ps(scales_of(scales), sums) };
        add_to(totals, terms);
    }
}

/// Bytes times three, modulo 256. Left to itself the compiler makes one multiplication, which bytes do not have, of
/// several of them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn threefold(bytes: __m512i) -> __m512i {
    let mut sum = _mm512_add_epi8(_mm512_add_epi8(bytes, bytes), bytes);
    // SAFETY: the assembly is empty.
    unsafe {
        std::arch::asm!("/* {0} */", inout(zmm_reg) sum, options(pure, nomem, nostack, preserves_flags));
    }
    sum
}
