//! Weights of a model that was never trained.

use burn::nn::{Embedding, EmbeddingConfig, Initializer, Linear, LinearConfig};
use burn::tensor::Device;

/// Standard deviation of a fresh model's weights, as in GPT-2 and Hugging Face's `initializer_range`.
pub(super) const DEVIATION: f64 = 0.02;

/// Deviation of the projections into the residual stream of a model with `layers` layers (Radford et al. 2019): each layer
/// adds twice, and this keeps the variance of the sum independent of the depth.
pub(super) fn residual_deviation(layers: usize) -> f64 {
    DEVIATION / (2.0 * layers as f64).sqrt()
}

/// A layer with normal weights of `deviation` and, if asked for, a bias of zeros.
pub(super) fn linear(
    input: usize,
    output: usize,
    bias: bool,
    deviation: f64,
    device: &Device,
) -> Linear {
    let mut layer = LinearConfig::new(input, output)
        .with_bias(false)
        .with_initializer(normal(deviation))
        .init(device);
    layer.bias = bias.then(|| Initializer::Zeros.init([output], device));
    layer
}

/// `rows` vectors of `width` normal values.
pub(super) fn embedding(rows: usize, width: usize, device: &Device) -> Embedding {
    EmbeddingConfig::new(rows, width)
        .with_initializer(normal(DEVIATION))
        .init(device)
}

fn normal(std: f64) -> Initializer {
    Initializer::Normal { mean: 0.0, std }
}
