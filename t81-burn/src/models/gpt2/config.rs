use super::attention::Gpt2Attention;
use super::layer::{Gpt2Layer, Gpt2Mlp};
use super::model::Gpt2;
use crate::models::DecoderConfigError;
use crate::models::config_error::{at_least_one, multiple, positive};
use crate::models::fresh::{DEVIATION, embedding, linear, residual_deviation};
use burn::config::Config;
use burn::nn::{LayerNorm, LayerNormConfig};
use burn::tensor::Device;

/// Sizes of a GPT-2 decoder, under the names of Hugging Face's `config.json`.
///
/// ```
/// use t81_burn::models::gpt2::Gpt2Config;
///
/// let config = Gpt2Config::new(97, 64, 2, 4).with_n_positions(128);
/// let model = config.init(&Default::default());
/// assert_eq!(model.h[0].mlp.c_fc.weight.dims(), [64, 256]);
/// assert!(Gpt2Config::new(97, 64, 2, 5).validate().is_err());
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct Gpt2Config {
    /// Number of tokens in the vocabulary.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub n_embd: usize,
    /// Number of decoder layers.
    pub n_layer: usize,
    /// Number of heads, which divides `n_embd`.
    pub n_head: usize,
    /// Width of the feed-forward layers; `4 * n_embd` if `None`.
    #[config(default = "None")]
    pub n_inner: Option<usize>,
    /// Context length in tokens, which no sequence may exceed: each position has a vector of its own.
    #[config(default = 1024)]
    pub n_positions: usize,
    /// Added to the variance before its root in each normalisation.
    #[config(default = 1e-5)]
    pub layer_norm_epsilon: f64,
    /// Whether the output head is the embedding matrix.
    #[config(default = true)]
    pub tie_word_embeddings: bool,
}

impl Gpt2Config {
    /// Width of the feed-forward layers.
    pub fn inner_width(&self) -> usize {
        self.n_inner.unwrap_or(4 * self.n_embd)
    }

    /// Checks that the sizes describe a model.
    ///
    /// # Errors
    /// The first field that is zero, not a multiple of what must divide it, or out of range.
    pub fn validate(&self) -> Result<(), DecoderConfigError> {
        at_least_one([
            ("vocab_size", self.vocab_size),
            ("n_embd", self.n_embd),
            ("n_layer", self.n_layer),
            ("n_head", self.n_head),
            ("n_inner", self.inner_width()),
            ("n_positions", self.n_positions),
        ])?;
        multiple(("n_embd", self.n_embd), ("n_head", self.n_head))?;
        positive("layer_norm_epsilon", self.layer_norm_epsilon)
    }

    /// Builds a model with fresh weights: normal of deviation 0.02, the two projections into the residual stream of each
    /// layer divided by `sqrt(2 * n_layer)`, normalisation gains 1, biases 0.
    ///
    /// Burn draws a weight at its first use; [`Gpt2::load_weights`] on a model not used yet draws nothing.
    ///
    /// # Panics
    /// If the configuration is not valid; see [`try_init`](Self::try_init).
    pub fn init(&self, device: &Device) -> Gpt2 {
        match self.try_init(device) {
            Ok(model) => model,
            Err(error) => panic!("{error}"),
        }
    }

    /// [`init`](Self::init) for a configuration that comes from outside the program.
    ///
    /// # Errors
    /// What [`validate`](Self::validate) finds.
    pub fn try_init(&self, device: &Device) -> Result<Gpt2, DecoderConfigError> {
        self.validate()?;
        let width = self.n_embd;
        Ok(Gpt2 {
            wte: embedding(self.vocab_size, width, device),
            wpe: embedding(self.n_positions, width, device),
            h: (0..self.n_layer).map(|_| self.layer(device)).collect(),
            ln_f: self.norm(device),
            lm_head: (!self.tie_word_embeddings)
                .then(|| linear(width, self.vocab_size, false, DEVIATION, device)),
            compute_dtype: None,
        })
    }

    fn norm(&self, device: &Device) -> LayerNorm {
        LayerNormConfig::new(self.n_embd)
            .with_epsilon(self.layer_norm_epsilon)
            .init(device)
    }

    fn layer(&self, device: &Device) -> Gpt2Layer {
        let (width, inner) = (self.n_embd, self.inner_width());
        let projection = |input, output| linear(input, output, true, DEVIATION, device);
        let residual = |input| {
            let deviation = residual_deviation(self.n_layer);
            linear(input, width, true, deviation, device)
        };
        Gpt2Layer {
            ln_1: self.norm(device),
            attn: Gpt2Attention {
                c_attn: projection(width, 3 * width),
                c_proj: residual(width),
                heads: self.n_head,
            },
            ln_2: self.norm(device),
            mlp: Gpt2Mlp {
                c_fc: projection(width, inner),
                c_proj: residual(inner),
            },
        }
    }
}
