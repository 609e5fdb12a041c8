//! The gradient of the softmax of causal attention, which needs its result alone.

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::tensor::FloatTensor;

use crate::operations::softmax::{CausalSpan, SoftmaxOps};

#[derive(Debug)]
struct CausalSoftmax;

impl<B: SoftmaxOps> Backward<B, 1> for CausalSoftmax {
    /// The weights that came out.
    type State = (FloatTensor<B>, CausalSpan);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (weights, span) = ops.state;
        unary::<B, _>(ops.parents, ops.node, grads, |gradient| {
            B::causal_softmax_gradient(weights, gradient, span)
        });
    }
}

impl<B: SoftmaxOps, C: CheckpointStrategy> SoftmaxOps for Autodiff<B, C> {
    fn causal_softmax(scores: FloatTensor<Self>, span: CausalSpan) -> FloatTensor<Self> {
        match CausalSoftmax
            .prepare::<C>([scores.node()])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(preparation) => {
                let weights = B::causal_softmax(scores.into_primitive(), span);
                preparation.finish((weights.clone(), span), weights)
            }
            OpsKind::UnTracked(preparation) => {
                preparation.finish(B::causal_softmax(scores.into_primitive(), span))
            }
        }
    }
}
