//! Products of rows with panels: sixteen outputs side by side, of which each sums its products in order.

use super::element::Element;
use super::lanes::{Lanes, PANEL, Portable};
#[cfg(target_arch = "x86_64")]
use super::{avx2::Avx2, avx512::Avx512};

/// Rows of a tile, the most first; a batch is cut into as few tiles as these allow.
const TILES: [usize; 5] = [6, 4, 3, 2, 1];
/// Panels of a wide tile: enough independent sums for one row to hide the latency of one.
const WIDE: usize = 4;

/// Panels of weights: `columns` times sixteen neighbouring outputs each.
#[derive(Clone, Copy)]
pub(super) struct Panels<'a, E> {
    pub(super) data: &'a [[E; PANEL]],
    /// Columns from the begin of a panel to that of the next one.
    pub(super) stride: usize,
    /// Columns of a panel that count.
    pub(super) columns: usize,
}

impl<'a, E> Panels<'a, E> {
    #[inline(always)]
    fn panel(&self, index: usize) -> &'a [[E; PANEL]] {
        &self.data[index * self.stride..][..self.columns]
    }
}

/// Rows of the tile that begins where `rest` rows are left.
fn tile_rows(rest: usize) -> usize {
    let fits = TILES.iter().find(|rows| **rows <= rest);
    fits.copied().unwrap_or(1)
}

/// Rows as the products read them: tile by tile, the values of a column next to each other.
pub(super) fn pack(rows: &[f32], columns: usize, packed: &mut Vec<f32>) {
    packed.clear();
    packed.resize(rows.len(), 0.0);
    let (mut input, mut output) = (rows, packed.as_mut_slice());
    while !input.is_empty() {
        let count = tile_rows(input.len() / columns);
        let (tile, rest) = input.split_at(count * columns);
        let (target, later) = output.split_at_mut(count * columns);
        for (row, values) in tile.chunks_exact(columns).enumerate() {
            for (column, value) in values.iter().enumerate() {
                target[column * count + row] = *value;
            }
        }
        (input, output) = (rest, later);
    }
}

/// Multiplies `batch` packed rows with panels into `output`, `[batch, panels]`.
pub(super) fn multiply<E: Element>(
    packed: &[f32],
    panels: Panels<'_, E>,
    batch: usize,
    output: &mut [[f32; PANEL]],
) {
    Simd::best().multiply(packed, panels, batch, output);
}

/// An instruction set that the products are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Simd {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Simd {
    /// The fastest first.
    const ALL: &[Self] = &[
        #[cfg(target_arch = "x86_64")]
        Self::Avx512,
        #[cfg(target_arch = "x86_64")]
        Self::Avx2,
        Self::Portable,
    ];

    /// Whether this machine has the features that [`multiply`](Self::multiply) compiles for.
    pub(super) fn is_present(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("f16c")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => Self::Avx2.is_present() && is_x86_feature_detected!("avx512f"),
        }
    }

    fn best() -> Self {
        let best = Self::ALL.iter().find(|set| set.is_present());
        best.copied().unwrap_or(Self::Portable)
    }

    /// [`multiply`] on these instructions, which must be present.
    fn multiply<E: Element>(
        self,
        packed: &[f32],
        panels: Panels<'_, E>,
        batch: usize,
        output: &mut [[f32; PANEL]],
    ) {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma,f16c")]
        fn with_avx2<E: Element>(
            packed: &[f32],
            panels: Panels<'_, E>,
            batch: usize,
            output: &mut [[f32; PANEL]],
        ) {
            tiles::<Avx2, E>(packed, panels, batch, output);
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx2,fma,f16c")]
        fn with_avx512<E: Element>(
            packed: &[f32],
            panels: Panels<'_, E>,
            batch: usize,
            output: &mut [[f32; PANEL]],
        ) {
            tiles::<Avx512, E>(packed, panels, batch, output);
        }
        assert!(self.is_present(), "the machine lacks {self:?}");
        match self {
            Self::Portable => tiles::<Portable, E>(packed, panels, batch, output),
            // SAFETY: the machine has these features.
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code)]
            Self::Avx2 => unsafe { with_avx2(packed, panels, batch, output) },
            // SAFETY: the machine has these features.
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code)]
            Self::Avx512 => unsafe { with_avx512(packed, panels, batch, output) },
        }
    }
}

/// All tiles of a product.
#[inline(always)]
fn tiles<L: Lanes, E: Element>(
    packed: &[f32],
    panels: Panels<'_, E>,
    batch: usize,
    output: &mut [[f32; PANEL]],
) {
    if batch == 0 {
        return;
    }
    let count = output.len() / batch;
    let wide_tiles = batch == 1 || L::WIDE_BATCHES;
    // The panels of a step stay in the cache while the rows pass by.
    let mut panel = 0;
    while panel < count {
        let wide = wide_tiles && count - panel >= WIDE;
        let mut row = 0;
        while row < batch {
            let rows = tile_rows(batch - row);
            let values = &packed[row * panels.columns..][..rows * panels.columns];
            let output = &mut output[row * count + panel..];
            match (rows, wide) {
                (6, true) => tile::<L, E, 6, WIDE>(values, panels, panel, count, output),
                (6, false) => tile::<L, E, 6, 1>(values, panels, panel, count, output),
                (4, true) => tile::<L, E, 4, WIDE>(values, panels, panel, count, output),
                (4, false) => tile::<L, E, 4, 1>(values, panels, panel, count, output),
                (3, true) => tile::<L, E, 3, WIDE>(values, panels, panel, count, output),
                (3, false) => tile::<L, E, 3, 1>(values, panels, panel, count, output),
                (2, true) => tile::<L, E, 2, WIDE>(values, panels, panel, count, output),
                (2, false) => tile::<L, E, 2, 1>(values, panels, panel, count, output),
                (_, true) => tile::<L, E, 1, WIDE>(values, panels, panel, count, output),
                (_, false) => tile::<L, E, 1, 1>(values, panels, panel, count, output),
            }
            row += rows;
        }
        panel += if wide { WIDE } else { 1 };
    }
}

/// `B` rows with the `P` panels from `first` on; the outputs of neighbouring rows are `stride` apart.
#[inline(always)]
fn tile<L: Lanes, E: Element, const B: usize, const P: usize>(
    values: &[f32],
    panels: Panels<'_, E>,
    first: usize,
    stride: usize,
    output: &mut [[f32; PANEL]],
) {
    let mut weights: [&[[E; PANEL]]; P] = [&[]; P];
    for (index, weights) in weights.iter_mut().enumerate() {
        *weights = panels.panel(first + index);
    }
    let mut sums = [[L::zero(); P]; B];
    for (column, values) in values.as_chunks::<B>().0.iter().enumerate() {
        let mut loaded = [L::zero(); P];
        for (loaded, weights) in loaded.iter_mut().zip(&weights) {
            *loaded = E::load::<L>(&weights[column]);
        }
        for (sums, value) in sums.iter_mut().zip(values) {
            for (sum, loaded) in sums.iter_mut().zip(&loaded) {
                *sum = L::multiply_add(*sum, *loaded, *value);
            }
        }
    }
    for (row, sums) in sums.into_iter().enumerate() {
        for (output, sum) in output[row * stride..].iter_mut().zip(sums) {
            L::store(sum, output);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::{bf16, f16};

    fn values(count: usize) -> Vec<f32> {
        (0..count)
            .map(|index| ((index * index + 3) as f32 * 0.37).sin() * 3.0)
            .collect()
    }

    fn check<E: Element>() {
        let (columns, stride) = (37, 40);
        for (batch, count) in [(1, 9), (1, 3), (2, 5), (3, 2), (5, 3), (23, 4), (12, 1)] {
            let rows = values(batch * columns);
            let data: Vec<[E; PANEL]> = values(count * stride * PANEL)
                .as_chunks::<PANEL>()
                .0
                .iter()
                .map(|values| values.map(E::rounded))
                .collect();
            let panels = Panels {
                data: &data,
                stride,
                columns,
            };
            let mut expected = vec![[0.0; PANEL]; batch * count];
            for (index, output) in expected.iter_mut().enumerate() {
                let (row, panel) = (index / count, index % count);
                for column in 0..columns {
                    let value = rows[row * columns + column];
                    for (sum, weight) in output.iter_mut().zip(data[panel * stride + column]) {
                        *sum = weight.value().mul_add(value, *sum);
                    }
                }
            }
            let mut packed = Vec::new();
            pack(&rows, columns, &mut packed);
            for &simd in Simd::ALL.iter().filter(|simd| simd.is_present()) {
                let mut output = vec![[f32::NAN; PANEL]; batch * count];
                simd.multiply(&packed, panels, batch, &mut output);
                let bits = |values: &[[f32; PANEL]]| {
                    let values = values.as_flattened().iter();
                    values.map(|value| value.to_bits()).collect::<Vec<_>>()
                };
                assert_eq!(bits(&output), bits(&expected), "{simd:?} {batch} {count}");
            }
        }
    }

    #[test]
    fn every_instruction_set_sums_in_order() {
        check::<f32>();
        check::<f16>();
        check::<bf16>();
    }
}
