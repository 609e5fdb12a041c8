//! The ternary matrix as the kernels read it.

use half::f16;
use rayon::prelude::*;

use super::segments::{Segment, cut};
use crate::matrix::{TernaryMatrix, ZERO_CODES};
use crate::settings::Granularity;

/// Rows of a panel; a kernel computes them together.
pub(super) const PANEL: usize = 16;
/// Bytes of a step: four for each row of the panel.
pub(super) const STEP: usize = 4 * PANEL;

/// The bytes of a step, in a cache line of their own.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Step(pub(super) [u8; STEP]);

/// How the codes of an [`InterleavedMatrix`] are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CodeEncoding {
    /// Two bits a code: the fastest.
    TwoBit,
    /// Five base-3 digits a byte, as in TQ1_0: the smallest.
    BaseThree,
}

impl CodeEncoding {
    /// Codes in a byte.
    pub(super) fn codes_per_byte(self) -> usize {
        match self {
            Self::TwoBit => 4,
            Self::BaseThree => 5,
        }
    }
}

/// A [`TernaryMatrix`] whose rows are interleaved for matrix products; see [`InterleavedMatrix::matmul`].
///
/// Sixteen rows make a panel (the last is filled up with zero rows). A row is cut into segments that end where a group
/// of weights or a block of 256 activations ends, and a segment into steps of 64 bytes: bytes `4r .. 4r + 4` of a step
/// belong to row `r` of the panel, and byte `b` of these four holds the codes of columns `4n + b` of the step, for `n`
/// below 4 in two bits each, lowest first, or for `n` below 5 as base-3 digits, most significant first, of the number
/// `q` in the byte `ceil(q * 256 / 243) ^ 0x80`.
#[derive(Clone, Debug)]
pub struct InterleavedMatrix {
    rows: usize,
    columns: usize,
    encoding: CodeEncoding,
    granularity: Granularity,
    pub(super) segments: Vec<Segment>,
    /// `[panels, steps]`.
    codes: Vec<Step>,
    /// `[panels, groups, 16]`.
    scales: Vec<f16>,
    /// The sums of the codes of each segment, `[panels, segments, 16]`; for base three only.
    sums: Vec<i16>,
}

/// The parts of one panel.
#[derive(Clone, Copy)]
pub(super) struct Panel<'a> {
    pub(super) codes: &'a [Step],
    pub(super) scales: &'a [[f16; PANEL]],
    pub(super) sums: &'a [[i16; PANEL]],
}

impl InterleavedMatrix {
    /// Interleaves the rows of a matrix.
    #[must_use]
    pub fn new(matrix: &TernaryMatrix, encoding: CodeEncoding) -> Self {
        let (rows, columns) = (matrix.rows(), matrix.columns());
        let step_columns = 4 * encoding.codes_per_byte();
        let segments = cut(columns, matrix.group_len(), step_columns);
        let steps: usize = segments.iter().map(|segment| segment.steps).sum();
        let panels = rows.div_ceil(PANEL);
        let groups = matrix.scales_per_row();

        let mut codes = vec![Step([0; STEP]); panels * steps];
        codes
            .par_chunks_exact_mut(steps)
            .enumerate()
            .for_each(|(panel, codes)| {
                for lane in 0..PANEL {
                    let row = panel * PANEL + lane;
                    let row_codes = (row < rows).then(|| matrix.row_codes(row));
                    for segment in &segments {
                        write_segment(row_codes, segment, lane, encoding, codes);
                    }
                }
            });
        let mut scales = vec![f16::ZERO; panels * groups * PANEL];
        for row in 0..rows {
            let (panel, lane) = (row / PANEL, row % PANEL);
            for (group, &scale) in matrix.row_scales(row).iter().enumerate() {
                scales[(panel * groups + group) * PANEL + lane] = scale;
            }
        }
        let mut sums = Vec::new();
        if encoding == CodeEncoding::BaseThree {
            sums.resize(panels * segments.len() * PANEL, 0);
            for row in 0..rows {
                let (panel, lane) = (row / PANEL, row % PANEL);
                for (index, segment) in segments.iter().enumerate() {
                    sums[(panel * segments.len() + index) * PANEL + lane] =
                        sum(matrix.row_codes(row), segment);
                }
            }
        }
        Self {
            rows,
            columns,
            encoding,
            granularity: matrix.granularity(),
            segments,
            codes,
            scales,
            sums,
        }
    }

    /// Output features.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Input features.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// How the codes are stored.
    #[must_use]
    pub fn encoding(&self) -> CodeEncoding {
        self.encoding
    }

    /// Bytes of codes, scales and sums, padding included.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        STEP * self.codes.len() + 2 * (self.scales.len() + self.sums.len())
    }

    /// The matrix that was interleaved.
    #[must_use]
    pub fn to_matrix(&self) -> TernaryMatrix {
        let row_bytes = self.columns.div_ceil(4);
        let mut codes = vec![ZERO_CODES; self.rows * row_bytes];
        codes
            .par_chunks_exact_mut(row_bytes)
            .enumerate()
            .for_each(|(row, codes)| {
                let panel = self.panel(row / PANEL);
                for segment in &self.segments {
                    read_segment(panel.codes, segment, row % PANEL, self.encoding, codes);
                }
            });
        let shared = self.granularity == Granularity::Tensor;
        let groups = if shared {
            1
        } else {
            self.granularity.scales_per_row(self.columns)
        };
        let scales = (0..if shared { 1 } else { self.rows })
            .flat_map(|row| {
                let panel = self.panel(row / PANEL);
                (0..groups).map(move |group| panel.scales[group][row % PANEL])
            })
            .collect();
        TernaryMatrix::from_valid_parts(codes, scales, self.rows, self.columns, self.granularity)
    }

    pub(super) fn panels(&self) -> usize {
        self.rows.div_ceil(PANEL)
    }

    /// Columns of a step.
    pub(super) fn step_columns(&self) -> usize {
        4 * self.encoding.codes_per_byte()
    }

    pub(super) fn panel(&self, panel: usize) -> Panel<'_> {
        let panels = self.panels();
        let (scales, _) = self.scales.as_chunks::<PANEL>();
        let (sums, _) = self.sums.as_chunks::<PANEL>();
        let (steps, groups, segments) = (
            self.codes.len() / panels,
            scales.len() / panels,
            sums.len() / panels,
        );
        Panel {
            codes: &self.codes[panel * steps..][..steps],
            scales: &scales[panel * groups..][..groups],
            sums: &sums[panel * segments..][..segments],
        }
    }
}

/// The code of a column, plus one.
fn digit(row: &[u8], column: usize) -> u8 {
    row[column / 4] >> (2 * (column % 4)) & 3
}

/// The sum of the codes of a segment, at most 256 of them.
fn sum(row: &[u8], segment: &Segment) -> i16 {
    segment
        .columns
        .clone()
        .map(|column| i16::from(digit(row, column)) - 1)
        .sum()
}

/// Writes one row's codes of a segment; an absent row holds code 0.
fn write_segment(
    row: Option<&[u8]>,
    segment: &Segment,
    lane: usize,
    encoding: CodeEncoding,
    codes: &mut [Step],
) {
    let step_columns = 4 * encoding.codes_per_byte();
    for (step, codes) in codes[segment.first_step..][..segment.steps]
        .iter_mut()
        .enumerate()
    {
        let first = segment.columns.start + step * step_columns;
        let bytes = &mut codes.0[4 * lane..][..4];
        let whole = first.is_multiple_of(4) && first + step_columns <= segment.columns.end;
        match (row, encoding) {
            (Some(row), CodeEncoding::TwoBit) if whole => {
                let run = row[first / 4..]
                    .first_chunk::<4>()
                    .expect("a step holds four bytes of the row");
                bytes.copy_from_slice(&transpose(u32::from_le_bytes(*run)).to_le_bytes());
            }
            _ => {
                for (byte, value) in bytes.iter_mut().enumerate() {
                    let digits = (first + byte..).step_by(4).map(|column| match row {
                        Some(row) if column < segment.columns.end => digit(row, column),
                        _ => ZERO_CODES & 3,
                    });
                    *value = match encoding {
                        CodeEncoding::TwoBit => digits
                            .take(4)
                            .enumerate()
                            .fold(0, |bits, (n, digit)| bits | digit << (2 * n)),
                        CodeEncoding::BaseThree => {
                            let number = digits
                                .take(5)
                                .fold(0, |number, digit| 3 * number + u32::from(digit));
                            (number * 256_u32).div_ceil(243) as u8 ^ 0x80
                        }
                    };
                }
            }
        }
    }
}

/// Reads one row's codes of a segment into a packed row that holds code 0 there.
fn read_segment(
    codes: &[Step],
    segment: &Segment,
    lane: usize,
    encoding: CodeEncoding,
    row: &mut [u8],
) {
    let step_columns = 4 * encoding.codes_per_byte();
    for column in segment.columns.clone() {
        let place = column - segment.columns.start;
        let (step, place) = (place / step_columns, place % step_columns);
        let byte = codes[segment.first_step + step].0[4 * lane + place % 4];
        let n = place / 4;
        let digit = match encoding {
            CodeEncoding::TwoBit => byte >> (2 * n) & 3,
            CodeEncoding::BaseThree => base_three_digit(byte, n),
        };
        // Code 0 is the digit 1.
        row[column / 4] ^= (digit ^ 1) << (2 * (column % 4));
    }
}

/// Digit `n` (code + 1) of a byte of base-three codes.
pub(super) fn base_three_digit(byte: u8, n: usize) -> u8 {
    const POWERS: [u8; 5] = [1, 3, 9, 27, 81];
    let rest = (byte ^ 0x80).wrapping_mul(POWERS[n]);
    ((u16::from(rest) * 3) >> 8) as u8
}

/// Takes the two bits `j` of byte `i` to the two bits `i` of byte `j`.
fn transpose(bits: u32) -> u32 {
    let swap = (bits ^ (bits >> 6)) & 0x00cc_00cc;
    let bits = bits ^ swap ^ (swap << 6);
    let swap = (bits ^ (bits >> 12)) & 0x0000_f0f0;
    bits ^ swap ^ (swap << 12)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transposition_moves_every_pair_of_bits() {
        for place in 0..16 {
            let (byte, pair) = (place / 4, place % 4);
            for value in 1..4 {
                let moved = transpose(value << (8 * byte + 2 * pair));
                assert_eq!(moved, value << (8 * pair + 2 * byte));
            }
        }
    }

    #[test]
    fn codes_lie_where_the_documentation_says() {
        // Row 1 of 2: columns 0, 1, 2, ... hold -1, 0, 1, -1, ...
        let row: Vec<u8> = (0..10)
            .map(|byte| (0..4).fold(0, |bits, n| bits | ((4 * byte + n) % 3) << (2 * n)))
            .collect();
        let codes = [vec![ZERO_CODES; 10], row].concat();
        let scales = [0.5, 2.0].map(f16::from_f32).to_vec();
        let matrix = TernaryMatrix::from_parts(codes, scales, 2, 40, Granularity::Row).unwrap();

        let two_bit = InterleavedMatrix::new(&matrix, CodeEncoding::TwoBit);
        let panel = two_bit.panel(0);
        assert_eq!(panel.codes.len(), 3);
        // Columns 16 + {1, 5, 9, 13} hold digits 2, 0, 1, 2.
        assert_eq!(panel.codes[1].0[4 + 1], 0b10_01_00_10);
        assert_eq!(panel.codes[1].0[1], ZERO_CODES);
        // Columns 32 + {3, 7} hold digits 2, 0; what is beyond is filled up.
        assert_eq!(panel.codes[2].0[4 + 3], 0b01_01_00_10);
        assert_eq!(panel.codes[2].0[63], ZERO_CODES);
        assert_eq!(
            panel.scales[0][..3]
                .iter()
                .map(|s| s.to_f32())
                .collect::<Vec<_>>(),
            [0.5, 2.0, 0.0]
        );

        let base_three = InterleavedMatrix::new(&matrix, CodeEncoding::BaseThree);
        let panel = base_three.panel(0);
        assert_eq!(panel.codes.len(), 2);
        // Columns 20 + {2, 6, 10, 14, 18} hold digits 1, 2, 0, 1, 2.
        let number = [1, 2, 0, 1, 2_u32]
            .iter()
            .fold(0, |number, digit| 3 * number + digit);
        assert_eq!(
            panel.codes[1].0[4 + 2],
            (number * 256_u32).div_ceil(243) as u8 ^ 0x80
        );
        assert_eq!(panel.sums[0][..2], [0, -1]);
    }
}
