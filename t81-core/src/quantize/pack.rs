//! Quantization to a packed matrix.

use half::f16;
use rayon::prelude::*;

use super::diagnose::diagnose;
use super::distortion::Distortion;
use super::error::QuantizeError;
use super::loops::{RowLoops, pack};
use super::quantizer::Weights;
use super::row::{RowKernel, batch};
use super::rows::Rows;
use super::rule::{Decision, Rule, Unrepresentable};
use super::tensor;
use crate::matrix::{TernaryMatrix, ZERO_CODES};
use crate::settings::Granularity;
use crate::vectorized::vectorized;

/// Rows of one task; a cache line of floats in the `[in, out]` layout.
const TASK_ROWS: usize = 16;

/// The packed matrix; see [`Quantizer::quantize`](super::Quantizer::quantize). The lengths are checked.
pub(super) fn quantize(rule: &Rule, weights: Weights<'_>) -> Result<TernaryMatrix, QuantizeError> {
    let tensor = match rule.granularity {
        Granularity::Tensor => match tensor::decide(rule, &weights) {
            Ok(decision) => Some(decision),
            Err(Unrepresentable) => return Err(diagnose(rule, &weights)?),
        },
        Granularity::Row | Granularity::Group(_) => None,
    };
    let packed = Task {
        rule,
        tensor,
        measure: false,
    };
    match packed.run(&weights, TASK_ROWS) {
        Ok((matrix, _)) => Ok(matrix),
        Err(Failure::Unrepresentable) => Err(diagnose(rule, &weights)?),
        Err(Failure::Source(error)) => Err(error),
    }
}

/// The packed matrix of rows that are read `chunk_rows` at a time, and its distortion. The dimensions are checked.
pub(super) fn quantize_rows<R: Rows>(
    rule: &Rule,
    source: &R,
    chunk_rows: usize,
) -> Result<(TernaryMatrix, Distortion), R::Error> {
    let chunk_rows = chunk_rows.clamp(1, source.rows());
    let packed = match rule.granularity {
        Granularity::Tensor => tensor::decide_rows(rule, source, chunk_rows).map(Some),
        Granularity::Row | Granularity::Group(_) => Ok(None),
    }
    .and_then(|tensor| {
        let task = Task {
            rule,
            tensor,
            measure: true,
        };
        task.run(source, chunk_rows)
    });
    match packed {
        Ok(packed) => Ok(packed),
        Err(Failure::Unrepresentable) => Err(diagnose(rule, source)?.into()),
        Err(Failure::Source(error)) => Err(error),
    }
}

/// Why rows could not be quantized.
pub(super) enum Failure<E> {
    /// A group cannot be quantized.
    Unrepresentable,
    /// The rows could not be read.
    Source(E),
}

impl<E> From<Unrepresentable> for Failure<E> {
    fn from(_: Unrepresentable) -> Self {
        Self::Unrepresentable
    }
}

/// What is done to each row.
struct Task<'a> {
    rule: &'a Rule,
    /// The decision of a granularity that spans rows.
    tensor: Option<Decision>,
    /// Whether the distortion is asked for.
    measure: bool,
}

/// The part of the result that a task writes.
struct Output<'a> {
    codes: &'a mut [u8],
    scales: &'a mut [f16],
}

impl Task<'_> {
    fn run<R: Rows>(
        &self,
        source: &R,
        chunk_rows: usize,
    ) -> Result<(TernaryMatrix, Distortion), Failure<R::Error>> {
        let (rows, columns) = (source.rows(), source.columns());
        let row_bytes = columns.div_ceil(4);
        let scales_per_row = self.rule.granularity.scales_per_row(columns);
        let mut codes = vec![0; rows * row_bytes];
        let mut scales = vec![f16::ZERO; rows * scales_per_row];
        let distortions: Vec<Vec<Distortion>> = codes
            .par_chunks_mut(chunk_rows * row_bytes)
            .zip(scales.par_chunks_mut(chunk_rows * scales_per_row))
            .enumerate()
            .map_init(
                || (RowKernel::new(), Vec::new()),
                |(kernel, buffer), (chunk, (codes, scales))| {
                    let first = chunk * chunk_rows;
                    let values = source
                        .read(first, codes.len() / row_bytes, buffer)
                        .map_err(Failure::Source)?;
                    let index = first as u64 * columns as u64;
                    let output = Output { codes, scales };
                    Ok(quantize_chunk(
                        self, kernel, values, columns, index, output,
                    )?)
                },
            )
            .collect::<Result<_, Failure<R::Error>>>()?;
        if self.tensor.is_some() {
            scales.truncate(1);
        }
        let matrix =
            TernaryMatrix::from_valid_parts(codes, scales, rows, columns, self.rule.granularity);
        // Row by row, so that the size of the chunks does not change the sum.
        Ok((matrix, distortions.into_iter().flatten().sum()))
    }
}

vectorized! {
    /// Quantizes whole rows, of which `index` is the first weight's; gives the distortion of each if it is asked for.
    fn quantize_chunk(
        task: &Task<'_>, kernel: &mut RowKernel, values: &[f32], columns: usize, index: u64, output: Output<'_>,
    ) -> Result<Vec<Distortion>, Unrepresentable> = quantize_chunk_loop::<_>;
}

#[inline(always)]
fn quantize_chunk_loop<L: RowLoops>(
    task: &Task<'_>,
    kernel: &mut RowKernel,
    values: &[f32],
    columns: usize,
    index: u64,
    output: Output<'_>,
) -> Result<Vec<Distortion>, Unrepresentable> {
    let group_len = task.rule.granularity.group_len(columns);
    let alone = task.tensor.is_some() || task.measure;
    match if alone { 0 } else { batch(group_len) } {
        8 => quantize_chunk_by::<L, 8>(task, kernel, values, columns, index, output),
        2 => quantize_chunk_by::<L, 2>(task, kernel, values, columns, index, output),
        _ => quantize_chunk_by::<L, 0>(task, kernel, values, columns, index, output),
    }
}

/// [`quantize_chunk`] with `N` groups decided together, or each alone.
#[inline(always)]
fn quantize_chunk_by<L: RowLoops, const N: usize>(
    task: &Task<'_>,
    kernel: &mut RowKernel,
    values: &[f32],
    columns: usize,
    mut index: u64,
    output: Output<'_>,
) -> Result<Vec<Distortion>, Unrepresentable> {
    let rule = task.rule;
    let group_len = rule.granularity.group_len(columns);
    let mut distortions = Vec::new();
    let rows = output.codes.chunks_mut(columns.div_ceil(4)).zip(
        output
            .scales
            .chunks_mut(rule.granularity.scales_per_row(columns)),
    );
    let batched = if N > 0 { N * group_len } else { usize::MAX };
    for (row, (codes, scales)) in values.chunks(columns).zip(rows) {
        let mut distortion = Distortion::default();
        let (mut column, mut rest, mut scales) = (0, row, scales);
        while let Some((groups, later)) = rest.split_at_checked(batched) {
            let (decisions, kept) = kernel.decide_batch::<L, N>(rule, groups, group_len, index)?;
            let (batch_scales, later_scales) = scales.split_at_mut(N);
            let parts = batch_scales.iter_mut().zip(kept.chunks_exact(group_len));
            for (decision, (scale, kept)) in decisions.iter().zip(parts) {
                // Exact: the decision's scale is on the f16 grid.
                *scale = f16::from_f32(decision.scale);
                pack::<L>(kept, decision.limit, column, codes);
                column += group_len;
            }
            index += batched as u64;
            (rest, scales) = (later, later_scales);
        }
        for (values, scale) in rest.chunks(group_len).zip(scales) {
            let decision = match task.tensor {
                Some(decision) => decision,
                None => kernel.decide::<L>(rule, values, index)?,
            };
            *scale = f16::from_f32(decision.scale);
            kernel.write_codes::<L>(rule, &decision, values, index, column, codes);
            if task.measure {
                let group = kernel.distortion(rule, &decision, values, index);
                distortion = [distortion, group].into_iter().sum();
            }
            index += values.len() as u64;
            column += values.len();
        }
        if let (used @ 1.., Some(last)) = (columns % 4, codes.last_mut()) {
            *last |= ZERO_CODES << (2 * used);
        }
        if task.measure {
            distortions.push(distortion);
        }
    }
    Ok(distortions)
}
