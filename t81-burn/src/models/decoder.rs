//! Any of the decoders behind one type.

use super::gpt2::{self, Gpt2, Gpt2Config};
use super::llama::{self, Llama, LlamaConfig};
use super::loss::{Head, Teacher};
use super::{
    CacheError, DecoderCache, DecoderConfigError, LoadWeightsError, TokenLoss, Weight, WeightSpec,
};
use crate::packed::PackedWeights;
use burn::config::Config;
use burn::module::{
    Content, Devices, DisplaySettings, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper,
    ModuleVisitor,
};
use burn::tensor::{DType, Device, Int, Tensor};
use std::error::Error;

/// Sizes of a decoder.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use t81_burn::Ternary;
/// use t81_burn::models::DecoderConfig;
/// use t81_burn::models::gpt2::Gpt2Config;
/// use t81_burn::models::llama::LlamaConfig;
///
/// let device = Device::default();
/// let configs = [
///     DecoderConfig::Llama(LlamaConfig::qwen2(97, 64, 128, 2, 4)),
///     DecoderConfig::Gpt2(Gpt2Config::new(97, 64, 2, 4)),
/// ];
/// for config in configs {
///     let (decoder, report) = Ternary::default().apply(config.init(&device));
///     let tokens = Tensor::<2, Int>::from_data([[1, 2, 3]], &device);
///     assert_eq!(decoder.forward(tokens).dims(), [1, 3, 97]);
///     // Every matrix of the layers; never an embedding, a position, a normalisation or the output head.
///     assert_eq!(report.ternary_weights() % (2 * 64 * 64), 0);
/// }
/// ```
#[derive(Config, Debug, PartialEq)]
pub enum DecoderConfig {
    /// LLaMA and its relatives Mistral, Qwen2 and Qwen3.
    Llama(LlamaConfig),
    /// GPT-2.
    Gpt2(Gpt2Config),
}

impl DecoderConfig {
    /// Number of tokens in the vocabulary.
    pub fn vocab_size(&self) -> usize {
        match self {
            Self::Llama(config) => config.vocab_size,
            Self::Gpt2(config) => config.vocab_size,
        }
    }

    /// Context length in tokens that the model is meant for.
    pub fn context_length(&self) -> usize {
        match self {
            Self::Llama(config) => config.max_position_embeddings,
            Self::Gpt2(config) => config.n_positions,
        }
    }

    /// The longest sequence in tokens that the model can be given at all; `None` if any length works, as rotary positions do.
    pub fn longest_sequence(&self) -> Option<usize> {
        match self {
            Self::Llama(_) => None,
            Self::Gpt2(config) => Some(config.n_positions),
        }
    }

    /// An empty cache for [`Decoder::forward_cached`], for as many tokens as the context has.
    pub fn cache(&self) -> DecoderCache {
        DecoderCache::new(self.context_length())
    }

    /// Checks that the sizes describe a model.
    ///
    /// # Errors
    /// The first field that is zero, not a multiple of what must divide it, or out of range.
    pub fn validate(&self) -> Result<(), DecoderConfigError> {
        match self {
            Self::Llama(config) => config.validate(),
            Self::Gpt2(config) => config.validate(),
        }
    }

    /// Builds a model with fresh weights; see [`LlamaConfig::init`] and [`Gpt2Config::init`].
    ///
    /// # Panics
    /// If the configuration is not valid; see [`try_init`](Self::try_init).
    pub fn init(&self, device: &Device) -> Decoder {
        match self {
            Self::Llama(config) => Decoder::Llama(config.init(device)),
            Self::Gpt2(config) => Decoder::Gpt2(config.init(device)),
        }
    }

    /// [`init`](Self::init) for a configuration that comes from outside the program.
    ///
    /// # Errors
    /// What [`validate`](Self::validate) finds.
    pub fn try_init(&self, device: &Device) -> Result<Decoder, DecoderConfigError> {
        match self {
            Self::Llama(config) => config.try_init(device).map(Decoder::Llama),
            Self::Gpt2(config) => config.try_init(device).map(Decoder::Gpt2),
        }
    }
}

/// A decoder of any architecture. Parameter paths and records are those of the model inside.
#[derive(Clone, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "a program holds few decoders, each far larger in its weights than in itself"
)]
pub enum Decoder {
    /// LLaMA and its relatives Mistral, Qwen2 and Qwen3.
    Llama(Llama),
    /// GPT-2.
    Gpt2(Gpt2),
}

/// `$body` for the model inside, whichever it is.
macro_rules! inside {
    ($decoder:expr, $model:ident => $body:expr) => {
        match $decoder {
            Decoder::Llama($model) => $body,
            Decoder::Gpt2($model) => $body,
        }
    };
}

/// The decoder whose model `$body` makes of the one inside.
macro_rules! rebuilt {
    ($decoder:expr, $model:ident => $body:expr) => {
        match $decoder {
            Decoder::Llama($model) => Decoder::Llama($body),
            Decoder::Gpt2($model) => Decoder::Gpt2($body),
        }
    };
}

impl Decoder {
    /// Computes the matrix products in `dtype` (mixed precision); parameters, their gradients and the residual stream keep
    /// the parameters' type.
    pub fn with_compute_dtype(mut self, dtype: Option<DType>) -> Self {
        match &mut self {
            Self::Llama(model) => model.compute_dtype = dtype,
            Self::Gpt2(model) => model.compute_dtype = dtype,
        }
        self
    }

    /// Logits of the next token at each position: tokens `[batch, length]` to `[batch, length, vocab_size]`.
    ///
    /// Position `i` sees tokens `0..=i` only, with a sliding window the last of these. Padding belongs at the end, where no real
    /// token sees it.
    ///
    /// # Panics
    /// If `length` exceeds the configuration's [`longest_sequence`](DecoderConfig::longest_sequence).
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        inside!(self, model => model.forward(tokens))
    }

    /// States after the last normalisation: tokens `[batch, length]` to `[batch, length, hidden_size]`.
    ///
    /// # Panics
    /// If `length` exceeds the configuration's [`longest_sequence`](DecoderConfig::longest_sequence).
    pub fn forward_hidden(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        inside!(self, model => model.forward_hidden(tokens))
    }

    /// Logits of the token after the last one of `tokens` `[batch, length]`, which follow those in `cache` and are added to
    /// it: `[batch, vocab_size]`.
    ///
    /// Equal to the last position of [`forward`](Self::forward) of all tokens so far, at the cost of the new ones alone. For
    /// generation: all sequences are of one length, and nothing here is meant to be differentiated. A reparameterized model
    /// quantizes its weights at each call; `model.valid().materialize()` does so once.
    ///
    /// # Errors
    /// [`CacheError::ContextOverflow`] if the tokens exceed the cache's context or the model's positions, and for a cache
    /// that holds something else; the cache is then as it was.
    pub fn forward_cached(
        &self,
        tokens: Tensor<2, Int>,
        cache: &mut DecoderCache,
    ) -> Result<Tensor<2>, CacheError> {
        inside!(self, model => model.forward_cached(tokens, cache))
    }

    /// Cross-entropy of the next tokens, without ever holding the logits of the whole batch.
    ///
    /// `tokens`, `targets` and `mask` are `[batch, length]`; `targets[b, i]` is the token that follows `tokens[b, ..=i]`. A
    /// position counts `mask` times (1 if there is no mask); where the mask is 0 the target may be any number.
    ///
    /// Equal to [`cross_entropy`](super::cross_entropy) of [`forward`](Self::forward), value and gradient, in a fraction of the
    /// memory: some hundred tokens at a time, and only the gradients of states and head are kept for the backward pass.
    ///
    /// # Panics
    /// If `length` exceeds the configuration's [`longest_sequence`](DecoderConfig::longest_sequence).
    pub fn forward_loss(
        &self,
        tokens: Tensor<2, Int>,
        targets: Tensor<2, Int>,
        mask: Option<Tensor<2>>,
    ) -> TokenLoss {
        inside!(self, model => model.forward_loss(tokens, targets, mask))
    }

    /// [`forward_loss`](Self::forward_loss) whose gradient also leads towards the predictions of `teacher`: that of
    /// `(1 - share) * cross-entropy + share * KL(teacher || model)`, mean over the counted tokens. The value is the plain
    /// cross-entropy, which compares with other runs.
    ///
    /// `teacher` is on the same device, without autodiff, and has the same vocabulary.
    ///
    /// # Panics
    /// If `length` exceeds the [`longest_sequence`](DecoderConfig::longest_sequence) of either.
    pub fn forward_distillation_loss(
        &self,
        tokens: Tensor<2, Int>,
        targets: Tensor<2, Int>,
        mask: Option<Tensor<2>>,
        teacher: &Self,
        share: f64,
    ) -> TokenLoss {
        let teacher = teacher.taught(tokens.clone().inner(), share);
        let states = self.forward_hidden(tokens);
        self.head()
            .loss(states, targets, mask, self.compute_dtype(), Some(teacher))
    }

    /// What this model predicts for `tokens`, as a student is taught it.
    pub(super) fn taught(&self, tokens: Tensor<2, Int>, share: f64) -> Teacher {
        let states = self.forward_hidden(tokens);
        let [batch, length, width] = states.dims();
        let dtype = self.compute_dtype().unwrap_or(states.dtype());
        Teacher {
            states: states.reshape([batch * length, width]).cast(dtype),
            head: self.head().cast(dtype),
            share,
        }
    }

    /// Puts packed weights, by their Hugging Face names, in the place of float ones; see [`Ternary::pack`](crate::Ternary::pack).
    pub fn attach_packed(self, packed: PackedWeights) -> Self {
        match self {
            Self::Llama(model) => Self::Llama(packed.attach_named(model, llama::hugging_face_name)),
            Self::Gpt2(model) => Self::Gpt2(packed.attach_named(model, gpt2::hugging_face_name)),
        }
    }

    pub(super) fn head(&self) -> Head {
        inside!(self, model => model.head())
    }

    pub(super) fn compute_dtype(&self) -> Option<DType> {
        inside!(self, model => model.compute_dtype)
    }

    /// Replaces every weight by what `source` gives for its Hugging Face name: the shape and the values, row-major.
    ///
    /// A tied model does not ask for `lm_head.weight`. On a reparameterized model this sets the float base weights and leaves
    /// the state of the reparameterization alone. Gradient settings, devices and float types stay as they are.
    ///
    /// # Errors
    /// The first weight that `source` cannot give or that does not fit.
    pub fn load_weights<F, E>(self, source: F) -> Result<Self, LoadWeightsError>
    where
        F: FnMut(&str) -> Result<(Vec<usize>, Vec<f32>), E>,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        Ok(rebuilt!(self, model => model.load_weights(source)?))
    }

    /// Gives each weight to `receive`, one at a time so that the model is never copied whole.
    ///
    /// On a reparameterized model these are the float base weights; for the effective ones visit
    /// `model.valid().materialize()`.
    ///
    /// # Errors
    /// The first error of `receive`, which is called no more after it.
    pub fn visit_weights<F, E>(&self, receive: F) -> Result<(), E>
    where
        F: FnMut(Weight) -> Result<(), E>,
    {
        inside!(self, model => model.visit_weights(receive))
    }

    /// Names and shapes of all weights, in the order of [`visit_weights`](Self::visit_weights).
    pub fn weight_specs(&self) -> Vec<WeightSpec> {
        inside!(self, model => model.weight_specs())
    }

    /// Hugging Face name of the parameter at `path`.
    pub fn hugging_face_name(&self, path: &str) -> String {
        match self {
            Self::Llama(_) => llama::hugging_face_name(path),
            Self::Gpt2(_) => gpt2::hugging_face_name(path),
        }
    }
}

// A derived `Module` would put the variant's name in front of every path. Delegating keeps the paths, so that a record
// of the model inside is a record of the decoder.
impl Module for Decoder {
    fn collect_devices(&self, devices: Devices) -> Devices {
        inside!(self, model => model.collect_devices(devices))
    }

    fn fork(self, device: &Device) -> Self {
        rebuilt!(self, model => model.fork(device))
    }

    fn to_device(self, device: &Device) -> Self {
        rebuilt!(self, model => model.to_device(device))
    }

    fn train(self) -> Self {
        rebuilt!(self, model => model.train())
    }

    fn valid(&self) -> Self {
        rebuilt!(self, model => model.valid())
    }

    fn materialize(self) -> Self {
        rebuilt!(self, model => model.materialize())
    }

    fn visit<Visitor: ModuleVisitor>(&self, visitor: &mut Visitor) {
        inside!(self, model => model.visit(visitor));
    }

    fn map<Mapper: ModuleMapper>(self, mapper: &mut Mapper) -> Self {
        rebuilt!(self, model => model.map(mapper))
    }
}

impl ModuleDisplayDefault for Decoder {
    fn content(&self, content: Content) -> Option<Content> {
        inside!(self, model => ModuleDisplayDefault::content(model, content))
    }

    fn num_params(&self) -> usize {
        inside!(self, model => Module::num_params(model))
    }
}

impl ModuleDisplay for Decoder {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        inside!(self, model => model.custom_settings())
    }
}
