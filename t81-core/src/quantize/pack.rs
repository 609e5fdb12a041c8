//! Quantization to a packed matrix.

use half::f16;
use rayon::prelude::*;

use super::diagnose::diagnose;
use super::distortion::Distortion;
use super::error::QuantizeError;
use super::quantizer::Weights;
use super::row::RowKernel;
use super::rows::Rows;
use super::rule::{Decision, Rule, Unrepresentable};
use super::tensor;
use crate::matrix::{TernaryMatrix, ZERO_CODES};
use crate::settings::Granularity;

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
                    Ok(self.chunk(kernel, values, columns, index, output)?)
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

    /// Quantizes whole rows, of which `index` is the first weight's; gives the distortion of each if it is asked for.
    fn chunk(
        &self,
        kernel: &mut RowKernel,
        values: &[f32],
        columns: usize,
        mut index: u64,
        output: Output<'_>,
    ) -> Result<Vec<Distortion>, Unrepresentable> {
        let rule = self.rule;
        let group_len = rule.granularity.group_len(columns);
        let mut distortions = Vec::new();
        let rows = output.codes.chunks_mut(columns.div_ceil(4)).zip(
            output
                .scales
                .chunks_mut(rule.granularity.scales_per_row(columns)),
        );
        for (row, (codes, scales)) in values.chunks(columns).zip(rows) {
            let mut distortion = Distortion::default();
            for (group, (values, scale)) in row.chunks(group_len).zip(scales).enumerate() {
                let decision = match self.tensor {
                    Some(decision) => decision,
                    None => kernel.decide(rule, values, index)?,
                };
                // Exact: the decision's scale is on the f16 grid.
                *scale = f16::from_f32(decision.scale);
                kernel.write_codes(rule, &decision, values, index, group * group_len, codes);
                if self.measure {
                    let group = kernel.distortion(rule, &decision, values, index);
                    distortion = [distortion, group].into_iter().sum();
                }
                index += values.len() as u64;
            }
            if let (used @ 1.., Some(last)) = (columns % 4, codes.last_mut()) {
                *last |= ZERO_CODES << (2 * used);
            }
            if self.measure {
                distortions.push(distortion);
            }
        }
        Ok(distortions)
    }
}
