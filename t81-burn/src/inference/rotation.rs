//! Rotary position embedding of heads in place.

use crate::models::llama::RotaryFrequencies;

/// Cosines and sines of consecutive positions, `[positions, head_dim / 2]` each, in the rotate-half order of
/// [`RotaryTables`](crate::models::llama::RotaryTables).
#[derive(Clone, Debug, Default)]
pub(super) struct Rotation {
    cosines: Vec<f32>,
    sines: Vec<f32>,
}

impl Rotation {
    /// Turns to `positions` positions from `start` on.
    pub(super) fn set(&mut self, frequencies: &RotaryFrequencies, start: usize, positions: usize) {
        let RotaryFrequencies { radians, magnitude } = frequencies;
        self.cosines.clear();
        self.sines.clear();
        for position in start..start + positions {
            for radians in radians {
                let (sine, cosine) = (position as f64 * radians).sin_cos();
                self.cosines.push((cosine * magnitude) as f32);
                self.sines.push((sine * magnitude) as f32);
            }
        }
    }

    /// Turns one head of the position of an index.
    pub(super) fn turn(&self, index: usize, head: &mut [f32]) {
        let half = head.len() / 2;
        let (cosines, sines) = (
            &self.cosines[index * half..][..half],
            &self.sines[index * half..][..half],
        );
        let (first, second) = head.split_at_mut(half);
        for ((first, second), (cosine, sine)) in
            first.iter_mut().zip(second).zip(cosines.iter().zip(sines))
        {
            (*first, *second) = (
                *first * cosine - *second * sine,
                *second * cosine + *first * sine,
            );
        }
    }
}
