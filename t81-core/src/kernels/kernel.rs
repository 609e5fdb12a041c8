//! What an instruction set has to offer, and the loops over it.
//!
//! The loops are written once. They and a kernel's methods are always inlined, so that an entry point compiled for an
//! instruction set (`#[target_feature]`) compiles all of them for it.

use std::ops::Range;

use half::f16;

use super::activations::{BAND, Band, Int8Activations, PaddedRows};
#[cfg(target_arch = "x86_64")]
use super::avx2_batch::PairScratch;
#[cfg(target_arch = "x86_64")]
use super::avx2_row::RowScratch;
#[cfg(target_arch = "x86_64")]
use super::avx512_tables::TableScratch;
use super::interleaved::{CodeEncoding, InterleavedMatrix, PANEL, Panel, STEP, Step};
use super::segments::Segment;
use crate::fetch::fetch_ahead;

/// Columns, four each, whose codes are unpacked together, so that those of all panels of a tile stay in the first-level
/// cache.
const UNPACKED_QUADS: usize = 256;
/// Steps between those that are read and those that are fetched: about the time that memory takes to answer.
const AHEAD: usize = 48;
/// Panels of one product with a batch at most.
pub(super) const MOST_PANELS: usize = 2;
/// Columns whose codes are turned into floats together.
const FLOAT_COLUMNS: usize = 256;
/// Panels of one product of floats with a single row: enough independent sums to hide the latency of one.
pub(super) const FLOAT_PANELS: usize = 4;
/// Rows of a float batch that share one reading of the codes at most, of 6: sixteen vectors of sums leave half of NEON's
/// registers to weights and values.
const FLOAT_TILE: usize = 4;

/// The products of one instruction set with the sixteen rows of a panel.
///
/// A quad is four columns of codes plus one, unpacked to bytes: bytes `4r .. 4r + 4` belong to row `r`.
pub(super) trait Kernel {
    /// Rows of an int8 batch that share one reading of the codes at most: 1 to 6, 8 or 12.
    const TILE: usize = 6;
    /// Panels that share one reading of int8 activations at most: 1 or 2.
    const PANELS: usize = 1;

    /// Sixteen integers.
    type Integers: Copy;
    /// Sixteen floats.
    type Floats: Copy;

    /// Sums of (code + 1) times value over a segment of two-bit codes.
    fn two_bit(codes: &[Step], values: &[i8]) -> Self::Integers;

    /// Sums of code times value over a segment of base-three codes, whose sums of codes are given; the values are
    /// raised by 128, as bytes without sign.
    fn base_three(codes: &[Step], sums: &[i16; PANEL], values: &[i8]) -> Self::Integers;

    /// Unpacks steps of two-bit codes to four quads each.
    fn unpack_two_bit(codes: &[Step], quads: &mut [Step]);

    /// Unpacks steps of base-three codes to five quads each.
    fn unpack_base_three(codes: &[Step], quads: &mut [Step]);

    /// Sums of (code + 1) times value over the quads of a segment, at most 65, of `P` panels for `C` rows of values:
    /// those of quad `q` are `values[q * stride..][..C]`.
    fn tile<const C: usize, const P: usize>(
        quads: [&[Step]; P],
        values: &[[i8; 4]],
        stride: usize,
    ) -> [[Self::Integers; C]; P];

    /// Adds `scale * value_scale * (integers - bias)` to the totals, each product and the sum rounded to f32.
    fn accumulate(
        totals: &mut [f32; PANEL],
        integers: Self::Integers,
        bias: i32,
        scales: &[f16; PANEL],
        value_scale: f32,
    );

    /// Adds `scale * sum` to the totals, product and sum rounded to f32.
    fn accumulate_floats(totals: &mut [f32; PANEL], sums: Self::Floats, scales: &[f16; PANEL]);

    /// The f32 product of panels from `first` on with a batch; `output` holds sixteen floats for each row of the batch,
    /// panel after panel.
    fn float_panels(
        matrix: &InterleavedMatrix,
        first: usize,
        batch: &PaddedRows,
        scratch: &mut FloatScratch,
        output: &mut [[f32; PANEL]],
    );
}

/// What a kernel has to offer to [`products_of_floats`].
pub(super) trait FloatKernel: Kernel {
    /// Turns quads into codes as floats, sixteen for each column.
    fn floats(quads: &[Step], weights: &mut [[f32; PANEL]]);

    /// Sums of code times value over the quads of a segment, for the `P` panels: the products of a column of one quad and of
    /// the same column of the next one are added first, and go to the sum in order.
    fn float_vector<const P: usize>(quads: [&[Step]; P], values: &[f32]) -> [Self::Floats; P];

    /// The same sums over columns of floats, for `C` rows of values.
    fn float_tile<const C: usize>(
        weights: &[[f32; PANEL]],
        values: [&[f32]; C],
    ) -> [Self::Floats; C];
}

/// Calls a function for a kernel and as many rows as fit its tile, out of those that are left.
macro_rules! by_tile {
    ($kernel:ident, $most:expr, $rows:expr, $tile:ident $(::<$panels:tt>)? ($($argument:expr),*)) => {
        match $rows.min($most) {
            12.. if $most >= 12 => $tile::<$kernel, 12 $(, $panels)?>($($argument),*),
            8.. if $most >= 8 => $tile::<$kernel, 8 $(, $panels)?>($($argument),*),
            6.. => $tile::<$kernel, 6 $(, $panels)?>($($argument),*),
            5 => $tile::<$kernel, 5 $(, $panels)?>($($argument),*),
            4 => $tile::<$kernel, 4 $(, $panels)?>($($argument),*),
            3 => $tile::<$kernel, 3 $(, $panels)?>($($argument),*),
            2 => $tile::<$kernel, 2 $(, $panels)?>($($argument),*),
            _ => $tile::<$kernel, 1 $(, $panels)?>($($argument),*),
        }
    };
}

/// The int8 product of panels with one row; `output` holds sixteen floats a panel.
#[inline(always)]
pub(super) fn int8_vector<K: Kernel>(
    matrix: &InterleavedMatrix,
    panels: Range<usize>,
    activations: &Int8Activations,
    output: &mut [[f32; PANEL]],
) {
    let (row, values) = (activations.row(0), activations.only_row());
    let step_columns = matrix.step_columns();
    for (panel, output) in panels.zip(output) {
        let panel = matrix.panel(panel);
        let mut totals = [0.0; PANEL];
        for (index, segment) in matrix.segments.iter().enumerate() {
            let codes = &panel.codes[segment.first_step..][..segment.steps];
            let values =
                &values[segment.first_step * step_columns..][..segment.steps * step_columns];
            // A product with one row waits for nothing but memory.
            fetch_ahead(codes, AHEAD);
            let (integers, bias) = match matrix.encoding() {
                CodeEncoding::TwoBit => (K::two_bit(codes, values), row.sums[index]),
                CodeEncoding::BaseThree => (K::base_three(codes, &panel.sums[index], values), 0),
            };
            let scale = row.scales[segment.block];
            K::accumulate(
                &mut totals,
                integers,
                bias,
                &panel.scales[segment.group],
                scale,
            );
        }
        *output = totals;
    }
}

/// The int8 product of panels from `first` on with a batch; `output` holds sixteen floats for each row of the batch, panel
/// after panel.
#[inline(always)]
pub(super) fn int8_panels<K: Kernel>(
    matrix: &InterleavedMatrix,
    first: usize,
    batch: &Int8Activations,
    quads: &mut [Vec<Step>; MOST_PANELS],
    output: &mut [[f32; PANEL]],
) {
    let [one, two] = quads;
    let panels = output.len() / batch.rows();
    let paired = if K::PANELS == 2 { panels & !1 } else { 0 };
    let (pairs, singles) = output.split_at_mut(paired * batch.rows());
    for (pair, output) in pairs.chunks_exact_mut(2 * batch.rows()).enumerate() {
        int8_runs::<K, 2>(matrix, first + 2 * pair, batch, [one, two], output);
    }
    for (single, output) in singles.chunks_exact_mut(batch.rows()).enumerate() {
        int8_runs::<K, 1>(matrix, first + paired + single, batch, [one], output);
    }
}

/// [`int8_panels`] for `P` panels together.
#[inline(always)]
fn int8_runs<K: Kernel, const P: usize>(
    matrix: &InterleavedMatrix,
    first_panel: usize,
    batch: &Int8Activations,
    mut quads: [&mut Vec<Step>; P],
    output: &mut [[f32; PANEL]],
) {
    let panels: [Panel<'_>; P] = std::array::from_fn(|panel| matrix.panel(first_panel + panel));
    output.fill([0.0; PANEL]);
    let mut first = 0;
    while first < matrix.segments.len() {
        let mut end = first;
        for (panel, quads) in panels.iter().zip(quads.iter_mut()) {
            end = unpack::<K>(matrix, *panel, first, UNPACKED_QUADS / P, quads);
        }
        let run = Run {
            panels,
            segments: &matrix.segments[first..end],
            first,
            quads: std::array::from_fn(|panel| quads[panel].as_slice()),
            quads_per_step: matrix.encoding().codes_per_byte(),
        };
        for row in (0..batch.rows()).step_by(BAND) {
            let band = batch.band(row);
            let mut lane = 0;
            while lane < band.rows {
                let rest = band.rows - lane;
                lane += by_tile!(
                    K,
                    K::TILE,
                    rest,
                    int8_tile::<P>(run, batch, row, lane, output)
                );
            }
        }
        first = end;
    }
}

/// Segments of panels whose codes are unpacked.
#[derive(Clone, Copy)]
struct Run<'a, const P: usize> {
    panels: [Panel<'a>; P],
    segments: &'a [Segment],
    /// Index of the first of them in the row.
    first: usize,
    quads: [&'a [Step]; P],
    quads_per_step: usize,
}

impl<'a, const P: usize> Run<'a, P> {
    /// The quads of a segment, and which quad of a padded row of activations is its first.
    #[inline(always)]
    fn quads_of(self, segment: &Segment) -> ([&'a [Step]; P], usize) {
        let first = segment.first_step * self.quads_per_step;
        let count = segment.steps * self.quads_per_step;
        let begin = self.segments[0].first_step * self.quads_per_step;
        (
            self.quads.map(|quads| &quads[first - begin..][..count]),
            first,
        )
    }
}

/// The products of a run with `C` rows of the band that begins with a row of the batch, from a lane of it on.
#[inline(always)]
fn int8_tile<K: Kernel, const C: usize, const P: usize>(
    run: Run<'_, P>,
    batch: &Int8Activations,
    band_row: usize,
    lane: usize,
    output: &mut [[f32; PANEL]],
) -> usize {
    let Band { values, rows } = batch.band(band_row);
    for (index, segment) in run.segments.iter().enumerate() {
        let (quads, first) = run.quads_of(segment);
        let sums = K::tile::<C, P>(quads, &values[first * rows + lane..], rows);
        for (panel, sums) in sums.into_iter().enumerate() {
            let scales = &run.panels[panel].scales[segment.group];
            let first = panel * batch.rows() + band_row + lane;
            let totals = &mut output[first..][..C];
            for ((row, integers), totals) in (band_row + lane..).zip(sums).zip(totals) {
                let row = batch.row(row);
                let (bias, scale) = (row.sums[run.first + index], row.scales[segment.block]);
                K::accumulate(totals, integers, bias, scales, scale);
            }
        }
    }
    C
}

/// Unpacks segments from `first` on, as many as make at most `most` quads but at least one, and returns where they end.
#[inline(always)]
fn unpack<K: Kernel>(
    matrix: &InterleavedMatrix,
    panel: Panel<'_>,
    first: usize,
    most: usize,
    quads: &mut Vec<Step>,
) -> usize {
    let per_step = matrix.encoding().codes_per_byte();
    let mut steps = 0;
    let mut end = first;
    for segment in &matrix.segments[first..] {
        if end > first && (steps + segment.steps) * per_step > most {
            break;
        }
        steps += segment.steps;
        end += 1;
    }
    let codes = &panel.codes[matrix.segments[first].first_step..][..steps];
    quads.resize(steps * per_step, Step([0; STEP]));
    match matrix.encoding() {
        CodeEncoding::TwoBit => K::unpack_two_bit(codes, quads),
        CodeEncoding::BaseThree => K::unpack_base_three(codes, quads),
    }
    end
}

/// [`Kernel::float_panels`] of an instruction set.
#[inline(always)]
pub(super) fn float_panels<K: Kernel>(
    matrix: &InterleavedMatrix,
    first: usize,
    batch: &PaddedRows,
    scratch: &mut FloatScratch,
    output: &mut [[f32; PANEL]],
) {
    K::float_panels(matrix, first, batch, scratch, output);
}

/// Scratch of products with floats.
#[derive(Default)]
pub(super) struct FloatScratch {
    quads: [Vec<Step>; FLOAT_PANELS],
    weights: Vec<[f32; PANEL]>,
    #[cfg(target_arch = "x86_64")]
    pub(super) tables: TableScratch,
    #[cfg(target_arch = "x86_64")]
    pub(super) pairs: PairScratch,
    #[cfg(target_arch = "x86_64")]
    pub(super) row: RowScratch,
}

/// [`Kernel::float_panels`] by multiplications.
#[inline(always)]
pub(super) fn products_of_floats<K: FloatKernel>(
    matrix: &InterleavedMatrix,
    first: usize,
    batch: &PaddedRows,
    scratch: &mut FloatScratch,
    output: &mut [[f32; PANEL]],
) {
    output.fill([0.0; PANEL]);
    let mut done = 0;
    if batch.rows() == 1 {
        let (fours, _) = output.as_chunks_mut::<FLOAT_PANELS>();
        for output in fours {
            float_vector::<K>(matrix, first + done, batch.row(0), scratch, output);
            done += FLOAT_PANELS;
        }
    }
    let panels = output.chunks_exact_mut(batch.rows()).enumerate();
    for (panel, output) in panels.skip(done) {
        float_panel::<K>(matrix, first + panel, batch, scratch, output);
    }
}

/// Adds the product of some panels from `first` on with one row of padded values.
#[inline(always)]
fn float_vector<K: FloatKernel>(
    matrix: &InterleavedMatrix,
    first: usize,
    values: &[f32],
    scratch: &mut FloatScratch,
    output: &mut [[f32; PANEL]; FLOAT_PANELS],
) {
    let panels: [Panel<'_>; FLOAT_PANELS] =
        std::array::from_fn(|panel| matrix.panel(first + panel));
    for (index, segment) in matrix.segments.iter().enumerate() {
        for (panel, quads) in panels.iter().zip(&mut scratch.quads) {
            unpack::<K>(matrix, *panel, index, 0, quads);
        }
        let step_columns = matrix.step_columns();
        let values = &values[segment.first_step * step_columns..][..segment.steps * step_columns];
        let sums = K::float_vector(scratch.quads.each_ref().map(Vec::as_slice), values);
        for ((sums, panel), totals) in sums.into_iter().zip(&panels).zip(output.iter_mut()) {
            K::accumulate_floats(totals, sums, &panel.scales[segment.group]);
        }
    }
}

/// Adds the product of one panel with a batch; `output` holds sixteen floats for each row of it.
#[inline(always)]
fn float_panel<K: FloatKernel>(
    matrix: &InterleavedMatrix,
    panel: usize,
    batch: &PaddedRows,
    scratch: &mut FloatScratch,
    output: &mut [[f32; PANEL]],
) {
    let panel = matrix.panel(panel);
    let quads = &mut scratch.quads[0];
    let mut first = 0;
    while first < matrix.segments.len() {
        let end = unpack::<K>(matrix, panel, first, FLOAT_COLUMNS / 4, quads);
        scratch.weights.resize(4 * quads.len(), [0.0; PANEL]);
        K::floats(quads, &mut scratch.weights);
        let begin = matrix.segments[first].first_step * matrix.step_columns();
        for segment in &matrix.segments[first..end] {
            let from = segment.first_step * matrix.step_columns();
            let columns = from..from + segment.steps * matrix.step_columns();
            let weights = &scratch.weights[from - begin..columns.end - begin];
            let scales = &panel.scales[segment.group];
            let mut row = 0;
            while row < output.len() {
                let rest = &mut output[row..];
                let columns = columns.clone();
                row += by_tile!(
                    K,
                    FLOAT_TILE,
                    rest.len(),
                    float_tile(weights, scales, batch, row, columns, rest)
                );
            }
        }
        first = end;
    }
}

#[inline(always)]
fn float_tile<K: FloatKernel, const C: usize>(
    weights: &[[f32; PANEL]],
    scales: &[f16; PANEL],
    batch: &PaddedRows,
    first: usize,
    columns: Range<usize>,
    output: &mut [[f32; PANEL]],
) -> usize {
    let values: [&[f32]; C] = std::array::from_fn(|row| &batch.row(first + row)[columns.clone()]);
    let sums = K::float_tile(weights, values);
    for (sums, totals) in sums.into_iter().zip(output.iter_mut()) {
        K::accumulate_floats(totals, sums, scales);
    }
    C
}
