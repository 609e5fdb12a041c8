//! Tables of rotary frequency divisors.

use std::f64::consts::PI;

use t81_hub::{ModelConfig, Rope, RopeScaling};

/// What llama.cpp divides each rotary frequency by, as tensors: their names and `[dimensions / 2]` values.
pub(super) fn factors(config: &ModelConfig) -> Vec<(&'static str, Vec<f32>)> {
    let Some(rope) = &config.rope else {
        return Vec::new();
    };
    let rounded = |values: &[f64]| values.iter().map(|&value| value as f32).collect();
    match &rope.scaling {
        Some(RopeScaling::Llama3 { .. }) => vec![("rope_freqs.weight", llama3(rope))],
        Some(RopeScaling::LongRope {
            short_factor,
            long_factor,
            ..
        }) => vec![
            ("rope_factors_long.weight", rounded(long_factor)),
            ("rope_factors_short.weight", rounded(short_factor)),
        ],
        _ => Vec::new(),
    }
}

/// Llama 3's scaling: long wavelengths are stretched by `factor`, short ones stay, those between are blended (Llama
/// 3.1's `apply_scaling`; Hugging Face's `_compute_llama3_parameters`).
fn llama3(rope: &Rope) -> Vec<f32> {
    let Some(RopeScaling::Llama3 {
        factor,
        low_freq_factor,
        high_freq_factor,
        original_max_position_embeddings,
    }) = rope.scaling
    else {
        return Vec::new();
    };
    let original = original_max_position_embeddings as f64;
    let factor_of = |pair: usize| {
        let frequency = rope.theta.powf(-2.0 * pair as f64 / rope.dimensions as f64);
        let wavelength = 2.0 * PI / frequency;
        if wavelength < original / high_freq_factor {
            1.0
        } else if wavelength > original / low_freq_factor {
            factor
        } else {
            let blend =
                (original / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
            1.0 / ((1.0 - blend) / factor + blend)
        }
    };
    (0..rope.dimensions / 2)
        .map(|pair| factor_of(pair) as f32)
        .collect()
}
