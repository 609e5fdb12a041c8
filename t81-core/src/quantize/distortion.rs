//! How far quantized weights are from the weights.

use std::iter::Sum;

/// The distance of quantized weights `q` from the weights `w`. Of several tensors, the sum is that of all together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Distortion {
    /// `sum((w - q)^2)`.
    pub squared_error: f64,
    /// `sum(w^2)`.
    pub squared_weights: f64,
}

impl Distortion {
    /// `norm(w - q) / norm(w)` (Frobenius norm), from 0 to 1 with least-squares scales; 0 when all weights are 0.
    #[must_use]
    pub fn relative_error(&self) -> f64 {
        if self.squared_weights > 0.0 {
            (self.squared_error / self.squared_weights).sqrt()
        } else {
            0.0
        }
    }
}

impl Sum for Distortion {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |sum, part| Self {
            squared_error: sum.squared_error + part.squared_error,
            squared_weights: sum.squared_weights + part.squared_weights,
        })
    }
}
