//! What every decoder is made of: an embedding, layers one after the other, a last normalisation.

use burn::module::Module;
use burn::tensor::{Int, Tensor};

/// A decoder as the stages that its states pass through.
pub(super) trait Stages: Module {
    /// One decoder layer.
    type Layer: Module;

    /// States before the first layer: tokens `[batch, length]` to `[batch, length, hidden_size]`.
    fn embed(&self, tokens: Tensor<2, Int>) -> Tensor<3>;

    /// The layers, first to last.
    fn layers(&self) -> &[Self::Layer];

    /// The function of a layer on states shaped as `states` `[batch, length, hidden_size]`: what all layers share is computed
    /// here, once.
    fn layer_function(
        &self,
        states: &Tensor<3>,
    ) -> impl Fn(&Self::Layer, Tensor<3>) -> Tensor<3> + use<Self>;

    /// The last normalisation of states `[batch, length, hidden_size]`.
    fn normalize(&self, states: Tensor<3>) -> Tensor<3>;

    /// States after the last normalisation: tokens `[batch, length]` to `[batch, length, hidden_size]`.
    fn hidden_states(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let states = self.embed(tokens);
        let function = self.layer_function(&states);
        let states = self
            .layers()
            .iter()
            .fold(states, |states, layer| function(layer, states));
        self.normalize(states)
    }
}
