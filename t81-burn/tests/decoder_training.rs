//! Causality, windows, loss and gradients of every decoder, and what their configurations refuse.

mod sharpened;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use t81_burn::Ternary;
use t81_burn::models::gpt2::Gpt2Config;
use t81_burn::models::llama::LlamaConfig;
use t81_burn::models::{Decoder, DecoderConfig, DecoderConfigError, cross_entropy};

use sharpened::sharpened;

const VOCABULARY: usize = 61;

fn gpt2() -> Gpt2Config {
    Gpt2Config::new(VOCABULARY, 32, 2, 4).with_n_positions(200)
}

fn configs() -> Vec<(&'static str, DecoderConfig)> {
    let rotary = |family: fn(usize, usize, usize, usize, usize) -> LlamaConfig| {
        let config = family(VOCABULARY, 32, 48, 2, 4).with_max_position_embeddings(200);
        DecoderConfig::Llama(config.with_num_key_value_heads(Some(2)))
    };
    let windowed = LlamaConfig::mistral(VOCABULARY, 32, 48, 2, 4).with_sliding_window(Some(7));
    let untied = gpt2()
        .with_n_inner(Some(48))
        .with_tie_word_embeddings(false);
    vec![
        ("mistral", DecoderConfig::Llama(windowed)),
        ("qwen2", rotary(LlamaConfig::qwen2)),
        ("qwen3", rotary(LlamaConfig::qwen3)),
        ("gpt2", DecoderConfig::Gpt2(gpt2())),
        ("gpt2, untied", DecoderConfig::Gpt2(untied)),
    ]
}

/// `rows * length` different-looking token ids.
fn sequence(shape: [usize; 2], device: &Device) -> Tensor<2, Int> {
    let values: Vec<i64> = (0..(shape[0] * shape[1]) as i64)
        .map(|index| (index * index * 7 + 3 * index) % VOCABULARY as i64)
        .collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

#[test]
fn a_position_does_not_see_later_ones() {
    for (name, config) in configs() {
        for device in [Device::default(), Device::default().autodiff()] {
            let model = sharpened(&config, &device);
            // Long enough for the attention to work in two pieces, the change within the second one.
            let (length, changed) = (150, 110);
            let tokens = sequence([1, length], &device);
            let other = tokens.clone().slice_assign(
                [0..1, changed..length],
                tokens.clone().slice([0..1, 0..length - changed]),
            );
            let (before, after) = (model.forward(tokens), model.forward(other));
            let part = |logits: &Tensor<3>, start, end| {
                floats(logits.clone().slice([0..1, start..end, 0..VOCABULARY]))
            };
            assert_eq!(
                part(&before, 0, changed),
                part(&after, 0, changed),
                "{name}"
            );
            assert_ne!(
                part(&before, changed, length),
                part(&after, changed, length)
            );
        }
    }
}

#[test]
fn a_window_forgets_what_lies_before_it() {
    let device = Device::default();
    let config = LlamaConfig::mistral(VOCABULARY, 32, 48, 2, 4).with_sliding_window(Some(20));
    let model = sharpened(&DecoderConfig::Llama(config), &device);
    let tokens = sequence([1, 150], &device);
    let other = tokens
        .clone()
        .slice_assign([0..1, 0..1], tokens.clone().slice([0..1, 5..6]));
    let (before, after) = (floats(model.forward(tokens)), floats(model.forward(other)));
    // Two layers of windows of 20: position 38 is the last one that the first token can reach.
    let differs = |position: usize| {
        let row = position * VOCABULARY..(position + 1) * VOCABULARY;
        before[row.clone()] != after[row]
    };
    assert!((0..=38).all(differs));
    assert!(!(39..150).any(differs));
}

#[test]
fn both_losses_agree_and_reach_every_weight() {
    let device = Device::default().autodiff();
    for (name, config) in configs() {
        let model = sharpened(&config, &device);
        let (inputs, targets) = (
            sequence([2, 13], &device),
            sequence([2, 13], &device).flip([1]),
        );
        let composed = cross_entropy(model.forward(inputs.clone()), targets.clone(), None).mean;
        let loss = model.forward_loss(inputs, targets, None).mean;
        let (value, expected) = (
            loss.clone().into_scalar::<f32>(),
            composed.clone().into_scalar::<f32>(),
        );
        assert!(
            (value - expected).abs() < 1e-5,
            "{name}: {value} {expected}"
        );
        let expected = GradientsParams::from_grads(composed.backward(), &model);
        let found = GradientsParams::from_grads(loss.backward(), &model);
        let mut check = SameGradients {
            name,
            path: Vec::new(),
            found,
            expected,
            seen: 0,
        };
        model.visit(&mut check);
        assert_eq!(check.seen, model.weight_specs().len(), "{name}");
    }
}

struct SameGradients {
    name: &'static str,
    path: Vec<String>,
    found: GradientsParams,
    expected: GradientsParams,
    seen: usize,
}

impl ModuleVisitor for SameGradients {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let place = format!("{}: {}", self.name, self.path.join("."));
        let found = self.found.get::<D>(param.id).expect(&place);
        let expected = self.expected.get::<D>(param.id).expect(&place);
        let largest = expected.clone().abs().max().into_scalar::<f32>();
        let difference = (found - expected).abs().max().into_scalar::<f32>();
        assert!(largest > 1e-4, "{place}: {largest}");
        assert!(
            difference <= 1e-5 * largest.max(1e-2),
            "{place}: {difference} of {largest}"
        );
        self.seen += 1;
    }
}

#[test]
fn fresh_models_predict_uniformly_and_learn_with_ternary_weights() {
    let device = Device::default().autodiff();
    for (name, config) in configs() {
        device.seed(81);
        let (mut model, _) = Ternary::default().apply(config.init(&device));
        let mut optimizer = AdamWConfig::new().init();
        let inputs = sequence([2, 16], &device);
        let targets = inputs.clone().slice([0..2, 1..16]);
        let inputs = inputs.slice([0..2, 0..15]);
        let mut losses = Vec::new();
        for _ in 0..20 {
            let loss = model.forward_loss(inputs.clone(), targets.clone(), None);
            losses.push(loss.mean.clone().into_scalar::<f32>());
            let gradients = GradientsParams::from_grads(loss.mean.backward(), &model);
            model = optimizer.step(1e-2, model, gradients);
        }
        assert!(
            (losses[0] - (VOCABULARY as f32).ln()).abs() < 0.1,
            "{name}: {losses:?}"
        );
        assert!(losses[19] < 0.5 * losses[0], "{name}: {losses:?}");
        let tokens = inputs.inner();
        let exact = model.valid().forward(tokens.clone());
        let folded = model.valid().materialize().forward(tokens);
        assert_eq!(floats(exact), floats(folded), "{name}");
    }
}

#[test]
fn half_precision_models_run() {
    struct ToHalf;
    impl burn::module::ModuleMapper for ToHalf {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|tensor| tensor.cast(DType::F16).detach().require_grad())
        }
    }
    let device = Device::default().autodiff();
    for (name, config) in configs() {
        let full = config.init(&device);
        let half = full.clone().map(&mut ToHalf);
        let inputs = sequence([2, 13], &device);
        let loss = |model: &Decoder| {
            let loss = model
                .forward_loss(inputs.clone(), inputs.clone(), None)
                .mean;
            loss.into_scalar::<f32>()
        };
        assert_eq!(half.forward(inputs.clone()).dtype(), DType::F16);
        let (half, full) = (loss(&half), loss(&full));
        assert!((half - full).abs() < 2e-3, "{name}: {half} {full}");
    }
}

#[test]
#[should_panic(expected = "a sequence of 201 tokens for a model with 200 positions")]
fn gpt2_has_no_position_beyond_its_context() {
    let device = Device::default();
    gpt2().init(&device).forward(sequence([1, 201], &device));
}

#[test]
fn impossible_configurations_are_refused() {
    let gpt2 = |config: Gpt2Config| DecoderConfig::Gpt2(config).try_init(&Device::default());
    let error = gpt2(Gpt2Config::new(61, 32, 0, 4)).unwrap_err();
    assert_eq!(error, DecoderConfigError::Zero("n_layer"));
    let error = gpt2(Gpt2Config::new(61, 32, 2, 4).with_n_inner(Some(0))).unwrap_err();
    assert_eq!(error, DecoderConfigError::Zero("n_inner"));
    let error = gpt2(Gpt2Config::new(61, 32, 2, 5)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`n_embd` is 32, which is not a multiple of 5 (`n_head`)"
    );
    let error = gpt2(Gpt2Config::new(61, 32, 2, 4).with_layer_norm_epsilon(-1.0)).unwrap_err();
    assert!(matches!(error, DecoderConfigError::OutOfRange { .. }));

    let config = LlamaConfig::mistral(61, 32, 48, 2, 4).with_sliding_window(Some(0));
    let error = DecoderConfig::Llama(config).validate().unwrap_err();
    assert_eq!(error, DecoderConfigError::Zero("sliding_window"));
}
