//! What became ternary, and what stayed float.

use std::fmt;

use t81_core::Granularity;

/// A parameter that is ternary.
#[derive(Clone, Debug, PartialEq)]
pub struct TernaryParameter {
    /// Path in the model, `layers.0.self_attn.q_proj.weight`.
    pub path: String,
    /// Output features.
    pub rows: usize,
    /// Input features.
    pub columns: usize,
}

/// A float parameter that stays as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptParameter {
    /// Path in the model.
    pub path: String,
    /// Shape in Burn's order.
    pub shape: Vec<usize>,
}

/// The outcome of [`Ternary::apply`](crate::Ternary::apply).
#[derive(Clone, Debug, PartialEq)]
pub struct TernaryReport {
    /// Granularity of the scales.
    pub granularity: Granularity,
    /// Ternary parameters in the model's order.
    pub ternary: Vec<TernaryParameter>,
    /// Parameters left in float, in the model's order.
    pub kept: Vec<KeptParameter>,
}

impl TernaryReport {
    /// Number of ternary weights.
    pub fn ternary_weights(&self) -> usize {
        self.ternary
            .iter()
            .map(|parameter| parameter.rows * parameter.columns)
            .sum()
    }

    /// Number of float parameters.
    pub fn kept_weights(&self) -> usize {
        self.kept
            .iter()
            .map(|parameter| parameter.shape.iter().product::<usize>())
            .sum()
    }

    /// Whether the parameter at `path` is ternary.
    pub fn is_ternary(&self, path: &str) -> bool {
        self.ternary.iter().any(|parameter| parameter.path == path)
    }
}

impl fmt::Display for TernaryReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ternary, kept) = (self.ternary_weights(), self.kept_weights());
        write!(
            formatter,
            "{} of {} weights ternary ({:.1} %) in {} parameters, scale per {}; {} parameters stay float",
            ternary,
            ternary + kept,
            100.0 * ternary as f64 / (ternary + kept).max(1) as f64,
            self.ternary.len(),
            self.granularity,
            self.kept.len()
        )
    }
}
