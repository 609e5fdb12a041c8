//! Kernels in which the threads of a cube share a row.

use burn::tensor::DType;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// Threads of a row; a multiple of [`PARTS`].
pub(super) const UNITS: usize = 128;

/// Threads that add up the numbers of the others.
const PARTS: usize = 16;

/// Numbers that each of these adds up.
const SHARE: usize = UNITS / PARTS;

/// Numbers that [`over_the_cube`] shares between the threads.
pub(super) const SHARED: usize = UNITS + PARTS;

/// Cubes along one axis of a launch, which every GPU allows.
const MOST_CUBES: usize = 32_768;

/// The sum or the maximum of `value` over the threads of the cube, in a fixed order: some threads add up some numbers each, and
/// each thread adds up theirs, which takes fewer barriers than halving does.
#[cube]
pub(super) fn over_the_cube(
    shared: &mut Shared<[f32]>,
    value: f32,
    #[comptime] maximum: bool,
) -> f32 {
    let unit = UNIT_POS as usize;
    // The result before this one may still be read.
    sync_cube();
    shared[unit] = value;
    sync_cube();
    if unit < PARTS {
        let mut part = shared[unit];
        #[unroll]
        for index in 1..SHARE {
            part = joined(part, shared[unit + index * PARTS], maximum);
        }
        shared[UNITS + unit] = part;
    }
    sync_cube();
    let mut result = shared[UNITS];
    #[unroll]
    for index in 1..PARTS {
        result = joined(result, shared[UNITS + index], maximum);
    }
    result
}

#[cube]
fn joined(left: f32, right: f32, #[comptime] maximum: bool) -> f32 {
    if comptime!(maximum) {
        max(left, right)
    } else {
        left + right
    }
}

/// A cube for each of `rows`, and a few more where they need two axes.
pub(super) fn cubes(rows: usize) -> CubeCount {
    let wide = rows.clamp(1, MOST_CUBES);
    CubeCount::Static(wide as u32, rows.div_ceil(wide) as u32, 1)
}

/// The element type of `dtype` in a kernel.
pub(super) fn element(dtype: DType) -> ElemType {
    burn::backend::cubecl::dtype_to_storage_type(dtype)
}
