use super::attention::LlamaAttention;
use super::layer::{LlamaLayer, LlamaMlp};
use super::model::Llama;
use super::rotary::{RotaryTables, inverse_frequencies};
use burn::config::Config;
use burn::nn::{EmbeddingConfig, Initializer, Linear, LinearConfig, RmsNormConfig};
use burn::tensor::Device;
use thiserror::Error;

/// Standard deviation of a fresh model's weights, as in GPT-2 and Hugging Face's `initializer_range`.
const INITIAL_DEVIATION: f64 = 0.02;

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
    /// Whether the query, key, value and output projections have a bias.
    #[config(default = false)]
    pub attention_bias: bool,
    /// Whether the gate, up and down projections have a bias.
    #[config(default = false)]
    pub mlp_bias: bool,
}

/// A [`LlamaConfig`] that describes no model.
#[derive(Debug, Error, PartialEq)]
pub enum LlamaConfigError {
    /// A size that must be at least 1 is 0.
    #[error("`{0}` is 0; it must be at least 1")]
    Zero(&'static str),
    /// A size is not a multiple of another one.
    #[error("`{name}` is {value}, which is not a multiple of {divisor} (`{divisor_name}`)")]
    NotMultiple {
        /// Name of the size.
        name: &'static str,
        /// The size.
        value: usize,
        /// Name of its divisor.
        divisor_name: &'static str,
        /// The divisor.
        divisor: usize,
    },
    /// A number lies outside its range.
    #[error("`{name}` is {value}; it must be {expected}")]
    OutOfRange {
        /// Name of the number.
        name: &'static str,
        /// The number.
        value: f64,
        /// The range in words.
        expected: &'static str,
    },
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
    pub fn validate(&self) -> Result<(), LlamaConfigError> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.key_value_heads()),
            ("max_position_embeddings", self.max_position_embeddings),
        ];
        if let Some((name, _)) = sizes.into_iter().find(|(_, size)| *size == 0) {
            return Err(LlamaConfigError::Zero(name));
        }
        let multiple = |name, value: usize, divisor_name, divisor: usize| {
            if value.is_multiple_of(divisor) {
                return Ok(());
            }
            Err(LlamaConfigError::NotMultiple {
                name,
                value,
                divisor_name,
                divisor,
            })
        };
        multiple(
            "num_attention_heads",
            self.num_attention_heads,
            "num_key_value_heads",
            self.key_value_heads(),
        )?;
        if self.head_dim.is_none() {
            multiple(
                "hidden_size",
                self.hidden_size,
                "num_attention_heads",
                self.num_attention_heads,
            )?;
        }
        if self.head_width() == 0 {
            return Err(LlamaConfigError::Zero("head_dim"));
        }
        multiple("head_dim", self.head_width(), "two halves of a rotation", 2)?;
        positive("rms_norm_eps", self.rms_norm_eps)?;
        positive("rope_theta", self.rope_theta)?;
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
    pub fn try_init(&self, device: &Device) -> Result<Llama, LlamaConfigError> {
        self.validate()?;
        let normal = Initializer::Normal {
            mean: 0.0,
            std: INITIAL_DEVIATION,
        };
        let norm = RmsNormConfig::new(self.hidden_size).with_epsilon(self.rms_norm_eps);
        let lm_head = (!self.tie_word_embeddings).then(|| {
            linear(
                self.hidden_size,
                self.vocab_size,
                false,
                INITIAL_DEVIATION,
                device,
            )
        });
        let frequencies =
            inverse_frequencies(self.head_width(), self.rope_theta, self.rope_scaling);
        Ok(Llama {
            embed_tokens: EmbeddingConfig::new(self.vocab_size, self.hidden_size)
                .with_initializer(normal)
                .init(device),
            layers: (0..self.num_hidden_layers)
                .map(|_| LlamaLayer {
                    self_attn: self.attention(device),
                    mlp: self.mlp(device),
                    input_layernorm: norm.init(device),
                    post_attention_layernorm: norm.init(device),
                })
                .collect(),
            norm: norm.init(device),
            lm_head,
            rotary: RotaryTables::new(frequencies, self.max_position_embeddings, device),
        })
    }

    fn attention(&self, device: &Device) -> LlamaAttention {
        let (hidden, width) = (self.hidden_size, self.head_width());
        let (heads, key_value_heads) = (self.num_attention_heads, self.key_value_heads());
        let projection = |input, output, deviation| {
            linear(input, output, self.attention_bias, deviation, device)
        };
        LlamaAttention {
            q_proj: projection(hidden, heads * width, INITIAL_DEVIATION),
            k_proj: projection(hidden, key_value_heads * width, INITIAL_DEVIATION),
            v_proj: projection(hidden, key_value_heads * width, INITIAL_DEVIATION),
            o_proj: projection(heads * width, hidden, self.residual_deviation()),
            heads,
            key_value_heads,
        }
    }

    fn mlp(&self, device: &Device) -> LlamaMlp {
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        let projection =
            |input, output, deviation| linear(input, output, self.mlp_bias, deviation, device);
        LlamaMlp {
            gate_proj: projection(hidden, inner, INITIAL_DEVIATION),
            up_proj: projection(hidden, inner, INITIAL_DEVIATION),
            down_proj: projection(inner, hidden, self.residual_deviation()),
        }
    }

    /// Each layer adds twice to the residual stream; this keeps the variance of the sum independent of the depth.
    fn residual_deviation(&self) -> f64 {
        INITIAL_DEVIATION / (2.0 * self.num_hidden_layers as f64).sqrt()
    }
}

impl RopeScaling {
    fn validate(self) -> Result<(), LlamaConfigError> {
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
                    return Err(LlamaConfigError::OutOfRange {
                        name: "rope_scaling.high_freq_factor",
                        value: high_freq_factor,
                        expected: "above low_freq_factor",
                    });
                }
                if original_max_position_embeddings == 0 {
                    return Err(LlamaConfigError::Zero(
                        "rope_scaling.original_max_position_embeddings",
                    ));
                }
                Ok(())
            }
        }
    }
}

fn positive(name: &'static str, value: f64) -> Result<(), LlamaConfigError> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(LlamaConfigError::OutOfRange {
        name,
        value,
        expected: "a finite number above 0",
    })
}

fn linear(input: usize, output: usize, bias: bool, deviation: f64, device: &Device) -> Linear {
    let config = LinearConfig::new(input, output).with_bias(false);
    let mut layer = config
        .with_initializer(Initializer::Normal {
            mean: 0.0,
            std: deviation,
        })
        .init(device);
    layer.bias = bias.then(|| Initializer::Zeros.init([output], device));
    layer
}
