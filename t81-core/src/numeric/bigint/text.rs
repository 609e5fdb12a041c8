//! Texts: decimal, balanced ternary and base 81.

use std::fmt;
use std::str::FromStr;

use super::super::error::ParseNumberError;
use super::super::text;
use super::BigInt;

impl BigInt {
    /// The text in balanced ternary, the most significant trit first: `1`, `0` and `T` for minus one. It needs no sign.
    #[must_use]
    pub fn to_balanced_ternary(&self) -> String {
        text::format_balanced(self.negative, &self.magnitude)
    }

    /// Reads a text in balanced ternary; leading zeros are allowed.
    ///
    /// # Errors
    ///
    /// When there is no digit or a character is none of `1`, `0` and `T`.
    pub fn from_balanced_ternary(text: &str) -> Result<Self, ParseNumberError> {
        let (negative, magnitude) = text::parse_balanced(text)?;
        Ok(Self::from_parts(negative, magnitude))
    }

    /// The text in base 81: a minus sign below zero and the magnitude's digits 0 to 80, which are
    /// ``0-9 a-z A-Z ! # $ % & ( ) * + - , . / ; : < = > ?`` in this order.
    ///
    /// `+` and `-` are digits too, of values 70 and 71. A number above zero that starts with one of them is written with a
    /// zero before it, so that different numbers have different texts.
    #[must_use]
    pub fn to_base81(&self) -> String {
        text::format_base81(self.negative, &self.magnitude)
    }

    /// Reads a text in base 81; a first `+` or `-` is a sign, leading zeros are allowed.
    ///
    /// # Errors
    ///
    /// When there is no digit or a character is none.
    pub fn from_base81(text: &str) -> Result<Self, ParseNumberError> {
        let (negative, magnitude) = text::parse_base81(text)?;
        Ok(Self::from_parts(negative, magnitude))
    }
}

/// The decimal text.
impl fmt::Display for BigInt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad_integral(!self.negative, "", &text::format_decimal(&self.magnitude))
    }
}

/// Reads decimal digits, a sign before them or none; leading zeros are allowed.
impl FromStr for BigInt {
    type Err = ParseNumberError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (negative, magnitude) = text::parse_decimal(text)?;
        Ok(Self::from_parts(negative, magnitude))
    }
}
