//! Rotary position embedding of heads in place.

/// Cosines and sines of consecutive positions, `[positions, head_dim / 2]` each, in the rotate-half order of
/// [`RotaryTables`](crate::models::llama::RotaryTables).
#[derive(Clone, Debug, Default)]
pub(super) struct Rotation {
    cosines: Vec<f32>,
    sines: Vec<f32>,
}

impl Rotation {
    /// Turns to `positions` positions from `start` on; `frequencies` are radians a position of each pair of features.
    pub(super) fn set(&mut self, frequencies: &[f64], start: usize, positions: usize) {
        self.cosines.clear();
        self.sines.clear();
        for position in start..start + positions {
            for frequency in frequencies {
                let (sine, cosine) = (position as f64 * frequency).sin_cos();
                self.cosines.push(cosine as f32);
                self.sines.push(sine as f32);
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
