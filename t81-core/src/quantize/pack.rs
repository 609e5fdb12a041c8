//! Quantization to a packed matrix.

use half::f16;
use rayon::prelude::*;

use super::diagnose::diagnose;
use super::error::QuantizeError;
use super::quantizer::Weights;
use super::row::RowKernel;
use super::rule::{Rule, Unrepresentable};
use super::tensor;
use crate::matrix::{TernaryMatrix, ZERO_CODES};
use crate::settings::{Granularity, Layout};

/// Rows of one task; a cache line of floats in the `[in, out]` layout.
const TASK_ROWS: usize = 16;

/// The packed matrix; see [`Quantizer::quantize`](super::Quantizer::quantize). The lengths are checked.
pub(super) fn quantize(rule: &Rule, weights: Weights<'_>) -> Result<TernaryMatrix, QuantizeError> {
    pack(rule, &weights).map_err(|Unrepresentable| diagnose(rule, &weights))
}

fn pack(rule: &Rule, weights: &Weights<'_>) -> Result<TernaryMatrix, Unrepresentable> {
    let (rows, columns) = (weights.rows, weights.columns);
    let row_bytes = columns.div_ceil(4);
    let group_len = rule.granularity.group_len(columns);
    let scales_per_row = rule.granularity.scales_per_row(columns);
    let tensor = match rule.granularity {
        Granularity::Tensor => Some(tensor::decide(rule, weights)?),
        Granularity::Row | Granularity::Group(_) => None,
    };
    let mut codes = vec![0; rows * row_bytes];
    let mut scales = vec![f16::ZERO; rows * scales_per_row];
    codes
        .par_chunks_mut(TASK_ROWS * row_bytes)
        .zip(scales.par_chunks_mut(TASK_ROWS * scales_per_row))
        .enumerate()
        .try_for_each_init(
            || (RowKernel::new(), Vec::new()),
            |(kernel, gathered), (task, (codes, scales))| {
                let first = task * TASK_ROWS;
                let values = contiguous_rows(weights, first, codes.len() / row_bytes, gathered);
                let mut index = first as u64 * columns as u64;
                let rows = codes
                    .chunks_mut(row_bytes)
                    .zip(scales.chunks_mut(scales_per_row));
                for (row, (codes, scales)) in values.chunks(columns).zip(rows) {
                    for (group, (values, scale)) in row.chunks(group_len).zip(scales).enumerate() {
                        let decision = match tensor {
                            Some(decision) => decision,
                            None => kernel.decide(rule, values, index)?,
                        };
                        // Exact: the decision's scale is on the f16 grid.
                        *scale = f16::from_f32(decision.scale);
                        kernel.write_codes(
                            rule,
                            &decision,
                            values,
                            index,
                            group * group_len,
                            codes,
                        );
                        index += values.len() as u64;
                    }
                    if let (used @ 1.., Some(last)) = (columns % 4, codes.last_mut()) {
                        *last |= ZERO_CODES << (2 * used);
                    }
                }
                Ok(())
            },
        )?;
    if tensor.is_some() {
        scales.truncate(1);
    }
    Ok(TernaryMatrix::from_valid_parts(
        codes,
        scales,
        rows,
        columns,
        rule.granularity,
    ))
}

/// Some rows with contiguous inputs: the weights themselves, or gathered from the `[in, out]` layout.
fn contiguous_rows<'a>(
    weights: &Weights<'a>,
    first: usize,
    count: usize,
    gathered: &'a mut Vec<f32>,
) -> &'a [f32] {
    let columns = weights.columns;
    match weights.layout {
        Layout::OutIn => &weights.values[first * columns..][..count * columns],
        Layout::InOut => {
            gathered.resize(count * columns, 0.0);
            for (column, outputs) in weights.values.chunks_exact(weights.rows).enumerate() {
                for (row, &weight) in outputs[first..][..count].iter().enumerate() {
                    gathered[row * columns + column] = weight;
                }
            }
            gathered
        }
    }
}
