use crate::models::attention::{CausalAttention, split_heads};
use crate::models::cache::LayerCache;
use crate::models::precision::project;
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::Tensor;

/// Causal attention whose queries, keys and values come from one projection.
#[derive(Module, Debug)]
pub struct Gpt2Attention {
    /// `n_embd` to the queries, the keys and the values of all heads, `n_embd` each.
    pub c_attn: Linear,
    /// `n_embd` to `n_embd`, into the residual stream.
    pub c_proj: Linear,
    /// Number of heads.
    pub heads: usize,
}

impl Gpt2Attention {
    /// `[batch, length, n_embd]` to the same shape, after the positions of `cache` if there is one.
    pub(super) fn forward(
        &self,
        states: Tensor<3>,
        causal: &CausalAttention,
        cache: Option<&mut LayerCache>,
    ) -> Tensor<3> {
        let width = states.dims()[2];
        let fused = project(&self.c_attn, states, causal.dtype());
        let part = |index| split_heads(fused.clone().narrow(2, index * width, width), self.heads);
        let attended = causal.attend(part(0), part(1), part(2), cache);
        project(&self.c_proj, attended, causal.dtype())
    }
}
