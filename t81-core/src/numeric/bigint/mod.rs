//! Integers of any size.

mod bytes;
mod integers;
mod number_theory;
mod operators;
mod text;

use std::cmp::Ordering;

use super::magnitude;

/// An exact integer of any size: a sign and a magnitude.
///
/// `+ - * / %` take values and references; `/` and `%` round toward zero and panic when the divisor is zero, as those of
/// Rust's integers do. `<<` and `>>` move balanced trits: `>>` drops the lowest and so gives the nearest integer.
///
/// ```
/// use t81_core::numeric::BigInt;
///
/// let number: BigInt = "1000000000000000000000000000057".parse()?;
/// assert_eq!((&number * &number) % &number, BigInt::default());
/// assert_eq!(BigInt::from(14) >> 3, BigInt::from(1));
/// assert_eq!(BigInt::from(13) >> 3, BigInt::from(0));
/// assert_eq!(BigInt::from(-5).to_balanced_ternary(), "T11");
/// assert_eq!(number.to_base81(), BigInt::from_base81(&number.to_base81())?.to_base81());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
// No leading zeros; zero has no digits and is not negative: equal numbers have equal fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct BigInt {
    negative: bool,
    magnitude: Vec<u64>,
}

impl BigInt {
    /// Takes digits of base 3^39 whose leading zeros may still be there.
    fn from_parts(negative: bool, mut magnitude: Vec<u64>) -> Self {
        magnitude::normalize(&mut magnitude);
        Self {
            negative: negative && !magnitude.is_empty(),
            magnitude,
        }
    }

    /// True for zero.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.magnitude.is_empty()
    }

    /// True below zero.
    #[must_use]
    pub fn is_negative(&self) -> bool {
        self.negative
    }

    /// -1, 0 or 1 by the sign.
    #[must_use]
    pub fn signum(&self) -> i8 {
        match (self.negative, self.is_zero()) {
            (true, _) => -1,
            (false, true) => 0,
            (false, false) => 1,
        }
    }

    /// The absolute value.
    #[must_use]
    pub fn abs(&self) -> Self {
        Self {
            negative: false,
            magnitude: self.magnitude.clone(),
        }
    }
}

impl PartialOrd for BigInt {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for BigInt {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) => magnitude::compare(&self.magnitude, &other.magnitude),
            (true, true) => magnitude::compare(&other.magnitude, &self.magnitude),
        }
    }
}
