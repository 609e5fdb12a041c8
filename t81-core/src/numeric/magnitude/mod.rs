//! Magnitudes: little-endian slices of digits in a base below 2^62, the base a constant of every function.
//!
//! Numbers are kept in base 3^39, the largest power of 27 that leaves a machine word room for sums: a digit is 13 bytes
//! of the byte layout, whatever the grouping of those bytes into limbs. Decimal text goes through base 10^18, in which
//! the same multiplication works.

mod add;
mod convert;
mod divide;
mod divisor;
mod gcd;
mod multiply;
mod recursive_division;
mod shift;

pub(super) use add::{add, add_assign, compare, subtract, subtract_assign};
pub(super) use convert::{add_small, convert, multiply_small};
pub(super) use divide::div_rem;
pub(super) use divisor::Divisor;
pub(super) use gcd::gcd;
pub(super) use multiply::multiply;
pub(super) use shift::{shift_left, shift_right};

/// Trits of a digit.
pub(super) const DIGIT_TRITS: usize = 39;

/// Three to the power of [`DIGIT_TRITS`].
pub(super) const TERNARY: u64 = 3_u64.pow(DIGIT_TRITS as u32);

/// Decimal places of a digit of decimal text.
pub(super) const DECIMAL_PLACES: usize = 18;

/// Ten to the power of [`DECIMAL_PLACES`].
pub(super) const DECIMAL: u64 = 10_u64.pow(DECIMAL_PLACES as u32);

/// The number without its leading zeros.
pub(super) fn significant(digits: &[u64]) -> &[u64] {
    let length = digits
        .iter()
        .rposition(|&digit| digit != 0)
        .map_or(0, |last| last + 1);
    &digits[..length]
}

/// Takes leading zeros away.
pub(super) fn normalize(digits: &mut Vec<u64>) {
    digits.truncate(significant(digits).len());
}
