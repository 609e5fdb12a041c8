//! Rust's integers and limbs.

use super::super::error::IntegerRangeError;
use super::super::limb::Limb;
use super::super::magnitude::TERNARY;
use super::super::tryte;
use super::BigInt;

impl BigInt {
    fn from_magnitude(negative: bool, value: u128) -> Self {
        const BASE: u128 = TERNARY as u128;
        let digits = vec![
            (value % BASE) as u64,
            (value / BASE % BASE) as u64,
            (value / BASE / BASE) as u64,
        ];
        Self::from_parts(negative, digits)
    }

    /// The magnitude, if it fits.
    fn to_magnitude(&self) -> Option<u128> {
        self.magnitude
            .iter()
            .rev()
            .try_fold(0_u128, |value, &digit| {
                value
                    .checked_mul(u128::from(TERNARY))?
                    .checked_add(u128::from(digit))
            })
    }

    /// The balanced base-3^48 digits of the number, least significant first, none for zero: a negative number's are the
    /// negated ones of its magnitude.
    #[must_use]
    pub fn to_limbs(&self) -> Vec<Limb> {
        let bytes = self.to_bytes();
        let (limbs, _) = bytes[super::bytes::HEADER..].as_chunks();
        limbs
            .iter()
            .map(|&limb| {
                let limb = Limb::from_bytes(limb).expect("encoded trytes are at most 26");
                if self.negative { -limb } else { limb }
            })
            .collect()
    }

    /// The sum of `limbs[i] * 3^(48 i)`, whatever the limbs' signs and zeros.
    #[must_use]
    pub fn from_limbs(limbs: &[Limb]) -> Self {
        let negative = limbs
            .iter()
            .rfind(|limb| **limb != Limb::ZERO)
            .is_some_and(|limb| limb.signum() < 0);
        let trytes: Vec<u8> = limbs
            .iter()
            .flat_map(|&limb| (if negative { -limb } else { limb }).to_bytes())
            .collect();
        let (magnitude, _) = tryte::read_balanced(&trytes);
        Self::from_parts(negative, magnitude)
    }
}

impl From<Limb> for BigInt {
    fn from(limb: Limb) -> Self {
        limb.value().into()
    }
}

macro_rules! conversions {
    ($($signed:ty, $unsigned:ty;)*) => {
        $(impl From<$signed> for BigInt {
            fn from(value: $signed) -> Self {
                Self::from_magnitude(value < 0, value.unsigned_abs() as u128)
            }
        }

        impl From<$unsigned> for BigInt {
            fn from(value: $unsigned) -> Self {
                Self::from_magnitude(false, value as u128)
            }
        }

        impl TryFrom<&BigInt> for $signed {
            type Error = IntegerRangeError;

            fn try_from(number: &BigInt) -> Result<Self, Self::Error> {
                number
                    .to_magnitude()
                    .and_then(|value| {
                        if number.negative {
                            0_i128.checked_sub_unsigned(value)?.try_into().ok()
                        } else {
                            Self::try_from(value).ok()
                        }
                    })
                    .ok_or_else(|| IntegerRangeError::new(stringify!($signed)))
            }
        }

        impl TryFrom<&BigInt> for $unsigned {
            type Error = IntegerRangeError;

            fn try_from(number: &BigInt) -> Result<Self, Self::Error> {
                number
                    .to_magnitude()
                    .filter(|_| !number.negative)
                    .and_then(|value| value.try_into().ok())
                    .ok_or_else(|| IntegerRangeError::new(stringify!($unsigned)))
            }
        })*
    };
}

conversions! {
    i8, u8;
    i16, u16;
    i32, u32;
    i64, u64;
    i128, u128;
    isize, usize;
}
