//! The gradient of the embedding: the rows of each token are chained, and the first adds up its chain.
//!
//! Every sum runs in the order of the positions, so that it is the same each time, which atomic additions would not be.

// A kernel evaluates both sides of `||`, here beyond the end.
#![allow(clippy::if_same_then_else)]

use burn::backend::TensorMetadata;
use burn::tensor::{DType, Shape};
use burn_cubecl::ops::numeric::{empty_device_contiguous_dtype, zeros_client};
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::rows::{UNITS, cubes, element};

/// For each position the next one with the same token, `count` if there is none, and whether there is none before it.
#[cube(launch)]
fn chain_kernel<I: Int>(
    tokens: &[I],
    next: &mut [u32],
    is_first: &mut [u32],
    count: usize,
    #[define(I)] _dtype: ElemType,
) {
    let position = ABSOLUTE_POS;
    if position >= count {
        terminate!();
    }
    let token = tokens[position];
    let mut later = position + 1;
    let mut searches = true;
    while searches {
        if later >= count {
            searches = false;
        } else if tokens[later] == token {
            searches = false;
        } else {
            later += 1;
        }
    }
    next[position] = u32::cast_from(later);
    let mut earlier = 0usize;
    let mut searches = true;
    while searches {
        // Ends at the position itself at the latest.
        if tokens[earlier] == token {
            searches = false;
        } else {
            earlier += 1;
        }
    }
    let mut first = 0u32;
    if earlier == position {
        first = 1u32;
    }
    is_first[position] = first;
}

/// Adds up each chain from its first position on, a thread for each column.
#[cube(launch)]
fn chain_sums_kernel<G: Float, I: Int>(
    gradient: &[G],
    tokens: &[I],
    next: &[u32],
    is_first: &[u32],
    output: &mut [G],
    count: usize,
    width: usize,
    #[define(G)] _gradient_dtype: ElemType,
    #[define(I)] _dtype: ElemType,
) {
    let blocks = width.div_ceil(UNITS);
    let position = CUBE_POS / blocks;
    let column = CUBE_POS % blocks * UNITS + UNIT_POS as usize;
    if position >= count || column >= width {
        terminate!();
    }
    if is_first[position] == 0 {
        terminate!();
    }
    let mut sum = 0.0f32;
    let mut link = position;
    while link < count {
        sum += f32::cast_from(gradient[link * width + column]);
        link = usize::cast_from(next[link]);
    }
    output[usize::cast_from(tokens[position]) * width + column] = G::cast_from(sum);
}

/// Gradient `[vocabulary, width]` of an embedding from the contiguous one of its states, `[batch, length, width]`, and the
/// contiguous `tokens` `[batch, length]`.
pub(super) fn gradient(gradient: CubeTensor, tokens: CubeTensor, vocabulary: usize) -> CubeTensor {
    let [batch, length, width] = gradient.shape().dims();
    let count = batch * length;
    let client = gradient.client.clone();
    let shape = Shape::from([vocabulary, width]);
    let output = zeros_client(
        client.clone(),
        gradient.device.clone(),
        shape,
        gradient.dtype,
    );
    if count == 0 || width == 0 {
        return output;
    }
    let positions = || {
        empty_device_contiguous_dtype(
            client.clone(),
            gradient.device.clone(),
            Shape::from([count]),
            DType::U32,
        )
    };
    let (next, is_first) = (positions(), positions());
    let dimension = CubeDim::new_1d(UNITS as u32);
    let (incoming, dtype) = (element(gradient.dtype), element(tokens.dtype));
    chain_kernel::launch(
        &client,
        cubes(count.div_ceil(UNITS)),
        dimension,
        tokens.clone().into_buffer_arg(),
        next.clone().into_buffer_arg(),
        is_first.clone().into_buffer_arg(),
        count,
        dtype,
    );
    chain_sums_kernel::launch(
        &client,
        cubes(count * width.div_ceil(UNITS)),
        dimension,
        gradient.into_buffer_arg(),
        tokens.into_buffer_arg(),
        next.into_buffer_arg(),
        is_first.into_buffer_arg(),
        output.clone().into_buffer_arg(),
        count,
        width,
        incoming,
        dtype,
    );
    output
}
