//! The straight-through gradient: the derivative of the ternary value by the weight is taken as 1.

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn::tensor::FloatDType;

use crate::ops::{TernaryOps, TernarySettings};

#[derive(Debug)]
struct StraightThrough;

impl<B: TernaryOps> Backward<B, 1> for StraightThrough {
    /// The float type of the weight, which the gradient must have.
    type State = FloatDType;

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        unary::<B, _>(ops.parents, ops.node, grads, |grad| match grad.dtype() == ops.state.into() {
            true => grad,
            false => B::float_cast(grad, ops.state),
        });
    }
}

impl<B: TernaryOps, C: CheckpointStrategy> TernaryOps for Autodiff<B, C> {
    fn ternary_quantize(weight: FloatTensor<Self>, settings: TernarySettings) -> FloatTensor<Self> {
        match StraightThrough
            .prepare::<C>([weight.node()])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(preparation) => {
                let dtype = weight.dtype().into();
                preparation.finish(dtype, B::ternary_quantize(weight.into_primitive(), settings))
            }
            OpsKind::UnTracked(preparation) => {
                preparation.finish(B::ternary_quantize(weight.into_primitive(), settings))
            }
        }
    }
}
