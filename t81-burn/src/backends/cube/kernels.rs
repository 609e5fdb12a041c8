//! The kernels that are launched.

// A kernel has indices, no iterators.
#![allow(clippy::needless_range_loop)]

use cubecl::prelude::*;

use super::quantizer::{
    LANES, Masked, Numbers, PairwiseFold, Rule, cut, fold_parts, group_of, group_scale,
    lane_magnitude, lane_masked, magnitude, masked, write,
};

/// Block sums or row sums that a thread of [`fold`] adds up. A power of two, so that it is a subtree of the pairwise fold.
pub(super) const FOLD: usize = 64;

/// Groups and rows: one thread decides about a group and writes it. `gradient` is read only if the rule says so.
#[cube(launch)]
pub(super) fn quantize_groups<G: Float, O: Float>(
    weight: &[f32],
    gradient: &[G],
    output: &mut [O],
    units: usize,
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
    group_length: usize,
    numbers: Numbers,
    #[comptime] rule: Rule,
    #[define(G)] _gradient_dtype: ElemType,
    #[define(O)] _dtype: ElemType,
) {
    if ABSOLUTE_POS >= units {
        terminate!();
    }
    let group = group_of(
        ABSOLUTE_POS,
        rows,
        columns,
        row_stride,
        column_stride,
        group_length,
    );
    let count = group.length as u32;
    let magnitude = magnitude(weight, &group, rule);
    let cut = cut(magnitude, count, &numbers, rule);
    let kept = if comptime!(rule.least_squares) {
        masked(weight, &group, &cut, &numbers, rule)
    } else {
        Masked {
            sum: 0.0f32,
            count: 0u32,
        }
    };
    let scale = group_scale(magnitude, count, &kept, rule);
    write::<G, O>(
        weight, gradient, output, &group, 0usize, 1usize, &cut, magnitude, scale, &numbers, rule,
    );
}

/// Groups of a cube of threads of [`quantize_short_groups`].
pub(super) const GROUPS_AT_ONCE: usize = 16;

/// Groups of one block: a thread for each of the partial sums that the canonical order folds, so that a matrix of few groups
/// still keeps a GPU busy. Neighbouring threads have neighbouring groups.
#[cube(launch)]
pub(super) fn quantize_short_groups<G: Float, O: Float>(
    weight: &[f32],
    gradient: &[G],
    output: &mut [O],
    groups: usize,
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
    group_length: usize,
    numbers: Numbers,
    #[comptime] rule: Rule,
    #[define(G)] _gradient_dtype: ElemType,
    #[define(O)] _dtype: ElemType,
) {
    let unit = UNIT_POS as usize;
    let (lane, slot) = (unit / GROUPS_AT_ONCE, unit % GROUPS_AT_ONCE);
    let place = CUBE_POS * GROUPS_AT_ONCE + slot;
    // All threads of a cube must reach its barriers: those without a group follow the last one and write nothing.
    let group = group_of(
        min(place, groups - 1),
        rows,
        columns,
        row_stride,
        column_stride,
        group_length,
    );
    let mut parts = Shared::<[f32]>::new_slice(GROUPS_AT_ONCE * LANES);
    let mut counts = Shared::<[u32]>::new_slice(GROUPS_AT_ONCE * LANES);
    let length = group.length as u32;
    parts[unit] = lane_magnitude(weight, &group, lane, rule);
    sync_cube();
    let magnitude = fold_parts(&parts, slot, GROUPS_AT_ONCE, rule.absolute_maximum);
    let cut = cut(magnitude, length, &numbers, rule);
    let kept = if comptime!(rule.least_squares) {
        let part = lane_masked(weight, &group, lane, &cut, &numbers, rule);
        // The parts before these may still be read.
        sync_cube();
        parts[unit] = part.sum;
        counts[unit] = part.count;
        sync_cube();
        let mut count = 0u32;
        #[unroll]
        for lane in 0..LANES {
            count += counts[slot + lane * GROUPS_AT_ONCE];
        }
        Masked {
            sum: fold_parts(&parts, slot, GROUPS_AT_ONCE, false),
            count,
        }
    } else {
        Masked {
            sum: 0.0f32,
            count: 0u32,
        }
    };
    let scale = group_scale(magnitude, length, &kept, rule);
    if place < groups {
        write::<G, O>(
            weight, gradient, output, &group, lane, LANES, &cut, magnitude, scale, &numbers, rule,
        );
    }
}

/// One scale for the tensor, first step: the sum or the maximum of each row.
#[cube(launch)]
pub(super) fn row_magnitudes(
    weight: &[f32],
    magnitudes: &mut [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
    #[comptime] rule: Rule,
) {
    if ABSOLUTE_POS >= rows {
        terminate!();
    }
    let group = group_of(
        ABSOLUTE_POS,
        rows,
        columns,
        row_stride,
        column_stride,
        columns,
    );
    magnitudes[ABSOLUTE_POS] = magnitude(weight, &group, rule);
}

/// Folds each [`FOLD`] neighbours into one, pairwise.
#[cube(launch)]
pub(super) fn fold(input: &[f32], output: &mut [f32], length: usize, #[comptime] maximum: bool) {
    let first = ABSOLUTE_POS * FOLD;
    if first >= length {
        terminate!();
    }
    let last = min(first + FOLD, length);
    if comptime!(maximum) {
        let mut largest = 0u32;
        for index in first..last {
            largest = max(largest, u32::reinterpret(input[index]));
        }
        output[ABSOLUTE_POS] = f32::reinterpret(largest);
    } else {
        let mut fold = PairwiseFold::new();
        for index in first..last {
            fold.push(input[index]);
        }
        output[ABSOLUTE_POS] = fold.finish();
    }
}

/// Adds up each [`FOLD`] neighbours.
#[cube(launch)]
pub(super) fn fold_counts(input: &[u32], output: &mut [u32], length: usize) {
    let first = ABSOLUTE_POS * FOLD;
    if first >= length {
        terminate!();
    }
    let last = min(first + FOLD, length);
    let mut total = 0u32;
    for index in first..last {
        total += input[index];
    }
    output[ABSOLUTE_POS] = total;
}

/// Second step: what the codes of each row leave of its magnitudes.
#[cube(launch)]
pub(super) fn row_masked(
    weight: &[f32],
    magnitude: &[f32],
    sums: &mut [f32],
    counts: &mut [u32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
    numbers: Numbers,
    #[comptime] rule: Rule,
) {
    if ABSOLUTE_POS >= rows {
        terminate!();
    }
    let group = group_of(
        ABSOLUTE_POS,
        rows,
        columns,
        row_stride,
        column_stride,
        columns,
    );
    let cut = cut(magnitude[0], (rows * columns) as u32, &numbers, rule);
    let kept = masked(weight, &group, &cut, &numbers, rule);
    sums[ABSOLUTE_POS] = kept.sum;
    counts[ABSOLUTE_POS] = kept.count;
}

/// Last step: every thread writes a short run of weights.
#[cube(launch)]
pub(super) fn write_tensor<G: Float, O: Float>(
    weight: &[f32],
    gradient: &[G],
    magnitude: &[f32],
    sums: &[f32],
    counts: &[u32],
    output: &mut [O],
    units: usize,
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
    run_length: usize,
    numbers: Numbers,
    #[comptime] rule: Rule,
    #[define(G)] _gradient_dtype: ElemType,
    #[define(O)] _dtype: ElemType,
) {
    if ABSOLUTE_POS >= units {
        terminate!();
    }
    let group = group_of(
        ABSOLUTE_POS,
        rows,
        columns,
        row_stride,
        column_stride,
        run_length,
    );
    let count = (rows * columns) as u32;
    let cut = cut(magnitude[0], count, &numbers, rule);
    let kept = Masked {
        sum: sums[0],
        count: counts[0],
    };
    let scale = group_scale(magnitude[0], count, &kept, rule);
    write::<G, O>(
        weight,
        gradient,
        output,
        &group,
        0usize,
        1usize,
        &cut,
        magnitude[0],
        scale,
        &numbers,
        rule,
    );
}
