//! Presets of the export options.

use std::fmt;
use std::str::FromStr;

use t81_core::BlockFormat;

use super::{EmbeddingType, ExportOptions, ExportType};

/// A preset of [`ExportOptions`], for what was not chosen one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// The smallest file that llama.cpp runs with sense: TQ1_0 where it holds a matrix, else Q2_0; embedding and output
    /// matrix, which ternary values would ruin, Q8_0.
    CompressionFirst,
}

impl Profile {
    /// The options with the profile's choice wherever they leave one open.
    #[must_use]
    pub fn complete(self, options: ExportOptions) -> ExportOptions {
        match self {
            Self::CompressionFirst => ExportOptions {
                quant: options
                    .quant
                    .or(Some(ExportType::Ternary(BlockFormat::Tq1_0))),
                embedding_type: options.embedding_type.or(Some(EmbeddingType::Q8_0)),
                ..options
            },
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::CompressionFirst => "compression-first",
        })
    }
}

/// A name that is no profile's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no profile (compression-first is)")]
pub struct UnknownProfile(String);

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "compression-first" => Ok(Self::CompressionFirst),
            _ => Err(UnknownProfile(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn explicit_choices_stand() {
        let open = Profile::CompressionFirst.complete(ExportOptions::default());
        assert_eq!(open.quant, Some(ExportType::Ternary(BlockFormat::Tq1_0)));
        assert_eq!(open.embedding_type, Some(EmbeddingType::Q8_0));
        let chosen = ExportOptions {
            quant: Some(ExportType::F32),
            embedding_type: Some(EmbeddingType::F16),
            overwrite: true,
            ..ExportOptions::default()
        };
        assert_eq!(Profile::CompressionFirst.complete(chosen.clone()), chosen);
        assert_eq!("compression-first".parse(), Ok(Profile::CompressionFirst));
        assert!("speed-first".parse::<Profile>().is_err());
    }
}
