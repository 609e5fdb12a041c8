//! Arithmetic that says when it overflows.

use std::ops::{
    Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Rem, RemAssign, Sub, SubAssign,
};

use super::{BASE, HALF_BASE, Limb};

/// Balanced remainder and quotient of a division by the odd base: the remainder is at most half the base in magnitude.
const fn split(value: i128, base: i128) -> (i128, i128) {
    let low = (value + base / 2).rem_euclid(base) - base / 2;
    (low, (value - low) / base)
}

impl Limb {
    /// The sum, if it fits.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        Self::in_range(self.0 + other.0)
    }

    /// The difference, if it fits.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        Self::in_range(self.0 - other.0)
    }

    /// The product, if it fits.
    #[must_use]
    pub const fn checked_mul(self, other: Self) -> Option<Self> {
        match self.0.checked_mul(other.0) {
            Some(product) => Self::in_range(product),
            None => None,
        }
    }

    /// Quotient, rounded toward zero, and remainder; `None` when the divisor is zero.
    #[must_use]
    pub const fn checked_div_rem(self, divisor: Self) -> Option<(Self, Self)> {
        if divisor.0 == 0 {
            return None;
        }
        Some((Self(self.0 / divisor.0), Self(self.0 % divisor.0)))
    }

    /// The lower 48 trits of `self + other + carry`, and what carries into the next limb: -1, 0 or 1 when `carry` is one
    /// of these.
    #[must_use]
    pub const fn carrying_add(self, other: Self, carry: i8) -> (Self, i8) {
        let (low, carry) = split(self.0 + other.0 + carry as i128, BASE);
        (Self(low), carry as i8)
    }

    /// The product as its lower and its upper 48 trits.
    #[must_use]
    pub const fn widening_mul(self, other: Self) -> (Self, Self) {
        let (left_low, left_high) = split(self.0, HALF_BASE);
        let (right_low, right_high) = split(other.0, HALF_BASE);
        let (cross_low, cross_high) =
            split(left_low * right_high + left_high * right_low, HALF_BASE);
        let (low, carry) = split(left_low * right_low + cross_low * HALF_BASE, BASE);
        (Self(low), Self(left_high * right_high + cross_high + carry))
    }

    /// The absolute value.
    #[must_use]
    pub const fn abs(self) -> Self {
        Self(self.0.abs())
    }

    /// -1, 0 or 1 by the sign.
    #[must_use]
    pub const fn signum(self) -> i8 {
        self.0.signum() as i8
    }
}

impl Neg for Limb {
    type Output = Self;

    fn neg(self) -> Self {
        Self(-self.0)
    }
}

macro_rules! operators {
    ($($operator:ident $method:ident $assign:ident $assign_method:ident $by:expr, $complaint:literal;)*) => {
        $(impl $operator for Limb {
            type Output = Self;

            fn $method(self, other: Self) -> Self {
                let by: fn(Self, Self) -> Option<Self> = $by;
                by(self, other).expect($complaint)
            }
        }

        impl $assign for Limb {
            fn $assign_method(&mut self, other: Self) {
                *self = self.$method(other);
            }
        })*
    };
}

operators! {
    Add add AddAssign add_assign Self::checked_add, "a sum beyond 48 trits";
    Sub sub SubAssign sub_assign Self::checked_sub, "a difference beyond 48 trits";
    Mul mul MulAssign mul_assign Self::checked_mul, "a product beyond 48 trits";
    Div div DivAssign div_assign |left, right| Some(left.checked_div_rem(right)?.0), "a division by zero";
    Rem rem RemAssign rem_assign |left, right| Some(left.checked_div_rem(right)?.1), "a division by zero";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_products_at_the_edge() {
        assert_eq!(Limb::MAX + Limb::MIN, Limb::ZERO);
        assert_eq!(Limb::MIN.checked_sub(Limb::ONE), None);
        assert_eq!(Limb::MAX.checked_mul(-Limb::ONE), Some(Limb::MIN));
        assert_eq!(Limb::MAX.checked_mul(Limb::from(2)), None);
        assert_eq!(Limb::MAX.checked_mul(Limb::MAX), None);
        assert_eq!(Limb::MAX.carrying_add(Limb::MAX, 1), (Limb::ZERO, 1));
        assert_eq!(Limb::MIN.carrying_add(Limb::MIN, -1), (Limb::ZERO, -1));
        assert_eq!(Limb::MAX.carrying_add(Limb::MAX, 0), (-Limb::ONE, 1));
        assert_eq!(Limb::ONE.checked_div_rem(Limb::ZERO), None);
        assert_eq!(
            Limb::from(-7).checked_div_rem(Limb::from(2)),
            Some((Limb::from(-3), Limb::from(-1)))
        );
        assert_eq!(Limb::MIN.abs(), Limb::MAX);
        assert_eq!(Limb::MIN.signum(), -1);
    }

    #[test]
    fn a_wide_product_is_both_limbs() {
        let (low, high) = Limb::MAX.widening_mul(Limb::MAX);
        // 4 (high b + low) = b^2 - 2 b + 1, so 4 low = 1 modulo b.
        assert_eq!((4 * low.0 - 1).rem_euclid(BASE), 0);
        assert_eq!(4 * high.0 + (4 * low.0 - 1) / BASE, BASE - 2);
        assert_eq!(Limb::MAX.widening_mul(Limb::MIN), (-low, -high));
        assert_eq!(
            Limb::from(-3).widening_mul(Limb::from(5)),
            (Limb::from(-15), Limb::ZERO)
        );
    }

    #[test]
    #[should_panic(expected = "a sum beyond 48 trits")]
    fn an_overflowing_sum_panics() {
        let _ = Limb::MAX + Limb::ONE;
    }

    #[test]
    #[should_panic(expected = "a division by zero")]
    fn a_division_by_zero_panics() {
        let _ = Limb::ONE % Limb::ZERO;
    }
}
