//! The straight-through gradient: the derivative of the ternary value by the weight is taken as 1, or as
//! [`TernarySettings::zero_gain`] where the code is 0, and that of a rounded activation by the activation as 1.

use burn::backend::Autodiff;
use burn::backend::TensorMetadata;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::tensor::FloatTensor;
use burn::tensor::FloatDType;

use crate::ops::{TernaryOps, TernarySettings};

#[derive(Debug)]
struct StraightThrough;

/// What the backward pass needs of the forward pass.
#[derive(Clone, Debug)]
struct State<B: TernaryOps> {
    /// The float type of the weight, which the gradient must have.
    dtype: FloatDType,
    /// The weight and how to find its codes, if the gradient depends on them.
    codes: Option<(FloatTensor<B>, TernarySettings)>,
}

impl<B: TernaryOps> Backward<B, 1> for StraightThrough {
    type State = State<B>;

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let State { dtype, codes } = ops.state;
        unary::<B, _>(ops.parents, ops.node, grads, |gradient| match codes {
            Some((weight, settings)) => B::ternary_gradient(gradient, weight, settings),
            None if gradient.dtype() == dtype.into() => gradient,
            None => B::float_cast(gradient, dtype),
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
                let weight = weight.into_primitive();
                let weakens = settings.zero_gain != 1.0 && settings.blend > 0.0;
                let codes = weakens.then(|| (weight.clone(), settings.clone()));
                preparation.finish(
                    State { dtype, codes },
                    B::ternary_quantize(weight, settings),
                )
            }
            OpsKind::UnTracked(preparation) => {
                preparation.finish(B::ternary_quantize(weight.into_primitive(), settings))
            }
        }
    }

    fn fake_quantize_activations(input: FloatTensor<Self>) -> FloatTensor<Self> {
        match StraightThrough
            .prepare::<C>([input.node()])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(preparation) => {
                let state = State {
                    dtype: input.dtype().into(),
                    codes: None,
                };
                preparation.finish(state, B::fake_quantize_activations(input.into_primitive()))
            }
            OpsKind::UnTracked(preparation) => {
                preparation.finish(B::fake_quantize_activations(input.into_primitive()))
            }
        }
    }
}
