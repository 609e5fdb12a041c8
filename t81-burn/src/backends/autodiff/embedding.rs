//! The gradient of the embedding of tokens, which needs the tokens alone.

use burn::backend::Autodiff;
use burn::backend::TensorMetadata;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::tensor::{FloatTensor, IntTensor};

use crate::operations::embedding::EmbeddingOps;

#[derive(Debug)]
struct EmbedTokens;

impl<B: EmbeddingOps> Backward<B, 1> for EmbedTokens {
    /// Tokens, and how many there are to choose from.
    type State = (IntTensor<B>, usize);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (tokens, vocabulary) = ops.state;
        unary::<B, _>(ops.parents, ops.node, grads, |gradient| {
            B::embed_tokens_gradient(gradient, tokens, vocabulary)
        });
    }
}

impl<B: EmbeddingOps, C: CheckpointStrategy> EmbeddingOps for Autodiff<B, C> {
    fn embed_tokens(weight: FloatTensor<Self>, tokens: IntTensor<Self>) -> FloatTensor<Self> {
        match EmbedTokens
            .prepare::<C>([weight.node()])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(preparation) => {
                let vocabulary = weight.shape()[0];
                let states = B::embed_tokens(weight.into_primitive(), tokens.clone());
                preparation.finish((tokens, vocabulary), states)
            }
            OpsKind::UnTracked(preparation) => {
                preparation.finish(B::embed_tokens(weight.into_primitive(), tokens))
            }
        }
    }
}
