//! A quantizer's settings, resolved for the loops over weights.

use super::group::{Cut, LIMIT_NONE, LIMIT_NONZERO, mean, scale};
use super::quantizer::Quantizer;
use super::random::StochasticKey;
use crate::settings::{Granularity, Reference, Rounding, ScaleRule};

/// How groups are formed and what their arithmetic is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    pub(super) granularity: Granularity,
    pub(super) threshold: f32,
    pub(super) reference: Reference,
    pub(super) scale: ScaleRule,
    /// Of stochastic rounding.
    pub(super) key: Option<StochasticKey>,
}

/// What a group's weights become.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decision {
    pub(super) cut: Cut,
    /// A code is not zero when the magnitude's bits exceed this; under stochastic rounding that magnitude is 0 for
    /// weights that are not kept.
    pub(super) limit: i32,
    /// On the f16 grid; infinite when the group cannot be quantized.
    pub(super) scale: f32,
}

/// A group that cannot be quantized: a weight is not finite or the scale is beyond f16.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unrepresentable;

impl Rule {
    pub(super) fn new(quantizer: &Quantizer) -> Self {
        Self {
            granularity: quantizer.granularity(),
            threshold: quantizer.threshold(),
            reference: quantizer.reference(),
            scale: quantizer.scale(),
            key: match quantizer.rounding() {
                Rounding::Deterministic => None,
                Rounding::Stochastic { seed } => Some(StochasticKey::new(seed)),
            },
        }
    }

    /// The cut of a group of `count` weights. `magnitude` is the sum or the maximum of `abs(w)`.
    #[inline(always)]
    pub(super) fn cut(&self, magnitude: f32, count: u64) -> Cut {
        let reference = match self.reference {
            Reference::AbsMean => mean(magnitude, count),
            Reference::AbsMax => magnitude,
        };
        Cut::new(self.threshold, reference)
    }

    /// The decision for a group of `count` weights. `masked` is the sum of `abs(w)` over the non-zero codes and their
    /// number, asked for by [`ScaleRule::LeastSquares`] only.
    #[inline(always)]
    pub(super) fn decide(
        &self,
        cut: Cut,
        magnitude: f32,
        count: u64,
        masked: (f32, u64),
    ) -> Decision {
        let scale = match (self.scale, self.reference) {
            (ScaleRule::LeastSquares, _) => scale(masked.0, masked.1),
            (ScaleRule::Reference, Reference::AbsMean) => scale(magnitude, count),
            (ScaleRule::Reference, Reference::AbsMax) => scale(magnitude, 1),
        };
        let kept = if self.key.is_some() {
            LIMIT_NONZERO
        } else {
            cut.limit
        };
        Decision {
            cut,
            limit: if scale == 0.0 { LIMIT_NONE } else { kept },
            // An infinite or NaN magnitude may leave the masked sum finite.
            scale: if magnitude < f32::INFINITY {
                scale
            } else {
                f32::INFINITY
            },
        }
    }
}
