//! The kernel without vector intrinsics, which the others are held to bit for bit.

use half::f16;

use super::activations::PaddedRows;
use super::interleaved::{InterleavedMatrix, PANEL, Step, base_three_digit};
use super::kernel::{FloatKernel, FloatScratch, Kernel, products_of_floats};

pub(super) struct Portable;

impl Kernel for Portable {
    type Integers = [i32; PANEL];
    type Floats = [f32; PANEL];

    #[inline(always)]
    fn two_bit(codes: &[Step], values: &[i8]) -> [i32; PANEL] {
        let mut sums = [0; PANEL];
        for (codes, values) in codes.iter().zip(values.as_chunks::<16>().0) {
            for (sum, bytes) in sums.iter_mut().zip(codes.0.as_chunks::<4>().0) {
                for n in 0..4 {
                    for (byte, value) in bytes.iter().zip(&values[4 * n..]) {
                        *sum += i32::from(byte >> (2 * n) & 3) * i32::from(*value);
                    }
                }
            }
        }
        sums
    }

    #[inline(always)]
    fn base_three(codes: &[Step], _: &[i16; PANEL], values: &[i8]) -> [i32; PANEL] {
        let mut sums = [0; PANEL];
        for (codes, values) in codes.iter().zip(values.as_chunks::<20>().0) {
            for (sum, bytes) in sums.iter_mut().zip(codes.0.as_chunks::<4>().0) {
                for n in 0..5 {
                    for (byte, value) in bytes.iter().zip(&values[4 * n..]) {
                        let value = i32::from(*value as u8) - 128;
                        *sum += (i32::from(base_three_digit(*byte, n)) - 1) * value;
                    }
                }
            }
        }
        sums
    }

    #[inline(always)]
    fn unpack_two_bit(codes: &[Step], quads: &mut [Step]) {
        for (codes, quads) in codes.iter().zip(quads.as_chunks_mut::<4>().0) {
            for (n, quad) in quads.iter_mut().enumerate() {
                for (unpacked, byte) in quad.0.iter_mut().zip(&codes.0) {
                    *unpacked = byte >> (2 * n) & 3;
                }
            }
        }
    }

    #[inline(always)]
    fn unpack_base_three(codes: &[Step], quads: &mut [Step]) {
        for (codes, quads) in codes.iter().zip(quads.as_chunks_mut::<5>().0) {
            for (n, quad) in quads.iter_mut().enumerate() {
                for (unpacked, byte) in quad.0.iter_mut().zip(&codes.0) {
                    *unpacked = base_three_digit(*byte, n);
                }
            }
        }
    }

    #[inline(always)]
    fn tile<const C: usize, const P: usize>(
        quads: [&[Step]; P],
        values: &[[i8; 4]],
        stride: usize,
    ) -> [[[i32; PANEL]; C]; P] {
        quads.map(|quads| {
            std::array::from_fn(|row| {
                let mut sums = [0; PANEL];
                for (quad, values) in quads.iter().zip(values[row..].iter().step_by(stride)) {
                    for (sum, codes) in sums.iter_mut().zip(quad.0.as_chunks::<4>().0) {
                        for (code, value) in codes.iter().zip(values) {
                            *sum += i32::from(*code) * i32::from(*value);
                        }
                    }
                }
                sums
            })
        })
    }

    #[inline(always)]
    fn accumulate(
        totals: &mut [f32; PANEL],
        integers: [i32; PANEL],
        bias: i32,
        scales: &[f16; PANEL],
        value_scale: f32,
    ) {
        for ((total, integer), scale) in totals.iter_mut().zip(integers).zip(scales) {
            *total += scale.to_f32() * value_scale * (integer - bias) as f32;
        }
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
    fn accumulate_floats(totals: &mut [f32; PANEL], sums: [f32; PANEL], scales: &[f16; PANEL]) {
        for ((total, sum), scale) in totals.iter_mut().zip(sums).zip(scales) {
            *total += scale.to_f32() * sum;
        }
    }
}

impl FloatKernel for Portable {
    #[inline(always)]
    fn floats(quads: &[Step], weights: &mut [[f32; PANEL]]) {
        for (quad, weights) in quads.iter().zip(weights.as_chunks_mut::<4>().0) {
            for (row, codes) in quad.0.as_chunks::<4>().0.iter().enumerate() {
                for (column, code) in codes.iter().enumerate() {
                    weights[column][row] = f32::from(*code) - 1.0;
                }
            }
        }
    }

    #[inline(always)]
    fn float_vector<const P: usize>(quads: [&[Step]; P], values: &[f32]) -> [[f32; PANEL]; P] {
        quads.map(|quads| {
            let mut sums = [0.0; PANEL];
            let values = values.as_chunks::<4>().0;
            for (quads, values) in quads.chunks(2).zip(values.chunks(2)) {
                for column in 0..4 {
                    for (row, sum) in sums.iter_mut().enumerate() {
                        let products = quads.iter().zip(values).map(|(quad, values)| {
                            (f32::from(quad.0[4 * row + column]) - 1.0) * values[column]
                        });
                        *sum += products.sum::<f32>();
                    }
                }
            }
            sums
        })
    }

    #[inline(always)]
    fn float_tile<const C: usize>(
        weights: &[[f32; PANEL]],
        values: [&[f32]; C],
    ) -> [[f32; PANEL]; C] {
        values.map(|values| {
            let mut sums = [0.0; PANEL];
            for (weights, values) in weights.chunks(8).zip(values.chunks(8)) {
                for column in 0..4 {
                    for (row, sum) in sums.iter_mut().enumerate() {
                        let mut pair = weights[column][row] * values[column];
                        if let Some(weights) = weights.get(column + 4) {
                            pair += weights[row] * values[column + 4];
                        }
                        *sum += pair;
                    }
                }
            }
            sums
        })
    }
}
