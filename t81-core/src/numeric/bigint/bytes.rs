//! The byte layout.

use super::super::error::DecodeError;
use super::super::limb::Limb;
use super::super::tryte;
use super::BigInt;

/// Bytes of the sign and the limb count.
pub(super) const HEADER: usize = 5;

impl BigInt {
    /// The number in its one byte form.
    ///
    /// One byte for the sign, 1 when negative; the number of limbs as a little-endian `u32`; then 16 bytes a limb, the
    /// least significant limb and byte first. The limbs are the balanced base-3^48 digits of the magnitude, the most
    /// significant one positive, and each byte holds three trits as `(t0 + 1) + 3 (t1 + 1) + 9 (t2 + 1)`.
    ///
    /// # Panics
    ///
    /// When the number has more than `u32::MAX` limbs, which is one of 64 GiB.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let trytes = (self.magnitude.len() * tryte::DIGIT_TRYTES + 1).next_multiple_of(Limb::BYTES);
        let mut bytes = vec![tryte::ZERO; HEADER + trytes];
        tryte::write_balanced(&self.magnitude, &mut bytes[HEADER..]);
        while bytes.len() > HEADER && bytes.ends_with(&[tryte::ZERO; Limb::BYTES]) {
            bytes.truncate(bytes.len() - Limb::BYTES);
        }
        let limbs = u32::try_from((bytes.len() - HEADER) / Limb::BYTES)
            .expect("a number of at most 2^32 - 1 limbs");
        bytes[0] = self.negative.into();
        bytes[1..HEADER].copy_from_slice(&limbs.to_le_bytes());
        bytes
    }

    /// The number of bytes that [`to_bytes`](Self::to_bytes) gave.
    ///
    /// Nothing is allocated before the limb count is known to be that of the bytes that are there.
    ///
    /// # Errors
    ///
    /// When the bytes are not the canonical form of a number: see [`DecodeError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let actual = bytes.len();
        let Some((&[sign, a, b, c, d], trytes)) = bytes.split_first_chunk::<HEADER>() else {
            return Err(DecodeError::ShortHeader { actual });
        };
        let negative = match sign {
            0 => false,
            1 => true,
            value => return Err(DecodeError::InvalidSign { value }),
        };
        let limbs = u32::from_le_bytes([a, b, c, d]);
        let expected = HEADER as u64 + u64::from(limbs) * Limb::BYTES as u64;
        if expected != actual as u64 {
            return Err(DecodeError::Length {
                limbs,
                expected,
                actual,
            });
        }
        if limbs == 0 && negative {
            return Err(DecodeError::NegativeZero);
        }
        if trytes.ends_with(&[tryte::ZERO; Limb::BYTES]) {
            return Err(DecodeError::LeadingZero);
        }
        if let Some(index) = tryte::first_invalid(trytes) {
            return Err(DecodeError::InvalidTryte {
                index: HEADER + index,
                value: trytes[index],
            });
        }
        let (magnitude, below_zero) = tryte::read_balanced(trytes);
        if below_zero {
            return Err(DecodeError::NegativeMagnitude);
        }
        Ok(Self::from_parts(negative, magnitude))
    }
}
