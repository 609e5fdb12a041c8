//! How a row is cut so that one integer sum needs one weight scale and one activation scale.

use std::ops::Range;

use super::int8::ACTIVATION_BLOCK;

/// A run of input features that lie in one group of weights and in one block of activations.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Segment {
    /// Input features.
    pub(super) columns: Range<usize>,
    /// The first of its steps; a step holds as many columns as a packed byte holds codes, four times.
    pub(super) first_step: usize,
    /// Its steps; what the last one has beyond the columns holds code 0.
    pub(super) steps: usize,
    /// Index of the group of weights in the row.
    pub(super) group: usize,
    /// Index of the block of activations.
    pub(super) block: usize,
}

/// The segments of a row of `columns` weights in groups of `group_len`.
pub(super) fn cut(columns: usize, group_len: usize, step_columns: usize) -> Vec<Segment> {
    let mut segments = Vec::new();
    let (mut first, mut first_step) = (0, 0);
    while first < columns {
        let (group, block) = (first / group_len, first / ACTIVATION_BLOCK);
        let end = ((group + 1).saturating_mul(group_len))
            .min((block + 1) * ACTIVATION_BLOCK)
            .min(columns);
        let steps = (end - first).div_ceil(step_columns);
        segments.push(Segment {
            columns: first..end,
            first_step,
            steps,
            group,
            block,
        });
        first_step += steps;
        first = end;
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(segments: &[Segment]) -> Vec<(Range<usize>, usize, usize, usize, usize)> {
        segments
            .iter()
            .map(|s| (s.columns.clone(), s.first_step, s.steps, s.group, s.block))
            .collect()
    }

    #[test]
    fn segments_end_where_a_group_or_a_block_ends() {
        assert_eq!(
            shape(&cut(300, 100, 16)),
            [
                (0..100, 0, 7, 0, 0),
                (100..200, 7, 7, 1, 0),
                (200..256, 14, 4, 2, 0),
                (256..300, 18, 3, 2, 1),
            ]
        );
        assert_eq!(
            shape(&cut(512, 512, 20)),
            [(0..256, 0, 13, 0, 0), (256..512, 13, 13, 0, 1)]
        );
        assert_eq!(shape(&cut(3, 64, 16)), [(0..3, 0, 1, 0, 0)]);
    }
}
