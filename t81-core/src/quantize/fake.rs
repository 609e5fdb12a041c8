//! Quantization to floats: the forward pass of training.

use rayon::prelude::*;

use super::diagnose::diagnose;
use super::error::QuantizeError;
use super::loops::RowLoops;
use super::quantizer::Weights;
use super::region::{Region, width};
use super::row::{RowKernel, batch, write_block};
use super::rule::{Decision, Rule, Unrepresentable};
use super::stripe::{Decisions, Output, StripeKernel};
use super::tensor;
use crate::settings::{Granularity, Layout};
use crate::vectorized::vectorized;

/// What a quantization did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuantizeStatistics {
    /// Weights quantized.
    pub weights: u64,
    /// Weights whose code is 0.
    pub zeros: u64,
}

impl QuantizeStatistics {
    /// The fraction of zero codes; 0 without weights.
    #[must_use]
    pub fn sparsity(&self) -> f64 {
        self.zeros as f64 / self.weights.max(1) as f64
    }
}

/// Below this many weights one thread is faster than waking others.
const SEQUENTIAL: usize = 1 << 15;

/// Output features of the narrowest task of the `[in, out]` layout: a few cache lines.
const STRIPE: usize = 64;

/// From as many weights on, the outputs go past the caches, which would not keep them until they are read.
const STREAMED: usize = 1 << 22;

/// Weights of one task of the `[out, in]` layout, about.
const TASK: usize = 1 << 15;

/// The forward pass; see [`Quantizer::fake_quantize`](super::Quantizer::fake_quantize). The lengths are checked.
pub(super) fn quantize(
    rule: &Rule,
    weights: Weights<'_>,
    blend: f32,
    output: &mut [f32],
) -> Result<QuantizeStatistics, QuantizeError> {
    let zeros = match zeros(rule, &weights, blend, output) {
        Ok(zeros) => zeros,
        Err(Unrepresentable) => return Err(diagnose(rule, &weights)?),
    };
    Ok(QuantizeStatistics {
        weights: weights.values.len() as u64,
        zeros,
    })
}

fn zeros(
    rule: &Rule,
    weights: &Weights<'_>,
    blend: f32,
    output: &mut [f32],
) -> Result<u64, Unrepresentable> {
    let tensor = match rule.granularity {
        Granularity::Tensor => Some(tensor::decide(rule, weights)?),
        Granularity::Row | Granularity::Group(_) => None,
    };
    match weights.layout {
        Layout::OutIn => along_rows(rule, weights, tensor, blend, output),
        Layout::InOut => across_columns(rule, weights, tensor, blend, output),
    }
}

fn along_rows(
    rule: &Rule,
    weights: &Weights<'_>,
    tensor: Option<Decision>,
    blend: f32,
    output: &mut [f32],
) -> Result<u64, Unrepresentable> {
    let columns = weights.columns;
    let group_len = rule.granularity.group_len(columns);
    let task_rows = TASK.div_ceil(columns);
    let rows = Rows {
        rule,
        tensor,
        columns,
        group_len,
        blend,
    };
    let run = |kernel: &mut RowKernel, task: usize, values: &[f32], output: &mut [f32]| {
        write_rows(
            &rows,
            kernel,
            (task * task_rows * columns) as u64,
            values,
            output,
        )
    };
    if weights.values.len() <= SEQUENTIAL {
        let mut kernel = RowKernel::new();
        let tasks = weights
            .values
            .chunks(task_rows * columns)
            .zip(output.chunks_mut(task_rows * columns));
        return tasks
            .enumerate()
            .map(|(task, (values, output))| run(&mut kernel, task, values, output))
            .sum();
    }
    weights
        .values
        .par_chunks(task_rows * columns)
        .zip(output.par_chunks_mut(task_rows * columns))
        .enumerate()
        .map_init(RowKernel::new, |kernel, (task, (values, output))| {
            run(kernel, task, values, output)
        })
        .try_reduce(|| 0, |a, b| Ok(a + b))
}

/// How rows are made floats.
struct Rows<'a> {
    rule: &'a Rule,
    tensor: Option<Decision>,
    columns: usize,
    group_len: usize,
    blend: f32,
}

vectorized! {
    /// Writes whole rows, of which `index` is the first weight's; gives the number of zero codes.
    fn write_rows(
        rows: &Rows<'_>, kernel: &mut RowKernel, index: u64, values: &[f32], output: &mut [f32],
    ) -> Result<u64, Unrepresentable> = write_rows_loop::<_>;
}

#[inline(always)]
fn write_rows_loop<L: RowLoops>(
    rows: &Rows<'_>,
    kernel: &mut RowKernel,
    index: u64,
    values: &[f32],
    output: &mut [f32],
) -> Result<u64, Unrepresentable> {
    match rows.tensor.map_or(batch(rows.group_len), |_| 0) {
        8 => write_rows_by::<L, 8>(rows, kernel, index, values, output),
        2 => write_rows_by::<L, 2>(rows, kernel, index, values, output),
        _ => write_rows_by::<L, 0>(rows, kernel, index, values, output),
    }
}

/// [`write_rows`] with `N` groups decided together, or each alone.
#[inline(always)]
fn write_rows_by<L: RowLoops, const N: usize>(
    rows: &Rows<'_>,
    kernel: &mut RowKernel,
    mut index: u64,
    values: &[f32],
    output: &mut [f32],
) -> Result<u64, Unrepresentable> {
    let Rows {
        rule,
        tensor,
        columns,
        group_len,
        blend,
    } = *rows;
    let mut zeros = 0;
    let batched = if N > 0 { N * group_len } else { usize::MAX };
    for (mut row, mut output) in values.chunks(columns).zip(output.chunks_mut(columns)) {
        while let Some((groups, rest)) = row.split_at_checked(batched) {
            let (decisions, kept) = kernel.decide_batch::<L, N>(rule, groups, group_len, index)?;
            let (outputs, rest_output) = output.split_at_mut(batched);
            let parts = groups
                .chunks_exact(group_len)
                .zip(kept.chunks_exact(group_len))
                .zip(outputs.chunks_exact_mut(group_len));
            let mut nonzero = 0;
            for (decision, ((group, kept), output)) in decisions.iter().zip(parts) {
                nonzero += u64::from(write_block(decision, group, kept, blend, output));
            }
            zeros += batched as u64 - nonzero;
            index += batched as u64;
            (row, output) = (rest, rest_output);
        }
        for (group, output) in row.chunks(group_len).zip(output.chunks_mut(group_len)) {
            let decision = match tensor {
                Some(decision) => decision,
                None => kernel.decide::<L>(rule, group, index)?,
            };
            zeros += kernel.write_floats(rule, &decision, group, index, blend, output);
            index += group.len() as u64;
        }
    }
    Ok(zeros)
}

/// As many outputs, or a few less, as end where a line of memory does.
fn whole_lines(outputs: &[f32], most: usize) -> usize {
    const LINE: usize = 16;
    let begun = outputs.as_ptr().align_offset(LINE * size_of::<f32>()) % LINE;
    if begun == 0 {
        most
    } else {
        most - LINE + begun
    }
}

/// Some output features of some input features, and their output slices.
struct Patch<'a, 'o> {
    first: usize,
    width: usize,
    start: usize,
    output: &'a mut [&'o mut [f32]],
}

fn across_columns(
    rule: &Rule,
    weights: &Weights<'_>,
    tensor: Option<Decision>,
    blend: f32,
    output: &mut [f32],
) -> Result<u64, Unrepresentable> {
    let (rows, columns) = (weights.rows, weights.columns);
    let group_len = match tensor {
        // Any height does once the decision is made.
        Some(_) => columns.min(64),
        None => rule.granularity.group_len(columns),
    };
    let groups = columns.div_ceil(group_len);
    let parallel = weights.values.len() > SEQUENTIAL;
    let streamed = weights.values.len() >= STREAMED;
    let wanted = if parallel {
        4 * rayon::current_num_threads()
    } else {
        1
    };
    let stripe = rows
        .div_ceil(wanted.div_ceil(groups))
        .next_multiple_of(STRIPE);

    // Each stripe of output features owns its slice of every input feature's outputs.
    let mut stripes: Vec<Vec<&mut [f32]>> = (0..rows.div_ceil(stripe))
        .map(|_| Vec::with_capacity(columns))
        .collect();
    for outputs in output.chunks_mut(rows) {
        for (slices, slice) in stripes.iter_mut().zip(outputs.chunks_mut(stripe)) {
            slices.push(slice);
        }
    }
    let patches: Vec<Patch<'_, '_>> = stripes
        .iter_mut()
        .enumerate()
        .flat_map(|(index, slices)| {
            let first = index * stripe;
            let width = stripe.min(rows - first);
            slices
                .chunks_mut(group_len)
                .enumerate()
                .map(move |(group, output)| Patch {
                    first,
                    width,
                    start: group * group_len,
                    output,
                })
        })
        .collect();

    let tensor = tensor.map(|decision| Decisions::uniform(&decision));
    let run = |kernel: &mut StripeKernel, patch: Patch<'_, '_>| {
        let mut zeros = 0;
        let mut position = 0;
        while position < patch.width {
            let outputs = &patch.output[0][position..patch.width];
            let most = width(patch.output.len());
            let width = outputs.len().min(whole_lines(outputs, most));
            let (first, len) = (patch.first + position, patch.output.len());
            let region = Region::new(weights, first, width, patch.start, len);
            let output = Output {
                slices: &mut *patch.output,
                position,
                streamed,
            };
            zeros += match &tensor {
                Some(decisions) => kernel.write_floats(rule, decisions, &region, blend, output),
                None => kernel.quantize(rule, &region, blend, output)?,
            };
            position += width;
        }
        Ok(zeros)
    };
    if parallel {
        patches
            .into_par_iter()
            .map_init(StripeKernel::new, run)
            .try_reduce(|| 0, |a, b| Ok(a + b))
    } else {
        let mut kernel = StripeKernel::new();
        patches
            .into_iter()
            .map(|patch| run(&mut kernel, patch))
            .sum()
    }
}
