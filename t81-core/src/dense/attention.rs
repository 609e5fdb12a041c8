//! Causal attention of the query heads that share one key and value head, with the keys and values of earlier tokens.

use std::ops::Range;

use super::elementwise::softmax_numerators;
use super::lanes::PANEL;
use super::product::{Panels, multiply, pack};

/// Positions that the values grow by at least.
const SHORTEST_GROWTH: usize = 64;

/// Keys and values of one head of one layer, of consecutive positions.
///
/// ```
/// use t81_core::dense::{AttentionScratch, KeyValues};
///
/// let mut head = KeyValues::new(2);
/// head.append(&[1.0, 0.0], &[10.0, 0.0]);
/// head.append(&[1.0, 0.0], &[0.0, 20.0]);
/// // One query head, at position 1: both keys are equal.
/// let mut output = [0.0; 2];
/// head.attend(&[3.0, 4.0], 1, 1, None, &mut AttentionScratch::default(), &mut output);
/// assert_eq!(output, [5.0, 10.0]);
/// ```
#[derive(Clone, Debug)]
pub struct KeyValues {
    width: usize,
    /// `[panels of sixteen positions, width, 16 positions]`.
    keys: Vec<[f32; PANEL]>,
    /// `[panels of sixteen features, capacity, 16 features]`.
    values: Vec<[f32; PANEL]>,
    capacity: usize,
    /// Position of the first key; the first kept after [`forget`](Self::forget).
    first: usize,
    kept: usize,
}

/// Buffers of [`KeyValues::attend`], for use again and again.
#[derive(Clone, Debug, Default)]
pub struct AttentionScratch {
    scaled: Vec<f32>,
    packed: Vec<f32>,
    scores: Vec<[f32; PANEL]>,
    weights: Vec<f32>,
    totals: Vec<f32>,
    attended: Vec<[f32; PANEL]>,
}

impl KeyValues {
    /// None yet, of heads `width` wide.
    #[must_use]
    pub fn new(width: usize) -> Self {
        Self {
            width,
            keys: Vec::new(),
            values: Vec::new(),
            capacity: 0,
            first: 0,
            kept: 0,
        }
    }

    /// The position that the next key gets.
    #[must_use]
    pub fn end(&self) -> usize {
        self.first + self.kept
    }

    /// Adds key and value, `width` floats each, of the next position.
    ///
    /// # Panics
    ///
    /// When a length is off.
    pub fn append(&mut self, key: &[f32], value: &[f32]) {
        assert_eq!(
            (key.len(), value.len()),
            (self.width, self.width),
            "the width of a head"
        );
        if self.kept == self.capacity {
            self.grow();
        }
        let (panel, lane) = (self.kept / PANEL, self.kept % PANEL);
        for (lanes, value) in self.keys[panel * self.width..].iter_mut().zip(key) {
            lanes[lane] = *value;
        }
        for (panel, features) in value.chunks(PANEL).enumerate() {
            self.values[panel * self.capacity + self.kept][..features.len()]
                .copy_from_slice(features);
        }
        self.kept += 1;
    }

    /// Makes room by half of what there is, in multiples of a panel.
    fn grow(&mut self) {
        let capacity = self.capacity + (self.capacity / 2).max(SHORTEST_GROWTH);
        let capacity = capacity.next_multiple_of(PANEL);
        let panels = self.width.div_ceil(PANEL);
        let mut values = vec![[0.0; PANEL]; panels * capacity];
        for panel in 0..panels {
            values[panel * capacity..][..self.kept]
                .copy_from_slice(&self.values[panel * self.capacity..][..self.kept]);
        }
        self.values = values;
        self.keys
            .resize(capacity / PANEL * self.width, [0.0; PANEL]);
        self.capacity = capacity;
    }

    /// Forgets positions before `position` if the buffers are full, so that a window bounds them: in whole panels, what is left stays in its lanes.
    pub fn forget(&mut self, position: usize) {
        let panels = position.min(self.end()).saturating_sub(self.first) / PANEL;
        if panels == 0 || self.kept < self.capacity {
            return;
        }
        let gone = panels * PANEL;
        self.keys.copy_within(panels * self.width.., 0);
        for panel in 0..self.width.div_ceil(PANEL) {
            let start = panel * self.capacity;
            self.values
                .copy_within(start + gone..start + self.kept, start);
        }
        self.first += gone;
        self.kept -= gone;
    }

    /// Softmax attention of `queries`, `[positions, heads, width]`, whose first position is `start`: each sees the keys
    /// up to its own, with a `window` the last `window` of them. Writes `output`, of the same shape.
    ///
    /// # Panics
    ///
    /// When a length is off, or for a position that was not appended or was forgotten.
    pub fn attend(
        &self,
        queries: &[f32],
        heads: usize,
        start: usize,
        window: Option<usize>,
        scratch: &mut AttentionScratch,
        output: &mut [f32],
    ) {
        let (width, rows) = (self.width, queries.len() / self.width);
        let positions = rows / heads;
        assert_eq!(positions * heads * width, queries.len(), "whole positions");
        assert_eq!(queries.len(), output.len(), "as many outputs as queries");
        assert!(start + positions <= self.end(), "keys up to the last query");
        if rows == 0 {
            return;
        }
        // Indices of keys in the buffers; the first to be looked at begins a panel.
        let seen = |position: usize| -> Range<usize> {
            let first = window.map_or(0, |window| (position + 1).saturating_sub(window));
            first.max(self.first) - self.first..position + 1 - self.first
        };
        let begin = seen(start).start / PANEL * PANEL;
        let end = seen(start + positions - 1).end;

        let factor = (width as f32).powf(-0.5);
        scratch.scaled.clear();
        scratch
            .scaled
            .extend(queries.iter().map(|value| value * factor));
        pack(&scratch.scaled, width, &mut scratch.packed);
        let key_panels = (end - begin).div_ceil(PANEL);
        scratch.scores.resize(rows * key_panels, [0.0; PANEL]);
        let keys = Panels {
            data: &self.keys[begin / PANEL * width..],
            stride: width,
            columns: width,
        };
        multiply(&scratch.packed, keys, rows, &mut scratch.scores);

        let columns = end - begin;
        scratch.weights.clear();
        scratch.totals.clear();
        for (row, scores) in scratch.scores.chunks_exact_mut(key_panels).enumerate() {
            let scores = &mut scores.as_flattened_mut()[..columns];
            let seen = seen(start + row / heads);
            let (from, to) = (seen.start - begin, seen.end - begin);
            scratch
                .totals
                .push(softmax_numerators(&mut scores[from..to]).sum);
            scores[..from].fill(0.0);
            scores[to..].fill(0.0);
            scratch.weights.extend_from_slice(scores);
        }
        pack(&scratch.weights, columns, &mut scratch.packed);
        let value_panels = width.div_ceil(PANEL);
        scratch.attended.resize(rows * value_panels, [0.0; PANEL]);
        let values = Panels {
            data: &self.values[begin..],
            stride: self.capacity,
            columns,
        };
        multiply(&scratch.packed, values, rows, &mut scratch.attended);
        for ((output, attended), total) in output
            .chunks_exact_mut(width)
            .zip(scratch.attended.chunks_exact(value_panels))
            .zip(&scratch.totals)
        {
            for (output, sum) in output.iter_mut().zip(attended.as_flattened()) {
                *output = sum / total;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(count: usize, seed: usize) -> Vec<f32> {
        (0..count)
            .map(|index| (((index + seed) * (index + 3)) as f32 * 0.173).sin() * 2.0)
            .collect()
    }

    /// By the formula, in f64.
    fn expected(
        [queries, keys, values]: [&[f32]; 3],
        [width, heads]: [usize; 2],
        window: Option<usize>,
    ) -> Vec<f64> {
        let mut output = Vec::new();
        for (row, query) in queries.chunks_exact(width).enumerate() {
            let position = row / heads;
            let first = window.map_or(0, |window| (position + 1).saturating_sub(window));
            let scores: Vec<f64> = (first..=position)
                .map(|key| {
                    let key = &keys[key * width..][..width];
                    let products = query.iter().zip(key).map(|(a, b)| f64::from(a * b));
                    (products.sum::<f64>() / (width as f64).sqrt()).exp()
                })
                .collect();
            let total: f64 = scores.iter().sum();
            output.extend((0..width).map(|feature| {
                let weighted = scores
                    .iter()
                    .enumerate()
                    .map(|(key, score)| score * f64::from(values[(first + key) * width + feature]));
                weighted.sum::<f64>() / total
            }));
        }
        output
    }

    #[test]
    fn attention_is_the_softmax_of_the_keys_seen() {
        for (width, heads, window) in [
            (8, 1, None),
            (16, 3, None),
            (20, 2, Some(7)),
            (64, 4, Some(33)),
            (12, 2, Some(1)),
        ] {
            let positions = 150;
            let queries = values(positions * heads * width, 1);
            let (keys, contents) = (values(positions * width, 2), values(positions * width, 9));
            let expected = expected([&queries, &keys, &contents], [width, heads], window);
            for chunks in [vec![1; positions], vec![150], vec![7, 1, 100, 42]] {
                let mut head = KeyValues::new(width);
                let mut scratch = AttentionScratch::default();
                let mut output = vec![0.0; queries.len()];
                for chunk in chunks {
                    let start = head.end();
                    if let Some(window) = window {
                        head.forget((start + 1).saturating_sub(window));
                    }
                    for position in start..start + chunk {
                        let range = position * width..(position + 1) * width;
                        head.append(&keys[range.clone()], &contents[range]);
                    }
                    let range = start * heads * width..(start + chunk) * heads * width;
                    let output = &mut output[range.clone()];
                    head.attend(&queries[range], heads, start, window, &mut scratch, output);
                }
                for (found, expected) in output.iter().zip(&expected) {
                    assert!(
                        (f64::from(*found) - expected).abs() < 1e-5,
                        "{found} {expected}"
                    );
                }
                if window.is_some_and(|window| window < 20) {
                    assert!(head.kept < 170 && (head.capacity <= 240));
                }
            }
        }
    }
}
