//! The arithmetic of one group, once its sums are known.

/// Which weights of a group get a non-zero code.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// `threshold * reference`.
    pub(super) cutoff: f32,
    /// `(1 - threshold) * reference`: the range in which stochastic rounding's probability grows from 0 to 1.
    pub(super) span: f32,
    /// The cut as an integer: the code is not zero when the bits of `abs(w)` exceed it. Non-negative floats compare as
    /// their bits do, and an integer comparison heeds no denormals-are-zero mode.
    pub(super) limit: i32,
}

/// No weight has bits above this one.
pub(super) const LIMIT_NONE: i32 = i32::MAX;

/// Every weight but zero has bits above this one.
pub(super) const LIMIT_NONZERO: i32 = 0;

/// The bits of `abs(w)`.
#[inline(always)]
pub(super) fn magnitude_bits(weight: f32) -> i32 {
    (weight.to_bits() & 0x7fff_ffff) as i32
}

impl Cut {
    #[inline(always)]
    pub(super) fn new(threshold: f32, reference: f32) -> Self {
        let cutoff = threshold * reference;
        Self {
            cutoff,
            span: (1.0 - threshold) * reference,
            limit: (cutoff.to_bits() as i32).max(1) - 1,
        }
    }

    /// Stochastic rounding's choice for a weight of this magnitude, given its random number.
    #[inline(always)]
    pub(super) fn keeps(&self, magnitude: f32, uniform: f32) -> bool {
        let excess = magnitude - self.cutoff;
        magnitude.to_bits() as i32 > self.limit
            && (uniform * self.span < excess || excess >= self.span)
    }
}

/// The f32 nearest to `sum / count`: the reference magnitude of AbsMean.
#[inline(always)]
pub(super) fn mean(sum: f32, count: u64) -> f32 {
    (f64::from(sum) / count as f64) as f32
}

/// The scale of a group: the f16 nearest to `sum / count` (ties to even) as an f32, infinite above the f16 range and 0
/// for a count of 0.
///
/// The f64 quotient lies on a midpoint of two f16 only when the exact one does: a quotient of a 24-bit sum and a count
/// below 2^40 keeps a relative distance of at least 2^-52 from any other 12-bit number.
#[inline(always)]
pub(super) fn scale(sum: f32, count: u64) -> f32 {
    round_to_f16(f64::from(sum) / count.max(1) as f64)
}

/// Rounds a non-negative number to the f16 grid, ties to even, in one step. (`half::f16::from_f64` goes through f32
/// where the CPU converts f32 in hardware, and so rounds twice.)
#[inline(always)]
fn round_to_f16(value: f64) -> f32 {
    const EXPONENT: u64 = 0x7ff << 52;
    /// The exponent field of 2^-14, the smallest normal f16.
    const SMALLEST: u64 = (1023 - 14) << 52;
    /// Beyond the largest f16; a larger number stays out of its range.
    const LARGEST: u64 = (1023 + 17) << 52;
    // Adding a power of two whose last place is the f16 grid's at `value` (2^-10 of its leading bit) rounds to it.
    let exponent = (value.to_bits() & EXPONENT).clamp(SMALLEST, LARGEST);
    let shift = f64::from_bits(exponent + (42 << 52));
    let rounded = (value + shift) - shift;
    if rounded <= 65504.0 {
        rounded as f32
    } else {
        f32::INFINITY
    }
}
