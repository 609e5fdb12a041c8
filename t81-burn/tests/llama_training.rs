//! The LLaMA decoder's causality, rotary embedding, loss and gradients.

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, Device, Distribution, Int, Tensor, TensorData, Tolerance};
use t81_burn::models::llama::{
    AttentionBiases, Llama, LlamaConfig, LlamaConfigError, RopeScaling, cross_entropy,
};

fn config() -> LlamaConfig {
    LlamaConfig::new(61, 32, 48, 2, 4)
        .with_num_key_value_heads(Some(2))
        .with_max_position_embeddings(32)
}

fn tokens(values: &[i64], shape: [usize; 2], device: &Device) -> Tensor<2, Int> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

/// `batch * length` different-looking token ids below 61.
fn sequence(shape: [usize; 2], device: &Device) -> Tensor<2, Int> {
    let values: Vec<i64> = (0..(shape[0] * shape[1]) as i64)
        .map(|index| (index * index * 7 + 3 * index) % 61)
        .collect();
    tokens(&values, shape, device)
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

/// Fresh weights are small enough for attention to be nearly uniform; this makes every part count.
fn sharpened(model: Llama) -> Llama {
    let mut values = 1u64;
    let mut random = move || {
        values = values
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (values >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let shapes: std::collections::HashMap<_, _> = model
        .weight_specs()
        .into_iter()
        .map(|spec| (spec.name, spec.shape))
        .collect();
    model
        .load_weights(|name| {
            let shape = shapes[name].clone();
            let center = if shape.len() == 1 { 1.0 } else { 0.0 };
            let values: Vec<f32> = (0..shape.iter().product())
                .map(|_| center + 0.5 * random())
                .collect();
            Ok::<_, String>((shape, values))
        })
        .unwrap()
}

#[test]
fn a_position_does_not_see_later_ones() {
    for device in [Device::default(), Device::default().autodiff()] {
        let model = sharpened(config().init(&device));
        // Long enough for the attention to work in two pieces, the change within the second one.
        let (length, changed) = (150, 110);
        let tokens = sequence([2, length], &device);
        let other = tokens.clone().slice_assign(
            [0..2, changed..length],
            tokens.clone().slice([0..2, 0..length - changed]),
        );
        let before = model.forward(tokens);
        let after = model.forward(other);
        let early = |logits: &Tensor<3>| floats(logits.clone().slice([0..2, 0..changed, 0..61]));
        let late =
            |logits: &Tensor<3>| floats(logits.clone().slice([0..2, changed..length, 0..61]));
        assert_eq!(
            early(&before),
            early(&after),
            "autodiff {}",
            device.is_autodiff()
        );
        assert_ne!(late(&before), late(&after));
    }
}

#[test]
fn rotary_tables_follow_the_formula() {
    let device = Device::default();
    let (theta, factor, original) = (500.0f64, 8.0, 16usize);
    let llama3 = RopeScaling::Llama3 {
        factor,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: original,
    };
    let cases = [None, Some(RopeScaling::Linear { factor }), Some(llama3)];
    for scaling in cases {
        let model = config()
            .with_head_dim(Some(16))
            .with_rope_theta(theta)
            .with_rope_scaling(scaling)
            .init(&device);
        // 40 positions: beyond the table, which holds max_position_embeddings = 32.
        for length in [5, 40] {
            let (cosines, sines) = model.rotary.first(length);
            assert_eq!(cosines.dims(), [length, 8]);
            let (cosines, sines) = (floats(cosines), floats(sines));
            for position in 0..length {
                for pair in 0..8 {
                    let frequency = 1.0 / theta.powf(pair as f64 / 8.0);
                    let wavelength = 2.0 * std::f64::consts::PI / frequency;
                    // Meta's llama3 rule, written by wavelengths.
                    let frequency = match scaling {
                        None => frequency,
                        Some(RopeScaling::Linear { factor }) => frequency / factor,
                        Some(_) if wavelength < original as f64 / 4.0 => frequency,
                        Some(_) if wavelength > original as f64 => frequency / factor,
                        Some(_) => {
                            let smooth = (original as f64 / wavelength - 1.0) / 3.0;
                            (1.0 - smooth) * frequency / factor + smooth * frequency
                        }
                    };
                    let angle = position as f64 * frequency;
                    let index = position * 8 + pair;
                    assert!(
                        (f64::from(cosines[index]) - angle.cos()).abs() < 1e-6,
                        "{scaling:?} {position} {pair}"
                    );
                    assert!(
                        (f64::from(sines[index]) - angle.sin()).abs() < 1e-6,
                        "{scaling:?} {position} {pair}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_longer_sequence_has_the_logits_of_its_beginning() {
    let device = Device::default();
    let model = sharpened(config().init(&device));
    // Attention works on the long one in three pieces and on the short one in one.
    let tokens = sequence([1, 200], &device);
    let long = model.forward(tokens.clone()).slice([0..1, 0..90, 0..61]);
    let short = model.forward(tokens.slice([0..1, 0..90]));
    long.into_data()
        .assert_approx_eq::<f32>(&short.into_data(), Tolerance::absolute(1e-4));
}

/// Cross-entropy by Burn's own operations and autodiff.
fn plain_loss(logits: Tensor<3>, targets: Tensor<2, Int>, mask: Tensor<2>) -> Tensor<1> {
    let losses = log_softmax(logits, 2)
        .gather(2, targets.unsqueeze_dim(2))
        .squeeze_dim::<2>(2)
        .neg();
    (losses * mask.clone()).sum() / mask.sum()
}

#[test]
fn both_losses_have_the_value_and_gradient_of_the_composed_one() {
    let device = Device::default().autodiff();
    let shape = [2, 13];
    let (inputs, targets) = (sequence(shape, &device), sequence(shape, &device).flip([1]));
    let mask = Tensor::<2>::random(shape, Distribution::Bernoulli(0.7), &device)
        .slice_fill([0..1, 0..1], 1.0);
    // What the mask hides may be no token at all, as the -100 of Hugging Face.
    let hidden = targets
        .clone()
        .mask_fill(mask.clone().equal_elem(0.0), -100);
    for tied in [false, true] {
        let model = sharpened(config().with_tie_word_embeddings(tied).init(&device));
        let plain = plain_loss(model.forward(inputs.clone()), targets.clone(), mask.clone());
        let from_logits = cross_entropy(
            model.forward(inputs.clone()),
            hidden.clone(),
            Some(mask.clone()),
        );
        let from_tokens = model.forward_loss(inputs.clone(), hidden.clone(), Some(mask.clone()));
        let validation = model.valid().forward_loss(
            inputs.clone().inner(),
            hidden.clone().inner(),
            Some(mask.clone().inner()),
        );
        let expected = plain.clone().into_scalar::<f32>();
        let gradients = plain.backward();
        for (loss, name) in [(from_logits, "logits"), (from_tokens, "tokens")] {
            assert!(
                (loss.mean.clone().into_scalar::<f32>() - expected).abs() < 1e-5,
                "{name}"
            );
            assert_eq!(
                loss.count.into_scalar::<f32>(),
                mask.clone().sum().into_scalar::<f32>()
            );
            // A factor on the loss must reach the gradients, as gradient accumulation needs it.
            let found = (loss.mean * 0.5).backward();
            let compare = |param: &Param<Tensor<2>>, what: &str| {
                let expected = param.grad(&gradients).unwrap() * 0.5;
                let found = param.grad(&found).unwrap();
                let difference = (expected.clone() - found).abs().max().into_scalar::<f32>();
                let scale = expected.abs().max().into_scalar::<f32>();
                assert!(
                    difference < 1e-5 * scale,
                    "{name}, tied {tied}, {what}: {difference} of {scale}"
                );
            };
            compare(&model.embed_tokens.weight, "embedding");
            compare(&model.layers[0].self_attn.q_proj.weight, "query");
            compare(&model.layers[1].mlp.down_proj.weight, "down");
            if let Some(head) = &model.lm_head {
                compare(&head.weight, "head");
            }
        }
        assert!((validation.mean.into_scalar::<f32>() - expected).abs() < 1e-5);
    }
}

struct ToHalf;

impl ModuleMapper for ToHalf {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| tensor.cast(DType::F16).detach().require_grad())
    }
}

#[test]
fn half_precision_models_run_and_have_gradients() {
    let device = Device::default().autodiff();
    let full = config().init(&device);
    let half = full.clone().map(&mut ToHalf);
    let inputs = sequence([2, 13], &device);
    assert_eq!(half.forward(inputs.clone()).dtype(), DType::F16);
    let loss = |model: &Llama| {
        let loss = model
            .forward_loss(inputs.clone(), inputs.clone(), None)
            .mean;
        assert_eq!(loss.dtype(), DType::F32);
        let gradients = loss.backward();
        let gradient = model.layers[0]
            .self_attn
            .v_proj
            .weight
            .grad(&gradients)
            .unwrap();
        (loss.into_scalar::<f32>(), gradient.cast(DType::F32))
    };
    let (half_loss, half_gradient) = loss(&half);
    let (full_loss, full_gradient) = loss(&full);
    assert!(
        (half_loss - full_loss).abs() < 1e-3,
        "{half_loss} {full_loss}"
    );
    let largest = full_gradient.clone().abs().max().into_scalar::<f32>();
    let difference = (half_gradient - full_gradient)
        .abs()
        .max()
        .into_scalar::<f32>();
    assert!(difference < 0.03 * largest, "{difference} of {largest}");
}

#[test]
fn a_batch_without_counted_tokens_has_loss_zero() {
    let device = Device::default().autodiff();
    let model = config().init(&device);
    let inputs = sequence([1, 4], &device);
    let loss = model.forward_loss(inputs.clone(), inputs, Some(Tensor::zeros([1, 4], &device)));
    assert_eq!(loss.mean.clone().into_scalar::<f32>(), 0.0);
    assert_eq!(loss.count.into_scalar::<f32>(), 0.0);
    let gradients = loss.mean.backward();
    let gradient = model.layers[0].mlp.up_proj.weight.grad(&gradients).unwrap();
    assert_eq!(gradient.abs().max().into_scalar::<f32>(), 0.0);
}

#[test]
fn a_fresh_model_predicts_uniformly_and_learns() {
    let device = Device::default().autodiff();
    let mut model = config().init(&device);
    let mut optimizer = AdamWConfig::new().init();
    let inputs = sequence([2, 16], &device);
    let targets = inputs.clone().slice([0..2, 1..16]);
    let inputs = inputs.slice([0..2, 0..15]);
    let mut losses = Vec::new();
    for _ in 0..20 {
        let loss = model.forward_loss(inputs.clone(), targets.clone(), None);
        losses.push(loss.mean.clone().into_scalar::<f32>());
        let gradients = loss.mean.backward();
        let gradients = GradientsParams::from_grads(gradients, &model);
        assert_eq!(
            gradients.len(),
            model.weight_specs().len(),
            "every parameter has a gradient"
        );
        model = optimizer.step(1e-2, model, gradients);
    }
    assert!((losses[0] - 61f32.ln()).abs() < 0.05, "{losses:?}");
    assert!(losses[19] < 0.5 * losses[0], "{losses:?}");
}

#[test]
fn fresh_weights_have_the_documented_deviation() {
    let device = Device::default();
    let model = LlamaConfig::new(500, 128, 256, 8, 4)
        .with_attention_bias(AttentionBiases::ALL)
        .init(&device);
    let deviation = |weight: Tensor<2>| weight.powi_scalar(2).mean().sqrt().into_scalar::<f32>();
    let close = |found: f32, expected: f32| {
        assert!(
            (found / expected - 1.0).abs() < 0.05,
            "{found} for {expected}"
        )
    };
    close(deviation(model.embed_tokens.weight.val()), 0.02);
    close(
        deviation(model.lm_head.as_ref().unwrap().weight.val()),
        0.02,
    );
    let layer = &model.layers[7];
    close(deviation(layer.self_attn.q_proj.weight.val()), 0.02);
    close(deviation(layer.self_attn.o_proj.weight.val()), 0.005);
    close(deviation(layer.mlp.gate_proj.weight.val()), 0.02);
    close(deviation(layer.mlp.down_proj.weight.val()), 0.005);
    assert!(
        floats(layer.self_attn.q_proj.bias.as_ref().unwrap().val())
            .iter()
            .all(|bias| *bias == 0.0)
    );
    assert!(
        floats(model.norm.gamma.val())
            .iter()
            .all(|gain| *gain == 1.0)
    );
}

#[test]
fn impossible_configurations_are_refused() {
    let error = |config: LlamaConfig| config.try_init(&Device::default()).unwrap_err();
    assert_eq!(
        error(LlamaConfig::new(61, 32, 48, 0, 4)),
        LlamaConfigError::Zero("num_hidden_layers")
    );
    assert_eq!(
        error(LlamaConfig::new(61, 32, 48, 2, 0)),
        LlamaConfigError::Zero("num_attention_heads")
    );
    assert_eq!(
        error(config().with_num_key_value_heads(Some(0))),
        LlamaConfigError::Zero("num_key_value_heads")
    );
    assert!(matches!(
        error(config().with_num_key_value_heads(Some(3))),
        LlamaConfigError::NotMultiple { .. }
    ));
    assert!(matches!(
        error(LlamaConfig::new(61, 33, 48, 2, 4)),
        LlamaConfigError::NotMultiple { .. }
    ));
    assert!(matches!(
        error(config().with_head_dim(Some(7))),
        LlamaConfigError::NotMultiple { .. }
    ));
    assert!(matches!(
        error(config().with_rope_theta(f64::NAN)),
        LlamaConfigError::OutOfRange { .. }
    ));
    let scaling = RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 4.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 8192,
    };
    assert_eq!(
        error(config().with_rope_scaling(Some(scaling))).to_string(),
        "`rope_scaling.high_freq_factor` is 4; it must be above low_freq_factor"
    );
    let yarn = |factor, original_max_position_embeddings| RopeScaling::Yarn {
        factor,
        original_max_position_embeddings,
        beta_fast: 32.0,
        beta_slow: 1.0,
        attention_factor: 1.0,
        truncate: true,
    };
    for (scaling, theta, name) in [
        (yarn(0.0, 16), 1e4, "rope_scaling.factor"),
        (yarn(2.0, 0), 1e4, "original_max_position_embeddings"),
        (yarn(2.0, 16), 1.0, "rope_theta"),
    ] {
        let config = config().with_rope_theta(theta);
        let error = error(config.with_rope_scaling(Some(scaling))).to_string();
        assert!(error.contains(name), "{error}");
    }
}
