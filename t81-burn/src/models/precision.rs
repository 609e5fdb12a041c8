//! Mixed precision: float32 parameters and residual stream, matrix products in a shorter type.

use burn::nn::Linear;
use burn::tensor::module::linear;
use burn::tensor::{DType, Tensor};

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
