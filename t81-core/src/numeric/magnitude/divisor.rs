//! Division by a word through its reciprocal.
//!
//! Algorithm 4 of Möller and Granlund, "Improved division by invariant integers", IEEE Transactions on Computers 60
//! (2011).

/// A word and its reciprocal.
#[derive(Clone, Copy)]
pub(in crate::numeric) struct Divisor {
    normalized: u64,
    shift: u32,
    reciprocal: u64,
}

impl Divisor {
    /// Prepares a divisor other than zero.
    pub(in crate::numeric) const fn new(divisor: u64) -> Self {
        let shift = divisor.leading_zeros();
        let normalized = divisor << shift;
        Self {
            normalized,
            shift,
            reciprocal: (u128::MAX / normalized as u128) as u64,
        }
    }

    /// Quotient and remainder of a dividend whose high word is below the divisor.
    #[inline(always)]
    pub(in crate::numeric) fn div_rem(self, dividend: u128) -> (u64, u64) {
        let shifted = dividend << self.shift;
        let (quotient, remainder) = self.step((shifted >> 64) as u64, shifted as u64);
        (quotient, remainder >> self.shift)
    }

    /// Quotient and remainder of `high * 2^64 + low`, where `high` is below 2^64 times the divisor.
    #[inline(always)]
    pub(super) fn div_rem_wide(self, high: u128, low: u64) -> (u128, u64) {
        let word = low << self.shift;
        // A shift by 64 would overflow; the bits pass in two steps.
        let high = (high << self.shift) | u128::from((low >> 1) >> (63 - self.shift));
        let (upper, remainder) = self.step((high >> 64) as u64, high as u64);
        let (lower, remainder) = self.step(remainder, word);
        (
            u128::from(upper) << 64 | u128::from(lower),
            remainder >> self.shift,
        )
    }

    #[inline(always)]
    fn step(self, high: u64, low: u64) -> (u64, u64) {
        let estimate = (u128::from(self.reciprocal) * u128::from(high))
            .wrapping_add(u128::from(high) << 64 | u128::from(low));
        let mut quotient = ((estimate >> 64) as u64).wrapping_add(1);
        let mut remainder = low.wrapping_sub(quotient.wrapping_mul(self.normalized));
        if remainder > estimate as u64 {
            quotient = quotient.wrapping_sub(1);
            remainder = remainder.wrapping_add(self.normalized);
        }
        if remainder >= self.normalized {
            quotient = quotient.wrapping_add(1);
            remainder -= self.normalized;
        }
        (quotient, remainder)
    }
}

/// The divisor of a base.
pub(super) struct Radix<const BASE: u64>;

impl<const BASE: u64> Radix<BASE> {
    /// The base.
    pub(super) const DIVISOR: Divisor = Divisor::new(BASE);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_are_those_of_the_machine() {
        let words = [
            1,
            2,
            3,
            26,
            1 << 32,
            3_u64.pow(39),
            10_u64.pow(18),
            1 << 63,
            u64::MAX,
        ];
        for divisor in words {
            let reciprocal = Divisor::new(divisor);
            for low in words {
                for high in [0, divisor / 2, divisor - 1] {
                    let dividend = u128::from(high) << 64 | u128::from(low);
                    let expected = (
                        (dividend / u128::from(divisor)) as u64,
                        (dividend % u128::from(divisor)) as u64,
                    );
                    assert_eq!(
                        reciprocal.div_rem(dividend),
                        expected,
                        "{dividend} / {divisor}"
                    );
                    let (quotient, remainder) = reciprocal.div_rem_wide(u128::from(high), low);
                    assert_eq!((quotient as u64, remainder), expected);
                }
            }
        }
    }

    #[test]
    fn wide_dividends_divide_exactly() {
        let divisor = 3_u64.pow(39);
        // (divisor - 1) * 2^128 / 4 + 5 stays within what the high part may be.
        let high = u128::from(divisor / 8) << 64 | 12_345;
        let (quotient, remainder) = Divisor::new(divisor).div_rem_wide(high, 6_789);
        let product = quotient.wrapping_mul(u128::from(divisor)) + u128::from(remainder);
        assert_eq!(product, (high << 64) | 6_789);
        assert!(remainder < divisor);
        assert_eq!(quotient >> 64, (high / u128::from(divisor)));
    }
}
