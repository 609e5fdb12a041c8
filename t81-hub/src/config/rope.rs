//! Scaling of the rotary position embedding.

use serde_json::{Value, json};

use super::fields::Fields;
use crate::HubError;

/// How rotary frequencies are stretched beyond the context that the model was first trained on.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum RopeScaling {
    /// All frequencies are divided by `factor`.
    Linear {
        /// Divisor, at least 1.
        factor: f64,
    },
    /// Llama 3.1: low frequencies are divided by `factor`, high ones kept, those between interpolated.
    Llama3 {
        /// Divisor of the low frequencies, at least 1.
        factor: f64,
        /// Wavelengths above `original_max_position_embeddings / low_freq_factor` are scaled in full.
        low_freq_factor: f64,
        /// Wavelengths below `original_max_position_embeddings / high_freq_factor` are not scaled.
        high_freq_factor: f64,
        /// Context length before the extension.
        original_max_position_embeddings: usize,
    },
}

impl RopeScaling {
    pub(super) fn to_json(self) -> Value {
        match self {
            RopeScaling::Linear { factor } => json!({"rope_type": "linear", "factor": factor}),
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            } => json!({
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low_freq_factor,
                "high_freq_factor": high_freq_factor,
                "original_max_position_embeddings": original_max_position_embeddings,
            }),
        }
    }

    fn parse(fields: &Fields<'_>) -> Result<Option<Self>, HubError> {
        // Before transformers 4.43 the key was `type`.
        let kind = match fields.text("rope_type")? {
            Some(kind) => kind,
            None => fields.text("type")?.unwrap_or("default"),
        };
        if fields
            .float("partial_rotary_factor", 0.0..=1.0)?
            .is_some_and(|part| part != 1.0)
        {
            return Err(fields.error(
                "partial_rotary_factor",
                "is not 1, which llama does not have",
            ));
        }
        const FACTOR: std::ops::RangeInclusive<f64> = 1.0..=1e6;
        match kind {
            "default" => Ok(None),
            "linear" => Ok(Some(RopeScaling::Linear {
                factor: fields.required_float("factor", FACTOR)?,
            })),
            "llama3" => {
                let low_freq_factor = fields.required_float("low_freq_factor", 1e-6..=1e6)?;
                let high_freq_factor = fields.required_float("high_freq_factor", 1e-6..=1e6)?;
                if high_freq_factor <= low_freq_factor {
                    return Err(
                        fields.error("high_freq_factor", "must be larger than low_freq_factor")
                    );
                }
                Ok(Some(RopeScaling::Llama3 {
                    factor: fields.required_float("factor", FACTOR)?,
                    low_freq_factor,
                    high_freq_factor,
                    original_max_position_embeddings: fields.required(
                        "original_max_position_embeddings",
                        1..=super::llama::MAX_POSITIONS,
                    )?,
                }))
            }
            _ => Err(HubError::UnsupportedRopeScaling {
                path: fields.path().to_path_buf(),
                kind: kind.to_owned(),
            }),
        }
    }
}

/// Base frequency and scaling. transformers 5 writes both into `rope_parameters`, older versions write `rope_theta`
/// and `rope_scaling`; the new form wins where a file has both.
pub(super) fn parse_rope(fields: &Fields<'_>) -> Result<(f64, Option<RopeScaling>), HubError> {
    const THETA: std::ops::RangeInclusive<f64> = 1.0..=1e15;
    let old_theta = fields.float("rope_theta", THETA)?;
    if let Some(parameters) = fields.nested("rope_parameters")? {
        let theta = parameters.float("rope_theta", THETA)?.or(old_theta);
        return Ok((theta.unwrap_or(10_000.0), RopeScaling::parse(&parameters)?));
    }
    let scaling = match fields.nested("rope_scaling")? {
        Some(scaling) => RopeScaling::parse(&scaling)?,
        None => None,
    };
    Ok((old_theta.unwrap_or(10_000.0), scaling))
}
