//! The model without tensors computes what Burn's decoder does.
#![cfg(feature = "flex")]

use std::collections::HashMap;

use burn::tensor::{Device, Int, Tensor, TensorData};
use t81_burn::Ternary;
use t81_burn::inference::{FloatRows, InferenceWeight, LlamaCache, LlamaInference};
use t81_burn::models::llama::{AttentionBiases, Llama, LlamaConfig, RopeScaling};
use t81_burn::models::{CacheError, CacheShape, DecoderCache, LoadWeightsError};
use t81_core::{ActivationPrecision, Granularity, Quantizer};

const VOCABULARY: usize = 61;
const LENGTH: usize = 150;

const FLOAT32: ActivationPrecision = ActivationPrecision::Float32;
const INT8: ActivationPrecision = ActivationPrecision::Int8;

fn configurations() -> Vec<(&'static str, LlamaConfig)> {
    let llama = LlamaConfig::new(VOCABULARY, 32, 48, 2, 4);
    let family = |new: fn(usize, usize, usize, usize, usize) -> LlamaConfig| {
        new(VOCABULARY, 36, 52, 3, 6).with_num_key_value_heads(Some(2))
    };
    let scaling = RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 64,
    };
    let yarn = RopeScaling::Yarn {
        factor: 4.0,
        original_max_position_embeddings: 32,
        beta_fast: 8.0,
        beta_slow: 1.0,
        attention_factor: 1.2,
        truncate: true,
    };
    let configurations = [
        ("llama", llama.clone()),
        (
            "grouped, tied",
            family(LlamaConfig::new).with_tie_word_embeddings(true),
        ),
        (
            "llama 3.1",
            family(LlamaConfig::new).with_rope_scaling(Some(scaling)),
        ),
        (
            "linear scaling, all biases",
            llama
                .with_rope_scaling(Some(RopeScaling::Linear { factor: 4.0 }))
                .with_attention_bias(AttentionBiases::ALL)
                .with_mlp_bias(true),
        ),
        (
            "mistral, window 7",
            family(LlamaConfig::mistral).with_sliding_window(Some(7)),
        ),
        (
            "mistral, window 1",
            family(LlamaConfig::mistral).with_sliding_window(Some(1)),
        ),
        (
            "qwen2, window 40 from layer 1",
            family(LlamaConfig::qwen2)
                .with_sliding_window(Some(40))
                .with_max_window_layers(1),
        ),
        ("qwen3", family(LlamaConfig::qwen3).with_head_dim(Some(18))),
        (
            "yarn",
            family(LlamaConfig::new).with_rope_scaling(Some(yarn)),
        ),
        (
            "biases of queries and output",
            family(LlamaConfig::new).with_attention_bias(AttentionBiases {
                query: true,
                output: true,
                ..AttentionBiases::NONE
            }),
        ),
        (
            "a bias of values",
            family(LlamaConfig::new).with_attention_bias(AttentionBiases {
                value: true,
                ..AttentionBiases::NONE
            }),
        ),
    ];
    configurations
        .into_iter()
        .map(|(name, config)| (name, config.with_max_position_embeddings(LENGTH)))
        .collect()
}

/// Numbers of mean 0 and deviation 1, the same for a name in every run: all tests of a program share Burn's generator.
fn draws(name: &str) -> impl FnMut() -> f32 + use<> {
    let mut state = name.bytes().fold(12, |state: u64, byte| {
        state.wrapping_mul(31).wrapping_add(u64::from(byte))
    });
    // Knuth's 64-bit linear congruential generator.
    let mut uniform = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    move || 3.0f32.sqrt() * (0..4).map(|_| uniform()).sum::<f32>()
}

/// A model whose weights, biases and gains differ enough for all of them to matter.
fn model(config: &LlamaConfig, device: &Device) -> Llama {
    let fresh = config.init(device);
    let mut weights = HashMap::new();
    fresh
        .visit_weights(|weight| {
            let (name, shape) = (weight.spec.name, weight.spec.shape);
            let mut draw = draws(&name);
            let count = shape.iter().product();
            let values: Vec<f32> = match shape.len() {
                1 => {
                    let start = if name.ends_with(".bias") { 0.0 } else { 1.0 };
                    let wave = |index: usize| start + (index as f32).sin() * 0.2;
                    (0..count).map(wave).collect()
                }
                _ => (0..count).map(|_| draw() * 0.16).collect(),
            };
            // A bf16, so that int8 activations round no float weight.
            let short = |value: f32| f32::from_bits(value.to_bits() & 0xffff_0000);
            let values: Vec<f32> = values.into_iter().map(short).collect();
            weights.insert(name, (shape, values));
            Ok::<_, String>(())
        })
        .unwrap();
    fresh
        .load_weights(|name| weights.remove(name).ok_or("no such weight"))
        .unwrap()
}

fn packed(model: Llama, precision: ActivationPrecision) -> Llama {
    let ternary = Ternary::new(Quantizer::twn(Granularity::group(20).unwrap()));
    let (model, report) = ternary.apply(model);
    ternary.pack(model, &report, precision).unwrap()
}

fn ids() -> Vec<u32> {
    (0..LENGTH)
        .map(|index| ((index * index * 7 + index * 13 + 5) % VOCABULARY) as u32)
        .collect()
}

fn tensor(tokens: &[u32], device: &Device) -> Tensor<2, Int> {
    let ids: Vec<i32> = tokens.iter().map(|&id| id as i32).collect();
    Tensor::from_data(TensorData::new(ids, [1, tokens.len()]), device)
}

fn logits(model: &Llama, device: &Device) -> Vec<f32> {
    let logits = model.forward(tensor(&ids(), device));
    logits.into_data().try_into_vec().unwrap()
}

/// The largest difference, of the largest logit.
fn difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected
        .iter()
        .fold(0.0_f32, |most, one| most.max(one.abs()));
    let pairs = found.iter().zip(expected);
    pairs.fold(0.0_f32, |most, (found, expected)| {
        most.max((found - expected).abs())
    }) / largest
}

#[test]
fn logits_are_those_of_the_decoder() {
    let device = Device::flex();
    for (name, config) in configurations() {
        let float = model(&config, &device);
        let ternary = packed(float.clone(), FLOAT32);
        for (kind, model) in [("float", float), ("ternary", ternary)] {
            let expected = logits(&model, &device);
            let inference = LlamaInference::from_model(&config, &model);
            let found = inference.forward(&ids());
            let difference = difference(&found, &expected);
            assert!(difference < 1e-4, "{name}, {kind}: {difference}");
            // The test would be idle if all logits were alike.
            assert!(expected.iter().any(|logit| logit.abs() > 0.5), "{name}");
        }
    }
}

#[test]
fn int8_activations_give_the_logits_of_the_packed_decoder() {
    let device = Device::flex();
    for (name, config) in configurations() {
        let model = packed(model(&config, &device), INT8);
        let inference = LlamaInference::from_model(&config, &model);
        let (found, expected) = (inference.forward(&ids()), logits(&model, &device));
        let mut differences: Vec<f32> = found
            .chunks_exact(VOCABULARY)
            .zip(expected.chunks_exact(VOCABULARY))
            .map(|(found, expected)| difference(found, expected))
            .take(20)
            .collect();
        differences.sort_by(f32::total_cmp);
        // The integers are the same but where the last bit of a float decides a rounding, which then spreads to the tokens
        // after it.
        let (median, largest) = (differences[10], differences[19]);
        assert!(
            median < 1e-4 && largest < 0.06,
            "{name}: {median}, {largest}"
        );
    }
}

#[test]
fn a_cache_changes_nothing() {
    let device = Device::flex();
    for (name, config) in configurations() {
        let model = packed(model(&config, &device), FLOAT32);
        let inference = LlamaInference::from_model(&config, &model);
        let (tokens, all) = (ids(), inference.forward(&ids()));
        let ones = vec![1; LENGTH];
        for chunks in [
            ones.as_slice(),
            &[9, 1, 1, 30, 2, 1, 106],
            &[1, 130, 19],
            &[LENGTH],
        ] {
            let mut cache = LlamaCache::new(LENGTH);
            for &length in chunks {
                let chunk = &tokens[cache.len()..cache.len() + length];
                let found = inference
                    .forward_cached(chunk, &mut cache)
                    .unwrap()
                    .to_vec();
                let last = &all[(cache.len() - 1) * VOCABULARY..][..VOCABULARY];
                let difference = difference(&found, last);
                assert!(difference < 1e-5, "{name} at {}: {difference}", cache.len());
            }
        }
    }
}

#[test]
fn threads_change_no_bit() {
    let device = Device::flex();
    device.seed(14);
    let config = LlamaConfig::new(2000, 512, 640, 2, 4).with_num_key_value_heads(Some(2));
    let inference = LlamaInference::from_model(&config, &packed(config.init(&device), INT8));
    let tokens: Vec<u32> = (0..300).map(|index| index * 37 % 2000).collect();
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| {
            let mut cache = LlamaCache::new(400);
            inference.forward_cached(&tokens, &mut cache).unwrap();
            let logits = inference.forward_cached(&[7], &mut cache).unwrap();
            logits.to_vec()
        })
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn likelihoods_are_those_of_the_logits() {
    let device = Device::flex();
    let (_, config) = configurations().swap_remove(1);
    let inference = LlamaInference::from_model(&config, &model(&config, &device));
    let (tokens, logits) = (ids(), inference.forward(&ids()));
    for scored in [1..LENGTH, 76..LENGTH, 3..4, 5..5] {
        let found = inference.negative_log_likelihoods(&tokens, scored.clone());
        assert_eq!(found.len(), scored.len());
        for (found, position) in found.into_iter().zip(scored) {
            let logits = &logits[(position - 1) * VOCABULARY..][..VOCABULARY];
            let sum: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
            let expected = sum.ln() - f64::from(logits[tokens[position] as usize]);
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }
}

#[test]
fn a_cache_refuses_what_does_not_fit_and_stays_as_it_was() {
    let device = Device::flex();
    let config = LlamaConfig::new(VOCABULARY, 32, 48, 2, 4);
    let inference = LlamaInference::from_model(&config, &config.init(&device));
    let mut cache = LlamaCache::new(LENGTH);
    inference.forward_cached(&ids(), &mut cache).unwrap();
    let error = inference.forward_cached(&[1], &mut cache).unwrap_err();
    let mut tensors = DecoderCache::new(LENGTH);
    let model = config.init(&device);
    model
        .forward_cached(tensor(&ids(), &device), &mut tensors)
        .unwrap();
    let expected = model.forward_cached(tensor(&[1], &device), &mut tensors);
    assert_eq!(error, expected.unwrap_err());
    assert_eq!(cache.len(), LENGTH);

    cache.clear();
    assert_eq!(
        inference.forward_cached(&[], &mut cache),
        Err(CacheError::Empty)
    );
    inference.forward_cached(&[1], &mut cache).unwrap();
    let other = LlamaConfig::new(VOCABULARY, 32, 48, 3, 4);
    let other = LlamaInference::from_model(&other, &other.init(&device));
    let error = other.forward_cached(&[1], &mut cache).unwrap_err();
    let layers = |layers| CacheShape {
        layers,
        key_value_heads: 4,
        head_dim: 8,
    };
    let shape = CacheError::Shape {
        expected: layers(2),
        found: layers(3),
    };
    assert_eq!((error, cache.len()), (shape, 1));
}

#[test]
fn a_cache_of_another_shape_is_refused_and_stays_as_it_was() {
    let device = Device::flex();
    let config = LlamaConfig::new(VOCABULARY, 32, 48, 2, 4).with_num_key_value_heads(Some(2));
    let first = LlamaInference::from_model(&config, &config.init(&device));
    let fresh = |cache: &mut LlamaCache| first.forward_cached(&[1, 2], cache).unwrap().to_vec();
    for other in [
        config.clone().with_num_key_value_heads(Some(1)),
        config.clone().with_num_key_value_heads(Some(4)),
        config.clone().with_head_dim(Some(16)),
    ] {
        let other = LlamaInference::from_model(&other, &other.init(&device));
        let mut cache = LlamaCache::new(LENGTH);
        fresh(&mut cache);
        let error = other.forward_cached(&[3], &mut cache).unwrap_err();
        assert!(error.to_string().contains("start a new cache"), "{error}");
        assert_eq!(cache.len(), 2);
        let continued = first.forward_cached(&[3], &mut cache).unwrap().to_vec();
        let mut cache = LlamaCache::new(LENGTH);
        fresh(&mut cache);
        assert_eq!(first.forward_cached(&[3], &mut cache).unwrap(), continued);
    }
}

#[test]
fn a_weight_that_does_not_fit_is_named() {
    let config = LlamaConfig::new(VOCABULARY, 32, 48, 1, 4);
    let load = |name: &'static str| {
        LlamaInference::load(&config, FLOAT32, |asked: &str| {
            let shape = match asked {
                _ if asked == name => return Err("it is gone"),
                "model.embed_tokens.weight" => vec![VOCABULARY, 32],
                "model.layers.0.self_attn.q_proj.weight" => vec![32, 31],
                _ => vec![32],
            };
            let values = vec![0.0; shape.iter().product()];
            Ok(InferenceWeight::Floats(FloatRows::from_values(
                shape, values,
            )))
        })
        .unwrap_err()
    };
    let gone = load("model.layers.0.input_layernorm.weight");
    assert!(matches!(gone, LoadWeightsError::Source { .. }), "{gone}");
    let shape = load("none").to_string();
    assert!(
        shape.contains("q_proj") && shape.contains("[32, 31]"),
        "{shape}"
    );
}
