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

/// All ones where the code of a weight is not zero, else 0. As a mask, so that loops become vector code and no branches.
#[inline(always)]
pub(super) fn nonzero_mask(weight: f32, limit: i32) -> u32 {
    u32::from(magnitude_bits(weight) > limit).wrapping_neg()
}

/// `abs(w)` where the mask is set, else 0.
#[inline(always)]
pub(super) fn masked_magnitude(weight: f32, mask: u32) -> f32 {
    f32::from_bits(weight.to_bits() & 0x7fff_ffff & mask)
}

/// `scale` with the sign of the weight where the mask is set, else 0.
#[inline(always)]
pub(super) fn ternary(weight: f32, scale: f32, mask: u32) -> f32 {
    f32::from_bits((scale.to_bits() | (weight.to_bits() & 0x8000_0000)) & mask)
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

    /// Stochastic rounding's choice, given the weight's random number: all ones to keep it, else 0.
    #[inline(always)]
    pub(super) fn kept_mask(&self, weight: f32, uniform: f32) -> u32 {
        let excess = weight.abs() - self.cutoff;
        let likely = (uniform * self.span < excess) | (excess >= self.span);
        nonzero_mask(weight, self.limit) & u32::from(likely).wrapping_neg()
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

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    #[test]
    fn a_scale_is_rounded_once() {
        // 1 + 2^-11 + 2^-25: just above the midpoint of the f16 1 and 1 + 2^-10. Through f32 it would become the
        // midpoint, and then the even 1.
        let quotient = 1.0 + 2.0_f64.powi(-11) + 2.0_f64.powi(-25);
        assert_eq!(quotient as f32, 1.0 + 2.0_f32.powi(-11));
        assert_eq!(f16::from_f32(quotient as f32), f16::ONE);
        assert_eq!(round_to_f16(quotient), 1.0 + 2.0_f32.powi(-10));
        // The same with a sum and a count, on either side of a midpoint (512.25 and 512.75).
        for (sum, expected, twice) in [
            (10_246_537.0_f32, 512.5, 512.0),
            (10_256_538.0, 512.5, 513.0),
        ] {
            assert_eq!(f16::from_f32(sum / 20_003.0).to_f32(), twice);
            assert_eq!(scale(sum, 20_003), expected);
        }
    }

    #[test]
    fn every_f16_and_every_midpoint_rounds_to_nearest_even() {
        for bits in 0..0x7c00_u16 {
            let value = f16::from_bits(bits).to_f64();
            let next = match bits {
                0x7bff => 65536.0,
                _ => f16::from_bits(bits + 1).to_f64(),
            };
            let number = |value: f64| {
                if value > 65504.0 {
                    f32::INFINITY
                } else {
                    value as f32
                }
            };
            let middle = (value + next) / 2.0;
            assert_eq!(round_to_f16(value), number(value));
            assert_eq!(round_to_f16(middle.next_down()), number(value));
            assert_eq!(
                round_to_f16(middle),
                number(if bits % 2 == 0 { value } else { next })
            );
            assert_eq!(round_to_f16(middle.next_up()), number(next));
        }
        assert_eq!(round_to_f16(f64::MAX), f32::INFINITY);
        assert_eq!(round_to_f16(f64::INFINITY), f32::INFINITY);
        assert_eq!(round_to_f16(f64::NAN), f32::INFINITY);
        assert_eq!(round_to_f16(f64::from_bits(1)), 0.0);
    }

    #[test]
    fn a_group_without_codes_has_scale_zero() {
        assert_eq!(scale(0.0, 0), 0.0);
    }

    #[test]
    fn the_limit_is_the_cutoff_as_bits() {
        for reference in [0.0, 1e-45, 1e-40, 0.3, 1.0, 3e38] {
            for threshold in [0.0, 0.45, 0.7, 1.0] {
                let cut = Cut::new(threshold, reference);
                for weight in [
                    0.0,
                    1e-45,
                    1e-41,
                    cut.cutoff.next_down().abs(),
                    cut.cutoff,
                    cut.cutoff.next_up(),
                    1.0,
                ] {
                    let expected = weight >= cut.cutoff && weight != 0.0;
                    assert_eq!(magnitude_bits(-weight) > cut.limit, expected);
                    assert_eq!(magnitude_bits(weight) > LIMIT_NONZERO, weight != 0.0);
                }
            }
        }
    }

    #[test]
    fn stochastic_rounding_at_its_ends() {
        let cut = Cut::new(0.5, 2.0);
        assert_eq!((cut.cutoff, cut.span), (1.0, 1.0));
        assert_eq!(cut.kept_mask(1.0, 0.0), 0);
        assert_eq!(cut.kept_mask(-1.5, 0.499), u32::MAX);
        assert_eq!(cut.kept_mask(1.5, 0.5), 0);
        assert_eq!(cut.kept_mask(2.0, 1.0_f32.next_down()), u32::MAX);
        // A threshold of 1 leaves no range: as deterministic.
        let step = Cut::new(1.0, 2.0);
        assert_eq!(step.kept_mask(2.0, 0.999), u32::MAX);
        assert_eq!(step.kept_mask(2.0_f32.next_down(), 0.0), 0);
    }
}
