//! Products of batches of floats on AVX2 by tables: for each pair of columns, a table holds what four classes of codes make
//! of two activations, so that one permutation looks up the sums of two products for eight rows of a panel.
//!
//! Such a sum is x, y, x + y or x - y, times -1, 0 or 1. The product is exact, so that a fused multiplication adds it with
//! the rounding of an addition. Class and sign of each pair are unpacked once for all rows of the batch.
//!
//! Intrinsics are only inlined into functions compiled for their instruction set: loops, not closures, hold them.
#![allow(unsafe_code, clippy::needless_range_loop)]

use std::arch::x86_64::*;

use super::activations::PaddedRows;
use super::avx2::{Avx2, codes_as_floats, halves};
use super::interleaved::{CodeEncoding, InterleavedMatrix, PANEL, Panel, STEP, Step};
use super::kernel::Kernel;
use super::segments::Segment;

/// Rows of a tile, which share classes and signs: eight vectors of sums.
const ROWS: usize = 4;
/// Columns whose classes, signs and tables for a tile a first-level cache holds.
const COLUMNS: usize = 256;
/// Rows whose tables are made together: a second-level cache holds them.
const TABLE_ROWS: usize = 128;

/// x, y, x + y and x - y of two activations.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
struct Table([f32; 4]);

/// The codes of two columns of a panel.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Pair {
    /// Which float of a table; two bits of each count.
    classes: [i32; PANEL],
    /// -1, 0 or 1.
    signs: [f32; PANEL],
}

impl Pair {
    const ZERO: Self = Self {
        classes: [0; PANEL],
        signs: [0.0; PANEL],
    };
}

/// Scratch of [`products`].
#[derive(Default)]
pub(super) struct PairScratch {
    /// `[rows, pairs]`.
    tables: Vec<Table>,
    pairs: Vec<Pair>,
    quads: Vec<Step>,
}

/// Pairs of columns of a segment.
fn pairs_of(matrix: &InterleavedMatrix, segment: &Segment) -> usize {
    4 * (segment.steps * matrix.encoding().codes_per_byte()).div_ceil(2)
}

/// The f32 product of panels from `first` on with padded rows; `output` holds sixteen floats for each row, panel after panel.
///
/// Must only be called inside a function compiled for the instruction set of [`Avx2`], on a machine that has it: every
/// intrinsic below relies on it, which is the safety argument of each `unsafe` block here.
#[inline(always)]
pub(super) fn products(
    matrix: &InterleavedMatrix,
    first: usize,
    batch: &PaddedRows,
    scratch: &mut PairScratch,
    output: &mut [[f32; PANEL]],
) {
    output.fill([0.0; PANEL]);
    let mut rest = matrix.segments.as_slice();
    while let Some(begin) = rest.first() {
        let count = rest
            .iter()
            .take_while(|segment| segment.columns.end - begin.columns.start <= COLUMNS)
            .count();
        let (segments, later) = rest.split_at(count.max(1));
        rest = later;
        add_segments(matrix, first, segments, batch, scratch, output);
    }
}

/// Adds the product of panels from `first` on with a batch over some segments.
#[inline(always)]
fn add_segments(
    matrix: &InterleavedMatrix,
    first: usize,
    segments: &[Segment],
    batch: &PaddedRows,
    scratch: &mut PairScratch,
    output: &mut [[f32; PANEL]],
) {
    let rows = batch.rows();
    let pairs: usize = segments
        .iter()
        .map(|segment| pairs_of(matrix, segment))
        .sum();
    for begin in (0..rows).step_by(TABLE_ROWS) {
        let end = rows.min(begin + TABLE_ROWS);
        scratch
            .tables
            .resize((end - begin) * pairs, Table([0.0; 4]));
        for (row, tables) in (begin..end).zip(scratch.tables.chunks_exact_mut(pairs)) {
            fill(matrix, segments, batch.row(row), tables);
        }
        for (panel, output) in output.chunks_exact_mut(rows).enumerate() {
            let panel = matrix.panel(first + panel);
            scratch.pairs.resize(pairs, Pair::ZERO);
            let mut unpacked = scratch.pairs.as_mut_slice();
            for segment in segments {
                let (pairs, later) = unpacked.split_at_mut(pairs_of(matrix, segment));
                unpack(matrix, panel, segment, &mut scratch.quads, pairs);
                unpacked = later;
            }
            let mut tables = scratch.tables.as_slice();
            let mut output = &mut output[begin..end];
            while !output.is_empty() {
                let count = ROWS.min(output.len());
                let (tile, later) = output.split_at_mut(count);
                match count {
                    4 => add_tile::<4>(matrix, panel, segments, &scratch.pairs, tables, tile),
                    3 => add_tile::<3>(matrix, panel, segments, &scratch.pairs, tables, tile),
                    2 => add_tile::<2>(matrix, panel, segments, &scratch.pairs, tables, tile),
                    _ => add_tile::<1>(matrix, panel, segments, &scratch.pairs, tables, tile),
                }
                tables = &tables[count * pairs..];
                output = later;
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
        let (eights, rest) = values.as_chunks::<8>();
        for (eight, tables) in eights.iter().zip(&mut tables) {
            fill_four(eight, tables);
        }
        // Base three may leave a quad alone.
        if !rest.is_empty()
            && let Some(tables) = tables.next()
        {
            let mut eight = [0.0; 8];
            eight[..rest.len()].copy_from_slice(rest);
            fill_four(&eight, tables);
        }
    }
}

#[inline(always)]
fn fill_four(values: &[f32; 8], tables: &mut [Table; 4]) {
    // SAFETY: 16 bytes are readable at each half of the values and writable at each table, there at a multiple of 16; see
    // `products` for the instruction set.
    unsafe {
        let (low, high) = (
            _mm_loadu_ps(values.as_ptr()),
            _mm_loadu_ps(values.as_ptr().add(4)),
        );
        // With the products by 0, which NaN and infinities show in.
        let mut only_low = _mm_fmadd_ps(high, _mm_setzero_ps(), low);
        let mut only_high = _mm_fmadd_ps(low, _mm_setzero_ps(), high);
        let mut sum = _mm_add_ps(low, high);
        let mut difference = _mm_sub_ps(low, high);
        _MM_TRANSPOSE4_PS(&mut only_low, &mut only_high, &mut sum, &mut difference);
        _mm_store_ps(tables[0].0.as_mut_ptr(), only_low);
        _mm_store_ps(tables[1].0.as_mut_ptr(), only_high);
        _mm_store_ps(tables[2].0.as_mut_ptr(), sum);
        _mm_store_ps(tables[3].0.as_mut_ptr(), difference);
    }
}

/// Classes and signs of a segment of a panel.
#[inline(always)]
fn unpack(
    matrix: &InterleavedMatrix,
    panel: Panel<'_>,
    segment: &Segment,
    quads: &mut Vec<Step>,
    pairs: &mut [Pair],
) {
    let codes = &panel.codes[segment.first_step..][..segment.steps];
    let (fours, _) = pairs.as_chunks_mut::<4>();
    match matrix.encoding() {
        CodeEncoding::TwoBit => {
            for (codes, fours) in codes.iter().zip(fours.as_chunks_mut::<2>().0) {
                let codes = halves(codes);
                for half in 0..2 {
                    // SAFETY: see `products`.
                    let [low, high] = unsafe {
                        let low = _mm256_set1_epi8(15);
                        [
                            _mm256_and_si256(codes[half], low),
                            _mm256_and_si256(_mm256_srli_epi16::<4>(codes[half]), low),
                        ]
                    };
                    unpack_half(low, half, &mut fours[0]);
                    unpack_half(high, half, &mut fours[1]);
                }
            }
        }
        CodeEncoding::BaseThree => {
            let count = segment.steps * matrix.encoding().codes_per_byte();
            quads.resize(count, Step([0; STEP]));
            Avx2::unpack_base_three(codes, quads);
            // Code 0 goes with a quad that is left alone.
            quads.resize(count.next_multiple_of(2), Step([1; STEP]));
            for (quads, four) in quads.as_chunks::<2>().0.iter().zip(fours) {
                let (low, high) = (halves(&quads[0]), halves(&quads[1]));
                for half in 0..2 {
                    // SAFETY: see `products`. No bit leaves its byte.
                    let codes =
                        unsafe { _mm256_or_si256(low[half], _mm256_slli_epi16::<2>(high[half])) };
                    unpack_half(codes, half, four);
                }
            }
        }
    }
}

/// Class and sign of four pairs of codes `c + 4 * d` in a half of the rows.
#[inline(always)]
fn unpack_half(codes: __m256i, half: usize, pairs: &mut [Pair; 4]) {
    // SAFETY: 32 bytes are writable at each half of a pair; see `products` for the instruction set.
    unsafe {
        let mut coded = _mm256_shuffle_epi8(classes_and_signs(), codes);
        for pair in pairs {
            let classes = pair.classes.as_mut_ptr().add(PANEL / 2 * half);
            _mm256_store_si256(classes.cast(), coded);
            let signs = _mm256_permutevar_ps(codes_as_floats(), _mm256_srli_epi32::<2>(coded));
            _mm256_store_ps(pair.signs.as_mut_ptr().add(PANEL / 2 * half), signs);
            coded = _mm256_srli_epi32::<8>(coded);
        }
    }
}

/// The class of codes `c + 4 * d`, and four times their sign plus 1. Where both codes stand for 0 it is 0 times x, whose
/// entry is finite where x and y are, unlike x + y.
#[inline(always)]
fn classes_and_signs() -> __m256i {
    const X: i8 = 0;
    const Y: i8 = 1;
    const SUM: i8 = 2;
    const DIFFERENCE: i8 = 3;
    const NONE: i8 = 4;
    const PLUS: i8 = 8;
    // SAFETY: see `products`.
    unsafe {
        _mm256_broadcastsi128_si256(_mm_setr_epi8(
            SUM,
            Y,
            DIFFERENCE | PLUS,
            0,
            X,
            X | NONE,
            X | PLUS,
            0,
            DIFFERENCE,
            Y | PLUS,
            SUM | PLUS,
            0,
            0,
            0,
            0,
            0,
        ))
    }
}

/// Adds the products of a panel's pairs with `C` rows of tables.
#[inline(always)]
fn add_tile<const C: usize>(
    matrix: &InterleavedMatrix,
    panel: Panel<'_>,
    segments: &[Segment],
    pairs: &[Pair],
    tables: &[Table],
    output: &mut [[f32; PANEL]],
) {
    let mut offset = 0;
    for segment in segments {
        let count = pairs_of(matrix, segment);
        let mut rows: [&[Table]; C] = [&[]; C];
        for row in 0..C {
            rows[row] = &tables[row * pairs.len() + offset..][..count];
        }
        let sums = sums_of(&pairs[offset..][..count], rows);
        for row in 0..C {
            Avx2::accumulate_floats(&mut output[row], sums[row], &panel.scales[segment.group]);
        }
        offset += count;
    }
}

/// The sums over pairs, of which each row has a table.
#[inline(always)]
fn sums_of<const C: usize>(pairs: &[Pair], tables: [&[Table]; C]) -> [[__m256; 2]; C] {
    for row in 0..C {
        assert_eq!(tables[row].len(), pairs.len(), "a table for each pair");
    }
    // SAFETY: each pair has a table of each row, as asserted, and 32 bytes are readable at each half of a pair, 16 at a
    // table; see `products` for the instruction set.
    unsafe {
        let mut sums = [[_mm256_setzero_ps(); 2]; C];
        for (index, pair) in pairs.iter().enumerate() {
            let classes = [
                _mm256_load_si256(pair.classes.as_ptr().cast()),
                _mm256_load_si256(pair.classes.as_ptr().add(PANEL / 2).cast()),
            ];
            let signs = [
                _mm256_load_ps(pair.signs.as_ptr()),
                _mm256_load_ps(pair.signs.as_ptr().add(PANEL / 2)),
            ];
            for row in 0..C {
                let table: *const Table = tables[row].get_unchecked(index);
                let table = _mm256_broadcast_ps(&*table.cast::<__m128>());
                for half in 0..2 {
                    let found = _mm256_permutevar_ps(table, classes[half]);
                    // The product is exact.
                    sums[row][half] = _mm256_fmadd_ps(found, signs[half], sums[row][half]);
                }
            }
        }
        sums
    }
}
