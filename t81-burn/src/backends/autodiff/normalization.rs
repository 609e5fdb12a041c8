//! The gradient of the root-mean-square normalization, which needs its input alone.

use burn::backend::Autodiff;
use burn::backend::TensorMetadata;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, binary};
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;

use crate::operations::cast;
use crate::operations::normalization::NormalizationOps;

#[derive(Debug)]
struct RmsNorm;

impl<B: NormalizationOps> Backward<B, 2> for RmsNorm {
    /// States, gamma and epsilon.
    type State = (FloatTensor<B>, FloatTensor<B>, f32);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (states, gamma, epsilon) = ops.state;
        let (normalized, dtype) = (states.clone(), gamma.dtype());
        binary::<B, _, _>(
            ops.parents,
            ops.node,
            grads,
            |gradient| B::rms_norm_states_gradient(gradient, states, gamma, epsilon),
            |gradient| {
                let gradient = B::rms_norm_gamma_gradient(gradient, normalized, epsilon);
                cast::<B>(gradient, dtype)
            },
        );
    }
}

impl<B: NormalizationOps, C: CheckpointStrategy> NormalizationOps for Autodiff<B, C> {
    fn rms_norm(
        states: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        epsilon: f32,
        dtype: DType,
    ) -> FloatTensor<Self> {
        match RmsNorm
            .prepare::<C>([states.node(), gamma.node()])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(preparation) => {
                let (states, gamma) = (states.into_primitive(), gamma.into_primitive());
                let state = (states.clone(), gamma.clone(), epsilon);
                preparation.finish(state, B::rms_norm(states, gamma, epsilon, dtype))
            }
            OpsKind::UnTracked(preparation) => preparation.finish(B::rms_norm(
                states.into_primitive(),
                gamma.into_primitive(),
                epsilon,
                dtype,
            )),
        }
    }
}
