//! The embedding of tokens, with a gradient that adds up each token's rows in order.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, TensorMetadata, backend_extension};
use burn::nn::Embedding;
use burn::tensor::{IndexingUpdateOp, Int, Shape, Tensor};

/// Burn's backends, extended by the embedding of tokens.
#[backend_extension(
    Autodiff,
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "gpu"),
    Fusion: cfg(feature = "gpu"),
)]
pub(crate) trait EmbeddingOps: Backend {
    /// The row of `weight` of each token.
    ///
    /// # Shapes
    ///
    /// - `weight`: `[vocabulary, width]`; `tokens`: `[batch, length]`
    /// - output: `[batch, length, width]`
    #[fusion(default)]
    fn embed_tokens(weight: FloatTensor<Self>, tokens: IntTensor<Self>) -> FloatTensor<Self> {
        Self::embedding(weight, tokens)
    }

    /// The gradient of the weight from that of [`embed_tokens`](Self::embed_tokens)' output.
    ///
    /// # Shapes
    ///
    /// - `gradient`: `[batch, length, width]`; `tokens`: `[batch, length]`
    /// - output: `[vocabulary, width]`, of the float type of the gradient
    #[fusion(dtype = gradient, shape = Shape::from([*vocabulary, gradient[2]]))]
    fn embed_tokens_gradient(
        gradient: FloatTensor<Self>,
        tokens: IntTensor<Self>,
        vocabulary: usize,
    ) -> FloatTensor<Self> {
        let [batch, length, width] = gradient.shape().dims();
        let (device, dtype) = (gradient.device(), gradient.dtype());
        let rows = batch * length;
        let zeros = Self::float_zeros(Shape::from([vocabulary, width]), &device, dtype.into());
        let tokens = Self::int_reshape(tokens, Shape::from([rows]));
        let gradient = Self::float_reshape(gradient, Shape::from([rows, width]));
        Self::float_select_assign(zeros, 0, tokens, gradient, IndexingUpdateOp::Add)
    }
}

/// `embedding`'s rows of `tokens` `[batch, length]`: `[batch, length, width]`.
pub(crate) fn embed_tokens(embedding: &Embedding, tokens: Tensor<2, Int>) -> Tensor<3> {
    Tensor::from_dispatch(Dispatch::embed_tokens(
        embedding.weight.val().into_dispatch(),
        tokens.into_dispatch(),
    ))
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use burn::nn::EmbeddingConfig;
    use burn::tensor::Device;

    #[test]
    fn a_tokens_rows_add_up() {
        let device = Device::flex().autodiff();
        let embedding = EmbeddingConfig::new(4, 2).init(&device);
        let tokens = Tensor::<2, Int>::from_data([[2, 0, 2], [2, 3, 0]], &device);
        let states = embed_tokens(&embedding, tokens.clone());
        let expected = embedding.forward(tokens).into_data();
        assert_eq!(states.clone().into_data(), expected);
        let factors = Tensor::<3>::from_data(
            [
                [[1.0, -1.0], [2.0, -2.0], [4.0, -4.0]],
                [[8.0, -8.0], [16.0, -16.0], [32.0, -32.0]],
            ],
            &device,
        );
        let gradients = (states * factors).sum().backward();
        let gradient = embedding.weight.grad(&gradients).unwrap().into_data();
        let values: Vec<f32> = gradient.try_into_vec().unwrap();
        assert_eq!(values, [34.0, -34.0, 0.0, 0.0, 13.0, -13.0, 16.0, -16.0]);
    }
}
