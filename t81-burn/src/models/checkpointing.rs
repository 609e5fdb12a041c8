//! Gradient checkpointing: a backward pass that keeps the activations of one layer at a time and computes them again when it
//! needs them (Chen et al. 2016, [sublinear memory cost](https://arxiv.org/abs/1604.06174), with a segment for each layer).

use super::decoder::Decoder;
use super::loss::TokenLoss;
use super::stages::Stages;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Gradients, Int, Tensor};

impl Decoder {
    /// Loss and gradients of a batch with gradient checkpointing: the activations of one layer at a time, which the
    /// backward pass computes again, in place of those of all layers.
    ///
    /// The loss is that of [`forward_loss`](Self::forward_loss), or of
    /// [`forward_distillation_loss`](Self::forward_distillation_loss) with a teacher and its share; the mean that is returned has no
    /// autodiff. The gradients are those of `objective` of the mean, which may weigh and scale it, towards all parameters, and
    /// equal to those of the backward pass of the plain loss.
    ///
    /// ```
    /// use burn::optim::AdamWConfig;
    /// use burn::tensor::{Device, Int, Tensor};
    /// use t81_burn::models::{DecoderConfig, llama::LlamaConfig};
    ///
    /// let device = Device::default().autodiff();
    /// let decoder = DecoderConfig::Llama(LlamaConfig::new(97, 64, 128, 2, 4)).init(&device);
    /// let (tokens, targets) = (
    ///     Tensor::<2, Int>::from_data([[1, 2, 3]], &device),
    ///     Tensor::<2, Int>::from_data([[2, 3, 4]], &device),
    /// );
    /// let (loss, gradients) = decoder.forward_backward(tokens, targets, None, None, |mean| mean);
    /// assert_eq!(gradients.len(), decoder.weight_specs().len());
    /// let decoder = AdamWConfig::new().init().step(1e-3, decoder, gradients);
    /// # let _ = (decoder, loss);
    /// ```
    ///
    /// # Panics
    /// If the model is on a device without autodiff, if `objective` does not depend on its argument, or if `length` exceeds the
    /// [`longest_sequence`](super::DecoderConfig::longest_sequence).
    pub fn forward_backward(
        &self,
        tokens: Tensor<2, Int>,
        targets: Tensor<2, Int>,
        mask: Option<Tensor<2>>,
        teacher: Option<(&Self, f64)>,
        objective: impl FnOnce(Tensor<1>) -> Tensor<1>,
    ) -> (TokenLoss, GradientsParams) {
        let read = tokens.clone().inner();
        let objective = |states| {
            let taught = teacher.map(|(teacher, share)| teacher.taught(read, share));
            let head = self.head();
            let loss = head.loss(states, targets, mask, self.compute_dtype(), taught);
            let plain = TokenLoss {
                mean: loss.mean.clone().inner(),
                count: loss.count,
            };
            (plain, objective(loss.mean))
        };
        match self {
            Self::Llama(model) => gradients(model, tokens, objective),
            Self::Gpt2(model) => gradients(model, tokens, objective),
        }
    }
}

/// What `objective` computes from the states after the last normalisation, `[batch, length, hidden_size]`, and the gradients of
/// its number towards the parameters of `model`.
///
/// Between the two passes only the states before each layer are kept.
fn gradients<S: Stages, T>(
    model: &S,
    tokens: Tensor<2, Int>,
    objective: impl FnOnce(Tensor<3>) -> (T, Tensor<1>),
) -> (T, GradientsParams) {
    // Without parameters to differentiate by, operations keep nothing for a backward pass. A model without autodiff would not do:
    // its ternary weights are those of an evaluation, and its attention may be another.
    let untracked = model.clone().map(&mut Untracked);
    let mut states = untracked.embed(tokens.clone());
    let function = model.layer_function(&states);
    let mut inputs = Vec::with_capacity(model.layers().len());
    for layer in untracked.layers() {
        inputs.push(states.clone().inner());
        states = function(layer, states);
    }

    let mut collected = GradientsParams::new();
    let input = leaf(states.inner());
    let (result, number) = objective(model.normalize(input.clone()));
    let mut found = number.backward();
    collect(model, &mut found, &mut collected);
    let mut gradient = take(&input, &mut found);
    for (layer, input) in model.layers().iter().zip(inputs).rev() {
        let input = leaf(input);
        let output = function(layer, input.clone());
        let mut found = inner_product(output, gradient).backward();
        collect(layer, &mut found, &mut collected);
        gradient = take(&input, &mut found);
    }
    let embedded = model.embed(tokens);
    // Embeddings may be frozen.
    if embedded.is_tracked() {
        let mut found = inner_product(embedded, gradient).backward();
        collect(model, &mut found, &mut collected);
    }
    (result, collected)
}

/// A tensor at which a backward pass ends.
fn leaf(states: Tensor<3>) -> Tensor<3> {
    Tensor::from_inner(states).require_grad()
}

/// The gradient of a `leaf`.
fn take(leaf: &Tensor<3>, found: &mut Gradients) -> Tensor<3> {
    leaf.grad_remove(found)
        .expect("the objective depends on the states")
}

/// A number whose gradient towards `output` is `gradient`.
fn inner_product(output: Tensor<3>, gradient: Tensor<3>) -> Tensor<1> {
    (output * Tensor::from_inner(gradient)).sum()
}

/// Adds the gradients that were `found` for the parameters of `module` to those `collected` before: a tied embedding has two.
fn collect<M: Module>(module: &M, found: &mut Gradients, collected: &mut GradientsParams) {
    module.visit(&mut Collect { found, collected });
}

struct Collect<'a> {
    found: &'a mut Gradients,
    collected: &'a mut GradientsParams,
}

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = param.base().grad_remove(self.found) {
            let sum = match self.collected.remove::<D>(param.id) {
                Some(earlier) => earlier + gradient,
                None => gradient,
            };
            self.collected.register(param.id, sum);
        }
    }
}

/// Takes parameters out of the gradient; unlike [`Module::no_grad`] it leaves clones that are not initialized yet alone.
struct Untracked;

impl ModuleMapper for Untracked {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| tensor.set_require_grad(false))
    }
}
