//! The rotation of heads: a thread for each pair of features, which it moves to the place of its head, or back.

use burn::backend::TensorMetadata;
use burn::tensor::Shape;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::rows::{UNITS, cubes, element};

/// Numbers by position `[batch, length, heads, width]` to numbers by head `[batch, heads, length, width]`, turned; the other way
/// and turned back if `back`.
#[cube(launch)]
fn rotate_kernel<E: Float>(
    input: &[E],
    cosines: &[f32],
    sines: &[f32],
    output: &mut [E],
    pairs: usize,
    length: usize,
    heads: usize,
    half: usize,
    #[comptime] back: bool,
    #[define(E)] _dtype: ElemType,
) {
    if ABSOLUTE_POS >= pairs {
        terminate!();
    }
    let pair = ABSOLUTE_POS % half;
    let head = ABSOLUTE_POS / half % heads;
    let row = ABSOLUTE_POS / half / heads;
    let (position, batch) = (row % length, row / length);
    let by_position = ABSOLUTE_POS / half * (2 * half) + pair;
    let by_head = ((batch * heads + head) * length + position) * (2 * half) + pair;
    let cosine = cosines[position * half + pair];
    let sine = sines[position * half + pair];
    if comptime!(back) {
        let first = f32::cast_from(input[by_head]);
        let second = f32::cast_from(input[by_head + half]);
        output[by_position] = E::cast_from(first * cosine + second * sine);
        output[by_position + half] = E::cast_from(second * cosine - first * sine);
    } else {
        let first = f32::cast_from(input[by_position]);
        let second = f32::cast_from(input[by_position + half]);
        output[by_head] = E::cast_from(first * cosine - second * sine);
        output[by_head + half] = E::cast_from(second * cosine + first * sine);
    }
}

/// Turns contiguous `states` `[batch, length, heads * width]`; the tables are contiguous f32.
pub(super) fn rotate(
    states: CubeTensor,
    cosines: CubeTensor,
    sines: CubeTensor,
    heads: usize,
) -> CubeTensor {
    let [batch, length, all] = states.shape().dims();
    let shape = [batch, heads, length, all / heads];
    let output = Shape::from(shape);
    launch(states, cosines, sines, shape, output, false)
}

/// Turns contiguous `states` `[batch, heads, length, width]` back; the tables are contiguous f32.
pub(super) fn rotate_back(
    states: CubeTensor,
    cosines: CubeTensor,
    sines: CubeTensor,
) -> CubeTensor {
    let shape = states.shape().dims();
    let [batch, heads, length, width] = shape;
    let output = Shape::from([batch, length, heads * width]);
    launch(states, cosines, sines, shape, output, true)
}

fn launch(
    states: CubeTensor,
    cosines: CubeTensor,
    sines: CubeTensor,
    [batch, heads, length, width]: [usize; 4],
    output: Shape,
    back: bool,
) -> CubeTensor {
    let output = empty_device_contiguous_dtype(
        states.client.clone(),
        states.device.clone(),
        output,
        states.dtype,
    );
    let pairs = batch * heads * length * (width / 2);
    if pairs == 0 {
        return output;
    }
    let dtype = element(states.dtype);
    rotate_kernel::launch(
        &output.client.clone(),
        cubes(pairs.div_ceil(UNITS)),
        CubeDim::new_1d(UNITS as u32),
        states.into_buffer_arg(),
        cosines.into_buffer_arg(),
        sines.into_buffer_arg(),
        output.clone().into_buffer_arg(),
        pairs,
        length,
        heads,
        width / 2,
        back,
        dtype,
    );
    output
}
