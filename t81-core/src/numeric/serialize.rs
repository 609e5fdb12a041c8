//! `serde`: decimal text for formats that people read, the byte layout for the others.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::bigint::BigInt;
use super::error::DecodeError;
use super::limb::Limb;

macro_rules! serde_by_text_or_bytes {
    ($number:ident, $visitor:ident, $expecting:literal, $from_bytes:expr) => {
        /// Decimal text for formats that people read, `to_bytes` for the others.
        impl Serialize for $number {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_bytes(&self.to_bytes())
                }
            }
        }

        impl<'de> Deserialize<'de> for $number {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    deserializer.deserialize_str($visitor)
                } else {
                    deserializer.deserialize_bytes($visitor)
                }
            }
        }

        struct $visitor;

        impl Visitor<'_> for $visitor {
            type Value = $number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($expecting)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                let from_bytes: fn(&[u8]) -> Result<$number, DecodeError> = $from_bytes;
                from_bytes(bytes).map_err(E::custom)
            }
        }
    };
}

serde_by_text_or_bytes!(
    BigInt,
    BigIntVisitor,
    "an integer as decimal text or as bytes",
    BigInt::from_bytes
);

serde_by_text_or_bytes!(
    Limb,
    LimbVisitor,
    "an integer of 48 trits as decimal text or as 16 bytes",
    limb_from_slice
);

fn limb_from_slice(bytes: &[u8]) -> Result<Limb, DecodeError> {
    let actual = bytes.len();
    let bytes = bytes.try_into().map_err(|_| DecodeError::Length {
        limbs: 1,
        expected: Limb::BYTES as u64,
        actual,
    })?;
    Limb::from_bytes(bytes)
}
