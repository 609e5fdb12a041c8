//! The root-mean-square normalization: a cube of threads for each row, and for gamma's gradient a thread for each column of some
//! rows.

use burn::backend::TensorMetadata;
use burn::tensor::{DType, Shape};
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::rows::{SHARED, UNITS, cubes, element, over_the_cube};

/// Rows whose part of gamma's gradient a thread adds up.
const ROWS_AT_ONCE: usize = 64;

/// One by the root of the mean square of a row.
#[cube]
fn inverse_root<S: Float>(
    states: &[S],
    shared: &mut Shared<[f32]>,
    start: usize,
    width: usize,
    share: f32,
    epsilon: f32,
) -> f32 {
    let mut squares = 0.0f32;
    let mut column = UNIT_POS as usize;
    while column < width {
        let state = f32::cast_from(states[start + column]);
        squares += state * state;
        column += UNITS;
    }
    let squares = over_the_cube(shared, squares, false);
    1.0f32 / (squares * share + epsilon).sqrt()
}

/// `share` is `1 / width`.
#[cube(launch)]
fn rms_norm_kernel<S: Float, O: Float>(
    states: &[S],
    gamma: &[f32],
    output: &mut [O],
    rows: usize,
    width: usize,
    share: f32,
    epsilon: f32,
    #[define(S)] _dtype: ElemType,
    #[define(O)] _output_dtype: ElemType,
) {
    let row = CUBE_POS;
    if row >= rows {
        terminate!();
    }
    let mut shared = Shared::new_slice(SHARED);
    let start = row * width;
    let inverse = inverse_root::<S>(states, &mut shared, start, width, share, epsilon);
    let mut column = UNIT_POS as usize;
    while column < width {
        let normalized = f32::cast_from(states[start + column]) * inverse;
        output[start + column] = O::cast_from(normalized * gamma[column]);
        column += UNITS;
    }
}

#[cube(launch)]
fn states_gradient_kernel<G: Float, S: Float>(
    gradient: &[G],
    states: &[S],
    gamma: &[f32],
    output: &mut [S],
    rows: usize,
    width: usize,
    share: f32,
    epsilon: f32,
    #[define(G)] _gradient_dtype: ElemType,
    #[define(S)] _dtype: ElemType,
) {
    let row = CUBE_POS;
    if row >= rows {
        terminate!();
    }
    let mut shared = Shared::new_slice(SHARED);
    let start = row * width;
    let inverse = inverse_root::<S>(states, &mut shared, start, width, share, epsilon);
    let mut along = 0.0f32;
    let mut column = UNIT_POS as usize;
    while column < width {
        let normalized = f32::cast_from(states[start + column]) * inverse;
        along += f32::cast_from(gradient[start + column]) * gamma[column] * normalized;
        column += UNITS;
    }
    let along = over_the_cube(&mut shared, along, false) * share;
    let mut column = UNIT_POS as usize;
    while column < width {
        let normalized = f32::cast_from(states[start + column]) * inverse;
        let incoming = f32::cast_from(gradient[start + column]) * gamma[column];
        output[start + column] = S::cast_from((incoming - normalized * along) * inverse);
        column += UNITS;
    }
}

/// [`inverse_root`] of each row.
#[cube(launch)]
fn inverse_roots_kernel<S: Float>(
    states: &[S],
    output: &mut [f32],
    rows: usize,
    width: usize,
    share: f32,
    epsilon: f32,
    #[define(S)] _dtype: ElemType,
) {
    let row = CUBE_POS;
    if row >= rows {
        terminate!();
    }
    let mut shared = Shared::new_slice(SHARED);
    let inverse = inverse_root::<S>(states, &mut shared, row * width, width, share, epsilon);
    if UNIT_POS == 0 {
        output[row] = inverse;
    }
}

/// Gamma's gradient over each [`ROWS_AT_ONCE`] rows: `[parts, width]`, a thread for each number.
#[cube(launch)]
fn gamma_parts_kernel<G: Float, S: Float>(
    gradient: &[G],
    states: &[S],
    inverse_roots: &[f32],
    output: &mut [f32],
    rows: usize,
    width: usize,
    parts: usize,
    #[define(G)] _gradient_dtype: ElemType,
    #[define(S)] _dtype: ElemType,
) {
    let blocks = width.div_ceil(UNITS);
    let part = CUBE_POS / blocks;
    let column = CUBE_POS % blocks * UNITS + UNIT_POS as usize;
    if part >= parts || column >= width {
        terminate!();
    }
    let first = part * ROWS_AT_ONCE;
    let end = min(first + ROWS_AT_ONCE, rows);
    let mut sum = 0.0f32;
    for row in first..end {
        let state = f32::cast_from(states[row * width + column]);
        sum += f32::cast_from(gradient[row * width + column]) * state * inverse_roots[row];
    }
    output[part * width + column] = sum;
}

/// Sums of the columns of `input` `[rows, columns]`, a cube of threads for each.
#[cube(launch)]
fn column_sums_kernel(input: &[f32], output: &mut [f32], rows: usize, columns: usize) {
    let column = CUBE_POS;
    if column >= columns {
        terminate!();
    }
    let mut shared = Shared::new_slice(SHARED);
    let mut sum = 0.0f32;
    let mut row = UNIT_POS as usize;
    while row < rows {
        sum += input[row * columns + column];
        row += UNITS;
    }
    let sum = over_the_cube(&mut shared, sum, false);
    if UNIT_POS == 0 {
        output[column] = sum;
    }
}

/// Rows of the states, and what the kernels need of them.
struct Rows {
    rows: usize,
    width: usize,
    /// `1 / width`
    share: f32,
}

impl Rows {
    fn of(states: &CubeTensor) -> Self {
        let shape = states.shape();
        let width = shape[shape.len() - 1];
        Self {
            rows: shape.num_elements() / width.max(1),
            width,
            share: 1.0 / width as f32,
        }
    }

    fn is_empty(&self) -> bool {
        self.rows == 0 || self.width == 0
    }
}

fn empty(like: &CubeTensor, shape: Shape, dtype: DType) -> CubeTensor {
    empty_device_contiguous_dtype(like.client.clone(), like.device.clone(), shape, dtype)
}

/// Normalizes contiguous `states` `[..., width]`; `gamma` is contiguous f32.
pub(super) fn rms_norm(
    states: CubeTensor,
    gamma: CubeTensor,
    epsilon: f32,
    dtype: DType,
) -> CubeTensor {
    let rows = Rows::of(&states);
    let output = empty(&states, states.shape(), dtype);
    if rows.is_empty() {
        return output;
    }
    let (from, to) = (element(states.dtype), element(dtype));
    rms_norm_kernel::launch(
        &output.client.clone(),
        cubes(rows.rows),
        CubeDim::new_1d(UNITS as u32),
        states.into_buffer_arg(),
        gamma.into_buffer_arg(),
        output.clone().into_buffer_arg(),
        rows.rows,
        rows.width,
        rows.share,
        epsilon,
        from,
        to,
    );
    output
}

/// Gradient of contiguous `states` from the contiguous one of their normalization; `gamma` is contiguous f32.
pub(super) fn states_gradient(
    gradient: CubeTensor,
    states: CubeTensor,
    gamma: CubeTensor,
    epsilon: f32,
) -> CubeTensor {
    let rows = Rows::of(&states);
    let output = empty(&states, states.shape(), states.dtype);
    if rows.is_empty() {
        return output;
    }
    let (incoming, dtype) = (element(gradient.dtype), element(states.dtype));
    states_gradient_kernel::launch(
        &output.client.clone(),
        cubes(rows.rows),
        CubeDim::new_1d(UNITS as u32),
        gradient.into_buffer_arg(),
        states.into_buffer_arg(),
        gamma.into_buffer_arg(),
        output.clone().into_buffer_arg(),
        rows.rows,
        rows.width,
        rows.share,
        epsilon,
        incoming,
        dtype,
    );
    output
}

/// Gradient of gamma, `[width]` in f32, from contiguous tensors.
pub(super) fn gamma_gradient(gradient: CubeTensor, states: CubeTensor, epsilon: f32) -> CubeTensor {
    let Rows { rows, width, share } = Rows::of(&states);
    let parts = rows.div_ceil(ROWS_AT_ONCE);
    let output = empty(&states, Shape::from([width]), DType::F32);
    if width == 0 {
        return output;
    }
    let sums = empty(&states, Shape::from([parts.max(1), width]), DType::F32);
    let dimension = CubeDim::new_1d(UNITS as u32);
    let client = output.client.clone();
    let (incoming, dtype) = (element(gradient.dtype), element(states.dtype));
    if rows > 0 {
        let inverse_roots = empty(&states, Shape::from([rows]), DType::F32);
        inverse_roots_kernel::launch(
            &client,
            cubes(rows),
            dimension,
            states.clone().into_buffer_arg(),
            inverse_roots.clone().into_buffer_arg(),
            rows,
            width,
            share,
            epsilon,
            dtype,
        );
        gamma_parts_kernel::launch(
            &client,
            cubes(parts * width.div_ceil(UNITS)),
            dimension,
            gradient.into_buffer_arg(),
            states.into_buffer_arg(),
            inverse_roots.into_buffer_arg(),
            sums.clone().into_buffer_arg(),
            rows,
            width,
            parts,
            incoming,
            dtype,
        );
    }
    column_sums_kernel::launch(
        &client,
        cubes(width),
        dimension,
        sums.into_buffer_arg(),
        output.clone().into_buffer_arg(),
        parts,
        width,
    );
    output
}
