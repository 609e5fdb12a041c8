//! The softmax of causal attention: each query's weights over the keys that it may see.
//!
//! Composed of Burn's operations, the scores of a batch would be read and written a dozen times, half of the values kept for the
//! backward pass, and in f16 a sum over hundreds of keys would lose what it divides by. As one operation the arithmetic is f32,
//! and only the weights are kept.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{DType, Tensor, TensorData};

use super::cast;

/// Which keys a query sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CausalSpan {
    /// The first query sees keys `0..=offset`, each later one a key more.
    pub(crate) offset: usize,
    /// How many keys up to its last one a query sees at most; all if `None`.
    pub(crate) window: Option<usize>,
}

impl CausalSpan {
    /// The first and the last key that the query at `position` sees.
    pub(crate) fn keys(self, position: usize) -> (usize, usize) {
        let last = position + self.offset;
        let window = self.window.unwrap_or(usize::MAX).max(1);
        ((last + 1).saturating_sub(window), last)
    }

    /// 0 for the keys that each of `queries` sees among `keys`, minus infinity for the others.
    fn mask(self, queries: usize, keys: usize) -> TensorData {
        let mask = (0..queries).flat_map(|query| {
            let (first, last) = self.keys(query);
            (0..keys).map(move |key| match (first..=last).contains(&key) {
                true => 0.0,
                false => f32::NEG_INFINITY,
            })
        });
        TensorData::new(mask.collect::<Vec<f32>>(), [1, 1, queries, keys])
    }
}

/// Burn's backends, extended by the softmax of causal attention.
#[backend_extension(
    Autodiff,
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "gpu"),
    Fusion: cfg(feature = "gpu"),
)]
pub(crate) trait SoftmaxOps: Backend {
    /// Weights of scores: `exp(score) / sum(exp(scores))` over the keys that a query sees, 0 elsewhere.
    ///
    /// # Shapes
    ///
    /// - `scores`: `[batch, heads, queries, keys]`
    /// - output: the same shape and float type; computed in f32
    #[fusion(dtype = scores, shape = scores)]
    fn causal_softmax(scores: FloatTensor<Self>, span: CausalSpan) -> FloatTensor<Self> {
        let (shape, dtype) = (scores.shape(), scores.dtype());
        let mask = Self::float_from_data(span.mask(shape[2], shape[3]), &scores.device());
        let scores = Self::float_add(cast::<Self>(scores, DType::F32), mask);
        let highest = Self::float_max_dim(scores.clone(), 3);
        let weights = Self::float_exp(Self::float_sub(scores, highest));
        let total = Self::float_sum_dim(weights.clone(), 3);
        cast::<Self>(Self::float_div(weights, total), dtype)
    }

    /// The gradient of the scores from the `weights` that they gave and the gradient of these.
    ///
    /// # Shapes
    ///
    /// - `weights`, `gradient`: `[batch, heads, queries, keys]`
    /// - output: the same shape, of the float type of the weights; computed in f32
    #[fusion(dtype = weights, shape = weights)]
    fn causal_softmax_gradient(
        weights: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        span: CausalSpan,
    ) -> FloatTensor<Self> {
        let _ = span;
        let dtype = weights.dtype();
        let weights = cast::<Self>(weights, DType::F32);
        let weighted = Self::float_mul(weights.clone(), cast::<Self>(gradient, DType::F32));
        let mean = Self::float_sum_dim(weighted.clone(), 3);
        let gradient = Self::float_sub(weighted, Self::float_mul(weights, mean));
        cast::<Self>(gradient, dtype)
    }
}

/// The weights of causal attention from its scores, both `[batch, heads, queries, keys]`.
pub(crate) fn causal_softmax(scores: Tensor<4>, span: CausalSpan) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::causal_softmax(scores.into_dispatch(), span))
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use burn::tensor::activation::softmax;
    use burn::tensor::{Device, Distribution, Tolerance};

    fn random(shape: [usize; 4], device: &Device) -> Tensor<4> {
        Tensor::random(shape, Distribution::Normal(0.0, 2.0), device)
    }

    #[test]
    fn a_query_weighs_the_keys_that_it_sees() {
        let device = Device::flex();
        let scores = random([2, 3, 5, 9], &device);
        for (offset, window) in [(4, None), (4, Some(3)), (0, Some(1)), (2, Some(100))] {
            let span = CausalSpan { offset, window };
            let weights = causal_softmax(scores.clone(), span);
            for query in 0..5 {
                let (first, last) = span.keys(query);
                assert_eq!(last, query + offset);
                let row = |tensor: &Tensor<4>, first, count| {
                    tensor.clone().narrow(2, query, 1).narrow(3, first, count)
                };
                let seen = last + 1 - first;
                let expected = softmax(row(&scores, first, seen), 3).into_data();
                let found = row(&weights, first, seen).into_data();
                found.assert_approx_eq::<f32>(&expected, Tolerance::absolute(1e-6));
                let total = row(&weights, 0, 9).sum().into_scalar::<f32>();
                // One for each head of each sequence: nothing is left for other keys.
                assert!((total - 6.0).abs() < 1e-5, "{total}");
            }
        }
    }

    #[test]
    fn its_gradient_is_that_of_the_composition() {
        let device = Device::flex().autodiff();
        let span = CausalSpan {
            offset: 0,
            window: Some(4),
        };
        let (scores, factors) = (random([2, 2, 6, 6], &device), random([2, 2, 6, 6], &device));
        let tracked = scores.clone().require_grad();
        let loss = (causal_softmax(tracked.clone(), span) * factors.clone()).sum();
        let found = tracked.grad(&loss.backward()).unwrap().into_data();

        let tracked = scores.require_grad();
        let mask = Tensor::<4>::from_data(span.mask(6, 6), &device);
        let loss = (softmax(tracked.clone() + mask, 3) * factors).sum();
        let expected = tracked.grad(&loss.backward()).unwrap().into_data();
        found.assert_approx_eq::<f32>(&expected, Tolerance::absolute(1e-5));
    }
}
