use super::attention::Gpt2Attention;
use crate::models::attention::CausalAttention;
use crate::models::cache::LayerCache;
use crate::models::precision::project;
use burn::module::Module;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::activation::sigmoid;
use burn::tensor::{DType, Tensor};
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

/// Feed-forward part of a layer: `c_proj(gelu(c_fc(x)))`.
#[derive(Module, Debug)]
pub struct Gpt2Mlp {
    /// `n_embd` to `n_inner`, goes through GELU.
    pub c_fc: Linear,
    /// `n_inner` to `n_embd`, into the residual stream.
    pub c_proj: Linear,
}

impl Gpt2Mlp {
    /// `[batch, length, n_embd]` to the same shape, in `dtype`.
    pub(super) fn forward(&self, states: Tensor<3>, dtype: DType) -> Tensor<3> {
        project(
            &self.c_proj,
            gelu(project(&self.c_fc, states, dtype)),
            dtype,
        )
    }
}

/// One decoder layer: attention and feed-forward, each behind a normalisation and added to the residual stream.
#[derive(Module, Debug)]
pub struct Gpt2Layer {
    /// Normalisation before the attention.
    pub ln_1: LayerNorm,
    /// Causal attention.
    pub attn: Gpt2Attention,
    /// Normalisation before the feed-forward part.
    pub ln_2: LayerNorm,
    /// Feed-forward part.
    pub mlp: Gpt2Mlp,
}

impl Gpt2Layer {
    pub(super) fn forward(
        &self,
        states: Tensor<3>,
        causal: &CausalAttention,
        cache: Option<&mut LayerCache>,
    ) -> Tensor<3> {
        let (dtype, residual) = (causal.dtype(), states.dtype());
        let normalized = self.ln_1.forward(states.clone()).cast(dtype);
        let states = states + self.attn.forward(normalized, causal, cache).cast(residual);
        let normalized = self.ln_2.forward(states.clone()).cast(dtype);
        states + self.mlp.forward(normalized, dtype).cast(residual)
    }
}

/// GELU by its tanh approximation (Hendrycks and Gimpel 2016, [GELU](https://arxiv.org/abs/1606.08415)):
/// `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))`.
///
/// `(1 + tanh(z)) / 2` is `sigmoid(2 z)`, which with one multiplication in place of a power takes half of the operations.
fn gelu(states: Tensor<3>) -> Tensor<3> {
    const SLOPE: f64 = 2.0 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2;
    let slopes = states.clone().square() * (0.044715 * SLOPE) + SLOPE;
    states.clone() * sigmoid(states * slopes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn gelu_follows_its_formula() {
        let values: Vec<f32> = (-60..=60).map(|step| step as f32 / 10.0).collect();
        let states = Tensor::<1>::from_data(values.as_slice(), &Device::default());
        let found: Vec<f32> = gelu(states.reshape([1, 1, 121]))
            .into_data()
            .try_into_vec()
            .unwrap();
        for (value, found) in values.into_iter().zip(found) {
            let value = f64::from(value);
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (value + 0.044715 * value.powi(3));
            let expected = value / 2.0 * (1.0 + inner.tanh());
            assert!((f64::from(found) - expected).abs() < 1e-6, "{value}");
        }
    }
}
