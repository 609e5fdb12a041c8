//! Curves over optimizer steps.

use serde::{Deserialize, Serialize};

/// How a [`Ramp`] moves from its start to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RampShape {
    /// At the end value from the first step on.
    Constant,
    /// In equal steps.
    Linear,
    /// Half a cosine wave: slow at both ends.
    Cosine,
}

/// A value that moves from `start` to `end` over `steps` optimizer steps and then stays there.
///
/// ```
/// use t81_burn::{Ramp, RampShape};
///
/// let threshold = Ramp::new(RampShape::Linear, 1.0, 0.7, 30);
/// assert_eq!(threshold.value_at(0), 1.0);
/// assert!((threshold.value_at(10) - 0.9).abs() < 1e-6);
/// assert_eq!(threshold.value_at(30), 0.7);
/// assert_eq!(threshold.value_at(1_000_000), 0.7);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ramp {
    /// The curve.
    pub shape: RampShape,
    /// Value at step 0 (unused by [`RampShape::Constant`]).
    pub start: f32,
    /// Value at step `steps` and after.
    pub end: f32,
    /// Length in optimizer steps; 0 is constant.
    pub steps: usize,
}

impl Ramp {
    /// A ramp from `start` to `end` over `steps` optimizer steps.
    pub fn new(shape: RampShape, start: f32, end: f32, steps: usize) -> Self {
        Self {
            shape,
            start,
            end,
            steps,
        }
    }

    /// Always `value`.
    pub fn constant(value: f32) -> Self {
        Self::new(RampShape::Constant, value, value, 0)
    }

    /// The value that the forward pass of optimizer step `step` (from 0) uses.
    pub fn value_at(&self, step: usize) -> f32 {
        if step >= self.steps {
            return self.end;
        }
        let progress = step as f64 / self.steps as f64;
        let share = match self.shape {
            RampShape::Constant => return self.end,
            RampShape::Linear => progress,
            RampShape::Cosine => 0.5 - 0.5 * (std::f64::consts::PI * progress).cos(),
        };
        (f64::from(self.start) + share * (f64::from(self.end) - f64::from(self.start))) as f32
    }
}

/// The two warm-ups of ternary training.
///
/// `blend` is the lambda of Hugging Face's 1.58-bit recipe: the forward pass sees `w + lambda * (q - w)`. It is what
/// keeps a pretrained model alive. `threshold` moves the ternary cut-off, as the original t81lib does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TernarySchedule {
    /// Fraction of the reference magnitude below which a weight becomes 0.
    pub threshold: Ramp,
    /// Share of the ternary value in the forward pass.
    pub blend: Ramp,
}

impl TernarySchedule {
    /// Ternary from the first step on, with a fixed threshold.
    pub fn constant(threshold: f32) -> Self {
        Self {
            threshold: Ramp::constant(threshold),
            blend: Ramp::constant(1.0),
        }
    }

    /// Moves the threshold in equal steps from 1.0 to its target over `steps` steps (the original's warm-up).
    pub fn with_threshold_warmup(mut self, shape: RampShape, steps: usize) -> Self {
        self.threshold = Ramp::new(shape, 1.0, self.threshold.end, steps);
        self
    }

    /// Moves the blend from 0 (float) to 1 (ternary) over `steps` steps.
    pub fn with_blend_warmup(mut self, shape: RampShape, steps: usize) -> Self {
        self.blend = Ramp::new(shape, 0.0, 1.0, steps);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_warm_up_of_the_threshold_matches_the_formula() {
        let schedule =
            TernarySchedule::constant(0.45).with_threshold_warmup(RampShape::Linear, 100);
        for step in 0..=100 {
            let expected = 1.0 - (1.0 - 0.45) * step as f32 / 100.0;
            assert!((schedule.threshold.value_at(step) - expected).abs() < 1e-6);
        }
        assert_eq!(schedule.threshold.value_at(100), 0.45);
        assert_eq!(schedule.blend.value_at(0), 1.0);
    }

    #[test]
    fn cosine_is_half_way_in_the_middle_and_slow_at_the_ends() {
        let ramp = Ramp::new(RampShape::Cosine, 0.0, 1.0, 10);
        assert_eq!(ramp.value_at(0), 0.0);
        assert!((ramp.value_at(5) - 0.5).abs() < 1e-6);
        assert!((ramp.value_at(1) - 0.024_471_742).abs() < 1e-6);
        assert_eq!(ramp.value_at(10), 1.0);
    }

    #[test]
    fn constants_ignore_the_step() {
        let ramp = Ramp::new(RampShape::Constant, 0.2, 0.9, 50);
        assert_eq!(ramp.value_at(0), 0.9);
        assert_eq!(Ramp::new(RampShape::Linear, 0.2, 0.9, 0).value_at(0), 0.9);
    }
}
