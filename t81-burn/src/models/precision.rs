//! Mixed precision: float32 parameters and residual stream, matrix products in a shorter type.

use burn::nn::{Linear, RmsNorm};
use burn::tensor::module::linear;
use burn::tensor::{DType, Tensor};

use super::backend::is_flex;
use crate::operations::normalization::rms_norm;
use crate::packed::{PackedWeight, packed_linear};

/// `layer` applied to `states` `[batch, length, d_input]`, computed in `dtype`. The gradients of weight and bias arrive in
/// their own type.
pub(super) fn project(layer: &Linear, states: Tensor<3>, dtype: DType) -> Tensor<3> {
    if layer.weight.reparameterization::<PackedWeight>().is_some() {
        return packed_linear(layer, states).cast(dtype);
    }
    linear(
        states.cast(dtype),
        layer.weight.val().cast(dtype),
        layer.bias.as_ref().map(|bias| bias.val().cast(dtype)),
    )
}

/// `norm` applied to `states` `[..., width]`, in `dtype`.
pub(super) fn normalize<const D: usize>(
    norm: &RmsNorm,
    states: Tensor<D>,
    dtype: DType,
) -> Tensor<D> {
    if is_flex(&states.device()) {
        // Without kernels of its own the operation gains nothing over Burn's module, which keeps more for the backward pass and
        // computes less in it.
        return norm.forward(states).cast(dtype);
    }
    rms_norm(norm, states, dtype)
}
