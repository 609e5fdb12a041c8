use super::attention::LlamaAttention;
use super::layer::{LlamaLayer, LlamaMlp};
use super::model::Llama;
use super::rotary::{RotaryFrequencies, RotaryTables};
use crate::models::DecoderConfigError;
use crate::models::config_error::{at_least_one, multiple, positive};
use crate::models::fresh::{DEVIATION, embedding, linear, residual_deviation};
use burn::config::Config;
use burn::nn::{RmsNorm, RmsNormConfig};
use burn::tensor::Device;

const ORIGINAL_CONTEXT: &str = "rope_scaling.original_max_position_embeddings";

/// How the rotary frequencies are changed to reach contexts longer than the ones trained on.
#[derive(Config, Debug, Copy, PartialEq)]
pub enum RopeScaling {
    /// Every position is divided by `factor`.
    Linear {
        /// Divisor of the positions, above 0.
        factor: f64,
    },
    /// Llama 3.1: low frequencies are divided by `factor`, high ones are kept, those between are blended.
    Llama3 {
        /// Divisor of the low frequencies, above 0.
        factor: f64,
        /// Wavelengths above `original_max_position_embeddings / low_freq_factor` are fully scaled.
        low_freq_factor: f64,
        /// Wavelengths below `original_max_position_embeddings / high_freq_factor` are kept; above `low_freq_factor`.
        high_freq_factor: f64,
        /// Context length of the pretraining, in tokens.
        original_max_position_embeddings: usize,
    },
    /// YaRN (Peng et al. 2023, [arXiv:2309.00071](https://arxiv.org/abs/2309.00071)): frequencies that turn fewer than
    /// `beta_slow` times in the original context are divided by `factor`, those that turn more than `beta_fast` times are kept,
    /// those between are blended by their place among the pairs of features; cosines and sines are multiplied by
    /// `attention_factor`.
    Yarn {
        /// Divisor of the low frequencies, above 0.
        factor: f64,
        /// Context length of the pretraining, in tokens.
        original_max_position_embeddings: usize,
        /// Turns in the original context above which a frequency is kept.
        beta_fast: f64,
        /// Turns in the original context below which a frequency is divided.
        beta_slow: f64,
        /// Factor of cosines and sines, above 0; the paper has `0.1 * ln(factor) + 1`.
        attention_factor: f64,
        /// Whether the places of the two bounds are rounded outwards to whole pairs, as Hugging Face does by default.
        truncate: bool,
    },
}

/// Which projections of the attention have a bias.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub struct AttentionBiases {
    /// The query projection.
    pub query: bool,
    /// The key projection.
    pub key: bool,
    /// The value projection.
    pub value: bool,
    /// The output projection.
    pub output: bool,
}

impl AttentionBiases {
    /// No projection, as in LLaMA.
    pub const NONE: Self = Self {
        query: false,
        key: false,
        value: false,
        output: false,
    };
    /// Every projection: `attention_bias` of Hugging Face's Llama.
    pub const ALL: Self = Self {
        output: true,
        ..Self::QUERY_KEY_VALUE
    };
    /// Every projection but the output's, as in Qwen2.
    pub const QUERY_KEY_VALUE: Self = Self {
        query: true,
        key: true,
        value: true,
        output: false,
    };
}

/// Sizes of a LLaMA-family decoder, under the names of Hugging Face's `config.json`.
///
/// ```
/// use t81_burn::models::llama::LlamaConfig;
///
/// let config = LlamaConfig::new(97, 64, 128, 2, 4).with_num_key_value_heads(Some(2));
/// let model = config.init(&Default::default());
/// assert_eq!(model.layers.len(), 2);
/// assert!(config.with_num_key_value_heads(Some(3)).validate().is_err());
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct LlamaConfig {
    /// Number of tokens in the vocabulary.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the feed-forward layers.
    pub intermediate_size: usize,
    /// Number of decoder layers.
    pub num_hidden_layers: usize,
    /// Number of query heads.
    pub num_attention_heads: usize,
    /// Number of key and value heads, which divides the query heads; as many as query heads if `None`.
    #[config(default = "None")]
    pub num_key_value_heads: Option<usize>,
    /// Width of one head, an even number; `hidden_size / num_attention_heads` if `None`.
    #[config(default = "None")]
    pub head_dim: Option<usize>,
    /// Context length in tokens that the model is meant for.
    #[config(default = 2048)]
    pub max_position_embeddings: usize,
    /// Base of the rotary frequencies.
    #[config(default = 10000.0)]
    pub rope_theta: f64,
    /// Change of the rotary frequencies for long contexts.
    #[config(default = "None")]
    pub rope_scaling: Option<RopeScaling>,
    /// Added to the mean square before its root in each normalisation.
    #[config(default = 1e-5)]
    pub rms_norm_eps: f64,
    /// Whether the output head is the embedding matrix.
    #[config(default = false)]
    pub tie_word_embeddings: bool,
    /// Which projections of the attention have a bias.
    #[config(default = "AttentionBiases::NONE")]
    pub attention_bias: AttentionBiases,
    /// Whether the gate, up and down projections have a bias.
    #[config(default = false)]
    pub mlp_bias: bool,
    /// Whether each query and key head is normalised before its rotation.
    #[config(default = false)]
    pub qk_norm: bool,
    /// Number of latest tokens, its own included, that a position attends to; all before it if `None`.
    #[config(default = "None")]
    pub sliding_window: Option<usize>,
    /// Number of first layers that have no window in spite of `sliding_window`.
    #[config(default = 0)]
    pub max_window_layers: usize,
}

impl LlamaConfig {
    /// Number of key and value heads.
    pub fn key_value_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    /// Width of one attention head; 0 for a configuration without heads, which [`validate`](Self::validate) refuses.
    pub fn head_width(&self) -> usize {
        self.head_dim
            .or_else(|| self.hidden_size.checked_div(self.num_attention_heads))
            .unwrap_or(0)
    }

    /// Checks that the sizes describe a model.
    ///
    /// # Errors
    /// The first field that is zero, not a multiple of what must divide it, or out of range.
    pub fn validate(&self) -> Result<(), DecoderConfigError> {
        at_least_one([
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.key_value_heads()),
            ("max_position_embeddings", self.max_position_embeddings),
            ("sliding_window", self.sliding_window.unwrap_or(1)),
        ])?;
        let heads = ("num_attention_heads", self.num_attention_heads);
        multiple(heads, ("num_key_value_heads", self.key_value_heads()))?;
        if self.head_dim.is_none() {
            multiple(("hidden_size", self.hidden_size), heads)?;
        }
        let head_dim = ("head_dim", self.head_width());
        at_least_one([head_dim])?;
        multiple(head_dim, ("two halves of a rotation", 2))?;
        positive("rms_norm_eps", self.rms_norm_eps)?;
        positive("rope_theta", self.rope_theta)?;
        if let (Some(RopeScaling::Yarn { .. }), 1.0) = (self.rope_scaling, self.rope_theta) {
            // Its pairs are placed by the logarithm of the base.
            return Err(DecoderConfigError::OutOfRange {
                name: "rope_theta",
                value: 1.0,
                expected: "other than 1 with YaRN",
            });
        }
        self.rope_scaling.map_or(Ok(()), RopeScaling::validate)
    }

    /// Builds a model with fresh weights: normal of deviation 0.02, the two projections into the residual stream of each
    /// layer divided by `sqrt(2 * num_hidden_layers)` (Radford et al. 2019), normalisation gains 1, biases 0.
    ///
    /// Burn draws a weight at its first use; [`Llama::load_weights`] on a model not used yet draws nothing.
    ///
    /// # Panics
    /// If the configuration is not valid; see [`try_init`](Self::try_init).
    pub fn init(&self, device: &Device) -> Llama {
        match self.try_init(device) {
            Ok(model) => model,
            Err(error) => panic!("{error}"),
        }
    }

    /// [`init`](Self::init) for a configuration that comes from outside the program.
    ///
    /// # Errors
    /// What [`validate`](Self::validate) finds.
    pub fn try_init(&self, device: &Device) -> Result<Llama, DecoderConfigError> {
        self.validate()?;
        let (hidden, vocabulary) = (self.hidden_size, self.vocab_size);
        let frequencies =
            RotaryFrequencies::new(self.head_width(), self.rope_theta, self.rope_scaling);
        Ok(Llama {
            embed_tokens: embedding(vocabulary, hidden, device),
            layers: (0..self.num_hidden_layers)
                .map(|layer| LlamaLayer {
                    self_attn: self.attention(layer, device),
                    mlp: self.mlp(device),
                    input_layernorm: self.norm(hidden, device),
                    post_attention_layernorm: self.norm(hidden, device),
                })
                .collect(),
            norm: self.norm(hidden, device),
            lm_head: (!self.tie_word_embeddings)
                .then(|| linear(hidden, vocabulary, false, DEVIATION, device)),
            rotary: RotaryTables::new(frequencies, self.max_position_embeddings, device),
            sliding_window: self.sliding_window,
            compute_dtype: None,
        })
    }

    fn norm(&self, width: usize, device: &Device) -> RmsNorm {
        RmsNormConfig::new(width)
            .with_epsilon(self.rms_norm_eps)
            .init(device)
    }

    fn attention(&self, layer: usize, device: &Device) -> LlamaAttention {
        let (hidden, width) = (self.hidden_size, self.head_width());
        let (heads, key_value_heads) = (self.num_attention_heads, self.key_value_heads());
        let biases = self.attention_bias;
        let input = |heads, bias| linear(hidden, heads * width, bias, DEVIATION, device);
        let head_norm = || self.qk_norm.then(|| self.norm(width, device));
        LlamaAttention {
            q_proj: input(heads, biases.query),
            k_proj: input(key_value_heads, biases.key),
            v_proj: input(key_value_heads, biases.value),
            o_proj: linear(
                heads * width,
                hidden,
                biases.output,
                residual_deviation(self.num_hidden_layers),
                device,
            ),
            q_norm: head_norm(),
            k_norm: head_norm(),
            heads,
            key_value_heads,
            windowed: layer >= self.max_window_layers,
        }
    }

    fn mlp(&self, device: &Device) -> LlamaMlp {
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        let residual = residual_deviation(self.num_hidden_layers);
        LlamaMlp {
            gate_proj: linear(hidden, inner, self.mlp_bias, DEVIATION, device),
            up_proj: linear(hidden, inner, self.mlp_bias, DEVIATION, device),
            down_proj: linear(inner, hidden, self.mlp_bias, residual, device),
        }
    }
}

impl RopeScaling {
    fn validate(self) -> Result<(), DecoderConfigError> {
        match self {
            Self::Linear { factor } => positive("rope_scaling.factor", factor),
            Self::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            } => {
                positive("rope_scaling.factor", factor)?;
                positive("rope_scaling.low_freq_factor", low_freq_factor)?;
                if high_freq_factor.is_nan() || high_freq_factor <= low_freq_factor {
                    return Err(DecoderConfigError::OutOfRange {
                        name: "rope_scaling.high_freq_factor",
                        value: high_freq_factor,
                        expected: "above low_freq_factor",
                    });
                }
                at_least_one([(ORIGINAL_CONTEXT, original_max_position_embeddings)])
            }
            Self::Yarn {
                factor,
                original_max_position_embeddings,
                beta_fast,
                beta_slow,
                attention_factor,
                truncate: _,
            } => {
                positive("rope_scaling.factor", factor)?;
                positive("rope_scaling.beta_fast", beta_fast)?;
                positive("rope_scaling.beta_slow", beta_slow)?;
                positive("rope_scaling.attention_factor", attention_factor)?;
                at_least_one([(ORIGINAL_CONTEXT, original_max_position_embeddings)])
            }
        }
    }
}
