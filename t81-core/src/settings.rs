//! What a user can choose about quantization, with the text forms used by command lines and files.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A setting's text form was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is no {setting}; expected {expected}")]
pub struct ParseSettingError {
    setting: &'static str,
    expected: &'static str,
    found: String,
}

impl ParseSettingError {
    pub(crate) fn new(setting: &'static str, expected: &'static str, found: &str) -> Self {
        Self {
            setting,
            expected,
            found: found.to_owned(),
        }
    }
}

/// How many weights share one scale. Groups run along the input features of one output feature.
///
/// Text form: `tensor`, `row`, `group:64` (a bare `64` is read too).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Granularity {
    /// One scale for the whole matrix.
    Tensor,
    /// One scale for each output feature (channel).
    Row,
    /// One scale for each run of this many input features; a row that it does not divide ends in a short group.
    Group(NonZeroUsize),
}

impl Granularity {
    /// Groups of `size` weights.
    ///
    /// # Errors
    ///
    /// When `size` is zero.
    pub fn group(size: usize) -> Result<Self, ParseSettingError> {
        NonZeroUsize::new(size)
            .map(Self::Group)
            .ok_or_else(|| ParseSettingError::new("group size", "a size of at least 1", "0"))
    }

    /// The grouping that GGUF's ternary blocks hold without loss: 256 when every row length is a multiple of 256
    /// (TQ1_0, TQ2_0 and Q2_0), else 64 (Q2_0).
    #[must_use]
    pub fn auto(row_lengths: impl IntoIterator<Item = usize>) -> Self {
        const WIDE: NonZeroUsize = NonZeroUsize::new(256).unwrap();
        const NARROW: NonZeroUsize = NonZeroUsize::new(64).unwrap();
        let wide = row_lengths
            .into_iter()
            .all(|length| length.is_multiple_of(WIDE.get()));
        Self::Group(if wide { WIDE } else { NARROW })
    }

    /// How many scales a row of `columns` weights has; for [`Granularity::Tensor`] the one scale that all rows share.
    #[must_use]
    pub fn scales_per_row(self, columns: usize) -> usize {
        match self {
            Self::Tensor | Self::Row => 1,
            Self::Group(size) => columns.div_ceil(size.get()),
        }
    }

    /// The length of a full group in a row of `columns` weights.
    pub(crate) fn group_len(self, columns: usize) -> usize {
        match self {
            Self::Tensor | Self::Row => columns,
            Self::Group(size) => size.get().min(columns),
        }
    }
}

impl fmt::Display for Granularity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor => f.pad("tensor"),
            Self::Row => f.pad("row"),
            Self::Group(size) => f.pad(&format!("group:{size}")),
        }
    }
}

impl FromStr for Granularity {
    type Err = ParseSettingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "tensor" => Ok(Self::Tensor),
            "row" => Ok(Self::Row),
            _ => text
                .strip_prefix("group:")
                .unwrap_or(text)
                .parse()
                .map(Self::Group)
                .map_err(|_| {
                    ParseSettingError::new(
                        "granularity",
                        "tensor, row or group:N (N at least 1)",
                        text,
                    )
                }),
        }
    }
}

/// A granularity, or none where the model is to decide. Text form: that of [`Granularity`], or `auto`.
///
/// ```
/// use t81_core::{Granularity, GranularityChoice};
///
/// assert_eq!("auto".parse(), Ok(GranularityChoice(None)));
/// assert_eq!("row".parse(), Ok(GranularityChoice(Some(Granularity::Row))));
/// let error = "column".parse::<GranularityChoice>().unwrap_err();
/// assert_eq!(error.to_string(), r#""column" is no granularity; expected tensor, row, group:N (N at least 1) or auto"#);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct GranularityChoice(pub Option<Granularity>);

impl FromStr for GranularityChoice {
    type Err = ParseSettingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self(None)),
            _ => text
                .parse()
                .map(|granularity| Self(Some(granularity)))
                .map_err(|_| {
                    let expected = "tensor, row, group:N (N at least 1) or auto";
                    ParseSettingError::new("granularity", expected, text)
                }),
        }
    }
}

/// The magnitude of a group that its threshold is a fraction of. Text form: `abs-mean`, `abs-max`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Reference {
    /// Mean of the absolute weights (BitNet b1.58, Ternary Weight Networks).
    #[default]
    AbsMean,
    /// Largest absolute weight (t81lib).
    AbsMax,
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::AbsMean => "abs-mean",
            Self::AbsMax => "abs-max",
        })
    }
}

impl FromStr for Reference {
    type Err = ParseSettingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "abs-mean" => Ok(Self::AbsMean),
            "abs-max" => Ok(Self::AbsMax),
            _ => Err(ParseSettingError::new(
                "reference",
                "abs-mean or abs-max",
                text,
            )),
        }
    }
}

/// Where a group's scale comes from. Text form: `least-squares`, `reference`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ScaleRule {
    /// Mean of the absolute weights whose code is not zero: the least-squares optimum for the given codes
    /// (Li et al., Ternary Weight Networks, arXiv:1605.04711, equation 4).
    #[default]
    LeastSquares,
    /// The group's reference magnitude (Ma et al., BitNet b1.58, arXiv:2402.17764).
    Reference,
}

impl fmt::Display for ScaleRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::LeastSquares => "least-squares",
            Self::Reference => "reference",
        })
    }
}

impl FromStr for ScaleRule {
    type Err = ParseSettingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "least-squares" => Ok(Self::LeastSquares),
            "reference" => Ok(Self::Reference),
            _ => Err(ParseSettingError::new(
                "scale rule",
                "least-squares or reference",
                text,
            )),
        }
    }
}

/// Which weights above the threshold get a non-zero code. Text form: `deterministic`, `stochastic:SEED`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Rounding {
    /// All of them.
    #[default]
    Deterministic,
    /// Each with probability `(|w| - t * reference) / ((1 - t) * reference)`, clamped to 0..=1.
    ///
    /// A weight is kept when `u * ((1 - t) * reference) < |w| - t * reference` or `|w| - t * reference >=
    /// (1 - t) * reference`, every operation rounded to f32, `u` being
    /// [`stochastic_uniform`](crate::stochastic_uniform) of the seed and of the weight's index in `[out, in]` order.
    Stochastic {
        /// Selects the random sequence.
        seed: u64,
    },
}

impl fmt::Display for Rounding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deterministic => f.pad("deterministic"),
            Self::Stochastic { seed } => f.pad(&format!("stochastic:{seed}")),
        }
    }
}

impl FromStr for Rounding {
    type Err = ParseSettingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "deterministic" {
            return Ok(Self::Deterministic);
        }
        text.strip_prefix("stochastic:")
            .and_then(|seed| seed.parse().ok())
            .map(|seed| Self::Stochastic { seed })
            .ok_or_else(|| {
                ParseSettingError::new("rounding", "deterministic or stochastic:SEED", text)
            })
    }
}

macro_rules! text_form {
    ($($setting:ty),*) => {$(
        impl From<$setting> for String {
            fn from(setting: $setting) -> Self {
                setting.to_string()
            }
        }

        impl TryFrom<String> for $setting {
            type Error = ParseSettingError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }
    )*};
}
text_form!(Granularity, Reference, ScaleRule, Rounding);

/// How a weight matrix lies in memory. Rows of a matrix are output features, columns are input features.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// Row-major `[out, in]`: the inputs of one output feature are contiguous (PyTorch, GGUF).
    OutIn,
    /// Row-major `[in, out]`: the outputs of one input feature are contiguous (Burn's `Linear`).
    InOut,
}
