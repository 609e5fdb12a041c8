//! The straight-through gradient: the derivative of the ternary value by the weight is taken as 1, or as
//! [`TernarySettings::zero_gain`] where the code is 0, and that of a rounded activation by the activation as 1.

use burn::backend::Autodiff;
use burn::backend::TensorMetadata;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;

use crate::operations::cast;
use crate::ops::{TernaryOps, TernarySettings};

#[derive(Debug)]
struct StraightThrough;

/// What the backward pass needs of the forward pass.
#[derive(Clone, Debug)]
struct State<B: TernaryOps> {
    /// The float type of the weight, which the gradient must have.
    dtype: DType,
    codes: Codes<B>,
}

/// How the backward pass tells which codes are 0.
#[derive(Clone, Debug)]
enum Codes<B: TernaryOps> {
    /// It need not.
    Alike,
    /// By the ternary value, which the product keeps for its own gradient anyway; and the gain of zeros.
    Exact(FloatTensor<B>, f32),
    /// By quantizing the weight once more: a blended value does not tell.
    Blended(FloatTensor<B>, TernarySettings),
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
            Codes::Alike => cast::<B>(gradient, dtype),
            Codes::Exact(ternary, gain) => B::weaken_zeros(gradient, ternary, gain, dtype),
            Codes::Blended(weight, settings) => B::ternary_gradient(gradient, weight, settings),
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
                let dtype = weight.dtype();
                let weight = weight.into_primitive();
                let gain = settings.zero_gain;
                let alike = gain == 1.0 || settings.blend == 0.0;
                let blended = settings.blend != 1.0 && !alike;
                let again = blended.then(|| (weight.clone(), settings.clone()));
                let ternary = B::ternary_quantize(weight, settings);
                let codes = match again {
                    Some((weight, settings)) => Codes::Blended(weight, settings),
                    None if alike => Codes::Alike,
                    None => Codes::Exact(ternary.clone(), gain),
                };
                preparation.finish(State { dtype, codes }, ternary)
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
                    dtype: input.dtype(),
                    codes: Codes::Alike,
                };
                preparation.finish(state, B::fake_quantize_activations(input.into_primitive()))
            }
            OpsKind::UnTracked(preparation) => {
                preparation.finish(B::fake_quantize_activations(input.into_primitive()))
            }
        }
    }
}
