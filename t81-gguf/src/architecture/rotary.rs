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
        Some(RopeScaling::Yarn { .. }) if !yarn_has_keys(rope) => {
            vec![("rope_freqs.weight", yarn(rope))]
        }
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

/// Whether llama.cpp's keys describe a YaRN scaling: the architectures here read no bounds but take 32 and 1 turns, rounded
/// outwards (`ggml_rope_yarn_corr_dims`).
pub(super) fn yarn_has_keys(rope: &Rope) -> bool {
    let Some(RopeScaling::Yarn {
        beta_fast,
        beta_slow,
        truncate,
        ..
    }) = rope.scaling
    else {
        return false;
    };
    let (low, high) = yarn_pairs(rope).unwrap_or_default();
    truncate && (beta_fast, beta_slow) == (32.0, 1.0) && low <= high
}

/// The pairs, fractions, between which a YaRN scaling interpolates.
fn yarn_pairs(rope: &Rope) -> Option<(f64, f64)> {
    let Some(RopeScaling::Yarn {
        original_max_position_embeddings,
        beta_fast,
        beta_slow,
        truncate,
        ..
    }) = rope.scaling
    else {
        return None;
    };
    let dimensions = rope.dimensions as f64;
    let pair_of = |turns: f64| {
        let longest = original_max_position_embeddings as f64 / (turns * 2.0 * PI);
        dimensions * longest.ln() / (2.0 * rope.theta.ln())
    };
    let (low, high) = (pair_of(beta_fast), pair_of(beta_slow));
    let (low, high) = match truncate {
        true => (low.floor(), high.ceil()),
        false => (low, high),
    };
    Some((low.max(0.0), high.min(dimensions - 1.0)))
}

/// YaRN's scaling as divisors of the frequencies (Hugging Face's `_compute_yarn_parameters`).
fn yarn(rope: &Rope) -> Vec<f32> {
    let (Some(RopeScaling::Yarn { factor, .. }), Some((low, mut high))) =
        (&rope.scaling, yarn_pairs(rope))
    else {
        return Vec::new();
    };
    if low == high {
        high += 0.001;
    }
    let divisor = |pair: usize| {
        let scaled = ((pair as f64 - low) / (high - low)).clamp(0.0, 1.0);
        1.0 / (1.0 - scaled + scaled / factor)
    };
    (0..rope.dimensions / 2)
        .map(|pair| divisor(pair) as f32)
        .collect()
}
