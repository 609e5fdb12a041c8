//! The shape of a parameter that may not have been used yet.

use burn::module::Param;
use burn::tensor::Tensor;

/// The shape that `param` has in a forward pass, without initializing it.
///
/// Burn's `Linear` with `LinearLayout::Col` keeps its weight `[d_output, d_input]` until its first use, which transposes it;
/// until then [`Param::lazy_shape`] gives that order.
pub(crate) fn used_shape<const D: usize>(param: &Param<Tensor<D>>) -> Vec<usize> {
    let mut shape = param.lazy_shape().to_vec();
    if !param.is_initialized() && shape.len() == 2 && shape[0] != shape[1] && is_transposed(param) {
        shape.reverse();
    }
    shape
}

/// Whether the layer's mapper transposes what it loads, as it does what it initializes; Burn shows neither.
fn is_transposed<const D: usize>(param: &Param<Tensor<D>>) -> bool {
    let mut dims = [1; D];
    dims[D - 1] = 2;
    let probe = Tensor::<D>::zeros(dims, &param.lazy_device().inner());
    let loaded = param.clone().transform_for_load(probe, param.id);
    loaded.base().dims() != dims
}
