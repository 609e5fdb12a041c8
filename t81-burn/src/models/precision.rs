//! The products of linear layers: in a shorter float type than that of parameters and residual stream, and with activations
//! rounded where the weight is ternary and asks for it.

use burn::nn::{Linear, RmsNorm};
use burn::tensor::module::linear;
use burn::tensor::{DType, Tensor};

use super::backend::is_flex;
use crate::activations::fake_quantize_activations;
use crate::operations::normalization::rms_norm;
use crate::packed::{PackedWeight, packed_linear, rounds_activations};

/// `layer` applied to `states` `[batch, length, d_input]`, computed in `dtype`. The gradients of weight and bias arrive in
/// their own type.
pub(super) fn project(layer: &Linear, states: Tensor<3>, dtype: DType) -> Tensor<3> {
    let [output] = project_each([layer], states, dtype);
    output
}

/// [`project`] of the same states by several layers. They are rounded once for all, so that the backward pass keeps one copy.
pub(super) fn project_each<const N: usize>(
    layers: [&Linear; N],
    states: Tensor<3>,
    dtype: DType,
) -> [Tensor<3>; N] {
    let mut rounded = None;
    layers.map(|layer| {
        if layer.weight.reparameterization::<PackedWeight>().is_some() {
            return packed_linear(layer, states.clone()).cast(dtype);
        }
        let input = match rounds_activations(layer) {
            true => rounded
                .get_or_insert_with(|| fake_quantize_activations(states.clone().cast(dtype)))
                .clone(),
            false => states.clone().cast(dtype),
        };
        linear(
            input,
            layer.weight.val().cast(dtype),
            layer.bias.as_ref().map(|bias| bias.val().cast(dtype)),
        )
    })
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
