//! The kernels for AArch64 with NEON, with and without its instruction for dot products: a step is four vectors with
//! four rows of the panel each.
//!
//! Intrinsics are only inlined into functions compiled for their instruction set: loops, not closures, hold them.
#![allow(unsafe_code, clippy::needless_range_loop)]

use std::arch::aarch64::*;

use half::f16;

use super::activations::PaddedRows;
use super::interleaved::{InterleavedMatrix, PANEL, Step};
use super::kernel::{FloatKernel, FloatScratch, Kernel, products_of_floats};

/// Must only be used inside a function compiled for `neon`, and `dotprod` with `DOTS`, on a machine that has them:
/// every intrinsic below relies on it, which is the safety argument of each `unsafe` block here beside the loads and
/// stores, whose memory is that of a reference of sufficient length.
pub(super) struct Neon<const DOTS: bool>;

/// Vectors of a step, of sixteen 32-bit integers and of sixteen floats.
const QUARTERS: usize = 4;

#[inline(always)]
fn load(step: &Step) -> [uint8x16_t; QUARTERS] {
    let (quarters, _) = step.0.as_chunks::<16>();
    // SAFETY: 16 bytes are readable at each; see `Neon` for the instruction set.
    unsafe {
        [
            vld1q_u8(quarters[0].as_ptr()),
            vld1q_u8(quarters[1].as_ptr()),
            vld1q_u8(quarters[2].as_ptr()),
            vld1q_u8(quarters[3].as_ptr()),
        ]
    }
}

#[inline(always)]
fn store(step: &mut Step, quarter: usize, value: uint8x16_t) {
    let (quarters, _) = step.0.as_chunks_mut::<16>();
    // SAFETY: 16 bytes are writable; see `Neon` for the instruction set.
    unsafe { vst1q_u8(quarters[quarter].as_mut_ptr(), value) }
}

/// Four values in every 32-bit lane.
#[inline(always)]
fn broadcast(values: &[i8; 4]) -> int8x16_t {
    // SAFETY: four bytes are readable; see `Neon` for the instruction set.
    unsafe { vreinterpretq_s8_s32(vdupq_n_s32(values.as_ptr().cast::<i32>().read_unaligned())) }
}

#[inline(always)]
fn scales_of(scales: &[f16; PANEL]) -> [float32x4_t; QUARTERS] {
    let (quarters, _) = scales.as_chunks::<4>();
    // SAFETY: see `Neon`; eight bytes are readable at each, and an `f16` is its bits.
    unsafe {
        let mut scales = [vdupq_n_f32(0.0); QUARTERS];
        for quarter in 0..QUARTERS {
            let bits = vld1_u16(quarters[quarter].as_ptr().cast());
            scales[quarter] = vcvt_f32_f16(vreinterpret_f16_u16(bits));
        }
        scales
    }
}

#[inline(always)]
fn add_to(totals: &mut [f32; PANEL], terms: [float32x4_t; QUARTERS]) {
    let (totals, _) = totals.as_chunks_mut::<4>();
    for quarter in 0..QUARTERS {
        // SAFETY: 16 bytes are readable and writable; see `Neon` for the instruction set.
        unsafe {
            let sum = vaddq_f32(vld1q_f32(totals[quarter].as_ptr()), terms[quarter]);
            vst1q_f32(totals[quarter].as_mut_ptr(), sum);
        }
    }
}

/// A quarter of the weights of a column.
#[inline(always)]
fn quarter_of(weights: &[f32; PANEL], quarter: usize) -> float32x4_t {
    let (quarters, _) = weights.as_chunks::<4>();
    // SAFETY: 16 bytes are readable; see `Neon` for the instruction set.
    unsafe { vld1q_f32(quarters[quarter].as_ptr()) }
}

/// The four columns of codes, for four rows, as floats.
#[inline(always)]
fn columns(codes: uint8x16_t) -> [float32x4_t; 4] {
    // SAFETY: see `Neon`.
    unsafe {
        let codes = vreinterpretq_s32_u8(vsubq_u8(codes, vdupq_n_u8(1)));
        [
            vcvtq_f32_s32(vshrq_n_s32::<24>(vshlq_n_s32::<24>(codes))),
            vcvtq_f32_s32(vshrq_n_s32::<24>(vshlq_n_s32::<16>(codes))),
            vcvtq_f32_s32(vshrq_n_s32::<24>(vshlq_n_s32::<8>(codes))),
            vcvtq_f32_s32(vshrq_n_s32::<24>(codes)),
        ]
    }
}

/// Adds the products of four columns to the sums of four rows. Two products are at most `2 * 128 * 127`, which 16 bits
/// hold.
#[inline(always)]
fn dot<const DOTS: bool>(sums: int32x4_t, codes: int8x16_t, values: int8x16_t) -> int32x4_t {
    // SAFETY: see `Neon`.
    unsafe {
        if DOTS {
            return sdot(sums, codes, values);
        }
        let first = vmull_s8(vget_low_s8(codes), vget_low_s8(values));
        vpadalq_s16(sums, vpaddq_s16(first, vmull_high_s8(codes, values)))
    }
}

/// `vdotq_s32`, which Rust 1.95 does not offer.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot(mut sums: int32x4_t, codes: int8x16_t, values: int8x16_t) -> int32x4_t {
    // SAFETY: the instruction is part of the features of this function, and changes nothing but the register of sums.
    unsafe {
        std::arch::asm!(
            "sdot {0:v}.4s, {1:v}.16b, {2:v}.16b",
            inout(vreg) sums,
            in(vreg) codes,
            in(vreg) values,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}

impl<const DOTS: bool> Kernel for Neon<DOTS> {
    type Integers = [int32x4_t; QUARTERS];
    type Floats = [float32x4_t; QUARTERS];

    #[inline(always)]
    fn two_bit(codes: &[Step], values: &[i8]) -> [int32x4_t; QUARTERS] {
        // SAFETY: see `Neon`.
        unsafe {
            let zero = vdupq_n_s32(0);
            let (second, third) = (vdupq_n_u8(12), vdupq_n_u8(48));
            // Sums of single codes, and of codes at 4 and 16 times their value.
            let (mut single, mut fourfold, mut sixteenfold) =
                ([zero; QUARTERS], [zero; QUARTERS], [zero; QUARTERS]);
            for (codes, values) in codes.iter().zip(values.as_chunks::<16>().0) {
                let (values, _) = values.as_chunks::<4>();
                let values = [
                    broadcast(&values[0]),
                    broadcast(&values[1]),
                    broadcast(&values[2]),
                    broadcast(&values[3]),
                ];
                let codes = load(codes);
                for quarter in 0..QUARTERS {
                    let codes = codes[quarter];
                    let place = vreinterpretq_s8_u8(vandq_u8(codes, vdupq_n_u8(3)));
                    single[quarter] = dot::<DOTS>(single[quarter], place, values[0]);
                    let place = vreinterpretq_s8_u8(vandq_u8(codes, second));
                    fourfold[quarter] = dot::<DOTS>(fourfold[quarter], place, values[1]);
                    let place = vreinterpretq_s8_u8(vandq_u8(codes, third));
                    sixteenfold[quarter] = dot::<DOTS>(sixteenfold[quarter], place, values[2]);
                    let place = vreinterpretq_s8_u8(vshrq_n_u8::<6>(codes));
                    single[quarter] = dot::<DOTS>(single[quarter], place, values[3]);
                }
            }
            for quarter in 0..QUARTERS {
                let sums = vsraq_n_s32::<2>(single[quarter], fourfold[quarter]);
                single[quarter] = vsraq_n_s32::<4>(sums, sixteenfold[quarter]);
            }
            single
        }
    }

    /// Three times a byte, less what remains of that in a byte, is 256 times the leading digit; read with a sign, as
    /// the flipped top bit lets them, the bytes give 256 times the code. So the digits need not be taken out: the sums
    /// of products with the bytes before and after each multiplication by 3 have all the codes.
    #[inline(always)]
    fn base_three(codes: &[Step], _: &[i16; PANEL], values: &[i8]) -> [int32x4_t; QUARTERS] {
        // SAFETY: see `Neon`.
        unsafe {
            let zero = vdupq_n_s32(0);
            let (mut before, mut after) = ([zero; QUARTERS], [zero; QUARTERS]);
            for (codes, values) in codes.iter().zip(values.as_chunks::<20>().0) {
                let (values, _) = values.as_chunks::<4>();
                let mut rest = load(codes);
                for n in 0..5 {
                    // These instructions take values with a sign: the raised ones go down again.
                    let values = veorq_s8(broadcast(&values[n]), vdupq_n_s8(-128));
                    for quarter in 0..QUARTERS {
                        let bytes = vreinterpretq_s8_u8(rest[quarter]);
                        before[quarter] = dot::<DOTS>(before[quarter], bytes, values);
                        rest[quarter] = vmulq_u8(rest[quarter], vdupq_n_u8(3));
                        let bytes = vreinterpretq_s8_u8(rest[quarter]);
                        after[quarter] = dot::<DOTS>(after[quarter], bytes, values);
                    }
                }
            }
            for quarter in 0..QUARTERS {
                let thrice = vmulq_n_s32(before[quarter], 3);
                before[quarter] = vshrq_n_s32::<8>(vsubq_s32(thrice, after[quarter]));
            }
            before
        }
    }

    #[inline(always)]
    fn unpack_two_bit(codes: &[Step], quads: &mut [Step]) {
        let (quads, _) = quads.as_chunks_mut::<4>();
        for (codes, quads) in codes.iter().zip(quads) {
            let codes = load(codes);
            for quarter in 0..QUARTERS {
                let codes = codes[quarter];
                // SAFETY: see `Neon`.
                let unpacked = unsafe {
                    let low = vdupq_n_u8(3);
                    [
                        vandq_u8(codes, low),
                        vandq_u8(vshrq_n_u8::<2>(codes), low),
                        vandq_u8(vshrq_n_u8::<4>(codes), low),
                        vshrq_n_u8::<6>(codes),
                    ]
                };
                for n in 0..4 {
                    store(&mut quads[n], quarter, unpacked[n]);
                }
            }
        }
    }

    #[inline(always)]
    fn unpack_base_three(codes: &[Step], quads: &mut [Step]) {
        let (quads, _) = quads.as_chunks_mut::<5>();
        for (codes, quads) in codes.iter().zip(quads) {
            let codes = load(codes);
            for quarter in 0..QUARTERS {
                // SAFETY: see `Neon`.
                unsafe {
                    let mut rest = veorq_u8(codes[quarter], vdupq_n_u8(0x80));
                    for quad in quads.iter_mut() {
                        // The digit is 2 from 171 on and 0 below 86; a comparison gives 0 or 255, which is -1.
                        let two = vcgeq_u8(rest, vdupq_n_u8(171));
                        let not_zero = vcgeq_u8(rest, vdupq_n_u8(86));
                        rest = vmulq_u8(rest, vdupq_n_u8(3));
                        let negative = vaddq_u8(two, not_zero);
                        store(quad, quarter, vsubq_u8(vdupq_n_u8(0), negative));
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn tile<const C: usize, const P: usize>(
        quads: [&[Step]; P],
        values: &[[i8; 4]],
        stride: usize,
    ) -> [[[int32x4_t; QUARTERS]; C]; P] {
        // SAFETY: see `Neon`.
        unsafe {
            let mut sums = [[[vdupq_n_s32(0); QUARTERS]; C]; P];
            for panel in 0..P {
                for (quad, values) in quads[panel].iter().zip(values.chunks(stride)) {
                    let codes = load(quad);
                    for row in 0..C {
                        let values = broadcast(&values[row]);
                        for quarter in 0..QUARTERS {
                            let codes = vreinterpretq_s8_u8(codes[quarter]);
                            let sum = &mut sums[panel][row][quarter];
                            *sum = dot::<DOTS>(*sum, codes, values);
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
        integers: [int32x4_t; QUARTERS],
        bias: i32,
        scales: &[f16; PANEL],
        value_scale: f32,
    ) {
        let mut terms = scales_of(scales);
        for quarter in 0..QUARTERS {
            // SAFETY: see `Neon`.
            unsafe {
                let integers = vsubq_s32(integers[quarter], vdupq_n_s32(bias));
                let scales = vmulq_n_f32(terms[quarter], value_scale);
                terms[quarter] = vmulq_f32(scales, vcvtq_f32_s32(integers));
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
        products_of_floats::<Self>(matrix, first, batch, scratch, output);
    }

    #[inline(always)]
    fn accumulate_floats(
        totals: &mut [f32; PANEL],
        sums: [float32x4_t; QUARTERS],
        scales: &[f16; PANEL],
    ) {
        let mut terms = scales_of(scales);
        for quarter in 0..QUARTERS {
            // SAFETY: see `Neon`.
            terms[quarter] = unsafe { vmulq_f32(terms[quarter], sums[quarter]) };
        }
        add_to(totals, terms);
    }
}

impl<const DOTS: bool> FloatKernel for Neon<DOTS> {
    #[inline(always)]
    fn floats(quads: &[Step], weights: &mut [[f32; PANEL]]) {
        let (weights, _) = weights.as_chunks_mut::<4>();
        for (quad, weights) in quads.iter().zip(weights) {
            let codes = load(quad);
            for quarter in 0..QUARTERS {
                let columns = columns(codes[quarter]);
                for column in 0..4 {
                    let (quarters, _) = weights[column].as_chunks_mut::<4>();
                    // SAFETY: 16 bytes are writable; see `Neon` for the instruction set.
                    unsafe { vst1q_f32(quarters[quarter].as_mut_ptr(), columns[column]) }
                }
            }
        }
    }

    #[inline(always)]
    fn float_vector<const P: usize>(
        quads: [&[Step]; P],
        values: &[f32],
    ) -> [[float32x4_t; QUARTERS]; P] {
        let (pairs, rest) = values.as_chunks::<8>();
        // SAFETY: see `Neon`.
        unsafe {
            let mut sums = [[vdupq_n_f32(0.0); QUARTERS]; P];
            for panel in 0..P {
                let (runs, alone) = quads[panel].as_chunks::<2>();
                for ([first, second], values) in runs.iter().zip(pairs) {
                    let (first, second) = (load(first), load(second));
                    for quarter in 0..QUARTERS {
                        let (low, high) = (columns(first[quarter]), columns(second[quarter]));
                        for column in 0..4 {
                            // A product with -1, 0 or 1 is exact: fused or not, the sum is the same.
                            let pair = vmulq_n_f32(low[column], values[column]);
                            let pair = vfmaq_n_f32(pair, high[column], values[column + 4]);
                            let sum = &mut sums[panel][quarter];
                            *sum = vaddq_f32(*sum, pair);
                        }
                    }
                }
                // Base three may leave a quad alone.
                for (quad, values) in alone.iter().zip(rest.as_chunks::<4>().0) {
                    let codes = load(quad);
                    for quarter in 0..QUARTERS {
                        let columns = columns(codes[quarter]);
                        for column in 0..4 {
                            let sum = &mut sums[panel][quarter];
                            *sum = vfmaq_n_f32(*sum, columns[column], values[column]);
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
    ) -> [[float32x4_t; QUARTERS]; C] {
        let (eights, rest) = weights.as_chunks::<8>();
        let mut rows: [&[[f32; 8]]; C] = [&[]; C];
        for row in 0..C {
            rows[row] = &values[row].as_chunks().0[..eights.len()];
        }
        // SAFETY: see `Neon`.
        unsafe {
            let mut sums = [[vdupq_n_f32(0.0); QUARTERS]; C];
            for (index, weights) in eights.iter().enumerate() {
                for column in 0..4 {
                    let (low, high) = (&weights[column], &weights[column + 4]);
                    for quarter in 0..QUARTERS {
                        let (low, high) = (quarter_of(low, quarter), quarter_of(high, quarter));
                        for row in 0..C {
                            let values = &rows[row][index];
                            // A product with -1, 0 or 1 is exact: fused or not, the sum is the same.
                            let pair = vmulq_n_f32(low, values[column]);
                            let pair = vfmaq_n_f32(pair, high, values[column + 4]);
                            sums[row][quarter] = vaddq_f32(sums[row][quarter], pair);
                        }
                    }
                }
            }
            for (column, weights) in rest.iter().enumerate() {
                for quarter in 0..QUARTERS {
                    let weights = quarter_of(weights, quarter);
                    for row in 0..C {
                        let value = values[row][8 * eights.len() + column];
                        sums[row][quarter] = vfmaq_n_f32(sums[row][quarter], weights, value);
                    }
                }
            }
            sums
        }
    }
}
