//! What keeps a matrix from being quantized.

use super::error::QuantizeError;
use super::row::RowKernel;
use super::rows::Rows;
use super::rule::Rule;
use crate::settings::Granularity;
use crate::vectorized::Base;

/// The error of a matrix that has one: the first weight that is not finite in `[out, in]` order, else the first group
/// whose scale is beyond f16. A sequential scan, so that no thread count decides.
///
/// # Errors
///
/// When the rows cannot be read.
pub(super) fn diagnose<R: Rows>(rule: &Rule, source: &R) -> Result<QuantizeError, R::Error> {
    let columns = source.columns();
    let group_len = rule.granularity.group_len(columns);
    let mut kernel = RowKernel::new();
    let mut buffer = Vec::new();
    let mut overflow = None;
    for row in 0..source.rows() {
        let values = source.read(row, 1, &mut buffer)?;
        if let Some(column) = values.iter().position(|value| !value.is_finite()) {
            let value = values[column];
            return Ok(QuantizeError::NonFinite { row, column, value });
        }
        if overflow.is_none() && rule.granularity != Granularity::Tensor {
            let index = row as u64 * columns as u64;
            overflow = values
                .chunks(group_len)
                .zip((index..).step_by(group_len))
                .position(|(group, index)| kernel.decide::<Base>(rule, group, index).is_err())
                .map(|group| (row, group * group_len));
        }
    }
    let (row, column) = overflow.unwrap_or_default();
    Ok(QuantizeError::ScaleOverflow { row, column })
}
