//! What the token embedding and the output matrix are stored as.

use std::fmt;
use std::str::FromStr;

use crate::tensor_type::TensorType;

/// What the token embedding and the output matrix are stored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EmbeddingType {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// 16-bit brain floats: the range of F32 with 8 bits of precision.
    BF16,
    /// 8-bit codes with a scale for 32 of them, as ggml quantizes them: 8.5 bits a weight.
    Q8_0,
}

impl EmbeddingType {
    /// Every type, the largest first.
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::BF16, Self::Q8_0];

    /// The GGUF tensor type.
    pub fn tensor_type(self) -> TensorType {
        match self {
            Self::F32 => TensorType::F32,
            Self::F16 => TensorType::F16,
            Self::BF16 => TensorType::BF16,
            Self::Q8_0 => TensorType::Q8_0,
        }
    }
}

impl fmt::Display for EmbeddingType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tensor_type().fmt(f)
    }
}

impl FromStr for EmbeddingType {
    type Err = UnknownEmbeddingType;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL
            .into_iter()
            .find(|candidate| candidate.tensor_type().name().eq_ignore_ascii_case(text));
        known.ok_or_else(|| UnknownEmbeddingType(text.to_owned()))
    }
}

/// A name that is none of F32, F16, BF16 and Q8_0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no type for an embedding (F32, F16, BF16 and Q8_0 are)")]
pub struct UnknownEmbeddingType(String);
