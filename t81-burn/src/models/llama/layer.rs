use super::attention::{AttentionContext, LlamaAttention};
use burn::module::Module;
use burn::nn::{Linear, RmsNorm};
use burn::tensor::Tensor;
use burn::tensor::activation::silu;

/// Feed-forward part of a layer: `down(silu(gate(x)) * up(x))` (Shazeer 2020, [SwiGLU](https://arxiv.org/abs/2002.05202)).
#[derive(Module, Debug)]
pub struct LlamaMlp {
    /// `hidden_size` to `intermediate_size`, goes through SiLU.
    pub gate_proj: Linear,
    /// `hidden_size` to `intermediate_size`.
    pub up_proj: Linear,
    /// `intermediate_size` to `hidden_size`.
    pub down_proj: Linear,
}

impl LlamaMlp {
    /// `[batch, length, hidden_size]` to the same shape.
    pub fn forward(&self, states: Tensor<3>) -> Tensor<3> {
        let gate = silu(self.gate_proj.forward(states.clone()));
        self.down_proj.forward(gate * self.up_proj.forward(states))
    }
}

/// One decoder layer: attention and feed-forward, each behind a normalisation and added to the residual stream.
#[derive(Module, Debug)]
pub struct LlamaLayer {
    /// Causal attention.
    pub self_attn: LlamaAttention,
    /// Feed-forward part.
    pub mlp: LlamaMlp,
    /// Normalisation before the attention.
    pub input_layernorm: RmsNorm,
    /// Normalisation before the feed-forward part.
    pub post_attention_layernorm: RmsNorm,
}

impl LlamaLayer {
    pub(super) fn forward(&self, states: Tensor<3>, context: &AttentionContext) -> Tensor<3> {
        let attended = self
            .self_attn
            .forward(self.input_layernorm.forward(states.clone()), context);
        let states = states + attended;
        let fed = self
            .mlp
            .forward(self.post_attention_layernorm.forward(states.clone()));
        states + fed
    }
}
