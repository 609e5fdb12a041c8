//! What keeps a matrix from being quantized.

use super::error::QuantizeError;
use super::quantizer::Weights;
use super::row::RowKernel;
use super::rule::Rule;
use crate::settings::{Granularity, Layout};

/// The error of a matrix that has one: the first weight that is not finite in `[out, in]` order, else the first group
/// whose scale is beyond f16. A sequential scan, so that no thread count decides.
pub(super) fn diagnose(rule: &Rule, weights: &Weights<'_>) -> QuantizeError {
    let columns = weights.columns;
    let group_len = rule.granularity.group_len(columns);
    let mut kernel = RowKernel::new();
    let mut values = vec![0.0; columns];
    let mut overflow = None;
    for row in 0..weights.rows {
        for (column, value) in values.iter_mut().enumerate() {
            *value = match weights.layout {
                Layout::OutIn => weights.values[row * columns + column],
                Layout::InOut => weights.values[column * weights.rows + row],
            };
            if !value.is_finite() {
                let value = *value;
                return QuantizeError::NonFinite { row, column, value };
            }
        }
        if overflow.is_none() && rule.granularity != Granularity::Tensor {
            let index = row as u64 * columns as u64;
            overflow = values
                .chunks(group_len)
                .zip((index..).step_by(group_len))
                .position(|(group, index)| kernel.decide(rule, group, index).is_err())
                .map(|group| (row, group * group_len));
        }
    }
    let (row, column) = overflow.unwrap_or_default();
    QuantizeError::ScaleOverflow { row, column }
}
