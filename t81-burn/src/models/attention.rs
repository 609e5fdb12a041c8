//! Causal attention of the layers of one forward pass.

use super::backend::is_flex;
use super::cache::{CachedKeys, LayerCache};
use crate::operations::softmax::{CausalSpan, causal_softmax};
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Bool, DType, Device, Tensor};

/// Bounds of the pieces of a sequence on a CPU: smaller or more ones cost more than they save.
const SHORTEST_PIECE: usize = 64;
const MOST_PIECES: usize = 8;

/// Which keys each query sees and how the attention is computed, for all layers of one forward pass.
pub(super) struct CausalAttention {
    dtype: DType,
    /// Position of the first query.
    offset: usize,
    window: Option<usize>,
    method: Method,
}

/// How the attention is computed.
enum Method {
    /// Burn's attention kernel, which has no gradient of its own and no window.
    Kernel,
    /// Two products and a softmax between them, all at once.
    Softmax,
    /// Composed of differentiable operations, the queries in pieces, first to last.
    Pieces(Vec<Piece>),
}

/// Queries that look at the same keys, except for what the mask hides.
struct Piece {
    /// Position of the first query.
    start: usize,
    length: usize,
    /// Position of the first of the keys; the last one belongs to the last query.
    first_key: usize,
    /// 0 where a query may look and minus infinity where it may not, `[1, 1, length, start + length - first_key]`.
    mask: Tensor<4>,
}

impl CausalAttention {
    /// For sequences shaped as `states` `[batch, length, hidden_size]` and computed in `dtype`, in which a position sees itself and those
    /// before it, with a `window` only the last `window` of these.
    pub(super) fn new(states: &Tensor<3>, window: Option<usize>, dtype: DType) -> Self {
        let (length, device) = (states.dims()[1], states.device());
        let method = if is_flex(&device) {
            let count = (length / SHORTEST_PIECE).clamp(1, MOST_PIECES);
            let step = length.div_ceil(count);
            Method::Pieces(pieces(0, length, step, window, dtype, &device))
        } else if device.is_autodiff() || window.is_some() {
            Method::Softmax
        } else {
            Method::Kernel
        };
        Self {
            dtype,
            offset: 0,
            window,
            method,
        }
    }

    /// As [`new`](Self::new) for sequences that begin with position `offset` and whose earlier positions are in a cache.
    pub(super) fn continued(
        states: &Tensor<3>,
        offset: usize,
        window: Option<usize>,
        dtype: DType,
    ) -> Self {
        let (length, device) = (states.dims()[1], states.device());
        let count = (length / SHORTEST_PIECE).clamp(1, MOST_PIECES);
        let step = length.div_ceil(count);
        Self {
            dtype,
            offset,
            window,
            method: Method::Pieces(pieces(offset, length, step, window, dtype, &device)),
        }
    }

    /// Type that the attention is computed in.
    pub(super) fn dtype(&self) -> DType {
        self.dtype
    }

    /// Attends with queries `[batch, heads, length, head_dim]` to keys and values `[batch, key_value_heads, length, head_dim]`,
    /// of which neighbouring query heads share one; gives `[batch, length, heads * head_dim]`. A `cache` takes the keys and values and
    /// gives those before them.
    pub(super) fn attend(
        &self,
        query: Tensor<4>,
        keys: Tensor<4>,
        values: Tensor<4>,
        cache: Option<&mut LayerCache>,
    ) -> Tensor<3> {
        let seen = match cache {
            Some(cache) => cache.append(keys, values, self.window),
            None => CachedKeys {
                keys,
                values,
                first: 0,
            },
        };
        let attended = match &self.method {
            Method::Pieces(pieces) => composed_attention(query, self.offset, seen, pieces),
            Method::Softmax => {
                let span = CausalSpan {
                    offset: self.offset,
                    window: self.window,
                };
                softmax_attention(query, seen.keys, seen.values, span)
            }
            Method::Kernel => fused_attention(query, seen.keys, seen.values),
        };
        let [batch, heads, length, width] = attended.dims();
        attended
            .swap_dims(1, 2)
            .reshape([batch, length, heads * width])
    }
}

/// `[batch, length, heads * head_dim]` to `[batch, heads, length, head_dim]`.
pub(super) fn split_heads(states: Tensor<3>, heads: usize) -> Tensor<4> {
    let [batch, length, width] = states.dims();
    states
        .reshape([batch, length, heads, width / heads])
        .swap_dims(1, 2)
}

/// The positions from `offset` on, `length` of them, in pieces of at most `step`.
fn pieces(
    offset: usize,
    length: usize,
    step: usize,
    window: Option<usize>,
    dtype: DType,
    device: &Device,
) -> Vec<Piece> {
    let step = step.max(1);
    (0..length)
        .step_by(step)
        .map(|start| {
            let length = step.min(length - start);
            Piece::new(offset + start, length, window, dtype, device)
        })
        .collect()
}

impl Piece {
    fn new(
        start: usize,
        length: usize,
        window: Option<usize>,
        dtype: DType,
        device: &Device,
    ) -> Self {
        let first_key = window.map_or(0, |window| (start + 1).saturating_sub(window));
        let shape = [length, start + length - first_key];
        let hide =
            |mask: Tensor<2>, hidden: Tensor<2, Bool>| mask.mask_fill(hidden, f32::NEG_INFINITY);
        let own_key = (start - first_key) as i64;
        let mut mask = hide(
            Tensor::<2>::zeros(shape, (device, dtype)),
            Tensor::<2, Bool>::tril_mask(shape, own_key, device),
        );
        if let Some(window) = window {
            let oldest_key = own_key + 1 - window as i64;
            mask = hide(
                mask,
                Tensor::<2, Bool>::triu_mask(shape, oldest_key, device),
            );
        }
        Self {
            start,
            length,
            first_key,
            mask: mask.unsqueeze::<4>(),
        }
    }
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

/// Attention by the softmax that is one operation. The query heads of a group are stacked as rows so that keys and values need no
/// copies.
fn softmax_attention(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    span: CausalSpan,
) -> Tensor<4> {
    let [batch, heads, length, width] = query.dims();
    let [_, key_value_heads, seen, _] = key.dims();
    let rows = heads / key_value_heads * length;
    let query = query * (width as f64).powf(-0.5);
    let scores = query
        .reshape([batch, key_value_heads, rows, width])
        .matmul(key.transpose())
        .reshape([batch, heads, length, seen]);
    causal_softmax(scores, span)
        .reshape([batch, key_value_heads, rows, seen])
        .matmul(value)
        .reshape([batch, heads, length, width])
}

/// Attention from differentiable operations. A piece of the queries meets only the keys up to its end, which saves
/// nearly half of the scores, and of a window only the keys from its start.
fn composed_attention(
    query: Tensor<4>,
    offset: usize,
    seen: CachedKeys,
    pieces: &[Piece],
) -> Tensor<4> {
    let width = query.dims()[3];
    let query = query * (width as f64).powf(-0.5);
    let CachedKeys {
        keys,
        values,
        first,
    } = seen;
    if let [piece] = pieces
        && piece.first_key == first
    {
        return attend(query, keys, values, &piece.mask);
    }
    let attended = pieces.iter().map(|piece| {
        let length = piece.start + piece.length - piece.first_key;
        let start = piece.first_key - first;
        attend(
            query.clone().narrow(2, piece.start - offset, piece.length),
            keys.clone().narrow(2, start, length),
            values.clone().narrow(2, start, length),
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

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Distribution, Tolerance};

    fn random(heads: usize) -> Tensor<4> {
        let distribution = Distribution::Normal(0.0, 2.0);
        Tensor::random([2, heads, 50, 8], distribution, &Device::default())
    }

    fn seen(keys: &Tensor<4>, values: &Tensor<4>) -> CachedKeys {
        CachedKeys {
            keys: keys.clone(),
            values: values.clone(),
            first: 0,
        }
    }

    #[test]
    fn pieces_and_the_kernel_agree() {
        let (query, key, value) = (random(6), random(2), random(2));
        let expected = fused_attention(query.clone(), key.clone(), value.clone()).into_data();
        for step in [50, 25, 17] {
            // A window as long as the sequence hides nothing.
            for window in [None, Some(50)] {
                let pieces = pieces(0, 50, step, window, DType::F32, &Device::default());
                let found = composed_attention(query.clone(), 0, seen(&key, &value), &pieces);
                found
                    .into_data()
                    .assert_approx_eq::<f32>(&expected, Tolerance::absolute(1e-5));
            }
        }
        for window in [None, Some(50)] {
            let span = CausalSpan { offset: 0, window };
            let found = softmax_attention(query.clone(), key.clone(), value.clone(), span);
            found
                .into_data()
                .assert_approx_eq::<f32>(&expected, Tolerance::absolute(1e-5));
        }
    }

    #[test]
    fn a_window_is_the_attention_to_its_keys_alone() {
        let (query, key, value) = (random(6), random(2), random(2));
        for (step, window) in [(50, 7), (17, 7), (17, 1), (25, 30)] {
            let pieces = pieces(0, 50, step, Some(window), DType::F32, &Device::default());
            let found = composed_attention(query.clone(), 0, seen(&key, &value), &pieces);
            for position in 0..50 {
                // The last query of the keys in the window sees all of them and nothing else.
                let first = (position + 1usize).saturating_sub(window);
                let part =
                    |states: &Tensor<4>| states.clone().narrow(2, first, position + 1 - first);
                let all = fused_attention(part(&query), part(&key), part(&value));
                let expected = all.narrow(2, position - first, 1).into_data();
                found
                    .clone()
                    .narrow(2, position, 1)
                    .into_data()
                    .assert_approx_eq::<f32>(&expected, Tolerance::absolute(1e-5));
            }
        }
    }

    #[test]
    fn heads_of_a_group_are_neighbours() {
        let states = Tensor::<4>::from_data([[[[1.0]], [[2.0]]]], &Device::default());
        let repeated: Vec<f32> = repeat_heads(states, 3).into_data().try_into_vec().unwrap();
        assert_eq!(repeated, [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]);
    }
}
