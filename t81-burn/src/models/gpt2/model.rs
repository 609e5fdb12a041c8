use super::layer::Gpt2Layer;
use crate::models::attention::CausalAttention;
use crate::models::cache::{CacheError, CacheShape, DecoderCache};
use crate::models::loss::{Head, TokenLoss};
use crate::models::stages::Stages;
use crate::models::traversal::{Naming, load_weights, visit_weights, weight_specs};
use crate::models::weights::{LoadWeightsError, Weight, WeightLayout, WeightSpec};
use crate::operations::embedding::embed_tokens;
use burn::module::Module;
use burn::nn::{Embedding, LayerNorm, Linear};
use burn::tensor::{DType, Int, Tensor};
use std::error::Error;

/// How a [`Gpt2`]'s parameters are called and laid out in a Hugging Face checkpoint.
const NAMING: Naming = Naming {
    prefix: "transformer.",
    linear: WeightLayout::Conv1d,
};

/// A GPT-2 decoder, made by [`Gpt2Config::init`](super::Gpt2Config::init).
#[derive(Module, Debug)]
pub struct Gpt2 {
    /// Token embeddings `[vocab_size, n_embd]`; also the output head if `lm_head` is `None`.
    pub wte: Embedding,
    /// Position embeddings `[n_positions, n_embd]`.
    pub wpe: Embedding,
    /// Decoder layers, first to last.
    pub h: Vec<Gpt2Layer>,
    /// Last normalisation.
    pub ln_f: LayerNorm,
    /// Output head, `None` if it is tied to the embedding.
    pub lm_head: Option<Linear>,
    /// Float type of the matrix products, that of the parameters if `None`.
    #[module(skip)]
    pub compute_dtype: Option<DType>,
}

impl Gpt2 {
    /// Logits of the next token at each position: tokens `[batch, length]` to `[batch, length, vocab_size]`.
    ///
    /// Position `i` sees tokens `0..=i` only. Padding belongs at the end, where no real token sees it.
    ///
    /// # Panics
    /// If `length` exceeds [`context_length`](Self::context_length).
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        self.head().logits(self.forward_hidden(tokens))
    }

    /// States after the last normalisation: tokens `[batch, length]` to `[batch, length, n_embd]`.
    ///
    /// # Panics
    /// If `length` exceeds [`context_length`](Self::context_length).
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
        let limit = Some(self.context_length());
        cache.begin([batch, length], self.cache_shape(), limit)?;
        let offset = cache.len();
        let positions = self.wpe.weight.val().narrow(0, offset, length);
        let mut states = embed_tokens(&self.wte, tokens) + positions.unsqueeze::<3>();
        let dtype = self.compute_dtype.unwrap_or(states.dtype());
        let causal = CausalAttention::continued(&states, offset, None, dtype);
        for (layer, cache) in self.h.iter().zip(cache.layers()) {
            states = layer.forward(states, &causal, Some(cache));
        }
        cache.advance(length);
        let last = self.ln_f.forward(states.narrow(1, length - 1, 1));
        Ok(self.head().logits(last).squeeze_dim::<2>(1))
    }

    /// Cross-entropy of the next tokens, without ever holding the logits of the whole batch; as
    /// [`Decoder::forward_loss`](crate::models::Decoder::forward_loss).
    ///
    /// # Panics
    /// If `length` exceeds [`context_length`](Self::context_length).
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

    /// The longest sequence in tokens: the number of positions.
    pub fn context_length(&self) -> usize {
        let [positions, _] = self.wpe.weight.lazy_shape().dims();
        positions
    }

    /// Replaces every weight by what `source` gives for its Hugging Face name: the shape (`[in, out]` for the matrices of the
    /// layers) and the values, row-major. As [`Decoder::load_weights`](crate::models::Decoder::load_weights).
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

    /// Gives each weight to `receive`; as [`Decoder::visit_weights`](crate::models::Decoder::visit_weights).
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
        let [_, width] = self.wpe.weight.lazy_shape().dims();
        let heads = self.h.first().map_or(0, |layer| layer.attn.heads);
        CacheShape {
            layers: self.h.len(),
            key_value_heads: heads,
            head_dim: width.checked_div(heads).unwrap_or(0),
        }
    }

    pub(in crate::models) fn head(&self) -> Head {
        match &self.lm_head {
            Some(linear) => Head::Untied(linear.weight.val()),
            None => Head::Tied(self.wte.weight.val()),
        }
    }
}

impl Stages for Gpt2 {
    type Layer = Gpt2Layer;

    fn embed(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let (length, context) = (tokens.dims()[1], self.context_length());
        assert!(
            length <= context,
            "a sequence of {length} tokens for a model with {context} positions"
        );
        let positions = self.wpe.weight.val().narrow(0, 0, length);
        embed_tokens(&self.wte, tokens) + positions.unsqueeze::<3>()
    }

    fn layers(&self) -> &[Gpt2Layer] {
        &self.h
    }

    fn layer_function(
        &self,
        states: &Tensor<3>,
    ) -> impl Fn(&Gpt2Layer, Tensor<3>) -> Tensor<3> + use<> {
        let dtype = self.compute_dtype.unwrap_or(states.dtype());
        let causal = CausalAttention::new(states, None, dtype);
        move |layer, states| layer.forward(states, &causal, None)
    }

    fn normalize(&self, states: Tensor<3>) -> Tensor<3> {
        self.ln_f.forward(states)
    }
}

/// Hugging Face name of the parameter at `path` of a [`Gpt2`]: `h.0.ln_1.gamma` is `transformer.h.0.ln_1.weight`.
pub fn hugging_face_name(path: &str) -> String {
    NAMING.hugging_face_name(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_hugging_face() {
        assert_eq!(hugging_face_name("lm_head.weight"), "lm_head.weight");
        assert_eq!(hugging_face_name("ln_f.gamma"), "transformer.ln_f.weight");
        assert_eq!(hugging_face_name("ln_f.beta"), "transformer.ln_f.bias");
        assert_eq!(
            hugging_face_name("h.3.attn.c_attn.bias"),
            "transformer.h.3.attn.c_attn.bias"
        );
    }
}
