//! The model: embedding, layers, output head.

use std::error::Error;

use t81_core::ActivationPrecision;
use t81_core::dense::DenseMatrix;

use super::layer::{Layer, Sizes};
use super::weights::{InferenceWeight, Source};
use crate::models::LoadWeightsError;
use crate::models::llama::{LlamaConfig, RotaryFrequencies};

/// A model of the LLaMA family (LLaMA, Mistral, Qwen2, Qwen3) for inference on a CPU.
///
/// Its logits are those of [`Llama`](crate::models::llama::Llama) up to the rounding of f32 sums; with
/// [`ActivationPrecision::Int8`] activations enter the ternary products in int8, and floats that 16 bits do not hold exactly
/// are rounded to f16, as llama.cpp does with an exported file.
///
/// It works on rayon's threads; their number changes no bit.
///
/// ```
/// use burn::tensor::Device;
/// use t81_burn::Ternary;
/// use t81_burn::inference::{LlamaCache, LlamaInference};
/// use t81_burn::models::llama::LlamaConfig;
/// use t81_core::ActivationPrecision;
///
/// let config = LlamaConfig::qwen2(97, 64, 128, 2, 4);
/// let ternary = Ternary::default();
/// let (model, report) = ternary.apply(config.init(&Device::default()));
/// let packed = ternary.pack(model, &report, ActivationPrecision::Int8)?;
///
/// let model = LlamaInference::from_model(&config, &packed);
/// let mut cache = LlamaCache::new(config.max_position_embeddings);
/// let mut tokens = vec![1, 2, 3];
/// for _ in 0..4 {
///     let logits = model.forward_cached(&tokens[cache.len()..], &mut cache)?;
///     let best = (0..97).max_by(|&left, &right| logits[left].total_cmp(&logits[right]));
///     tokens.extend(best.map(|token| token as u32));
/// }
/// assert_eq!((tokens.len(), cache.len()), (7, 6));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct LlamaInference {
    pub(super) sizes: Sizes,
    embedding: DenseMatrix,
    pub(super) layers: Vec<Layer>,
    pub(super) norm: Vec<f32>,
    /// `None` if it is the embedding.
    head: Option<DenseMatrix>,
    pub(super) frequencies: RotaryFrequencies,
}

impl LlamaInference {
    /// Builds a model of the weights that `source` gives for their Hugging Face names, each asked for once and packed before
    /// the next. `precision` says how activations enter the products with ternary weights.
    ///
    /// A tied model does not ask for `lm_head.weight`. Embedding and output head are floats; a ternary one is taken as such.
    ///
    /// # Errors
    /// The first weight that `source` cannot give or that does not fit.
    ///
    /// # Panics
    /// If the configuration is not [valid](LlamaConfig::validate).
    pub fn load<'a, F, E>(
        config: &LlamaConfig,
        precision: ActivationPrecision,
        source: F,
    ) -> Result<Self, LoadWeightsError>
    where
        F: FnMut(&str) -> Result<InferenceWeight<'a>, E>,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        if let Err(error) = config.validate() {
            panic!("{error}");
        }
        let sizes = Sizes::new(config, precision);
        let mut source = Source(source);
        let table = [config.vocab_size, sizes.hidden];
        let embedding = source.matrix("model.embed_tokens.weight", table)?;
        let embedding = embedding.into_floats(precision);
        let layers = (0..config.num_hidden_layers)
            .map(|index| Layer::load(&mut source, config, &sizes, index))
            .collect::<Result<_, _>>()?;
        let head = (!config.tie_word_embeddings)
            .then(|| source.matrix("lm_head.weight", table))
            .transpose()?;
        Ok(Self {
            embedding,
            layers,
            norm: source.vector("model.norm.weight", sizes.hidden)?,
            head: head.map(|head| head.into_floats(precision)),
            frequencies: RotaryFrequencies::new(
                sizes.width,
                config.rope_theta,
                config.rope_scaling,
            ),
            sizes,
        })
    }

    /// Bytes of all matrices, as they are in memory.
    pub fn size_bytes(&self) -> usize {
        let layers: usize = self.layers.iter().map(Layer::size_bytes).sum();
        let head = self.head.as_ref().map_or(0, DenseMatrix::size_bytes);
        layers + self.embedding.size_bytes() + head
    }

    /// Number of tokens in the vocabulary.
    pub fn vocab_size(&self) -> usize {
        self.embedding.rows()
    }

    /// Writes the embedding of a token.
    ///
    /// # Panics
    /// If the vocabulary lacks it.
    pub(super) fn embed(&self, token: u32, state: &mut [f32]) {
        let embedded = self.embedding.row(token as usize, state);
        embedded.unwrap_or_else(|error| panic!("token {token}: {error}"));
    }

    /// The matrix between states and logits.
    pub(super) fn head(&self) -> &DenseMatrix {
        self.head.as_ref().unwrap_or(&self.embedding)
    }
}
