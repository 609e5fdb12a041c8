//! Training with int8 activations: the operation, its gradient, and that a packed model computes what was trained.

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{DType, Device, Distribution, Int, Tensor};
use t81_burn::models::DecoderConfig;
use t81_burn::models::gpt2::Gpt2Config;
use t81_burn::models::llama::LlamaConfig;
use t81_burn::{Selection, Ternary, TernaryLinearConfig, fake_quantize_activations, packed_linear};
use t81_core::ActivationPrecision;

const INT8: ActivationPrecision = ActivationPrecision::Int8;

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

fn devices() -> Vec<Device> {
    vec![
        Device::flex(),
        #[cfg(feature = "ndarray")]
        Device::ndarray(),
    ]
}

/// What the core makes of the rows of a tensor.
fn rounded<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let columns = tensor.dims()[D - 1];
    let input = values(tensor);
    let mut output = vec![0.0; input.len()];
    t81_core::fake_quantize_activations(&input, columns, &mut output).unwrap();
    output
}

#[test]
fn every_backend_rounds_as_the_core_does() {
    for device in devices() {
        for shape in [[2, 3, 300], [1, 1, 5], [4, 2, 512]] {
            let input = random(shape, &device);
            let expected = rounded(input.clone());
            let output = fake_quantize_activations(input.clone());
            assert_eq!(output.dims(), shape);
            assert_eq!(values(output), expected, "{device:?} {shape:?}");
            // A view is rounded along its own rows.
            let view = input.swap_dims(1, 2);
            let expected = rounded(view.clone());
            assert_eq!(values(fake_quantize_activations(view)), expected);
        }
        let half = random([3, 64], &device).cast(DType::F16);
        let output = fake_quantize_activations(half.clone());
        assert_eq!(output.dtype(), DType::F16);
        let expected = Tensor::<2>::from_data(
            burn::tensor::TensorData::new(rounded(half.cast(DType::F32)), [3, 64]),
            &device,
        );
        let expected = values(expected.cast(DType::F16).cast(DType::F32));
        assert_eq!(values(output.cast(DType::F32)), expected);
    }
}

#[test]
fn the_gradient_passes_straight_through() {
    let device = Device::flex().autodiff();
    let (input, factors) = (random([4, 300], &device), random([4, 300], &device));
    let tracked = input.require_grad();
    let output = fake_quantize_activations(tracked.clone()) * factors.clone();
    let gradients = output.sum().backward();
    assert_eq!(values(tracked.grad(&gradients).unwrap()), values(factors));
}

#[test]
fn gradients_of_a_layer_are_those_at_the_rounded_activations() {
    let device = Device::flex().autodiff();
    let config = TernaryLinearConfig::new(300, 7).with_bias(false);
    let layer = config.with_activations(INT8).init(&device);
    let input = random([5, 300], &device).require_grad();
    let factors = random([5, 7], &device);
    let output = layer.forward(input.clone());
    let gradients = (output.clone() * factors.clone()).sum().backward();

    let weight = layer.linear().weight.val().inner();
    let seen = fake_quantize_activations(input.clone().inner());
    let close = |found: Tensor<2>, expected: Tensor<2>| {
        let difference = (found - expected).abs().max().into_scalar::<f32>();
        assert!(difference < 1e-5, "{difference}");
    };
    close(output.inner(), seen.clone().matmul(weight.clone()));
    let factors = factors.inner();
    let of_input = input.grad(&gradients).unwrap();
    close(of_input, factors.clone().matmul(weight.transpose()));
    let base = layer.linear().weight.base();
    let of_weight = base.grad(&gradients).unwrap();
    close(of_weight, seen.transpose().matmul(factors));
}

#[test]
fn a_packed_layer_computes_what_was_trained() {
    let device = Device::default();
    let config = TernaryLinearConfig::new(300, 40);
    let input = random([2, 9, 300], &device);
    let layer = config.with_activations(INT8).init(&device);
    let trained = layer.forward(input.clone());
    let float = layer.clone().pack(ActivationPrecision::Float32).unwrap();
    let packed = layer.pack(INT8).unwrap().forward(input.clone());
    let largest = |difference: Tensor<3>| difference.abs().max().into_scalar::<f32>();
    assert!(largest(packed.clone() - trained) < 1e-5);
    assert!(largest(packed - float.forward(input)) > 1e-4);
}

#[test]
fn a_linear_of_its_own_takes_activations_as_they_are_and_a_float_one_always_does() {
    let device = Device::default();
    let ternary = Ternary::default().with_activations(INT8);
    let (layer, _): (Linear, _) = ternary.apply(LinearConfig::new(64, 8).init(&device));
    let input = random([3, 64], &device);
    let rounded = fake_quantize_activations(input.clone());
    assert_eq!(
        values(packed_linear(&layer, input.clone())),
        values(layer.forward(rounded))
    );
    assert_ne!(
        values(packed_linear(&layer, input.clone())),
        values(layer.forward(input.clone()))
    );
    let float: Linear = LinearConfig::new(64, 8).init(&device);
    assert_eq!(
        values(packed_linear(&float, input.clone())),
        values(float.forward(input))
    );
}

fn configs() -> [DecoderConfig; 2] {
    [
        DecoderConfig::Llama(LlamaConfig::qwen2(97, 64, 320, 2, 4)),
        DecoderConfig::Gpt2(Gpt2Config::new(97, 64, 2, 4)),
    ]
}

/// Twenty sequences of one token and one of eleven.
fn sequences(device: &Device) -> Vec<Tensor<2, Int>> {
    let mut all: Vec<_> = (0..20)
        .map(|token| Tensor::from_data([[token * 3]], device))
        .collect();
    all.push(Tensor::from_data(
        [[1, 2, 3, 50, 96, 9, 8, 7, 6, 5, 4]],
        device,
    ));
    all
}

#[test]
fn a_packed_decoder_computes_what_was_trained() {
    let device = Device::default();
    device.seed(5);
    for config in configs() {
        let selections = [
            Selection::default(),
            // Layers that stay float take their activations as they are.
            Selection::default()
                .exclude("(up_proj|k_proj|c_fc|0.attn.c_proj)")
                .unwrap(),
        ];
        for selection in selections {
            let ternary = Ternary::default().with_selection(selection);
            let int8 = ternary.clone().with_activations(INT8);
            let (model, report) = int8.apply(config.init(&device));
            let packed = int8.pack(model.clone(), &report, INT8).unwrap();
            let float = ternary.pack(model.clone(), &report, Default::default());
            let (model, float) = (model.valid(), float.unwrap());
            let difference = |tokens: &Tensor<2, Int>, other: Tensor<3>| {
                let difference = model.forward(tokens.clone()) - other;
                difference.abs().max().into_scalar::<f32>()
            };
            let mut same = Vec::new();
            for tokens in sequences(&device) {
                same.push(difference(&tokens, packed.forward(tokens.clone())));
                let rounding = difference(&tokens, float.forward(tokens.clone()));
                assert!(rounding > 1e-4, "{rounding}");
            }
            // The integers are the same but where the last bit of a float decides a rounding.
            same.sort_by(f32::total_cmp);
            assert!(same[10] < 1e-5, "{same:?}");
            assert!(same[20] < 1e-2, "{same:?}");
        }
    }
}

#[test]
fn cached_decoding_rounds_as_the_forward_pass_does() {
    let device = Device::default();
    device.seed(6);
    for config in configs() {
        let ternary = Ternary::default().with_activations(INT8);
        let (model, _) = ternary.apply(config.init(&device));
        let model = model.valid();
        let tokens = Tensor::<2, Int>::from_data([[7, 90, 13]], &device);
        let all = model.forward(tokens.clone()).narrow(1, 2, 1);
        let last = model
            .forward_cached(tokens, &mut config.cache())
            .unwrap()
            .unsqueeze_dim::<3>(1);
        let difference = (all - last).abs().max().into_scalar::<f32>();
        assert!(difference < 1e-5, "{difference}");
    }
}

#[test]
fn a_decoder_learns_through_the_rounding() {
    let device = Device::default().autodiff();
    device.seed(7);
    let config = DecoderConfig::Llama(LlamaConfig::qwen2(97, 64, 128, 1, 4));
    let ternary = Ternary::default().with_activations(INT8);
    let (mut model, _) = ternary.apply(config.init(&device));
    let tokens = Tensor::<2, Int>::from_data([[1, 2, 3, 50, 96, 9, 8, 7]], &device);
    let targets = Tensor::<2, Int>::from_data([[2, 3, 50, 96, 9, 8, 7, 6]], &device);
    let mut optimizer = AdamWConfig::new().init();
    let mut losses = Vec::new();
    for _ in 0..30 {
        let loss = model.forward_loss(tokens.clone(), targets.clone(), None);
        losses.push(loss.mean.clone().into_scalar::<f32>());
        let gradients = GradientsParams::from_grads(loss.mean.backward(), &model);
        model = optimizer.step(1e-2, model, gradients);
    }
    assert!(losses[29] < 0.5 * losses[0], "{losses:?}");
}

#[test]
fn a_materialized_layer_takes_activations_as_they_are() {
    let device = Device::default();
    let ternary = Ternary::default().with_activations(INT8);
    let mut layer: Linear = LinearConfig::new(64, 8).init(&device);
    layer.weight = Param::from_tensor(random([64, 8], &device));
    let (layer, _) = ternary.apply(layer);
    let input = random([3, 64], &device);
    let folded = layer.valid().materialize();
    assert_eq!(
        values(packed_linear(&folded, input.clone())),
        values(layer.forward(input))
    );
}
