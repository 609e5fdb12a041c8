use super::attention::AttentionContext;
use super::layer::LlamaLayer;
use super::loss::{Head, LOGITS_AT_ONCE, TokenLoss, linear_cross_entropy};
use super::rotary::RotaryTables;
use burn::module::Module;
use burn::nn::{Embedding, Linear, RmsNorm};
use burn::tensor::{Int, Tensor};

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
}

impl Llama {
    /// Logits of the next token at each position: tokens `[batch, length]` to `[batch, length, vocab_size]`.
    ///
    /// Position `i` sees tokens `0..=i` only. Padding belongs at the end, where no real token sees it.
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let states = self.forward_hidden(tokens);
        let [batch, length, width] = states.dims();
        let logits = self.head().logits(states.reshape([batch * length, width]));
        let vocabulary = logits.dims()[1];
        logits.reshape([batch, length, vocabulary])
    }

    /// States after the last normalisation: tokens `[batch, length]` to `[batch, length, hidden_size]`.
    pub fn forward_hidden(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let mut states = self.embed_tokens.forward(tokens);
        let context = AttentionContext::new(&self.rotary, &states);
        for layer in &self.layers {
            states = layer.forward(states, &context);
        }
        self.norm.forward(states)
    }

    /// Cross-entropy of the next tokens, without ever holding the logits of the whole batch.
    ///
    /// `tokens`, `targets` and `mask` are `[batch, length]`; `targets[b, i]` is the token that follows `tokens[b, ..=i]`. A
    /// position counts `mask` times (1 if there is no mask); where the mask is 0 the target may be any number.
    ///
    /// Equal to [`cross_entropy`](super::cross_entropy) of [`forward`](Self::forward), value and gradient, in a fraction of the
    /// memory: some hundred tokens at a time, and only the gradients of states and head are kept for the backward pass.
    pub fn forward_loss(
        &self,
        tokens: Tensor<2, Int>,
        targets: Tensor<2, Int>,
        mask: Option<Tensor<2>>,
    ) -> TokenLoss {
        let states = self.forward_hidden(tokens);
        let [batch, length, width] = states.dims();
        linear_cross_entropy(
            states.reshape([batch * length, width]),
            self.head(),
            targets.reshape([batch * length]),
            mask.map(|mask| mask.reshape([batch * length])),
            LOGITS_AT_ONCE,
        )
    }

    fn head(&self) -> Head {
        match &self.lm_head {
            Some(linear) => Head::Untied(linear.weight.val()),
            None => Head::Tied(self.embed_tokens.weight.val()),
        }
    }
}
