use super::rotary::RotaryTables;
use crate::models::attention::{CausalAttention, split_heads};
use crate::models::cache::LayerCache;
use crate::models::precision::{normalize, project, project_each};
use crate::operations::rotation::rotate_heads;
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
            cosines,
            sines,
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
            cosines,
            sines,
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
        let value = split_heads(value, self.key_value_heads);
        let turn = |states: Tensor<3>, heads, norm: &Option<RmsNorm>| {
            let states = match norm {
                Some(norm) => normalize_heads(norm, states, heads),
                None => states,
            };
            rotate_heads(states, &context.cosines, &context.sines, heads)
        };
        let query = turn(query, self.heads, &self.q_norm);
        let key = turn(key, self.key_value_heads, &self.k_norm);
        let causal = match &context.windowed {
            Some(windowed) if self.windowed => windowed,
            _ => &context.causal,
        };
        let attended = causal.attend(query, key, value, cache);
        project(&self.o_proj, attended, dtype)
    }
}

/// Each of `heads` of `states` `[batch, length, heads * head_dim]` normalized; computed in the norm's own float type.
fn normalize_heads(norm: &RmsNorm, states: Tensor<3>, heads: usize) -> Tensor<3> {
    let ([batch, length, width], dtype) = (states.dims(), states.dtype());
    let by_head = states.reshape([batch, length, heads, width / heads]);
    normalize(norm, by_head.cast(norm.gamma.val().dtype()), dtype).reshape([batch, length, width])
}
