use super::rotary::{RotaryTables, rotate};
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Bool, DType, Tensor};

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
    /// Number of query heads.
    pub heads: usize,
    /// Number of key and value heads.
    pub key_value_heads: usize,
}

/// What the layers of one forward pass share.
pub(super) struct AttentionContext {
    cosines: Tensor<2>,
    sines: Tensor<2>,
    /// 0 where a query may look and minus infinity where it may not, `[1, 1, length, length]`; only for training.
    mask: Option<Tensor<4>>,
}

impl AttentionContext {
    /// For sequences shaped and typed as `states` `[batch, length, hidden_size]`.
    pub(super) fn new(rotary: &RotaryTables, states: &Tensor<3>) -> Self {
        let (length, dtype) = (states.dims()[1], states.dtype());
        let (cosines, sines) = rotary.first(length);
        let mask = states.is_autodiff().then(|| causal_mask(length, states));
        Self {
            cosines: cosines.cast(dtype),
            sines: sines.cast(dtype),
            mask,
        }
    }
}

impl LlamaAttention {
    /// `[batch, length, hidden_size]` to the same shape.
    pub(super) fn forward(&self, states: Tensor<3>, context: &AttentionContext) -> Tensor<3> {
        let [batch, length, _] = states.dims();
        let query = split_heads(self.q_proj.forward(states.clone()), self.heads);
        let key = split_heads(self.k_proj.forward(states.clone()), self.key_value_heads);
        let value = split_heads(self.v_proj.forward(states), self.key_value_heads);
        let query = rotate(query, &context.cosines, &context.sines);
        let key = rotate(key, &context.cosines, &context.sines);
        let groups = self.heads / self.key_value_heads;
        let attended = match &context.mask {
            Some(mask) => differentiable_attention(query, key, value, mask),
            None => fused_attention(
                query,
                repeat_heads(key, groups),
                repeat_heads(value, groups),
            ),
        };
        let width = self.heads * attended.dims()[3];
        self.o_proj
            .forward(attended.swap_dims(1, 2).reshape([batch, length, width]))
    }
}

/// `[batch, length, heads * head_dim]` to `[batch, heads, length, head_dim]`.
fn split_heads(states: Tensor<3>, heads: usize) -> Tensor<4> {
    let [batch, length, width] = states.dims();
    states
        .reshape([batch, length, heads, width / heads])
        .swap_dims(1, 2)
}

/// Each key or value head `groups` times, next to each other as the query heads are.
fn repeat_heads(states: Tensor<4>, groups: usize) -> Tensor<4> {
    if groups == 1 {
        return states;
    }
    let [batch, heads, length, width] = states.dims();
    states.unsqueeze_dim::<5>(2).repeat_dim(2, groups).reshape([
        batch,
        heads * groups,
        length,
        width,
    ])
}

/// Burn's attention kernel. It keeps no gradient: under autodiff Burn would compose it from single operations.
fn fused_attention(query: Tensor<4>, key: Tensor<4>, value: Tensor<4>) -> Tensor<4> {
    let options = AttentionModuleOptions {
        is_causal: true,
        ..Default::default()
    };
    attention(query, key, value, None, None, options)
}

/// Attention from single operations, with the fewest passes over the `[length, length]` scores: the query heads of a group are
/// stacked as rows so that keys and values need no copies, and the softmax divides after the values are summed.
fn differentiable_attention(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    mask: &Tensor<4>,
) -> Tensor<4> {
    let [batch, heads, length, width] = query.dims();
    let key_value_heads = key.dims()[1];
    let rows = heads / key_value_heads * length;
    let query = (query * (width as f64).powf(-0.5)).reshape([batch, key_value_heads, rows, width]);
    let scores = query.matmul(key.transpose());
    let scores = scores.reshape([batch, heads, length, length]) + mask.clone();
    let highest = scores.clone().detach().max_dim(3);
    let weights = (scores - highest).exp();
    let total = weights.clone().sum_dim(3);
    let weights = weights.reshape([batch, key_value_heads, rows, length]);
    weights.matmul(value).reshape([batch, heads, length, width]) / total
}

fn causal_mask(length: usize, states: &Tensor<3>) -> Tensor<4> {
    let device = states.device();
    let zeros = Tensor::<2>::zeros([length, length], (&device, DType::F32)).cast(states.dtype());
    let future = Tensor::<2, Bool>::tril_mask([length, length], 0, &device);
    zeros.mask_fill(future, f32::NEG_INFINITY).unsqueeze::<4>()
}
