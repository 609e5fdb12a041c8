//! The numbers that an architecture is built from.

use super::{Findings, Rule};
use crate::metadata::{Metadata, MetadataArray, MetadataValue};

/// llama.cpp's `LLAMA_MAX_LAYERS`.
const MAX_LAYERS: u64 = 512;

/// llama.cpp's `LLAMA_ROPE_SCALING_TYPES`.
const SCALING_TYPES: [&str; 4] = ["none", "linear", "yarn", "longrope"];

/// A number for every layer, or one for all.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum PerLayer {
    One(u64),
    Each(Vec<u64>),
}

impl PerLayer {
    pub(super) fn at(&self, layer: usize) -> u64 {
        match self {
            Self::One(value) => *value,
            Self::Each(values) => values.get(layer).copied().unwrap_or(0),
        }
    }

    fn values(&self) -> &[u64] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Each(values) => values,
        }
    }
}

/// Sizes of a model, as llama.cpp derives them from the metadata.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct HyperParameters {
    pub(super) layers: usize,
    pub(super) context: u64,
    pub(super) embedding: u64,
    pub(super) inner: PerLayer,
    pub(super) heads: PerLayer,
    pub(super) key_value_heads: PerLayer,
    /// Features of a query or key head.
    pub(super) key_length: u64,
    /// Features of a value head.
    pub(super) value_length: u64,
    /// Features of a head that are rotated.
    pub(super) rotated: u64,
    pub(super) experts: u64,
    pub(super) long_rope: bool,
}

/// Checks the hyper-parameters that every decoder has; none when too much is missing to know the tensors' shapes.
pub(super) fn check(
    metadata: &Metadata,
    architecture: &str,
    findings: &mut Findings,
) -> Option<HyperParameters> {
    let mut keys = Keys {
        metadata,
        architecture,
        findings,
    };
    let layers = keys.required("block_count");
    let context = keys.required("context_length");
    let embedding = keys.required("embedding_length");
    if layers.is_some_and(|layers| layers > MAX_LAYERS) {
        keys.bad("block_count", format!("is more than {MAX_LAYERS}"));
        return None;
    }
    let layers = layers? as usize;
    let inner = keys.per_layer("feed_forward_length", layers, true);
    let heads = keys.per_layer("attention.head_count", layers, true);
    let key_value_heads = keys.per_layer("attention.head_count_kv", layers, false);
    let epsilon = match architecture {
        "llama" | "qwen2" | "qwen3" | "gemma3" | "phi3" | "bitnet" => {
            Some("attention.layer_norm_rms_epsilon")
        }
        "gpt2" => Some("attention.layer_norm_epsilon"),
        _ => None,
    };
    if let Some(key) = epsilon {
        keys.float(key, true, |value| value > 0.0 && value < 1.0);
    }
    keys.float("rope.freq_base", false, |value| value > 0.0);
    keys.float("rope.scaling.factor", false, |value| value >= 0.0);
    keys.float("rope.scaling.attn_factor", false, |value| value > 0.0);
    keys.optional("rope.scaling.original_context_length");
    let scaling = keys.scaling_type();
    let key_length = keys.optional("attention.key_length");
    let value_length = keys.optional("attention.value_length");
    let rotated = keys.optional("rope.dimension_count");
    let experts = keys.optional("expert_count").unwrap_or(0);
    keys.optional("vocab_size");

    let embedding = embedding?;
    let heads = heads?;
    // Layers without attention have no heads; no head at all leaves nothing to divide by.
    let first_heads = heads.values().first().copied().unwrap_or(0);
    if first_heads == 0 {
        return None;
    }
    if key_length.is_none() && !embedding.is_multiple_of(first_heads) {
        keys.bad(
            "embedding_length",
            format!("is {embedding}, which {first_heads} heads do not divide"),
        );
    }
    let key_value_heads = key_value_heads.unwrap_or_else(|| heads.clone());
    if (0..layers).any(|layer| {
        let (all, shared) = (heads.at(layer), key_value_heads.at(layer));
        shared != 0 && !all.is_multiple_of(shared)
    }) {
        keys.bad("attention.head_count_kv", "does not divide the heads");
    }
    let key_length = key_length.unwrap_or(embedding / first_heads);
    let value_length = value_length.unwrap_or(embedding / first_heads);
    let rotated = rotated.unwrap_or(key_length);
    // Assertions of the graphs, at which llama.cpp aborts.
    let (values, rotation) = match architecture {
        "llama" | "qwen2" | "qwen3" => (true, true),
        "phi3" | "gpt2" | "bitnet" => (true, false),
        _ => (false, false),
    };
    if values && value_length != key_length {
        keys.bad(
            "attention.value_length",
            format!("is {value_length}, but keys are {key_length} wide"),
        );
    }
    if rotation && rotated != key_length {
        keys.bad(
            "rope.dimension_count",
            format!("is {rotated}, but the heads are {key_length} wide"),
        );
    }
    Some(HyperParameters {
        layers,
        context: context?,
        embedding,
        inner: inner?,
        heads,
        key_value_heads,
        key_length,
        value_length,
        rotated,
        experts,
        long_rope: scaling.as_deref() == Some("longrope"),
    })
}

/// Reads keys of one architecture; llama.cpp insists on their types.
struct Keys<'a> {
    metadata: &'a Metadata,
    architecture: &'a str,
    findings: &'a mut Findings,
}

impl Keys<'_> {
    fn bad(&mut self, key: &str, message: impl Into<String>) {
        let subject = format!("{}.{key}", self.architecture);
        self.findings.add(Rule::Metadata, subject, message);
    }

    fn value(&self, key: &str) -> Option<&MetadataValue> {
        self.metadata.get(&format!("{}.{key}", self.architecture))
    }

    /// A positive count.
    fn required(&mut self, key: &str) -> Option<u64> {
        match self.value(key) {
            None => {
                self.bad(key, "is missing");
                None
            }
            Some(&MetadataValue::U32(0)) => {
                self.bad(key, "is 0");
                None
            }
            Some(&MetadataValue::U32(value)) => Some(value.into()),
            Some(other) => {
                let message = wrong_type(other, "a 32-bit unsigned integer");
                self.bad(key, message);
                None
            }
        }
    }

    fn optional(&mut self, key: &str) -> Option<u64> {
        match self.value(key)? {
            MetadataValue::U32(value) => Some((*value).into()),
            other => {
                let message = wrong_type(other, "a 32-bit unsigned integer");
                self.bad(key, message);
                None
            }
        }
    }

    /// One count, or one for each layer.
    fn per_layer(&mut self, key: &str, layers: usize, required: bool) -> Option<PerLayer> {
        let found = match self.value(key) {
            None => {
                if required {
                    self.bad(key, "is missing");
                }
                return None;
            }
            Some(&MetadataValue::U32(value)) => Ok(PerLayer::One(value.into())),
            Some(MetadataValue::Array(MetadataArray::U32(values))) => Ok(PerLayer::Each(
                values.iter().map(|&value| value.into()).collect(),
            )),
            Some(MetadataValue::Array(MetadataArray::I32(values)))
                if values.iter().all(|&value| value >= 0) =>
            {
                Ok(PerLayer::Each(
                    values.iter().map(|&value| value as u64).collect(),
                ))
            }
            Some(other) => Err(wrong_type(
                other,
                "a 32-bit unsigned integer, or one for each layer",
            )),
        };
        match found {
            Ok(PerLayer::Each(values)) if values.len() != layers => {
                let message = format!("has {} numbers for {layers} layers", values.len());
                self.bad(key, message);
                None
            }
            Ok(PerLayer::One(0)) if required => {
                self.bad(key, "is 0");
                None
            }
            Ok(found) => Some(found),
            Err(message) => {
                self.bad(key, message);
                None
            }
        }
    }

    /// How rotary frequencies are stretched; llama.cpp aborts at a kind that it does not know.
    fn scaling_type(&mut self) -> Option<String> {
        let key = "rope.scaling.type";
        let message = match self.value(key)? {
            MetadataValue::String(kind) if SCALING_TYPES.contains(&kind.as_str()) => {
                return Some(kind.clone());
            }
            MetadataValue::String(kind) => {
                format!("is `{kind}`; expected {}", SCALING_TYPES.join(", "))
            }
            other => wrong_type(other, "text"),
        };
        self.bad(key, message);
        None
    }

    fn float(&mut self, key: &str, required: bool, valid: fn(f32) -> bool) {
        let message = match self.value(key) {
            None if required => "is missing".to_owned(),
            None => return,
            Some(&MetadataValue::F32(value)) if value.is_finite() && valid(value) => return,
            Some(&MetadataValue::F32(value)) => format!("is {value}"),
            Some(other) => wrong_type(other, "a 32-bit float"),
        };
        self.bad(key, message);
    }
}

fn wrong_type(found: &MetadataValue, expected: &str) -> String {
    format!("is {found} where {expected} belongs")
}
