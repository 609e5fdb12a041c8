//! Operations of a decoder's layers that are one kernel on a GPU, with gradients of their own.
//!
//! Composed of Burn's operations they would read and write a batch's states several times over and keep what lies between for the
//! backward pass. Backends without such a kernel compose them all the same.

pub(crate) mod embedding;
pub(crate) mod normalization;
pub(crate) mod rotation;
pub(crate) mod softmax;

use burn::backend::Backend;
use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;

/// `tensor` in float type `dtype`.
pub(crate) fn cast<B: Backend>(tensor: FloatTensor<B>, dtype: DType) -> FloatTensor<B> {
    match tensor.dtype() == dtype {
        true => tensor,
        false => B::float_cast(tensor, dtype.into()),
    }
}
