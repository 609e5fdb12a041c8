//! One decoder layer: its weights, and its steps on rows of states.

use std::error::Error;

use t81_core::ActivationPrecision;
use t81_core::dense::{AttentionScratch, KeyValues, rms_norm, silu_gate};

use super::projection::Projection;
use super::rotation::Rotation;
use super::weights::{InferenceWeight, Source};
use crate::models::LoadWeightsError;
use crate::models::llama::LlamaConfig;

/// Sizes that all layers share.
#[derive(Clone, Debug)]
pub(super) struct Sizes {
    pub(super) hidden: usize,
    pub(super) inner: usize,
    pub(super) heads: usize,
    pub(super) key_value_heads: usize,
    /// Of one head.
    pub(super) width: usize,
    pub(super) epsilon: f32,
    pub(super) precision: ActivationPrecision,
}

impl Sizes {
    pub(super) fn new(config: &LlamaConfig, precision: ActivationPrecision) -> Self {
        Self {
            hidden: config.hidden_size,
            inner: config.intermediate_size,
            heads: config.num_attention_heads,
            key_value_heads: config.key_value_heads(),
            width: config.head_width(),
            epsilon: config.rms_norm_eps as f32,
            precision,
        }
    }

    /// Features of all query heads.
    pub(super) fn queries(&self) -> usize {
        self.heads * self.width
    }

    /// Features of all keys, as many as of all values.
    pub(super) fn keys(&self) -> usize {
        self.key_value_heads * self.width
    }

    /// Features of queries, keys and values.
    pub(super) fn projected(&self) -> usize {
        self.queries() + 2 * self.keys()
    }

    /// Features of the query heads that share a key head.
    pub(super) fn group(&self) -> usize {
        self.heads / self.key_value_heads * self.width
    }
}

#[derive(Debug)]
pub(super) struct Layer {
    attention_norm: Vec<f32>,
    query_key_value: Projection,
    query_norm: Option<Vec<f32>>,
    key_norm: Option<Vec<f32>>,
    attention_output: Projection,
    feed_forward_norm: Vec<f32>,
    gate_up: Projection,
    down: Projection,
    /// Number of latest tokens that a position attends to.
    window: Option<usize>,
}

/// Buffers of the rows that go through the second half of a layer together.
pub(super) struct FeedForwardRows<'a> {
    pub(super) attended: &'a [f32],
    pub(super) states: &'a mut [f32],
    pub(super) normalized: &'a mut [f32],
    pub(super) gate_up: &'a mut [f32],
    pub(super) inner: &'a mut [f32],
    pub(super) update: &'a mut [f32],
}

impl Layer {
    pub(super) fn load<'a, F, E>(
        source: &mut Source<F>,
        config: &LlamaConfig,
        sizes: &Sizes,
        index: usize,
    ) -> Result<Self, LoadWeightsError>
    where
        F: FnMut(&str) -> Result<InferenceWeight<'a>, E>,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let layer = format!("model.layers.{index}.");
        let (attention, mlp) = (format!("{layer}self_attn."), format!("{layer}mlp."));
        let (hidden, inner, precision) = (sizes.hidden, sizes.inner, sizes.precision);
        let biases = config.attention_bias;
        let norm = |source: &mut Source<F>, name: &str| {
            source.vector(&format!("{layer}{name}.weight"), hidden)
        };
        let head_norm = |source: &mut Source<F>, name: &str| {
            let name = format!("{attention}{name}.weight");
            let gain = config.qk_norm.then(|| source.vector(&name, sizes.width));
            gain.transpose()
        };
        Ok(Self {
            attention_norm: norm(source, "input_layernorm")?,
            query_key_value: Projection::load(
                source,
                &attention,
                hidden,
                &[
                    ("q_proj", sizes.queries(), biases.query),
                    ("k_proj", sizes.keys(), biases.key),
                    ("v_proj", sizes.keys(), biases.value),
                ],
                precision,
            )?,
            query_norm: head_norm(source, "q_norm")?,
            key_norm: head_norm(source, "k_norm")?,
            attention_output: Projection::load(
                source,
                &attention,
                sizes.queries(),
                &[("o_proj", hidden, biases.output)],
                precision,
            )?,
            feed_forward_norm: norm(source, "post_attention_layernorm")?,
            gate_up: Projection::load(
                source,
                &mlp,
                hidden,
                &[
                    ("gate_proj", inner, config.mlp_bias),
                    ("up_proj", inner, config.mlp_bias),
                ],
                precision,
            )?,
            down: Projection::load(
                source,
                &mlp,
                inner,
                &[("down_proj", hidden, config.mlp_bias)],
                precision,
            )?,
            window: config
                .sliding_window
                .filter(|_| index >= config.max_window_layers),
        })
    }

    /// Bytes of the projections.
    pub(super) fn size_bytes(&self) -> usize {
        let projections = [
            &self.query_key_value,
            &self.attention_output,
            &self.gate_up,
            &self.down,
        ];
        projections.into_iter().map(Projection::size_bytes).sum()
    }

    /// Queries, keys and values of `states` `[rows, hidden]` into `projected`; the rows' rotations begin with index `first`.
    pub(super) fn project(
        &self,
        sizes: &Sizes,
        rotation: &Rotation,
        first: usize,
        states: &[f32],
        normalized: &mut [f32],
        projected: &mut [f32],
    ) {
        normalize(sizes, states, &self.attention_norm, normalized);
        self.query_key_value
            .apply(normalized, projected, sizes.precision);
        let mut scratch = Vec::new();
        let mut turn = |index: usize, heads: &mut [f32], gain: &Option<Vec<f32>>| {
            for head in heads.chunks_exact_mut(sizes.width) {
                if let Some(gain) = gain {
                    scratch.clear();
                    scratch.extend_from_slice(head);
                    rms_norm(&scratch, gain, sizes.epsilon, head);
                }
                rotation.turn(index, head);
            }
        };
        for (row, projected) in projected.chunks_exact_mut(sizes.projected()).enumerate() {
            let (queries, rest) = projected.split_at_mut(sizes.queries());
            turn(first + row, queries, &self.query_norm);
            turn(first + row, &mut rest[..sizes.keys()], &self.key_norm);
        }
    }

    /// Adds keys and values of a head, by its index, out of `projected` `[rows, ...]`.
    pub(super) fn remember(
        &self,
        sizes: &Sizes,
        index: usize,
        projected: &[f32],
        head: &mut KeyValues,
    ) {
        let key = sizes.queries() + index * sizes.width;
        let value = key + sizes.keys();
        let oldest = self
            .window
            .map(|window| (head.end() + 1).saturating_sub(window));
        for row in projected.chunks_exact(sizes.projected()) {
            if let Some(oldest) = oldest {
                head.forget(oldest);
            }
            head.append(&row[key..][..sizes.width], &row[value..][..sizes.width]);
        }
    }

    /// Attention of the query heads that share the key head of an index, for rows of `projected` that begin with position
    /// `start`; gives `[rows, group]` in `output`.
    pub(super) fn attend(
        &self,
        sizes: &Sizes,
        (index, head): (usize, &KeyValues),
        start: usize,
        projected: &[f32],
        scratch: &mut AttentionScratch,
        output: &mut [f32],
    ) {
        let group = sizes.group();
        let range = index * group..(index + 1) * group;
        let heads = group / sizes.width;
        if projected.len() == sizes.projected() {
            head.attend(
                &projected[range],
                heads,
                start,
                self.window,
                scratch,
                output,
            );
            return;
        }
        let queries: Vec<f32> = projected
            .chunks_exact(sizes.projected())
            .flat_map(|row| &row[range.clone()])
            .copied()
            .collect();
        head.attend(&queries, heads, start, self.window, scratch, output);
    }

    /// Adds attention and feed-forward part to the states.
    pub(super) fn feed_forward(&self, sizes: &Sizes, rows: FeedForwardRows<'_>) {
        let precision = sizes.precision;
        self.attention_output
            .apply(rows.attended, rows.update, precision);
        add(rows.states, rows.update);
        normalize(sizes, rows.states, &self.feed_forward_norm, rows.normalized);
        self.gate_up.apply(rows.normalized, rows.gate_up, precision);
        for (gate_up, inner) in rows
            .gate_up
            .chunks_exact(2 * sizes.inner)
            .zip(rows.inner.chunks_exact_mut(sizes.inner))
        {
            let (gate, up) = gate_up.split_at(sizes.inner);
            silu_gate(gate, up, inner);
        }
        self.down.apply(rows.inner, rows.update, precision);
        add(rows.states, rows.update);
    }
}

/// Normalises each row of `states`.
pub(super) fn normalize(sizes: &Sizes, states: &[f32], gain: &[f32], output: &mut [f32]) {
    for (state, output) in states
        .chunks_exact(sizes.hidden)
        .zip(output.chunks_exact_mut(sizes.hidden))
    {
        rms_norm(state, gain, sizes.epsilon, output);
    }
}

fn add(states: &mut [f32], update: &[f32]) {
    for (state, update) in states.iter_mut().zip(update) {
        *state += update;
    }
}
