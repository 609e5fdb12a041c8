use super::attention::AttentionContext;
use super::layer::LlamaLayer;
use super::rotary::RotaryTables;
use crate::models::cache::{CacheError, CacheShape, DecoderCache};
use crate::models::loss::{Head, TokenLoss};
use crate::models::precision::normalize;
use crate::models::stages::Stages;
use crate::models::traversal::{Naming, load_weights, visit_weights, weight_specs};
use crate::models::weights::{LoadWeightsError, Weight, WeightLayout, WeightSpec};
use crate::operations::embedding::embed_tokens;
use burn::module::Module;
use burn::nn::{Embedding, Linear, RmsNorm};
use burn::tensor::{DType, Int, Tensor};
use std::error::Error;

/// How a [`Llama`]'s parameters are called and laid out in a Hugging Face checkpoint.
const NAMING: Naming = Naming {
    prefix: "model.",
    linear: WeightLayout::Transposed,
};

/// A LLaMA-family decoder, made by [`LlamaConfig::init`](super::LlamaConfig::init).
#[derive(Module, Debug)]
pub struct Llama {
    /// Token embeddings `[vocab_size, hidden_size]`; also the output head if `lm_head` is `None`.
    pub embed_tokens: Embedding,
    /// Decoder layers, first to last.
    pub layers: Vec<LlamaLayer>,
    /// Last normalisation.
    pub norm: RmsNorm,
    /// Output head, `None` if it is tied to the embedding.
    pub lm_head: Option<Linear>,
    /// Rotary position embedding.
    pub rotary: RotaryTables,
    /// Number of latest tokens that a position attends to; all before it if `None`.
    #[module(skip)]
    pub sliding_window: Option<usize>,
    /// Float type of the matrix products, that of the parameters if `None`.
    #[module(skip)]
    pub compute_dtype: Option<DType>,
}

impl Llama {
    /// Logits of the next token at each position: tokens `[batch, length]` to `[batch, length, vocab_size]`.
    ///
    /// Position `i` sees tokens `0..=i` only, with a sliding window the last of these. Padding belongs at the end, where no real token sees it.
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        self.head().logits(self.forward_hidden(tokens))
    }

    /// States after the last normalisation: tokens `[batch, length]` to `[batch, length, hidden_size]`.
    pub fn forward_hidden(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        self.hidden_states(tokens)
    }

    /// Logits of the token after the last one of `tokens` `[batch, length]`, which follow those in `cache` and are added to
    /// it: `[batch, vocab_size]`. As [`Decoder::forward_cached`](crate::models::Decoder::forward_cached).
    ///
    /// # Errors
    /// [`CacheError`] for tokens that do not fit.
    pub fn forward_cached(
        &self,
        tokens: Tensor<2, Int>,
        cache: &mut DecoderCache,
    ) -> Result<Tensor<2>, CacheError> {
        let [batch, length] = tokens.dims();
        cache.begin([batch, length], self.cache_shape(), None)?;
        let mut states = self.embed(tokens);
        let dtype = self.compute_dtype.unwrap_or(states.dtype());
        let window = self.sliding_window;
        let context =
            AttentionContext::continued(&self.rotary, &states, cache.len(), window, dtype);
        for (layer, cache) in self.layers.iter().zip(cache.layers()) {
            states = layer.forward(states, &context, Some(cache));
        }
        cache.advance(length);
        let last = self.normalize(states.narrow(1, length - 1, 1));
        Ok(self.head().logits(last).squeeze_dim::<2>(1))
    }

    /// Cross-entropy of the next tokens, without ever holding the logits of the whole batch.
    ///
    /// `tokens`, `targets` and `mask` are `[batch, length]`; `targets[b, i]` is the token that follows `tokens[b, ..=i]`. A
    /// position counts `mask` times (1 if there is no mask); where the mask is 0 the target may be any number.
    ///
    /// Equal to [`cross_entropy`](crate::models::cross_entropy) of [`forward`](Self::forward), value and gradient, in a fraction of the
    /// memory: some hundred tokens at a time, and only the gradients of states and head are kept for the backward pass.
    pub fn forward_loss(
        &self,
        tokens: Tensor<2, Int>,
        targets: Tensor<2, Int>,
        mask: Option<Tensor<2>>,
    ) -> TokenLoss {
        self.head().loss(
            self.forward_hidden(tokens),
            targets,
            mask,
            self.compute_dtype,
            None,
        )
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
        load_weights(self, NAMING, source)
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
        visit_weights(self, NAMING, receive)
    }

    /// Names and shapes of all weights, in the order of [`visit_weights`](Self::visit_weights).
    pub fn weight_specs(&self) -> Vec<WeightSpec> {
        weight_specs(self, NAMING)
    }

    fn cache_shape(&self) -> CacheShape {
        let attention = self.layers.first().map(|layer| &layer.self_attn);
        let key_value_heads = attention.map_or(0, |attention| attention.key_value_heads);
        let width = attention.map_or(0, |attention| attention.k_proj.weight.lazy_shape()[1]);
        CacheShape {
            layers: self.layers.len(),
            key_value_heads,
            head_dim: width.checked_div(key_value_heads).unwrap_or(0),
        }
    }

    pub(in crate::models) fn head(&self) -> Head {
        match &self.lm_head {
            Some(linear) => Head::Untied(linear.weight.val()),
            None => Head::Tied(self.embed_tokens.weight.val()),
        }
    }
}

impl Stages for Llama {
    type Layer = LlamaLayer;

    fn embed(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        embed_tokens(&self.embed_tokens, tokens)
    }

    fn layers(&self) -> &[LlamaLayer] {
        &self.layers
    }

    fn layer_function(
        &self,
        states: &Tensor<3>,
    ) -> impl Fn(&LlamaLayer, Tensor<3>) -> Tensor<3> + use<> {
        let dtype = self.compute_dtype.unwrap_or(states.dtype());
        let context = AttentionContext::new(&self.rotary, states, self.sliding_window, dtype);
        move |layer, states| layer.forward(states, &context, None)
    }

    fn normalize(&self, states: Tensor<3>) -> Tensor<3> {
        let dtype = states.dtype();
        normalize(&self.norm, states, dtype)
    }
}

/// Hugging Face name of the parameter at `path` of a [`Llama`]: `layers.0.input_layernorm.gamma` is
/// `model.layers.0.input_layernorm.weight`.
pub fn hugging_face_name(path: &str) -> String {
    NAMING.hugging_face_name(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_hugging_face() {
        assert_eq!(hugging_face_name("lm_head.weight"), "lm_head.weight");
        assert_eq!(hugging_face_name("norm.gamma"), "model.norm.weight");
        assert_eq!(
            hugging_face_name("layers.3.self_attn.q_proj.bias"),
            "model.layers.3.self_attn.q_proj.bias"
        );
    }
}
