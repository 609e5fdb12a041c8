//! Decoding with a cache equals the forward pass over all tokens.

use burn::tensor::{Device, Int, Tensor, TensorData};
use t81_burn::models::gpt2::Gpt2Config;
use t81_burn::models::llama::{LlamaConfig, RopeScaling};
use t81_burn::models::{CacheError, Decoder, DecoderCache, DecoderConfig};

const VOCABULARY: usize = 61;
const LENGTH: usize = 150;

fn llama() -> LlamaConfig {
    LlamaConfig::new(VOCABULARY, 32, 48, 2, 4).with_max_position_embeddings(LENGTH)
}

fn grouped(config: LlamaConfig) -> LlamaConfig {
    config.with_num_key_value_heads(Some(2))
}

fn configurations() -> Vec<(&'static str, DecoderConfig)> {
    let family = |new: fn(usize, usize, usize, usize, usize) -> LlamaConfig| {
        grouped(new(VOCABULARY, 32, 48, 3, 4)).with_max_position_embeddings(LENGTH)
    };
    let scaling = RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 64,
    };
    let windowed = family(LlamaConfig::qwen2)
        .with_sliding_window(Some(5))
        .with_max_window_layers(1);
    let llamas = [
        ("llama", llama()),
        ("llama, grouped, tied", {
            grouped(llama()).with_tie_word_embeddings(true)
        }),
        ("llama 3.1", {
            grouped(llama()).with_rope_scaling(Some(scaling))
        }),
        ("mistral, window 7", {
            family(LlamaConfig::mistral).with_sliding_window(Some(7))
        }),
        ("mistral, window 1", {
            family(LlamaConfig::mistral).with_sliding_window(Some(1))
        }),
        ("qwen2, window 5 from layer 1", windowed),
        ("qwen3", family(LlamaConfig::qwen3).with_head_dim(Some(12))),
    ];
    let gpt2 = Gpt2Config::new(VOCABULARY, 32, 2, 4).with_n_positions(LENGTH);
    llamas
        .into_iter()
        .map(|(name, config)| (name, DecoderConfig::Llama(config)))
        .chain([("gpt2", DecoderConfig::Gpt2(gpt2))])
        .collect()
}

fn tokens(batch: usize, device: &Device) -> Tensor<2, Int> {
    let ids: Vec<i32> = (0..batch * LENGTH)
        .map(|index| ((index * index * 7 + index * 13 + 5) % VOCABULARY) as i32)
        .collect();
    Tensor::from_data(TensorData::new(ids, [batch, LENGTH]), device)
}

/// A model whose fresh weights are large enough for its logits to differ.
fn model(config: &DecoderConfig, device: &Device) -> Decoder {
    let fresh = config.init(device);
    let mut weights = std::collections::HashMap::new();
    fresh
        .visit_weights(|weight| {
            let scale = if weight.spec.shape.len() > 1 {
                8.0
            } else {
                1.0
            };
            let (name, shape) = (weight.spec.name.clone(), weight.spec.shape.clone());
            let values = weight.into_hugging_face_order();
            let values: Vec<f32> = values.into_iter().map(|value| value * scale).collect();
            weights.insert(name, (shape, values));
            Ok::<_, String>(())
        })
        .unwrap();
    fresh
        .load_weights(|name| weights.remove(name).ok_or("no such weight"))
        .unwrap()
}

fn largest_difference(left: &[f32], right: &[f32]) -> f32 {
    assert_eq!(left.len(), right.len());
    let pairs = left.iter().zip(right);
    pairs.fold(0.0, |most, (left, right)| most.max((left - right).abs()))
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

#[test]
fn a_cache_changes_nothing() {
    let device = Device::default();
    device.seed(11);
    for (name, config) in configurations() {
        let model = model(&config, &device);
        let tokens = tokens(2, &device);
        let all = model.forward(tokens.clone());
        // One by one, in chunks of one piece and of several, and all at once.
        let ones = vec![1; LENGTH];
        for chunks in [
            ones.as_slice(),
            &[9, 1, 1, 30, 2, 1, 106],
            &[1, 130, 19],
            &[LENGTH],
        ] {
            let mut cache = config.cache();
            for &length in chunks {
                let chunk = tokens.clone().narrow(1, cache.len(), length);
                let found = model.forward_cached(chunk, &mut cache).unwrap();
                let last = all.clone().narrow(1, cache.len() - 1, 1);
                let difference = largest_difference(&floats(found), &floats(last));
                assert!(difference < 1e-5, "{name} at {}: {difference}", cache.len());
            }
            assert_eq!(cache.len(), LENGTH);
        }
        let logits = floats(all);
        let spread = logits
            .iter()
            .fold(0.0f32, |most, logit| most.max(logit.abs()));
        assert!(spread > 0.05, "{name}: {spread}");
    }
}

#[test]
fn a_cache_refuses_what_does_not_fit_and_stays_as_it_was() {
    let device = Device::default();
    for (name, config) in configurations() {
        let model = model(&config, &device);
        let all = tokens(1, &device);
        let mut cache = config.cache();
        model.forward_cached(all.clone(), &mut cache).unwrap();
        let one = all.clone().narrow(1, 0, 1);
        let error = model.forward_cached(one.clone(), &mut cache).unwrap_err();
        let overflow = CacheError::ContextOverflow {
            length: LENGTH,
            added: 1,
            context_length: LENGTH,
        };
        assert_eq!(error, overflow, "{name}");
        assert!(error.to_string().contains("context of 150"), "{error}");
        assert_eq!(cache.len(), LENGTH);

        cache.clear();
        let first = model.forward_cached(one.clone(), &mut cache).unwrap();
        assert_eq!(first.dims(), [1, VOCABULARY]);
        let two = tokens(2, &device).narrow(1, 0, 1);
        let error = model.forward_cached(two, &mut cache).unwrap_err();
        let batch = CacheError::Batch {
            expected: 1,
            found: 2,
        };
        assert_eq!((error, cache.len()), (batch, 1));
    }

    // Positions of its own bound GPT-2 whatever the cache allows.
    let config = DecoderConfig::Gpt2(Gpt2Config::new(VOCABULARY, 32, 2, 4).with_n_positions(8));
    let mut cache = DecoderCache::new(1000);
    let nine = tokens(1, &device).narrow(1, 0, 9);
    let error = config.init(&device).forward_cached(nine, &mut cache);
    assert!(matches!(
        error,
        Err(CacheError::ContextOverflow {
            context_length: 8,
            ..
        })
    ));
    assert!(cache.is_empty());
}

#[test]
fn a_cache_of_another_shape_is_refused_and_stays_as_it_was() {
    let device = Device::default();
    let config = LlamaConfig::new(VOCABULARY, 32, 48, 2, 4).with_num_key_value_heads(Some(2));
    let gpt2 = |heads| DecoderConfig::Gpt2(Gpt2Config::new(VOCABULARY, 32, 2, heads));
    let first = DecoderConfig::Llama(config.clone()).init(&device);
    for other in [
        DecoderConfig::Llama(config.clone().with_num_key_value_heads(Some(1))),
        DecoderConfig::Llama(config.with_head_dim(Some(16))),
        gpt2(4),
        gpt2(2),
    ] {
        let one = tokens(1, &device).narrow(1, 0, 1);
        let mut cache = DecoderCache::new(LENGTH);
        first.forward_cached(one.clone(), &mut cache).unwrap();
        let other = other.init(&device);
        let error = other.forward_cached(one.clone(), &mut cache).unwrap_err();
        assert!(error.to_string().contains("start a new cache"), "{error}");
        assert_eq!(cache.len(), 1);
        first.forward_cached(one, &mut cache).unwrap();
    }
}

#[test]
fn rotary_positions_beyond_the_table_are_computed() {
    let device = Device::default();
    let config = LlamaConfig::new(VOCABULARY, 32, 48, 1, 4).with_max_position_embeddings(9000);
    let model = config.init(&device);
    let (cosines, sines) = model.rotary.first(8300);
    let (some_cosines, some_sines) = model.rotary.range(8190..8300);
    assert_eq!(floats(cosines.narrow(0, 8190, 110)), floats(some_cosines));
    assert_eq!(floats(sines.narrow(0, 8190, 110)), floats(some_sines));
}
