use super::attention::{AttentionContext, LlamaAttention};
use crate::models::cache::LayerCache;
use crate::models::precision::{normalize, project, project_each};
use burn::module::Module;
use burn::nn::{Linear, RmsNorm};
use burn::tensor::activation::silu;
use burn::tensor::{DType, Tensor};

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
    /// `[batch, length, hidden_size]` to the same shape, in `dtype`.
    pub(super) fn forward(&self, states: Tensor<3>, dtype: DType) -> Tensor<3> {
        let [gate, up] = project_each([&self.gate_proj, &self.up_proj], states, dtype);
        project(&self.down_proj, silu(gate) * up, dtype)
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
    pub(super) fn forward(
        &self,
        states: Tensor<3>,
        context: &AttentionContext,
        cache: Option<&mut LayerCache>,
    ) -> Tensor<3> {
        let (dtype, residual) = (context.dtype(), states.dtype());
        let normalized = normalize(&self.input_layernorm, states.clone(), dtype);
        let attended = self.self_attn.forward(normalized, context, cache);
        let states = states + attended.cast(residual);
        let normalized = normalize(&self.post_attention_layernorm, states.clone(), dtype);
        states + self.mlp.forward(normalized, dtype).cast(residual)
    }
}
