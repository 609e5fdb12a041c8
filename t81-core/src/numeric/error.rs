//! Errors of the exact integers.

/// Why bytes or trits are no number in canonical form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end before the sign and the limb count do.
    #[error("a number has a header of 5 bytes, not {actual}")]
    ShortHeader {
        /// The bytes there are.
        actual: usize,
    },
    /// The sign byte is neither 0 nor 1.
    #[error("the sign byte is {value}; it is 0 or 1")]
    InvalidSign {
        /// The byte.
        value: u8,
    },
    /// The limbs counted need another number of bytes.
    #[error("a number of {limbs} limbs takes {expected} bytes, not {actual}")]
    Length {
        /// The limbs counted.
        limbs: u32,
        /// The bytes they take.
        expected: u64,
        /// The bytes there are.
        actual: usize,
    },
    /// A byte is above 26, which no three trits give.
    #[error("byte {index} is {value}; three trits give 0 to 26")]
    InvalidTryte {
        /// Index of the byte from the start, the header included.
        index: usize,
        /// The byte.
        value: u8,
    },
    /// A trit is none of -1, 0 and 1.
    #[error("trit {index} is {value}; a trit is -1, 0 or 1")]
    InvalidTrit {
        /// Index of the trit, the least significant first.
        index: usize,
        /// The value.
        value: i8,
    },
    /// The most significant limb is zero.
    #[error("the most significant limb is zero")]
    LeadingZero,
    /// The most significant limb is negative.
    #[error("the most significant limb of a magnitude is negative")]
    NegativeMagnitude,
    /// Zero has a minus sign.
    #[error("zero has no sign")]
    NegativeZero,
}

/// Why a text is no number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseNumberError {
    /// There is no digit.
    #[error("a number needs at least one digit")]
    Empty,
    /// A character is no digit of the base.
    #[error("{found:?} at byte {position} is no digit of base {base}")]
    InvalidDigit {
        /// Byte index of the character.
        position: usize,
        /// The character.
        found: char,
        /// The base: 3, 10 or 81.
        base: u8,
    },
    /// The number is outside the type's range.
    #[error(transparent)]
    OutOfRange(#[from] IntegerRangeError),
}

/// A number is outside an integer type's range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the number does not fit {target}")]
pub struct IntegerRangeError {
    target: &'static str,
}

impl IntegerRangeError {
    pub(crate) fn new(target: &'static str) -> Self {
        Self { target }
    }
}

/// Why an operation on exact integers has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArithmeticError {
    /// The exponent is negative.
    #[error("a power modulo a number needs an exponent of at least zero")]
    NegativeExponent,
    /// The modulus is zero or negative.
    #[error("a modulus is at least one")]
    NonPositiveModulus,
}
