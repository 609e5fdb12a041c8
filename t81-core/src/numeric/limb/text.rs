//! Texts of limbs: those of the number.

use std::fmt;
use std::str::FromStr;

use super::super::bigint::BigInt;
use super::super::error::ParseNumberError;
use super::Limb;

impl Limb {
    /// The text in balanced ternary, as that of [`BigInt::to_balanced_ternary`].
    #[must_use]
    pub fn to_balanced_ternary(self) -> String {
        BigInt::from(self).to_balanced_ternary()
    }

    /// Reads a text in balanced ternary.
    ///
    /// # Errors
    ///
    /// When there is no digit, a character is none, or the number is beyond 48 trits.
    pub fn from_balanced_ternary(text: &str) -> Result<Self, ParseNumberError> {
        Ok(Self::try_from(&BigInt::from_balanced_ternary(text)?)?)
    }

    /// The text in base 81, as that of [`BigInt::to_base81`].
    #[must_use]
    pub fn to_base81(self) -> String {
        BigInt::from(self).to_base81()
    }

    /// Reads a text in base 81.
    ///
    /// # Errors
    ///
    /// When there is no digit, a character is none, or the number is beyond 48 trits.
    pub fn from_base81(text: &str) -> Result<Self, ParseNumberError> {
        Ok(Self::try_from(&BigInt::from_base81(text)?)?)
    }
}

/// The decimal text.
impl fmt::Display for Limb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Reads decimal digits, a sign before them or none.
impl FromStr for Limb {
    type Err = ParseNumberError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::try_from(&text.parse::<BigInt>()?)?)
    }
}
