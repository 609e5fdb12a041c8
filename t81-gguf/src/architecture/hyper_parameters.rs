//! The hyper-parameters that llama.cpp reads, and what it does otherwise than the model's own files say.

use t81_hub::{Architecture, ModelConfig, Normalisation, Rope, RopeScaling, SlidingWindow};

use super::rotary::yarn_has_keys;
use crate::error::GgufError;
use crate::metadata::Metadata;

/// Every sixth block of Gemma 3 sees the whole context, unless the file says otherwise.
const GEMMA3_PATTERN: usize = 6;

/// By this number of blocks llama.cpp tells Gemma 3 27B, whose queries are scaled otherwise.
const GEMMA3_27B_BLOCKS: usize = 62;

/// Writes the hyper-parameters into `metadata` and returns remarks for the user.
///
/// # Errors
/// [`GgufError::UnsupportedModel`] for a setting that llama.cpp's architecture cannot express.
pub(crate) fn describe(
    config: &ModelConfig,
    metadata: &mut Metadata,
) -> Result<Vec<String>, GgufError> {
    let architecture = config.architecture;
    check(config)?;
    let mut keys = Keys {
        prefix: architecture.gguf_name(),
        metadata,
    };
    keys.count("block_count", config.num_hidden_layers)?;
    keys.count("context_length", config.max_position_embeddings)?;
    keys.count("embedding_length", config.hidden_size)?;
    keys.count("feed_forward_length", config.intermediate_size)?;
    keys.count("attention.head_count", config.num_attention_heads)?;
    keys.count("attention.head_count_kv", config.num_key_value_heads)?;
    keys.count("attention.key_length", config.head_dim)?;
    keys.count("attention.value_length", config.head_dim)?;
    keys.count("vocab_size", config.vocab_size)?;
    let epsilon = match architecture.normalisation() {
        Normalisation::RootMeanSquare => "attention.layer_norm_rms_epsilon",
        Normalisation::Layer => "attention.layer_norm_epsilon",
    };
    keys.float(epsilon, config.norm_eps);
    if let Some(rope) = &config.rope {
        describe_rope(rope, &mut keys)?;
    }
    let window = config.sliding_window.as_ref();
    match (architecture, window) {
        (Architecture::Gemma3, Some(window)) => {
            keys.count("attention.sliding_window", window.width)?;
            if !is_usual_pattern(window) {
                keys.set("attention.sliding_window_pattern", window.blocks.clone());
            }
        }
        // llama.cpp tells Phi-4 from Phi-3 by a window of 0.
        (Architecture::Phi3, window) => keys.count(
            "attention.sliding_window",
            window.map_or(0, |window| window.width),
        )?,
        _ => {}
    }
    Ok(remarks(config))
}

/// What llama.cpp has no key for.
fn check(config: &ModelConfig) -> Result<(), GgufError> {
    let refuse = |reason: String| Err(GgufError::UnsupportedModel { reason });
    let (heads, head_dim, hidden) = (
        config.num_attention_heads,
        config.head_dim,
        config.hidden_size,
    );
    let name = config.architecture.gguf_name();
    let square = matches!(
        config.architecture,
        Architecture::Qwen2 | Architecture::Phi3 | Architecture::Gpt2
    );
    if square && heads * head_dim != hidden {
        return refuse(format!(
            "its `{name}` architecture needs heads as wide as the model together, but {heads} heads of {head_dim} are not {hidden}"
        ));
    }
    let scale = match config.architecture {
        Architecture::Gemma3 if config.num_hidden_layers == GEMMA3_27B_BLOCKS => {
            (hidden as f64 / heads as f64).powf(-0.5)
        }
        _ => (head_dim as f64).powf(-0.5),
    };
    if (config.query_scale / scale - 1.0).abs() > 1e-6 {
        return refuse(format!(
            "its `{name}` architecture scales queries by {scale}, config.json by {}",
            config.query_scale
        ));
    }
    Ok(())
}

fn describe_rope(rope: &Rope, keys: &mut Keys<'_>) -> Result<(), GgufError> {
    keys.count("rope.dimension_count", rope.dimensions)?;
    keys.float("rope.freq_base", rope.theta);
    if let Some(theta) = rope.local_theta {
        keys.float("rope.freq_base_swa", theta);
    }
    match &rope.scaling {
        // Llama 3's scaling is a tensor, not a key.
        None | Some(RopeScaling::Llama3 { .. }) => Ok(()),
        Some(RopeScaling::Linear { factor }) => {
            keys.set("rope.scaling.type", "linear");
            keys.float("rope.scaling.factor", *factor);
            Ok(())
        }
        Some(RopeScaling::LongRope {
            attention_factor,
            original_max_position_embeddings,
            ..
        }) => {
            keys.count(
                "rope.scaling.original_context_length",
                *original_max_position_embeddings,
            )?;
            keys.float("rope.scaling.attn_factor", *attention_factor);
            Ok(())
        }
        Some(RopeScaling::Yarn {
            factor,
            original_max_position_embeddings,
            attention_factor,
            ..
        }) => {
            // llama.cpp multiplies by its own factor beside the key's where it scales by keys.
            let mut own_factor = 1.0;
            if yarn_has_keys(rope) {
                keys.set("rope.scaling.type", "yarn");
                keys.float("rope.scaling.factor", *factor);
                keys.count(
                    "rope.scaling.original_context_length",
                    *original_max_position_embeddings,
                )?;
                own_factor = 0.1 * factor.ln() + 1.0;
            } else if keys.prefix != Architecture::Llama.gguf_name() {
                return Err(GgufError::UnsupportedModel {
                    reason: format!(
                        "its `{}` architecture takes the bounds of YaRN to be beta_fast = 32 and beta_slow = 1, truncated; config.json has others",
                        keys.prefix
                    ),
                });
            }
            let rest = attention_factor / own_factor;
            if (rest - 1.0).abs() > 1e-7 {
                keys.float("rope.scaling.attn_factor", rest);
            }
            Ok(())
        }
        Some(other) => Err(GgufError::UnsupportedModel {
            reason: format!("its rotary scaling is {other:?}"),
        }),
    }
}

fn is_usual_pattern(window: &SlidingWindow) -> bool {
    let mut blocks = window.blocks.iter().enumerate();
    blocks.all(|(block, slides)| *slides != (block + 1).is_multiple_of(GEMMA3_PATTERN))
}

fn remarks(config: &ModelConfig) -> Vec<String> {
    match &config.sliding_window {
        Some(window)
            if config.architecture != Architecture::Gemma3
                && window.width < config.max_position_embeddings =>
        {
            vec![format!(
                "llama.cpp does not limit the attention of this architecture to a window of {} tokens: in longer contexts it answers otherwise",
                window.width
            )]
        }
        _ => Vec::new(),
    }
}

/// Keys of one architecture.
struct Keys<'a> {
    prefix: &'static str,
    metadata: &'a mut Metadata,
}

impl Keys<'_> {
    fn set(&mut self, key: &str, value: impl Into<crate::metadata::MetadataValue>) {
        self.metadata.set(format!("{}.{key}", self.prefix), value);
    }

    fn float(&mut self, key: &str, value: f64) {
        self.set(key, value as f32);
    }

    fn count(&mut self, key: &str, value: usize) -> Result<(), GgufError> {
        let value = u32::try_from(value).map_err(|_| GgufError::UnsupportedModel {
            reason: format!("{}.{key} is {value}, more than 32 bits hold", self.prefix),
        })?;
        self.set(key, value);
        Ok(())
    }
}
