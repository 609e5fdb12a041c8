//! The word of 48 balanced trits.

mod arithmetic;
mod text;

use super::bigint::BigInt;
use super::error::{DecodeError, IntegerRangeError};
use super::magnitude::Divisor;
use super::tryte;

/// Three to the power of 24: the base of a limb's halves.
const HALF_BASE: i128 = tryte::POWER_24 as i128;

/// Three to the power of 48.
const BASE: i128 = HALF_BASE * HALF_BASE;

/// A word of 48 balanced trits: an integer of at most `(3^48 - 1) / 2` in magnitude.
///
/// The range is symmetric, so that negation never overflows. The operators `+ - * / %` panic when a result does not
/// fit, in every build, as Rust's integers do in debug builds; the `checked_` methods give `None` instead, and
/// [`carrying_add`](Self::carrying_add) and [`widening_mul`](Self::widening_mul) keep what overflows. `/` and `%` round
/// toward zero.
///
/// Texts are those of [`BigInt`]: decimal by `Display` and `FromStr`, balanced ternary and base 81 by name.
///
/// ```
/// use t81_core::numeric::Limb;
///
/// let limb = Limb::from(-5);
/// assert_eq!(limb.to_balanced_ternary(), "T11");
/// assert_eq!(limb.trit(0), 1);
/// assert_eq!(limb.to_bytes()[..2], [13 + 4 - 9, 13]);
/// assert_eq!(Limb::MAX.checked_add(Limb::ONE), None);
/// assert_eq!(Limb::MAX.carrying_add(Limb::ONE, 0), (Limb::MIN, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Limb(i128);

impl Limb {
    /// Trits of a limb.
    pub const TRITS: usize = 48;
    /// Bytes of a limb, three trits each.
    pub const BYTES: usize = 16;
    /// Zero.
    pub const ZERO: Self = Self(0);
    /// One.
    pub const ONE: Self = Self(1);
    /// The largest value, `(3^48 - 1) / 2`: every trit is 1.
    pub const MAX: Self = Self(BASE / 2);
    /// The smallest value, `-(3^48 - 1) / 2`: every trit is -1.
    pub const MIN: Self = Self(-(BASE / 2));

    /// The value.
    #[must_use]
    pub const fn value(self) -> i128 {
        self.0
    }

    /// The limb of a value in range.
    const fn in_range(value: i128) -> Option<Self> {
        if value >= Self::MIN.0 && value <= Self::MAX.0 {
            Some(Self(value))
        } else {
            None
        }
    }

    /// The 16 bytes, least significant first, each `(t0 + 1) + 3 (t1 + 1) + 9 (t2 + 1)` of three trits.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let biased = (self.0 + Self::MAX.0) as u128;
        let (high, low) = const { Divisor::new(tryte::POWER_24) }.div_rem(biased);
        let trytes =
            u128::from(tryte::split_eight(high)) << 64 | u128::from(tryte::split_eight(low));
        trytes.to_le_bytes()
    }

    /// The limb of 16 bytes in the layout of [`to_bytes`](Self::to_bytes).
    ///
    /// # Errors
    ///
    /// When a byte is above 26.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Result<Self, DecodeError> {
        if let Some(index) = tryte::first_invalid(&bytes) {
            let value = bytes[index];
            return Err(DecodeError::InvalidTryte { index, value });
        }
        let trytes = u128::from_le_bytes(bytes);
        let low = tryte::join_eight(trytes as u64);
        let high = tryte::join_eight((trytes >> 64) as u64);
        Ok(Self(
            i128::from(low) + HALF_BASE * i128::from(high) - Self::MAX.0,
        ))
    }

    /// The trits, least significant first.
    #[must_use]
    pub fn to_trits(self) -> [i8; Self::TRITS] {
        let bytes = self.to_bytes();
        std::array::from_fn(|index| (bytes[index / 3] / [1, 3, 9][index % 3] % 3) as i8 - 1)
    }

    /// The limb of 48 trits, least significant first.
    ///
    /// # Errors
    ///
    /// When a trit is none of -1, 0 and 1.
    pub fn from_trits(trits: [i8; Self::TRITS]) -> Result<Self, DecodeError> {
        if let Some(index) = trits.iter().position(|trit| !(-1..=1).contains(trit)) {
            let value = trits[index];
            return Err(DecodeError::InvalidTrit { index, value });
        }
        let value = trits
            .iter()
            .rev()
            .fold(0, |value, &trit| value * 3 + i128::from(trit));
        Ok(Self(value))
    }

    /// One trit, counted from the least significant.
    ///
    /// # Panics
    ///
    /// When the index is 48 or more, as slice indexing does.
    #[must_use]
    pub fn trit(self, index: usize) -> i8 {
        self.to_trits()[index]
    }
}

macro_rules! limb_conversions {
    ($($infallible:ty)*; $($fallible:ty)*) => {
        $(impl From<$infallible> for Limb {
            fn from(value: $infallible) -> Self {
                Self(value.into())
            }
        })*
        $(impl TryFrom<$fallible> for Limb {
            type Error = IntegerRangeError;

            fn try_from(value: $fallible) -> Result<Self, Self::Error> {
                i128::try_from(value)
                    .ok()
                    .and_then(Self::in_range)
                    .ok_or_else(|| IntegerRangeError::new("a limb of 48 trits"))
            }
        })*
    };
}

limb_conversions!(i8 i16 i32 i64 u8 u16 u32 u64; i128 u128 isize usize);

macro_rules! integer_conversions {
    ($($integer:ty)*) => {
        $(impl TryFrom<Limb> for $integer {
            type Error = IntegerRangeError;

            fn try_from(limb: Limb) -> Result<Self, Self::Error> {
                limb.0
                    .try_into()
                    .map_err(|_| IntegerRangeError::new(stringify!($integer)))
            }
        })*
    };
}

integer_conversions!(i8 i16 i32 i64 isize u8 u16 u32 u64 u128 usize);

impl From<Limb> for i128 {
    fn from(limb: Limb) -> Self {
        limb.0
    }
}

impl TryFrom<&BigInt> for Limb {
    type Error = IntegerRangeError;

    fn try_from(number: &BigInt) -> Result<Self, Self::Error> {
        i128::try_from(number)
            .ok()
            .and_then(Self::in_range)
            .ok_or_else(|| IntegerRangeError::new("a limb of 48 trits"))
    }
}
