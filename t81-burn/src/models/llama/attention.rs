use super::rotary::{RotaryTables, rotate};
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Bool, DType, Device, Tensor};

/// Bounds of the pieces of a sequence on a CPU: smaller or more ones cost more than they save.
const SHORTEST_PIECE: usize = 64;
const MOST_PIECES: usize = 8;

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
    /// The queries in pieces, first to last; `None` if Burn's attention kernel computes all at once.
    pieces: Option<Vec<Piece>>,
}

/// Queries that look at the same number of keys.
struct Piece {
    start: usize,
    length: usize,
    /// 0 where a query may look and minus infinity where it may not, `[1, 1, length, start + length]`.
    mask: Tensor<4>,
}

impl AttentionContext {
    /// For sequences shaped and typed as `states` `[batch, length, hidden_size]`.
    pub(super) fn new(rotary: &RotaryTables, states: &Tensor<3>) -> Self {
        let (length, dtype, device) = (states.dims()[1], states.dtype(), states.device());
        let (cosines, sines) = rotary.first(length);
        let on_flex = is_flex(&device);
        // Burn's kernel has no gradient of its own, and on Flex it is slower than the pieces.
        let pieces = (on_flex || device.is_autodiff()).then(|| {
            let count = if on_flex {
                (length / SHORTEST_PIECE).clamp(1, MOST_PIECES)
            } else {
                1
            };
            let step = length.div_ceil(count).max(1);
            let pieces = (0..length).step_by(step);
            pieces
                .map(|start| Piece::new(start, step.min(length - start), dtype, &device))
                .collect()
        });
        Self {
            cosines: cosines.cast(dtype),
            sines: sines.cast(dtype),
            pieces,
        }
    }
}

impl Piece {
    fn new(start: usize, length: usize, dtype: DType, device: &Device) -> Self {
        let shape = [length, start + length];
        let future = Tensor::<2, Bool>::tril_mask(shape, start as i64, device);
        let zeros = Tensor::<2>::zeros(shape, (device, dtype));
        let mask = zeros.mask_fill(future, f32::NEG_INFINITY).unsqueeze::<4>();
        Self {
            start,
            length,
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
        let attended = match &context.pieces {
            Some(pieces) => composed_attention(query, key, value, pieces),
            None => fused_attention(query, key, value),
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

/// Burn's attention kernel.
fn fused_attention(query: Tensor<4>, key: Tensor<4>, value: Tensor<4>) -> Tensor<4> {
    let groups = query.dims()[1] / key.dims()[1];
    let (key, value) = (repeat_heads(key, groups), repeat_heads(value, groups));
    let options = AttentionModuleOptions {
        is_causal: true,
        ..Default::default()
    };
    attention(query, key, value, None, None, options)
}

/// Attention from differentiable operations. A piece of the queries meets only the keys up to its end, which saves
/// nearly half of the scores.
fn composed_attention(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    pieces: &[Piece],
) -> Tensor<4> {
    let width = query.dims()[3];
    let query = query * (width as f64).powf(-0.5);
    if let [piece] = pieces {
        return attend(query, key, value, &piece.mask);
    }
    let attended = pieces.iter().map(|piece| {
        let end = piece.start + piece.length;
        attend(
            query.clone().narrow(2, piece.start, piece.length),
            key.clone().narrow(2, 0, end),
            value.clone().narrow(2, 0, end),
            &piece.mask,
        )
    });
    Tensor::cat(attended.collect(), 2)
}

/// Softmax attention of scaled queries, with the fewest passes over the scores: the query heads of a group are stacked as
/// rows so that keys and values need no copies, and the softmax divides after the values are summed.
fn attend(query: Tensor<4>, key: Tensor<4>, value: Tensor<4>, mask: &Tensor<4>) -> Tensor<4> {
    let [batch, heads, length, width] = query.dims();
    let [_, key_value_heads, seen, _] = key.dims();
    let rows = heads / key_value_heads * length;
    let scores = query
        .reshape([batch, key_value_heads, rows, width])
        .matmul(key.transpose());
    let scores = scores.reshape([batch, heads, length, seen]) + mask.clone();
    let highest = scores.clone().detach().max_dim(3);
    let weights = (scores - highest).exp();
    let total = weights.clone().sum_dim(3);
    let weights = weights.reshape([batch, key_value_heads, rows, seen]);
    weights.matmul(value).reshape([batch, heads, length, width]) / total
}

#[cfg(feature = "flex")]
fn is_flex(device: &Device) -> bool {
    *device == Device::flex()
}

#[cfg(not(feature = "flex"))]
fn is_flex(_device: &Device) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Distribution, Tolerance};

    #[test]
    fn pieces_and_the_kernel_agree() {
        let device = Device::default();
        let random =
            |heads| Tensor::<4>::random([2, heads, 50, 8], Distribution::Normal(0.0, 2.0), &device);
        let (query, key, value) = (random(6), random(2), random(2));
        let expected = fused_attention(query.clone(), key.clone(), value.clone()).into_data();
        for step in [50, 25, 17] {
            let pieces: Vec<Piece> = (0..50)
                .step_by(step)
                .map(|start| Piece::new(start, step.min(50 - start), DType::F32, &device))
                .collect();
            let found = composed_attention(query.clone(), key.clone(), value.clone(), &pieces);
            found
                .into_data()
                .assert_approx_eq::<f32>(&expected, Tolerance::absolute(1e-5));
        }
    }

    #[test]
    fn heads_of_a_group_are_neighbours() {
        let states = Tensor::<4>::from_data([[[[1.0]], [[2.0]]]], &Device::default());
        let repeated: Vec<f32> = repeat_heads(states, 3).into_data().try_into_vec().unwrap();
        assert_eq!(repeated, [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]);
    }
}
