//! The softmax of causal attention: a cube of threads for each query.

use burn::backend::TensorMetadata;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::rows::{SHARED, UNITS, cubes, element, over_the_cube};
use crate::operations::softmax::CausalSpan;

/// Keys of a query that a thread keeps in registers at most.
const MOST_HELD: usize = 16;

/// First key that a query sees, and the last.
#[cube]
fn seen_keys(row: usize, queries: usize, offset: usize, window: usize) -> (usize, usize) {
    let last = row % queries + offset;
    let mut first = 0usize;
    if last >= window {
        first = last + 1 - window;
    }
    (first, last)
}

#[cube(launch)]
fn causal_softmax_kernel<E: Float>(
    scores: &[E],
    weights: &mut [E],
    rows: usize,
    queries: usize,
    keys: usize,
    offset: usize,
    window: usize,
    #[comptime] held: usize,
    #[define(E)] _dtype: ElemType,
) {
    let row = CUBE_POS;
    if row >= rows {
        terminate!();
    }
    let mut shared = Shared::new_slice(SHARED);
    let unit = UNIT_POS as usize;
    let start = row * keys;
    let (first, last) = seen_keys(row, queries, offset, window);

    // The score of the query's own key stands for threads that see none.
    let mut highest = f32::cast_from(scores[start + last]);
    if comptime!(held > 0) {
        let mut values = Array::<f32>::new(held);
        #[unroll]
        for index in 0..held {
            let key = unit + index * UNITS;
            values[index] = 0.0f32;
            if key >= first && key <= last {
                let score = f32::cast_from(scores[start + key]);
                highest = max(highest, score);
                values[index] = score;
            }
        }
        let highest = over_the_cube(&mut shared, highest, true);
        let mut total = 0.0f32;
        #[unroll]
        for index in 0..held {
            let key = unit + index * UNITS;
            if key >= first && key <= last {
                let weight = (values[index] - highest).exp();
                total += weight;
                values[index] = weight;
            }
        }
        let total = over_the_cube(&mut shared, total, false);
        #[unroll]
        for index in 0..held {
            let key = unit + index * UNITS;
            if key < keys {
                weights[start + key] = E::cast_from(values[index] / total);
            }
        }
    } else {
        let mut key = first + unit;
        while key <= last {
            highest = max(highest, f32::cast_from(scores[start + key]));
            key += UNITS;
        }
        let highest = over_the_cube(&mut shared, highest, true);
        let mut total = 0.0f32;
        let mut key = first + unit;
        while key <= last {
            total += (f32::cast_from(scores[start + key]) - highest).exp();
            key += UNITS;
        }
        let total = over_the_cube(&mut shared, total, false);
        let mut key = unit;
        while key < keys {
            let mut weight = 0.0f32;
            if key >= first && key <= last {
                weight = (f32::cast_from(scores[start + key]) - highest).exp() / total;
            }
            weights[start + key] = E::cast_from(weight);
            key += UNITS;
        }
    }
}

#[cube(launch)]
fn causal_softmax_gradient_kernel<E: Float, G: Float>(
    weights: &[E],
    gradient: &[G],
    output: &mut [E],
    rows: usize,
    queries: usize,
    keys: usize,
    offset: usize,
    window: usize,
    #[comptime] held: usize,
    #[define(E)] _dtype: ElemType,
    #[define(G)] _gradient_dtype: ElemType,
) {
    let row = CUBE_POS;
    if row >= rows {
        terminate!();
    }
    let mut shared = Shared::new_slice(SHARED);
    let unit = UNIT_POS as usize;
    let start = row * keys;
    let (first, last) = seen_keys(row, queries, offset, window);

    let mut mean = 0.0f32;
    if comptime!(held > 0) {
        let mut values = Array::<f32>::new(held);
        let mut gradients = Array::<f32>::new(held);
        #[unroll]
        for index in 0..held {
            let key = unit + index * UNITS;
            values[index] = 0.0f32;
            gradients[index] = 0.0f32;
            if key >= first && key <= last {
                values[index] = f32::cast_from(weights[start + key]);
                gradients[index] = f32::cast_from(gradient[start + key]);
            }
            mean += values[index] * gradients[index];
        }
        let mean = over_the_cube(&mut shared, mean, false);
        #[unroll]
        for index in 0..held {
            let key = unit + index * UNITS;
            if key < keys {
                output[start + key] = E::cast_from(values[index] * (gradients[index] - mean));
            }
        }
    } else {
        let mut key = first + unit;
        while key <= last {
            mean += f32::cast_from(weights[start + key]) * f32::cast_from(gradient[start + key]);
            key += UNITS;
        }
        let mean = over_the_cube(&mut shared, mean, false);
        let mut key = unit;
        while key < keys {
            let mut result = 0.0f32;
            if key >= first && key <= last {
                let weight = f32::cast_from(weights[start + key]);
                result = weight * (f32::cast_from(gradient[start + key]) - mean);
            }
            output[start + key] = E::cast_from(result);
            key += UNITS;
        }
    }
}

/// Weights of contiguous `scores` `[batch, heads, queries, keys]`.
pub(super) fn causal_softmax(scores: CubeTensor, span: CausalSpan) -> CubeTensor {
    let launch = Launch::new(&scores, span);
    let output = launch.output(&scores);
    if launch.is_empty() {
        return output;
    }
    let dtype = element(scores.dtype);
    causal_softmax_kernel::launch(
        &output.client.clone(),
        cubes(launch.rows),
        CubeDim::new_1d(UNITS as u32),
        scores.into_buffer_arg(),
        output.clone().into_buffer_arg(),
        launch.rows,
        launch.queries,
        launch.keys,
        launch.offset,
        launch.window,
        launch.held,
        dtype,
    );
    output
}

/// Gradient of the scores from contiguous `weights` and their contiguous `gradient`, both `[batch, heads, queries, keys]`.
pub(super) fn causal_softmax_gradient(
    weights: CubeTensor,
    gradient: CubeTensor,
    span: CausalSpan,
) -> CubeTensor {
    let launch = Launch::new(&weights, span);
    let output = launch.output(&weights);
    if launch.is_empty() {
        return output;
    }
    let (dtype, gradient_dtype) = (element(weights.dtype), element(gradient.dtype));
    causal_softmax_gradient_kernel::launch(
        &output.client.clone(),
        cubes(launch.rows),
        CubeDim::new_1d(UNITS as u32),
        weights.into_buffer_arg(),
        gradient.into_buffer_arg(),
        output.clone().into_buffer_arg(),
        launch.rows,
        launch.queries,
        launch.keys,
        launch.offset,
        launch.window,
        launch.held,
        dtype,
        gradient_dtype,
    );
    output
}

struct Launch {
    rows: usize,
    queries: usize,
    keys: usize,
    offset: usize,
    window: usize,
    /// Keys of a query that a thread keeps in registers; 0 if it reads them anew each time.
    held: usize,
}

impl Launch {
    fn new(scores: &CubeTensor, span: CausalSpan) -> Self {
        let shape = scores.shape();
        let (queries, keys) = (shape[2], shape[3]);
        let longest = queries + span.offset + 1;
        Self {
            rows: shape[0] * shape[1] * queries,
            queries,
            keys,
            held: match keys.div_ceil(UNITS) {
                count if count <= MOST_HELD => count,
                _ => 0,
            },
            offset: span.offset,
            window: span.window.unwrap_or(longest).clamp(1, longest),
        }
    }

    fn is_empty(&self) -> bool {
        self.rows == 0 || self.keys == 0
    }

    fn output(&self, like: &CubeTensor) -> CubeTensor {
        empty_device_contiguous_dtype(
            like.client.clone(),
            like.device.clone(),
            like.shape(),
            like.dtype,
        )
    }
}
