//! The gradient of the rotation of heads: the rotation back.

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::tensor::FloatTensor;

use crate::operations::rotation::RotationOps;

#[derive(Debug)]
struct RotateHeads;

impl<B: RotationOps> Backward<B, 1> for RotateHeads {
    /// Cosines and sines.
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (cosines, sines) = ops.state;
        unary::<B, _>(ops.parents, ops.node, grads, |gradient| {
            B::rotate_heads_gradient(gradient, cosines, sines)
        });
    }
}

impl<B: RotationOps, C: CheckpointStrategy> RotationOps for Autodiff<B, C> {
    fn rotate_heads(
        states: FloatTensor<Self>,
        cosines: FloatTensor<Self>,
        sines: FloatTensor<Self>,
        heads: usize,
    ) -> FloatTensor<Self> {
        let (cosines, sines) = (cosines.into_primitive(), sines.into_primitive());
        match RotateHeads
            .prepare::<C>([states.node()])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(preparation) => preparation.finish(
                (cosines.clone(), sines.clone()),
                B::rotate_heads(states.into_primitive(), cosines, sines, heads),
            ),
            OpsKind::UnTracked(preparation) => preparation.finish(B::rotate_heads(
                states.into_primitive(),
                cosines,
                sines,
                heads,
            )),
        }
    }
}
