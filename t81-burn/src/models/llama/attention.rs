use super::rotary::{RotaryTables, rotate};
use crate::models::attention::{CausalAttention, split_heads};
use crate::models::cache::LayerCache;
use crate::models::precision::{project, project_each};
use burn::module::Module;
use burn::nn::{Linear, RmsNorm};
use burn::tensor::{DType, Tensor};

/// Causal attention in which groups of query heads share a key and value head
/// (Ainslie et al. 2023, [GQA](https://arxiv.org/abs/2305.13245)).
#[derive(Module, Debug)]
pub struct LlamaAttention {
    /// `hidden_size` to `heads * head_dim`.
    pub q_proj: Linear,
    /// `hidden_size` to `key_value_heads * head_dim`.
    pub k_proj: Linear,
    /// `hidden_size` to `key_value_heads * head_dim`.
    pub v_proj: Linear,
    /// `heads * head_dim` to `hidden_size`.
    pub o_proj: Linear,
    /// Normalisation of each query head before its rotation, if there is one (Qwen3).
    pub q_norm: Option<RmsNorm>,
    /// Normalisation of each key head before its rotation, if there is one (Qwen3).
    pub k_norm: Option<RmsNorm>,
    /// Number of query heads.
    pub heads: usize,
    /// Number of key and value heads.
    pub key_value_heads: usize,
    /// Whether the model's sliding window, if it has one, applies.
    pub windowed: bool,
}

/// What the layers of one forward pass share.
pub(super) struct AttentionContext {
    dtype: DType,
    cosines: Tensor<2>,
    sines: Tensor<2>,
    causal: CausalAttention,
    /// `None` if the window is as good as none.
    windowed: Option<CausalAttention>,
}

impl AttentionContext {
    /// Type that the layers compute in.
    pub(super) fn dtype(&self) -> DType {
        self.dtype
    }

    /// For sequences shaped as `states` `[batch, length, hidden_size]`, computed in `dtype`.
    pub(super) fn new(
        rotary: &RotaryTables,
        states: &Tensor<3>,
        window: Option<usize>,
        dtype: DType,
    ) -> Self {
        let (cosines, sines) = rotary.first(states.dims()[1]);
        Self {
            dtype,
            cosines: cosines.cast(dtype),
            sines: sines.cast(dtype),
            causal: CausalAttention::new(states, None, dtype),
            windowed: window
                .filter(|window| *window < states.dims()[1])
                .map(|window| CausalAttention::new(states, Some(window), dtype)),
        }
    }

    /// As [`new`](Self::new) for sequences that begin with position `offset` and whose earlier positions are in a cache.
    pub(super) fn continued(
        rotary: &RotaryTables,
        states: &Tensor<3>,
        offset: usize,
        window: Option<usize>,
        dtype: DType,
    ) -> Self {
        let (cosines, sines) = rotary.range(offset..offset + states.dims()[1]);
        let causal = |window| CausalAttention::continued(states, offset, window, dtype);
        Self {
            dtype,
            cosines: cosines.cast(dtype),
            sines: sines.cast(dtype),
            causal: causal(None),
            windowed: window.map(|window| causal(Some(window))),
        }
    }
}

impl LlamaAttention {
    /// `[batch, length, hidden_size]` to the same shape, after the positions of `cache` if there is one.
    pub(super) fn forward(
        &self,
        states: Tensor<3>,
        context: &AttentionContext,
        cache: Option<&mut LayerCache>,
    ) -> Tensor<3> {
        let dtype = context.dtype();
        let layers = [&self.q_proj, &self.k_proj, &self.v_proj];
        let [query, key, value] = project_each(layers, states, dtype);
        let query = split_heads(query, self.heads);
        let key = split_heads(key, self.key_value_heads);
        let value = split_heads(value, self.key_value_heads);
        let turn = |states: Tensor<4>, norm: &Option<RmsNorm>| {
            let states = match norm {
                Some(norm) => norm
                    .forward(states.cast(norm.gamma.val().dtype()))
                    .cast(dtype),
                None => states,
            };
            rotate(states, &context.cosines, &context.sines)
        };
        let (query, key) = (turn(query, &self.q_norm), turn(key, &self.k_norm));
        let causal = match &context.windowed {
            Some(windowed) if self.windowed => windowed,
            _ => &context.causal,
        };
        let attended = causal.attend(query, key, value, cache);
        project(&self.o_proj, attended, dtype)
    }
}
