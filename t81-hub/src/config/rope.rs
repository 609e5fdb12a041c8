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
    /// YaRN: frequencies that turn fewer than `beta_slow` times in the original context are divided by `factor`, those that
    /// turn more than `beta_fast` times kept, those between interpolated by their place among the pairs.
    Yarn {
        /// Divisor of the low frequencies, at least 1.
        factor: f64,
        /// Context length before the extension.
        original_max_position_embeddings: usize,
        /// Turns in the original context above which a frequency is kept.
        beta_fast: f64,
        /// Turns in the original context below which a frequency is divided in full.
        beta_slow: f64,
        /// What cosine and sine are multiplied by.
        attention_factor: f64,
        /// Whether the places of the two bounds are rounded outwards to whole pairs.
        truncate: bool,
    },
}

const THETA: RangeInclusive<f64> = 1.0..=1e15;
const FACTOR: RangeInclusive<f64> = 1.0..=1e6;

impl Rope {
    /// Reads base frequency and scaling from wherever transformers 4 and 5 write them ([`Places`]).
    pub(super) fn parse(
        fields: &Fields<'_>,
        head_dim: usize,
        positions: usize,
        architecture: Architecture,
    ) -> Result<Self, HubError> {
        let places = Places::find(fields, architecture)?;
        let part = places
            .full_float(fields, "partial_rotary_factor", 1e-3..=1.0)?
            .unwrap_or(1.0);
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
        let scaling = match places.full.first() {
            Some(scaling) => {
                let original = original_positions(scaling, fields, positions, architecture)?;
                RopeScaling::parse(scaling, dimensions, positions, original, architecture)?
            }
            None => None,
        };
        let gemma = architecture == Architecture::Gemma3;
        let usual_theta = if gemma { 1_000_000.0 } else { 10_000.0 };
        let theta = places.full_float(fields, "rope_theta", THETA)?;
        let local_theta = match gemma {
            true => Some(places.local_theta(fields)?.unwrap_or(10_000.0)),
            false => None,
        };
        let theta = theta.unwrap_or(usual_theta);
        if theta == 1.0 && matches!(scaling, Some(RopeScaling::Yarn { .. })) {
            // The places of its bounds are quotients by the logarithm of the base.
            return Err(fields.error("rope_theta", "is 1, with which YaRN has no meaning"));
        }
        Ok(Self {
            theta,
            dimensions,
            scaling,
            local_theta,
        })
    }
}

/// Where a file has its rotary settings, the place that counts first.
///
/// transformers 4 writes `rope_theta` beside an optional `rope_scaling`; transformers 5 writes both into
/// `rope_parameters` (Gemma 3: one object for each kind of block), reads `rope_scaling` first where a file has both, and
/// takes a `rope_theta` or `partial_rotary_factor` that stands in the object before one that stands beside it
/// (`RotaryEmbeddingConfigMixin` in its `modeling_rope_utils.py`).
struct Places<'a> {
    /// Of blocks that see the whole context.
    full: Vec<Fields<'a>>,
    /// Of blocks that see a window only.
    sliding: Vec<Fields<'a>>,
}

impl<'a> Places<'a> {
    fn find(fields: &Fields<'a>, architecture: Architecture) -> Result<Self, HubError> {
        let mut places = Self {
            full: Vec::new(),
            sliding: Vec::new(),
        };
        for name in ["rope_scaling", "rope_parameters"] {
            let Some(place) = fields.nested(name)?.filter(|place| !place.is_empty()) else {
                continue;
            };
            let full = place.nested("full_attention")?;
            let sliding = place.nested("sliding_attention")?;
            if architecture != Architecture::Gemma3
                && full.is_some()
                && sliding.is_some()
                && place.get("full_attention") != place.get("sliding_attention")
            {
                let problem = format!(
                    "differs between the kinds of blocks, which {} does not have",
                    architecture.gguf_name()
                );
                return Err(fields.error(name, problem));
            }
            let by_kind = full.is_some() || sliding.is_some();
            places.full.extend(full);
            places.sliding.extend(sliding);
            if !by_kind {
                places.full.push(place);
            }
        }
        Ok(places)
    }

    /// The first value of `name` for blocks that see everything, in the objects or else beside them.
    fn full_float(
        &self,
        fields: &Fields<'_>,
        name: &str,
        range: RangeInclusive<f64>,
    ) -> Result<Option<f64>, HubError> {
        first_float(&self.full, name, fields, name, range)
    }

    /// The base of blocks that see a window, whose frequencies must not be stretched.
    fn local_theta(&self, fields: &Fields<'_>) -> Result<Option<f64>, HubError> {
        for place in &self.sliding {
            let kind = rope_type(place)?;
            if kind != "default" {
                let problem = format!("is `{kind}`, but only `default` is supported there");
                return Err(place.error("rope_type", problem));
            }
            if let Some(part) = place.float("partial_rotary_factor", 1e-3..=1.0)?
                && part != 1.0
            {
                return Err(place.error("partial_rotary_factor", "is not 1"));
            }
        }
        first_float(
            &self.sliding,
            "rope_theta",
            fields,
            "rope_local_base_freq",
            THETA,
        )
    }
}

fn first_float(
    places: &[Fields<'_>],
    name: &str,
    fields: &Fields<'_>,
    beside: &str,
    range: RangeInclusive<f64>,
) -> Result<Option<f64>, HubError> {
    for place in places {
        if let Some(value) = place.float(name, range.clone())? {
            return Ok(Some(value));
        }
    }
    fields.float(beside, range)
}

/// Before transformers 4.43 the key was `type`.
fn rope_type<'a>(fields: &Fields<'a>) -> Result<&'a str, HubError> {
    Ok(match fields.text("rope_type")? {
        Some(kind) => kind,
        None => fields.text("type")?.unwrap_or("default"),
    })
}

/// The context length before its extension. Phi-3's configuration has one of its own, with a default; of other models
/// transformers takes the one in the object, then one beside it, then the whole context length.
fn original_positions(
    scaling: &Fields<'_>,
    fields: &Fields<'_>,
    positions: usize,
    architecture: Architecture,
) -> Result<usize, HubError> {
    const NAME: &str = "original_max_position_embeddings";
    let beside = fields.integer(NAME, 2..=MAX_POSITIONS)?;
    let inside = scaling.integer(NAME, 2..=MAX_POSITIONS)?;
    Ok(match architecture {
        Architecture::Phi3 => beside.or(inside).unwrap_or(4096),
        _ => inside.or(beside).unwrap_or(positions),
    })
}

impl RopeScaling {
    fn parse(
        fields: &Fields<'_>,
        dimensions: usize,
        positions: usize,
        original: usize,
        architecture: Architecture,
    ) -> Result<Option<Self>, HubError> {
        match rope_type(fields)? {
            "default" => Ok(None),
            "linear" => Ok(Some(RopeScaling::Linear {
                factor: fields.required_float("factor", FACTOR)?,
            })),
            "llama3" => Self::llama3(fields, original).map(Some),
            "longrope" | "su" => Self::long_rope(fields, dimensions, positions, original).map(Some),
            // What the first Phi-3 called longrope.
            "yarn" if architecture == Architecture::Phi3 => {
                Self::long_rope(fields, dimensions, positions, original).map(Some)
            }
            "yarn" if architecture != Architecture::Gemma3 => {
                Self::yarn(fields, positions, original).map(Some)
            }
            "dynamic" => Err(fields.error(
                "rope_type",
                "is `dynamic`: its frequencies depend on the length of each text, which neither llama.cpp nor the trainer \
                 has; within max_position_embeddings it changes nothing, so remove it from the file to keep to these",
            )),
            kind => Err(HubError::UnsupportedRopeScaling {
                path: fields.path().to_path_buf(),
                kind: kind.to_owned(),
            }),
        }
    }

    fn llama3(fields: &Fields<'_>, original: usize) -> Result<Self, HubError> {
        let low_freq_factor = fields.required_float("low_freq_factor", 1e-6..=1e6)?;
        let high_freq_factor = fields.required_float("high_freq_factor", 1e-6..=1e6)?;
        if high_freq_factor <= low_freq_factor {
            return Err(fields.error("high_freq_factor", "must be larger than low_freq_factor"));
        }
        Ok(RopeScaling::Llama3 {
            factor: fields.required_float("factor", FACTOR)?,
            low_freq_factor,
            high_freq_factor,
            original_max_position_embeddings: original,
        })
    }

    /// As transformers' `_compute_yarn_parameters`, where 0 stands for an absent value, too.
    fn yarn(fields: &Fields<'_>, positions: usize, original: usize) -> Result<Self, HubError> {
        let number = |name: &str| -> Result<Option<f64>, HubError> {
            let value = fields.float(name, 0.0..=1e6)?;
            Ok(value.filter(|value| *value != 0.0))
        };
        let factor = match fields.float("factor", FACTOR)? {
            Some(factor) => factor,
            None if positions >= original => positions as f64 / original as f64,
            None => return Err(fields.error("factor", "is missing")),
        };
        let mean_scale = |scale: f64| 0.1 * scale * factor.ln() + 1.0;
        let usual = match (number("mscale")?, number("mscale_all_dim")?) {
            (Some(scale), Some(all)) => mean_scale(scale) / mean_scale(all),
            _ => mean_scale(1.0),
        };
        let (beta_fast, beta_slow) = (number("beta_fast")?, number("beta_slow")?);
        let (beta_fast, beta_slow) = (beta_fast.unwrap_or(32.0), beta_slow.unwrap_or(1.0));
        if beta_fast < beta_slow {
            let problem = format!("is {beta_fast}, less than beta_slow = {beta_slow}");
            return Err(fields.error("beta_fast", problem));
        }
        Ok(RopeScaling::Yarn {
            factor,
            original_max_position_embeddings: original,
            beta_fast,
            beta_slow,
            attention_factor: fields
                .float("attention_factor", 1e-3..=1e3)?
                .unwrap_or(usual),
            truncate: fields.boolean("truncate")?.unwrap_or(true),
        })
    }

    fn long_rope(
        fields: &Fields<'_>,
        dimensions: usize,
        positions: usize,
        original: usize,
    ) -> Result<Self, HubError> {
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
