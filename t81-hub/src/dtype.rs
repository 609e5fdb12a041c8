//! Float element types of safetensors files and the conversions between them.

use std::fmt;
use std::str::FromStr;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use serde::{Deserialize, Serialize};

/// Element type of a dense tensor. Safetensors stores all of them little endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Dtype {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// The upper half of a binary32.
    BF16,
}

/// Elements converted at a time: small enough for the stack and the first-level cache.
pub(crate) const BLOCK: usize = 2048;

impl Dtype {
    /// Bytes of one element.
    pub fn size_bytes(self) -> usize {
        match self {
            Dtype::F32 => 4,
            Dtype::F16 | Dtype::BF16 => 2,
        }
    }

    /// The name that `config.json` uses in `torch_dtype`: `float32`, `float16` or `bfloat16`.
    pub fn torch_name(self) -> &'static str {
        match self {
            Dtype::F32 => "float32",
            Dtype::F16 => "float16",
            Dtype::BF16 => "bfloat16",
        }
    }

    pub(crate) fn from_safetensors(dtype: safetensors::Dtype) -> Option<Self> {
        match dtype {
            safetensors::Dtype::F32 => Some(Dtype::F32),
            safetensors::Dtype::F16 => Some(Dtype::F16),
            safetensors::Dtype::BF16 => Some(Dtype::BF16),
            _ => None,
        }
    }

    pub(crate) fn to_safetensors(self) -> safetensors::Dtype {
        match self {
            Dtype::F32 => safetensors::Dtype::F32,
            Dtype::F16 => safetensors::Dtype::F16,
            Dtype::BF16 => safetensors::Dtype::BF16,
        }
    }

    /// Decodes at most [`BLOCK`] elements; `bytes` may have any alignment and holds exactly `output.len()` elements.
    pub(crate) fn decode_block(self, bytes: &[u8], output: &mut [f32]) {
        debug_assert!(output.len() <= BLOCK && bytes.len() == output.len() * self.size_bytes());
        match self {
            Dtype::F32 => {
                for (value, bytes) in output.iter_mut().zip(bytes.as_chunks::<4>().0) {
                    *value = f32::from_le_bytes(*bytes);
                }
            }
            Dtype::BF16 => {
                for (value, bytes) in output.iter_mut().zip(bytes.as_chunks::<2>().0) {
                    *value = f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16);
                }
            }
            Dtype::F16 => {
                let mut aligned = [f16::ZERO; BLOCK];
                let aligned = &mut aligned[..output.len()];
                for (value, bytes) in aligned.iter_mut().zip(bytes.as_chunks::<2>().0) {
                    *value = f16::from_le_bytes(*bytes);
                }
                aligned.convert_to_f32_slice(output);
            }
        }
    }

    /// True if no element of `bytes` is NaN or infinite: none has an exponent of ones alone.
    pub(crate) fn all_finite(self, bytes: &[u8]) -> bool {
        let halves = |exponent: u16| {
            let infinite = |bytes: &[u8; 2]| u16::from_le_bytes(*bytes) & exponent == exponent;
            let found = bytes.as_chunks::<2>().0.iter();
            !found.fold(false, |found, bytes| found | infinite(bytes))
        };
        match self {
            Dtype::F16 => halves(0x7c00),
            Dtype::BF16 => halves(0x7f80),
            Dtype::F32 => {
                const EXPONENT: u32 = 0x7f80_0000;
                let infinite = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes) & EXPONENT == EXPONENT;
                let found = bytes.as_chunks::<4>().0.iter();
                !found.fold(false, |found, bytes| found | infinite(bytes))
            }
        }
    }

    /// Encodes at most [`BLOCK`] elements, rounding to nearest, ties to even. Returns false if a finite value became
    /// infinite.
    pub(crate) fn encode_block(self, values: &[f32], output: &mut [u8]) -> bool {
        debug_assert!(values.len() <= BLOCK && output.len() == values.len() * self.size_bytes());
        match self {
            Dtype::F32 => {
                for (value, bytes) in values.iter().zip(output.as_chunks_mut::<4>().0) {
                    *bytes = value.to_le_bytes();
                }
                true
            }
            Dtype::BF16 => {
                let mut fits = true;
                for (value, bytes) in values.iter().zip(output.as_chunks_mut::<2>().0) {
                    let rounded = bf16::from_f32(*value);
                    fits &= rounded.is_finite() || !value.is_finite();
                    *bytes = rounded.to_le_bytes();
                }
                fits
            }
            Dtype::F16 => {
                let mut rounded = [f16::ZERO; BLOCK];
                let rounded = &mut rounded[..values.len()];
                rounded.convert_from_f32_slice(values);
                let mut fits = true;
                for ((value, rounded), bytes) in values
                    .iter()
                    .zip(rounded.iter())
                    .zip(output.as_chunks_mut::<2>().0)
                {
                    fits &= rounded.is_finite() || !value.is_finite();
                    *bytes = rounded.to_le_bytes();
                }
                fits
            }
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Dtype::F32 => "F32",
            Dtype::F16 => "F16",
            Dtype::BF16 => "BF16",
        })
    }
}

/// The text names no [`Dtype`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown dtype `{0}` (known: float32, float16, bfloat16)")]
pub struct ParseDtypeError(String);

impl FromStr for Dtype {
    type Err = ParseDtypeError;

    /// Accepts the spellings of safetensors (`BF16`) and of PyTorch (`bfloat16`), in any case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "f32" | "float32" | "float" => Ok(Dtype::F32),
            "f16" | "float16" | "half" => Ok(Dtype::F16),
            "bf16" | "bfloat16" => Ok(Dtype::BF16),
            _ => Err(ParseDtypeError(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16] {
            assert_eq!(dtype.to_string().parse(), Ok(dtype));
            assert_eq!(dtype.torch_name().parse(), Ok(dtype));
            assert_eq!(Dtype::from_safetensors(dtype.to_safetensors()), Some(dtype));
        }
        assert!(
            "int8"
                .parse::<Dtype>()
                .unwrap_err()
                .to_string()
                .contains("int8")
        );
    }

    #[test]
    fn every_half_survives_a_round_trip_through_f32() {
        for dtype in [Dtype::F16, Dtype::BF16] {
            for block in (0..=u16::MAX).collect::<Vec<_>>().chunks(BLOCK) {
                let bytes: Vec<u8> = block.iter().flat_map(|bits| bits.to_le_bytes()).collect();
                let mut values = vec![0.0; block.len()];
                dtype.decode_block(&bytes, &mut values);
                let mut again = vec![0; bytes.len()];
                dtype.encode_block(&values, &mut again);
                for (index, value) in values.iter().enumerate() {
                    if !value.is_nan() {
                        assert_eq!(bytes[2 * index..][..2], again[2 * index..][..2], "{value}");
                    }
                }
            }
        }
    }

    #[test]
    fn rounding_is_to_nearest_even_and_overflow_is_reported() {
        let mut bytes = [0; 2];
        assert!(Dtype::F16.encode_block(&[1.0 + 1.0 / 2048.0], &mut bytes));
        assert_eq!(f16::from_le_bytes(bytes), f16::ONE);
        assert!(Dtype::F16.encode_block(&[65504.0], &mut bytes));
        assert!(!Dtype::F16.encode_block(&[65520.0], &mut bytes));
        assert!(!Dtype::BF16.encode_block(&[f32::MAX], &mut bytes));
        assert!(
            Dtype::F16.encode_block(&[f32::INFINITY], &mut bytes),
            "an infinity was one before"
        );
    }
}
