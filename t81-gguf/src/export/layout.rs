//! Which block formats hold a ternary matrix without loss.

use t81_core::{BlockFormat, Granularity};

use super::ExportType;
use crate::tensor_type::TensorType;

/// Columns and granularity of a ternary matrix: what decides whether a format holds it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct TernaryLayout {
    pub(crate) columns: usize,
    pub(crate) granularity: Granularity,
}

impl TernaryLayout {
    /// Why `format` would lose something, or `None` when it holds the matrix ([`BlockFormat::holds`], without the matrix).
    pub(crate) fn obstacle(self, format: BlockFormat) -> Option<String> {
        let block = format.block_len();
        if !self.columns.is_multiple_of(block) {
            return Some(format!(
                "rows of {} weights are no multiple of the {block} of a {format} block",
                self.columns
            ));
        }
        match self.granularity {
            Granularity::Group(group)
                if group.get() < self.columns && !group.get().is_multiple_of(block) =>
            {
                Some(format!(
                    "{format} has one scale for {block} weights, the model one for each {group}"
                ))
            }
            _ => None,
        }
    }
}

impl TernaryLayout {
    /// The type that stores the matrix without loss: the one asked for, else Q2_0, else F16, with the reason.
    pub(crate) fn stored(self, asked: TensorType) -> (TensorType, Option<String>) {
        let Some(format) = asked.block_format() else {
            return (asked, None);
        };
        match (self.obstacle(format), self.obstacle(BlockFormat::Q2_0)) {
            (None, _) => (asked, None),
            (reason, None) => (TensorType::Q2_0, reason),
            (Some(_), reason) => (TensorType::F16, reason),
        }
    }
}

/// TQ2_0 when it holds every matrix, else Q2_0; F16 when there is nothing ternary.
pub(crate) fn best_lossless(layouts: impl Iterator<Item = TernaryLayout>) -> ExportType {
    let layouts: Vec<TernaryLayout> = layouts.collect();
    if layouts.is_empty() {
        return ExportType::F16;
    }
    let all_fit = layouts
        .iter()
        .all(|layout| layout.obstacle(BlockFormat::Tq2_0).is_none());
    ExportType::Ternary(if all_fit {
        BlockFormat::Tq2_0
    } else {
        BlockFormat::Q2_0
    })
}

#[cfg(test)]
mod tests {
    use half::f16;
    use t81_core::TernaryMatrix;

    use super::*;

    fn layout(columns: usize, granularity: Granularity) -> TernaryLayout {
        TernaryLayout {
            columns,
            granularity,
        }
    }

    #[test]
    fn a_layout_fits_exactly_where_the_codec_holds_the_matrix() {
        let granularities = [1, 32, 64, 96, 128, 192, 256, 300, 512, 1024]
            .map(|size| Granularity::group(size).unwrap())
            .into_iter()
            .chain([Granularity::Row, Granularity::Tensor]);
        for granularity in granularities {
            for columns in [32, 64, 100, 192, 256, 384, 512, 576, 768] {
                let scales = granularity.scales_per_row(columns);
                let codes = vec![0b0101_0101; columns.div_ceil(4)];
                let matrix = TernaryMatrix::from_parts(
                    codes,
                    vec![f16::ONE; scales],
                    1,
                    columns,
                    granularity,
                )
                .unwrap();
                for format in BlockFormat::ALL {
                    let fits = layout(columns, granularity).obstacle(format).is_none();
                    assert_eq!(
                        fits,
                        format.holds(&matrix),
                        "{format}, {columns} columns, {granularity}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_default_is_the_best_format_that_holds_everything() {
        let group = |size| Granularity::group(size).unwrap();
        let best = |layouts: &[TernaryLayout]| best_lossless(layouts.iter().copied());
        assert_eq!(
            best(&[layout(512, group(256)), layout(768, Granularity::Row)]),
            ExportType::Ternary(BlockFormat::Tq2_0)
        );
        assert_eq!(
            best(&[layout(512, group(256)), layout(576, group(64))]),
            ExportType::Ternary(BlockFormat::Q2_0)
        );
        assert_eq!(
            best(&[layout(512, group(64))]),
            ExportType::Ternary(BlockFormat::Q2_0)
        );
        assert_eq!(best(&[]), ExportType::F16);
    }
}
