//! Products of one row of floats on AVX2 by tables: a table holds what the codes make of an activation, and a permutation
//! looks up eight of them by the two lowest bits of each lane.
//!
//! A column is brought to the lowest bits by reading from its byte on; only the columns that share a byte are shifted.
//!
//! Intrinsics are only inlined into functions compiled for their instruction set: loops, not closures, hold them.
#![allow(unsafe_code, clippy::needless_range_loop)]

use std::arch::x86_64::*;

use super::avx2::{Avx2, codes_as_floats, halves};
use super::interleaved::{CodeEncoding, InterleavedMatrix, PANEL, Panel, STEP, Step};
use super::kernel::Kernel;
use crate::fetch::fetch_ahead;

/// Panels that share the tables: enough independent sums to hide the latency of one.
const PANELS: usize = 4;
/// Quads of a ring of steps, in which lower codes wait to be read.
const RING: usize = 16;
/// Steps between those that are read and those that are lowered, so that storing and adding go on together.
const LOWERED_AHEAD: usize = 2;
/// Steps between those that are read and those that are fetched.
const AHEAD: usize = 48;

/// Scratch of [`products`]: quads of each panel.
pub(super) type RowScratch = [Vec<Step>; PANELS];

/// The f32 product of panels from `first` on with a padded row; `output` holds sixteen floats for each panel.
///
/// Must only be called inside a function compiled for the instruction set of [`Avx2`], on a machine that has it: every
/// intrinsic below relies on it, which is the safety argument of each `unsafe` block here.
#[inline(always)]
pub(super) fn products(
    matrix: &InterleavedMatrix,
    first: usize,
    values: &[f32],
    scratch: &mut RowScratch,
    output: &mut [[f32; PANEL]],
) {
    output.fill([0.0; PANEL]);
    let (fours, rest) = output.as_chunks_mut::<PANELS>();
    for (four, output) in fours.iter_mut().enumerate() {
        add_panels(matrix, first + PANELS * four, values, scratch, output);
    }
    let first = first + PANELS * fours.len();
    for (panel, output) in rest.iter_mut().enumerate() {
        let output = std::array::from_mut(output);
        add_panels(matrix, first + panel, values, scratch, output);
    }
}

/// Adds the product of `P` panels from `first` on with a padded row.
#[inline(always)]
fn add_panels<const P: usize>(
    matrix: &InterleavedMatrix,
    first: usize,
    values: &[f32],
    scratch: &mut RowScratch,
    output: &mut [[f32; PANEL]; P],
) {
    let mut panels = [matrix.panel(first); P];
    for p in 1..P {
        panels[p] = matrix.panel(first + p);
    }
    for p in 0..P {
        scratch[p].resize(RING + 1, Step([0; STEP]));
    }
    if matrix.encoding() == CodeEncoding::TwoBit {
        for step in 0..LOWERED_AHEAD {
            lower(&panels, step, scratch);
        }
    }
    for segment in &matrix.segments {
        for p in 0..P {
            fetch_ahead(
                &panels[p].codes[segment.first_step..][..segment.steps],
                AHEAD,
            );
        }
        let mut sums = [zeros(); P];
        match matrix.encoding() {
            CodeEncoding::TwoBit => {
                for step in segment.first_step..segment.first_step + segment.steps {
                    lower(&panels, step + LOWERED_AHEAD, scratch);
                    let mut quads: [&[Step]; P] = [&[]; P];
                    for p in 0..P {
                        quads[p] = &scratch[p][4 * step % RING..][..5];
                    }
                    add_products(&mut sums, quads, &values[16 * step..][..16]);
                }
            }
            CodeEncoding::BaseThree => {
                let mut quads: [&[Step]; P] = [&[]; P];
                for (p, scratch) in scratch[..P].iter_mut().enumerate() {
                    scratch.resize(5 * segment.steps + 1, Step([0; STEP]));
                    let codes = &panels[p].codes[segment.first_step..][..segment.steps];
                    Avx2::unpack_base_three(codes, &mut scratch[..5 * segment.steps]);
                    quads[p] = scratch;
                }
                let values = &values[20 * segment.first_step..][..20 * segment.steps];
                add_products(&mut sums, quads, values);
            }
        }
        for p in 0..P {
            Avx2::accumulate_floats(&mut output[p], sums[p], &panels[p].scales[segment.group]);
        }
    }
}

/// Brings each code of a step of panels, if there is one, to the two lowest bits of a byte, quad after quad in a ring.
#[inline(always)]
fn lower<const P: usize>(panels: &[Panel<'_>; P], step: usize, rings: &mut RowScratch) {
    for p in 0..P {
        let Some(codes) = panels[p].codes.get(step) else {
            return;
        };
        let quads = &mut rings[p][4 * step % RING..][..4];
        let codes = halves(codes);
        for half in 0..2 {
            // SAFETY: 32 bytes are writable at each half of a step; see `products` for the instruction set.
            unsafe {
                let lowered = [
                    codes[half],
                    _mm256_srli_epi32::<2>(codes[half]),
                    _mm256_srli_epi32::<4>(codes[half]),
                    _mm256_srli_epi32::<6>(codes[half]),
                ];
                for n in 0..4 {
                    let quad = quads[n].0.as_mut_ptr().add(STEP / 2 * half);
                    _mm256_store_si256(quad.cast(), lowered[n]);
                }
            }
        }
    }
}

#[inline(always)]
fn zeros() -> [__m256; 2] {
    // SAFETY: see `products`.
    unsafe { [_mm256_setzero_ps(); 2] }
}

/// Adds the products of quads, which have a quad more behind them, with values.
#[inline(always)]
fn add_products<const P: usize>(sums: &mut [[__m256; 2]; P], quads: [&[Step]; P], values: &[f32]) {
    for p in 0..P {
        assert!(4 * quads[p].len() >= values.len() + 4, "a quad more");
    }
    // SAFETY: see `products`; `found` is only called for quads that have one behind them, as asserted.
    unsafe {
        let (eights, rest) = values.as_chunks::<8>();
        for (index, values) in eights.iter().enumerate() {
            for column in 0..4 {
                let low = products_of_codes(values[column]);
                let high = products_of_codes(values[column + 4]);
                for p in 0..P {
                    let quad = quads[p].as_ptr().add(2 * index);
                    for half in 0..2 {
                        let low = found(low, quad, half, column);
                        let high = found(high, quad.add(1), half, column);
                        sums[p][half] = _mm256_add_ps(sums[p][half], _mm256_add_ps(low, high));
                    }
                }
            }
        }
        // Base three may leave a quad alone.
        for column in 0..rest.len() {
            let products = products_of_codes(rest[column]);
            for p in 0..P {
                let quad = quads[p].as_ptr().add(2 * eights.len());
                for half in 0..2 {
                    let found = found(products, quad, half, column);
                    sums[p][half] = _mm256_add_ps(sums[p][half], found);
                }
            }
        }
    }
}

/// What the codes make of a value.
#[inline(always)]
fn products_of_codes(value: f32) -> __m256 {
    // SAFETY: see `products`.
    unsafe { _mm256_mul_ps(codes_as_floats(), _mm256_set1_ps(value)) }
}

/// The products that a column of half a quad finds.
///
/// # Safety
///
/// The quad has another one behind it, whose first bytes are read with the last columns.
#[inline(always)]
unsafe fn found(products: __m256, quad: *const Step, half: usize, column: usize) -> __m256 {
    // SAFETY: the caller's; see `products` for the instruction set.
    unsafe {
        let bytes = quad.cast::<u8>().add(STEP / 2 * half + column);
        _mm256_permutevar_ps(products, _mm256_loadu_si256(bytes.cast()))
    }
}
