//! The root-mean-square normalization of states (Zhang and Sennrich 2019, <https://arxiv.org/abs/1910.07467>).

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, TensorMetadata, backend_extension};
use burn::nn::RmsNorm;
use burn::tensor::{DType, Shape, Tensor};

use super::cast;

/// Burn's backends, extended by the normalization of states.
#[backend_extension(
    Autodiff,
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "gpu"),
    Fusion: cfg(feature = "gpu"),
)]
pub(crate) trait NormalizationOps: Backend {
    /// `states / sqrt(mean(states^2) + epsilon) * gamma`, the mean over the last axis.
    ///
    /// # Shapes
    ///
    /// - `states`: `[..., width]`; `gamma`: `[width]`
    /// - output: that of the states, in float type `dtype`; computed in f32
    #[fusion(dtype = *dtype, shape = states)]
    fn rms_norm(
        states: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        epsilon: f32,
        dtype: DType,
    ) -> FloatTensor<Self> {
        let states = cast::<Self>(states, DType::F32);
        let gamma = row::<Self>(cast::<Self>(gamma, DType::F32), states.shape().len());
        let rms = root_mean_square::<Self>(states.clone(), epsilon);
        let normalized = Self::float_mul(Self::float_div(states, rms), gamma);
        cast::<Self>(normalized, dtype)
    }

    /// The gradient of the states from that of [`rms_norm`](Self::rms_norm)'s output.
    ///
    /// # Shapes
    ///
    /// - `gradient`, `states`: `[..., width]`; `gamma`: `[width]`
    /// - output: shape and float type of the states; computed in f32
    #[fusion(dtype = states, shape = states)]
    fn rms_norm_states_gradient(
        gradient: FloatTensor<Self>,
        states: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self> {
        let dtype = states.dtype();
        let states = cast::<Self>(states, DType::F32);
        let axis = states.shape().len() - 1;
        let gamma = row::<Self>(cast::<Self>(gamma, DType::F32), axis + 1);
        let rms = root_mean_square::<Self>(states.clone(), epsilon);
        let gradient = Self::float_mul(cast::<Self>(gradient, DType::F32), gamma);
        let normalized = Self::float_div(states, rms.clone());
        let along = Self::float_mul(gradient.clone(), normalized.clone());
        let along = Self::float_mul(normalized, Self::float_mean_dim(along, axis));
        cast::<Self>(
            Self::float_div(Self::float_sub(gradient, along), rms),
            dtype,
        )
    }

    /// The gradient of gamma from that of [`rms_norm`](Self::rms_norm)'s output.
    ///
    /// # Shapes
    ///
    /// - `gradient`, `states`: `[..., width]`
    /// - output: `[width]` in f32
    #[fusion(dtype = DType::F32, shape = Shape::from([last_axis(states)]))]
    fn rms_norm_gamma_gradient(
        gradient: FloatTensor<Self>,
        states: FloatTensor<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self> {
        let shape = states.shape();
        let width = last_axis(&shape);
        let states = cast::<Self>(states, DType::F32);
        let rms = root_mean_square::<Self>(states.clone(), epsilon);
        let normalized = Self::float_div(states, rms);
        let parts = Self::float_mul(cast::<Self>(gradient, DType::F32), normalized);
        let rows = shape.num_elements() / width.max(1);
        let parts = Self::float_reshape(parts, Shape::from([rows, width]));
        Self::float_reshape(Self::float_sum_dim(parts, 0), Shape::from([width]))
    }
}

fn last_axis(shape: &Shape) -> usize {
    shape[shape.len() - 1]
}

fn root_mean_square<B: Backend>(states: FloatTensor<B>, epsilon: f32) -> FloatTensor<B> {
    let axis = states.shape().len() - 1;
    let mean = B::float_mean_dim(B::float_mul(states.clone(), states), axis);
    B::float_sqrt(B::float_add_scalar(mean, epsilon.into()))
}

/// `[width]` as `[1, ..., width]`, `rank` axes.
fn row<B: Backend>(values: FloatTensor<B>, rank: usize) -> FloatTensor<B> {
    let mut shape = vec![1; rank];
    shape[rank - 1] = values.shape()[0];
    B::float_reshape(values, Shape::from(shape))
}

/// `norm` applied to `states` `[..., width]`, in float type `dtype`.
pub(crate) fn rms_norm<const D: usize>(
    norm: &RmsNorm,
    states: Tensor<D>,
    dtype: DType,
) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::rms_norm(
        states.into_dispatch(),
        norm.gamma.val().into_dispatch(),
        norm.epsilon as f32,
        dtype,
    ))
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use burn::nn::RmsNormConfig;
    use burn::tensor::{Device, Distribution, Tolerance};

    fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
        Tensor::random(shape, Distribution::Normal(0.5, 2.0), device)
    }

    #[test]
    fn value_and_gradients_are_those_of_burns_module() {
        let device = Device::flex().autodiff();
        let mut norm = RmsNormConfig::new(7).with_epsilon(0.1).init(&device);
        norm.gamma = norm
            .gamma
            .map(|gamma| random(gamma.dims(), &device).require_grad());
        let (states, factors) = (random([2, 3, 7], &device), random([2, 3, 7], &device));
        let run = |forward: &dyn Fn(Tensor<3>) -> Tensor<3>| {
            let states = states.clone().require_grad();
            let output = forward(states.clone());
            let gradients = (output.clone() * factors.clone()).sum().backward();
            [
                output.into_data(),
                states.grad(&gradients).unwrap().into_data(),
                norm.gamma.grad(&gradients).unwrap().into_data(),
            ]
        };
        let expected = run(&|states| norm.forward(states));
        let found = run(&|states| rms_norm(&norm, states, DType::F32));
        for (found, expected) in found.iter().zip(&expected) {
            found.assert_approx_eq::<f32>(expected, Tolerance::absolute(1e-5));
        }
    }

    #[test]
    fn a_shorter_result_is_rounded_once_and_its_gradients_are_f32() {
        let device = Device::flex().autodiff();
        let norm = RmsNormConfig::new(5).init(&device);
        let states = random([4, 5], &device).require_grad();
        let output = rms_norm(&norm, states.clone(), DType::F16);
        let expected = rms_norm(&norm, states.clone(), DType::F32).cast(DType::F16);
        assert_eq!(output.clone().into_data(), expected.into_data());
        let gradients = output.sum().backward();
        assert_eq!(states.grad(&gradients).unwrap().dtype(), DType::F32);
        assert_eq!(norm.gamma.grad(&gradients).unwrap().dtype(), DType::F32);
    }
}
