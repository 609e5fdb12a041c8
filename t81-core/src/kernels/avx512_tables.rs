//! Products with floats on AVX-512 by tables: a table holds what each pair of codes makes of two activations, so that one
//! permutation looks up the sums of two products for the sixteen rows of a panel.
//!
//! Intrinsics are only inlined into functions compiled for their instruction set: loops, not closures, hold them.
#![allow(unsafe_code, clippy::needless_range_loop)]

use std::arch::x86_64::*;

use super::activations::PaddedRows;
use super::avx512::Avx512;
use super::interleaved::{CodeEncoding, InterleavedMatrix, PANEL, STEP, Step};
use super::kernel::Kernel;
use super::segments::Segment;
use crate::fetch::fetch_ahead;

/// Panels of a tile, which share the tables.
const PANELS: usize = 4;
/// Rows of a tile, which share the codes.
const ROWS: usize = 4;
/// Columns whose tables are made together for a batch: those of a tile fill a first-level cache.
const BATCH_COLUMNS: usize = 256;
/// Columns whose tables are made together for one row, so that codes come from memory in long runs: the tables fit a
/// second-level cache.
const ROW_COLUMNS: usize = 8192;
/// Steps between those that are read and those that are fetched.
const AHEAD: usize = 48;
/// Pairs of columns in a step of two-bit codes.
const PAIRS: usize = 8;

/// `(c - 1) * x + (d - 1) * y` at `c + 4 * d`, for two activations; the values of 3 are never looked up.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Table([f32; 16]);

/// Scratch of [`products`].
#[derive(Default)]
pub(super) struct TableScratch {
    /// `[rows, pairs]`.
    tables: Vec<Table>,
    /// Codes that were not of two bits, `[panels, steps]`.
    codes: Vec<Step>,
    quads: Vec<Step>,
}

/// The steps that hold a segment in two-bit codes.
fn two_bit_steps(matrix: &InterleavedMatrix, segment: &Segment) -> usize {
    (segment.steps * matrix.encoding().codes_per_byte()).div_ceil(4)
}

/// The f32 product of panels from `first` on with padded rows; `output` holds sixteen floats for each row, panel after panel.
///
/// Must only be called inside a function compiled for the instruction set of [`Avx512`], on a machine that has it: every
/// intrinsic below relies on it, which is the safety argument of each `unsafe` block here.
#[inline(always)]
pub(super) fn products(
    matrix: &InterleavedMatrix,
    first: usize,
    batch: &PaddedRows,
    scratch: &mut TableScratch,
    output: &mut [[f32; PANEL]],
) {
    let rows = batch.rows();
    let panels = output.len() / rows;
    output.fill([0.0; PANEL]);
    let columns = if rows == 1 {
        ROW_COLUMNS
    } else {
        BATCH_COLUMNS
    };
    let mut rest = matrix.segments.as_slice();
    while let Some(begin) = rest.first() {
        let count = rest
            .iter()
            .take_while(|segment| segment.columns.end - begin.columns.start <= columns)
            .count();
        let (segments, later) = rest.split_at(count.max(1));
        rest = later;
        let steps: usize = segments
            .iter()
            .map(|segment| two_bit_steps(matrix, segment))
            .sum();
        if matrix.encoding() == CodeEncoding::BaseThree {
            repack(matrix, first..first + panels, segments, scratch);
        }
        for row in (0..rows).step_by(ROWS) {
            let count = ROWS.min(rows - row);
            scratch
                .tables
                .resize(count * steps * PAIRS, Table([0.0; 16]));
            let tables = scratch.tables.chunks_exact_mut(steps * PAIRS);
            for (row, tables) in (row..).zip(tables) {
                fill(matrix, segments, batch.row(row), tables);
            }
            let run = Run {
                matrix,
                segments,
                steps,
                tables: &scratch.tables,
                codes: &scratch.codes,
                first,
                rows,
            };
            let mut panel = 0;
            while panel < panels {
                let left = panels - panel;
                let output = &mut output[panel * rows + row..];
                panel += match (left >= PANELS, count) {
                    (true, 4) => tile::<4, 4>(run, panel, output),
                    (true, 3) => tile::<4, 3>(run, panel, output),
                    (true, 2) => tile::<4, 2>(run, panel, output),
                    (true, _) => tile::<4, 1>(run, panel, output),
                    (false, 4) => tile::<1, 4>(run, panel, output),
                    (false, 3) => tile::<1, 3>(run, panel, output),
                    (false, 2) => tile::<1, 2>(run, panel, output),
                    (false, _) => tile::<1, 1>(run, panel, output),
                };
            }
        }
    }
}

/// Codes of segments as steps of two bits.
#[inline(always)]
fn repack(
    matrix: &InterleavedMatrix,
    panels: std::ops::Range<usize>,
    segments: &[Segment],
    scratch: &mut TableScratch,
) {
    scratch.codes.clear();
    for panel in panels {
        let panel = matrix.panel(panel);
        for segment in segments {
            let codes = &panel.codes[segment.first_step..][..segment.steps];
            let quads = &mut scratch.quads;
            quads.resize(5 * segment.steps, Step([0; STEP]));
            Avx512::unpack_base_three(codes, quads);
            // Code 0 fills the last step up.
            quads.resize(quads.len().next_multiple_of(4), Step([1; STEP]));
            for quads in quads.as_chunks::<4>().0 {
                let mut step = Step([0; STEP]);
                for (place, byte) in step.0.iter_mut().enumerate() {
                    *byte = quads[0].0[place]
                        | quads[1].0[place] << 2
                        | quads[2].0[place] << 4
                        | quads[3].0[place] << 6;
                }
                scratch.codes.push(step);
            }
        }
    }
}

/// The tables of a padded row's pairs.
#[inline(always)]
fn fill(matrix: &InterleavedMatrix, segments: &[Segment], values: &[f32], tables: &mut [Table]) {
    let mut tables = tables.as_chunks_mut::<4>().0.iter_mut();
    for segment in segments {
        let columns = segment.steps * matrix.step_columns();
        let values = &values[segment.first_step * matrix.step_columns()..][..columns];
        let missing = 2 * two_bit_steps(matrix, segment) - columns.div_ceil(8);
        for (eight, tables) in values.chunks(8).zip(&mut tables) {
            for place in 0..4 {
                let value = |place: usize| eight.get(place).copied().unwrap_or(0.0);
                // SAFETY: 64 bytes are writable, at a multiple of 64; see `products` for the instruction set.
                unsafe {
                    let (low, high) = (value(place), value(place + 4));
                    let low = _mm512_mul_ps(codes_of_low(), _mm512_set1_ps(low));
                    // The product is exact, so that the sum is rounded once.
                    let sum = _mm512_fmadd_ps(codes_of_high(), _mm512_set1_ps(high), low);
                    _mm512_store_ps(tables[place].0.as_mut_ptr(), sum);
                }
            }
        }
        for tables in tables.by_ref().take(missing) {
            *tables = [Table([0.0; 16]); 4];
        }
    }
}

#[inline(always)]
fn codes_of_low() -> __m512 {
    // SAFETY: see `products`.
    unsafe { _mm512_setr4_ps(-1.0, 0.0, 1.0, 0.0) }
}

#[inline(always)]
fn codes_of_high() -> __m512 {
    // SAFETY: see `products`.
    unsafe {
        _mm512_setr_ps(
            -1.0, -1.0, -1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0,
        )
    }
}

/// Segments whose tables are made.
#[derive(Clone, Copy)]
struct Run<'a> {
    matrix: &'a InterleavedMatrix,
    segments: &'a [Segment],
    /// Steps of all of them in two-bit codes.
    steps: usize,
    tables: &'a [Table],
    /// Codes that were repacked.
    codes: &'a [Step],
    /// The first panel.
    first: usize,
    /// Rows of the batch.
    rows: usize,
}

/// Adds the products of `P` panels from the run's `panel` on with the `C` rows that there are tables for.
#[inline(always)]
fn tile<const P: usize, const C: usize>(
    run: Run<'_>,
    panel: usize,
    output: &mut [[f32; PANEL]],
) -> usize {
    let mut panels = [run.matrix.panel(run.first + panel); P];
    for p in 1..P {
        panels[p] = run.matrix.panel(run.first + panel + p);
    }
    let mut offset = 0;
    for segment in run.segments {
        let steps = two_bit_steps(run.matrix, segment);
        let mut codes: [&[Step]; P] = [&[]; P];
        for p in 0..P {
            codes[p] = match run.matrix.encoding() {
                CodeEncoding::TwoBit => &panels[p].codes[segment.first_step..][..steps],
                CodeEncoding::BaseThree => &run.codes[(panel + p) * run.steps + offset..][..steps],
            };
            if run.rows == 1 {
                fetch_ahead(codes[p], AHEAD);
            }
        }
        let mut tables: [&[[Table; PAIRS]]; C] = [&[]; C];
        for row in 0..C {
            let tables_of_row = &run.tables[(row * run.steps + offset) * PAIRS..];
            tables[row] = &tables_of_row.as_chunks().0[..steps];
        }
        let sums = sums(codes, tables);
        for p in 0..P {
            let scales = &panels[p].scales[segment.group];
            for row in 0..C {
                Avx512::accumulate_floats(&mut output[p * run.rows + row], sums[p][row], scales);
            }
        }
        offset += steps;
    }
    P
}

/// The sums over as many steps as each row has tables for.
#[inline(always)]
fn sums<const P: usize, const C: usize>(
    codes: [&[Step]; P],
    tables: [&[[Table; PAIRS]]; C],
) -> [[__m512; C]; P] {
    let steps = codes[0].len();
    for p in 0..P {
        assert_eq!(codes[p].len(), steps, "panels have the same steps");
    }
    for row in 0..C {
        assert_eq!(
            tables[row].len(),
            steps,
            "rows have the tables of all steps"
        );
    }
    // SAFETY: every step of each panel and its tables exist, as asserted, and 64 bytes are readable at each, at a multiple
    // of 64; see `products` for the instruction set.
    unsafe {
        let mut sums = [[_mm512_setzero_ps(); C]; P];
        for step in 0..steps {
            let mut nibbles = [_mm512_setzero_si512(); P];
            for p in 0..P {
                let codes: *const Step = codes[p].get_unchecked(step);
                nibbles[p] = _mm512_load_si512(codes.cast());
            }
            for half in 0..2 {
                for place in 0..4 {
                    let mut shifted = nibbles;
                    for p in 0..P {
                        let places = _mm_cvtsi32_si128(8 * place as i32);
                        shifted[p] = _mm512_srl_epi32(nibbles[p], places);
                    }
                    for row in 0..C {
                        let table = &tables[row].get_unchecked(step)[4 * half + place];
                        let table = _mm512_load_ps(table.0.as_ptr());
                        for p in 0..P {
                            // Of each lane, four bits count.
                            let found = _mm512_permutexvar_ps(shifted[p], table);
                            sums[p][row] = _mm512_add_ps(sums[p][row], found);
                        }
                    }
                }
                for p in 0..P {
                    nibbles[p] = _mm512_srli_epi32::<4>(nibbles[p]);
                }
            }
        }
        sums
    }
}
