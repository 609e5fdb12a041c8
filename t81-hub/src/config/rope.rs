//! The rotary position embedding and its scaling.

use std::ops::RangeInclusive;

use serde_json::Value;

use super::MAX_POSITIONS;
use super::fields::{Fields, brief};
use crate::HubError;
use crate::architectures::Architecture;

/// Rotary position embedding: feature pair `i` of a head turns by `position * theta^(-2i / dimensions)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Base of the frequencies.
    pub theta: f64,
    /// Features of a head that turn, an even number; the others stay.
    pub dimensions: usize,
    /// How the frequencies are stretched.
    pub scaling: Option<RopeScaling>,
    /// Base of the frequencies, which are then not stretched, in blocks that see a window only (Gemma 3).
    pub local_theta: Option<f64>,
}

/// How rotary frequencies are stretched beyond the context that the model was first trained on.
#[derive(Clone, Debug, PartialEq)]
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
    /// Phi-3: each frequency has a divisor of its own, one in short and one in long contexts.
    LongRope {
        /// Divisors in contexts of up to `original_max_position_embeddings` tokens, one for each pair.
        short_factor: Vec<f64>,
        /// Divisors in longer contexts.
        long_factor: Vec<f64>,
        /// What cosine and sine are multiplied by.
        attention_factor: f64,
        /// Context length before the extension.
        original_max_position_embeddings: usize,
    },
}

const THETA: RangeInclusive<f64> = 1.0..=1e15;
const FACTOR: RangeInclusive<f64> = 1.0..=1e6;

impl Rope {
    /// Base frequency and scaling. transformers 5 writes both into `rope_parameters` (Gemma: one object for each kind
    /// of block), older versions write `rope_theta` and `rope_scaling`; the new form wins where a file has both.
    pub(super) fn parse(
        fields: &Fields<'_>,
        head_dim: usize,
        positions: usize,
        architecture: Architecture,
    ) -> Result<Self, HubError> {
        let gemma = architecture == Architecture::Gemma3;
        let old_theta = fields.float("rope_theta", THETA)?;
        let old_local = fields.float("rope_local_base_freq", THETA)?;
        let new = fields.nested("rope_parameters")?;
        let full = match &new {
            Some(parameters) => parameters.nested("full_attention")?,
            None => None,
        };
        let sliding = match &new {
            Some(parameters) => parameters.nested("sliding_attention")?,
            None => None,
        };
        let parameters = full.or(new);
        let theta = match &parameters {
            Some(parameters) => parameters.float("rope_theta", THETA)?.or(old_theta),
            None => old_theta,
        };
        let local_theta = match &sliding {
            Some(sliding) => sliding.float("rope_theta", THETA)?.or(old_local),
            None => old_local,
        };
        let scaling_fields = match parameters {
            Some(parameters) => Some(parameters),
            None => fields.nested("rope_scaling")?,
        };
        let mut part = fields.float("partial_rotary_factor", 1e-3..=1.0)?;
        if let Some(scaling) = &scaling_fields {
            part = scaling.float("partial_rotary_factor", 1e-3..=1.0)?.or(part);
        }
        let part = part.unwrap_or(1.0);
        if part != 1.0 && architecture != Architecture::Phi3 {
            return Err(fields.error(
                "partial_rotary_factor",
                format!("is not 1, which {} does not have", architecture.gguf_name()),
            ));
        }
        let dimensions = (head_dim as f64 * part) as usize;
        if dimensions < 2 || !dimensions.is_multiple_of(2) {
            return Err(fields.error(
                "head_dim",
                format!("is {head_dim}; the rotary embedding needs an even number of features"),
            ));
        }
        let scaling = match &scaling_fields {
            Some(scaling) => RopeScaling::parse(scaling, fields, dimensions, positions)?,
            None => None,
        };
        let usual_theta = if gemma { 1_000_000.0 } else { 10_000.0 };
        Ok(Self {
            theta: theta.unwrap_or(usual_theta),
            dimensions,
            scaling,
            local_theta: gemma.then(|| local_theta.unwrap_or(10_000.0)),
        })
    }
}

impl RopeScaling {
    fn parse(
        fields: &Fields<'_>,
        root: &Fields<'_>,
        dimensions: usize,
        positions: usize,
    ) -> Result<Option<Self>, HubError> {
        // Before transformers 4.43 the key was `type`.
        let kind = match fields.text("rope_type")? {
            Some(kind) => kind,
            None => fields.text("type")?.unwrap_or("default"),
        };
        match kind {
            "default" => Ok(None),
            "linear" => Ok(Some(RopeScaling::Linear {
                factor: fields.required_float("factor", FACTOR)?,
            })),
            "llama3" => Self::llama3(fields).map(Some),
            "longrope" | "su" => Self::long_rope(fields, root, dimensions, positions).map(Some),
            _ => Err(HubError::UnsupportedRopeScaling {
                path: fields.path().to_path_buf(),
                kind: kind.to_owned(),
            }),
        }
    }

    fn llama3(fields: &Fields<'_>) -> Result<Self, HubError> {
        let low_freq_factor = fields.required_float("low_freq_factor", 1e-6..=1e6)?;
        let high_freq_factor = fields.required_float("high_freq_factor", 1e-6..=1e6)?;
        if high_freq_factor <= low_freq_factor {
            return Err(fields.error("high_freq_factor", "must be larger than low_freq_factor"));
        }
        Ok(RopeScaling::Llama3 {
            factor: fields.required_float("factor", FACTOR)?,
            low_freq_factor,
            high_freq_factor,
            original_max_position_embeddings: fields
                .required("original_max_position_embeddings", 1..=MAX_POSITIONS)?,
        })
    }

    fn long_rope(
        fields: &Fields<'_>,
        root: &Fields<'_>,
        dimensions: usize,
        positions: usize,
    ) -> Result<Self, HubError> {
        let original =
            match fields.integer("original_max_position_embeddings", 2..=MAX_POSITIONS)? {
                Some(original) => original,
                None => root.required("original_max_position_embeddings", 2..=MAX_POSITIONS)?,
            };
        let divisors = |name: &str| {
            let list = fields.get(name).and_then(Value::as_array);
            let Some(list) = list.filter(|list| list.len() == dimensions / 2) else {
                let problem = format!("is no list of {} numbers", dimensions / 2);
                return Err(fields.error(name, problem));
            };
            let number = |value: &Value| {
                let number = value
                    .as_f64()
                    .filter(|number| (1e-3..=1e6).contains(number));
                number.ok_or_else(|| fields.error(name, format!("lists {}", brief(value))))
            };
            list.iter().map(number).collect::<Result<Vec<f64>, _>>()
        };
        // The published models' rule; a file may give its result.
        let stretch = match fields.float("factor", FACTOR)? {
            Some(factor) => factor,
            None => positions as f64 / original as f64,
        };
        let usual = if stretch <= 1.0 {
            1.0
        } else {
            (1.0 + stretch.ln() / (original as f64).ln()).sqrt()
        };
        Ok(RopeScaling::LongRope {
            short_factor: divisors("short_factor")?,
            long_factor: divisors("long_factor")?,
            attention_factor: fields
                .float("attention_factor", 1e-3..=1e3)?
                .unwrap_or(usual),
            original_max_position_embeddings: original,
        })
    }
}
