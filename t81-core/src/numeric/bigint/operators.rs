//! Arithmetic and its operators.

use std::cmp::Ordering;
use std::iter::{Product, Sum};
use std::ops::{
    Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Rem, RemAssign, Shl, ShlAssign, Shr,
    ShrAssign, Sub, SubAssign,
};

use super::super::magnitude::{self, TERNARY};
use super::BigInt;

impl BigInt {
    /// Quotient, rounded toward zero, and remainder, which has the dividend's sign; `None` when the divisor is zero.
    #[must_use]
    pub fn checked_div_rem(&self, divisor: &Self) -> Option<(Self, Self)> {
        if divisor.is_zero() {
            return None;
        }
        let (quotient, remainder) =
            magnitude::div_rem::<TERNARY>(&self.magnitude, &divisor.magnitude);
        Some((
            Self::from_parts(self.negative != divisor.negative, quotient),
            Self::from_parts(self.negative, remainder),
        ))
    }

    /// The sum with a number of the given sign and magnitude.
    fn signed_sum(&self, negative: bool, other: &[u64]) -> Self {
        if self.negative == negative {
            return Self {
                negative,
                magnitude: magnitude::add::<TERNARY>(&self.magnitude, other),
            };
        }
        match magnitude::compare(&self.magnitude, other) {
            Ordering::Equal => Self::default(),
            Ordering::Greater => Self::from_parts(
                self.negative,
                magnitude::subtract::<TERNARY>(&self.magnitude, other),
            ),
            Ordering::Less => Self::from_parts(
                negative,
                magnitude::subtract::<TERNARY>(other, &self.magnitude),
            ),
        }
    }

    /// Adds a number of the given sign and magnitude in place where that is possible.
    fn add_signed(&mut self, negative: bool, other: &[u64]) {
        if self.negative == negative && self.magnitude.len() >= other.len() {
            if magnitude::add_assign::<TERNARY>(&mut self.magnitude, other) {
                self.magnitude.push(1);
            }
        } else if self.negative != negative
            && magnitude::compare(&self.magnitude, other) == Ordering::Greater
        {
            magnitude::subtract_assign::<TERNARY>(&mut self.magnitude, other);
            magnitude::normalize(&mut self.magnitude);
        } else {
            *self = self.signed_sum(negative, other);
        }
    }

    fn plus(&self, other: &Self) -> Self {
        // A zero has no sign of its own to differ by.
        let negative = if other.is_zero() {
            self.negative
        } else {
            other.negative
        };
        self.signed_sum(negative, &other.magnitude)
    }

    fn minus(&self, other: &Self) -> Self {
        let negative = if other.is_zero() {
            self.negative
        } else {
            !other.negative
        };
        self.signed_sum(negative, &other.magnitude)
    }

    fn times(&self, other: &Self) -> Self {
        Self::from_parts(
            self.negative != other.negative,
            magnitude::multiply::<TERNARY>(&self.magnitude, &other.magnitude),
        )
    }

    fn quotient(&self, divisor: &Self) -> Self {
        self.checked_div_rem(divisor).expect(BY_ZERO).0
    }

    fn remainder(&self, divisor: &Self) -> Self {
        self.checked_div_rem(divisor).expect(BY_ZERO).1
    }
}

const BY_ZERO: &str = "a division by zero";

impl Neg for BigInt {
    type Output = Self;

    fn neg(mut self) -> Self {
        self.negative = !self.negative && !self.is_zero();
        self
    }
}

impl Neg for &BigInt {
    type Output = BigInt;

    fn neg(self) -> BigInt {
        -self.clone()
    }
}

macro_rules! operators {
    ($($operator:ident $method:ident $assign:ident $assign_method:ident $by:ident;)*) => {
        $(impl $operator<&BigInt> for &BigInt {
            type Output = BigInt;

            fn $method(self, other: &BigInt) -> BigInt {
                self.$by(other)
            }
        }

        impl $operator<BigInt> for &BigInt {
            type Output = BigInt;

            fn $method(self, other: BigInt) -> BigInt {
                self.$by(&other)
            }
        }

        impl $operator<&BigInt> for BigInt {
            type Output = BigInt;

            fn $method(mut self, other: &BigInt) -> BigInt {
                self.$assign_method(other);
                self
            }
        }

        impl $operator for BigInt {
            type Output = BigInt;

            fn $method(mut self, other: BigInt) -> BigInt {
                self.$assign_method(&other);
                self
            }
        }

        impl $assign for BigInt {
            fn $assign_method(&mut self, other: BigInt) {
                self.$assign_method(&other);
            }
        })*
    };
}

operators! {
    Add add AddAssign add_assign plus;
    Sub sub SubAssign sub_assign minus;
    Mul mul MulAssign mul_assign times;
    Div div DivAssign div_assign quotient;
    Rem rem RemAssign rem_assign remainder;
}

impl AddAssign<&BigInt> for BigInt {
    fn add_assign(&mut self, other: &BigInt) {
        if self.is_zero() {
            self.clone_from(other);
        } else if !other.is_zero() {
            self.add_signed(other.negative, &other.magnitude);
        }
    }
}

impl SubAssign<&BigInt> for BigInt {
    fn sub_assign(&mut self, other: &BigInt) {
        if !other.is_zero() {
            self.add_signed(!other.negative, &other.magnitude);
        }
    }
}

macro_rules! assign_by_value {
    ($($assign:ident $assign_method:ident $by:ident;)*) => {
        $(impl $assign<&BigInt> for BigInt {
            fn $assign_method(&mut self, other: &BigInt) {
                *self = self.$by(other);
            }
        })*
    };
}

assign_by_value! {
    MulAssign mul_assign times;
    DivAssign div_assign quotient;
    RemAssign rem_assign remainder;
}

/// Times `3^trits`.
impl Shl<usize> for &BigInt {
    type Output = BigInt;

    fn shl(self, trits: usize) -> BigInt {
        BigInt {
            negative: self.negative,
            magnitude: magnitude::shift_left(&self.magnitude, trits),
        }
    }
}

/// Divided by `3^trits`, to the nearest integer.
impl Shr<usize> for &BigInt {
    type Output = BigInt;

    fn shr(self, trits: usize) -> BigInt {
        BigInt::from_parts(
            self.negative,
            magnitude::shift_right(&self.magnitude, trits),
        )
    }
}

macro_rules! shifts_by_value {
    ($($shift:ident $method:ident $assign:ident $assign_method:ident;)*) => {
        $(impl $shift<usize> for BigInt {
            type Output = BigInt;

            fn $method(self, trits: usize) -> BigInt {
                (&self).$method(trits)
            }
        }

        impl $assign<usize> for BigInt {
            fn $assign_method(&mut self, trits: usize) {
                *self = (&*self).$method(trits);
            }
        })*
    };
}

shifts_by_value! {
    Shl shl ShlAssign shl_assign;
    Shr shr ShrAssign shr_assign;
}

impl Sum for BigInt {
    fn sum<I: Iterator<Item = Self>>(numbers: I) -> Self {
        numbers.fold(Self::default(), |sum, number| sum + number)
    }
}

impl Product for BigInt {
    fn product<I: Iterator<Item = Self>>(numbers: I) -> Self {
        numbers.fold(Self::from(1), |product, number| product * number)
    }
}
