//! A packed model computes what the trained one does, from two bits a weight.
#![cfg(feature = "flex")]

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Distribution, Int, Tensor, Tolerance};
use t81_burn::models::DecoderConfig;
use t81_burn::models::gpt2::Gpt2Config;
use t81_burn::models::llama::LlamaConfig;
use t81_burn::{PackedWeight, PackedWeights, Ternary, TernaryLinearConfig, packed_linear};
use t81_core::{ActivationPrecision, Granularity, Layout, Quantizer};

const FLOAT32: ActivationPrecision = ActivationPrecision::Float32;

fn configs() -> [DecoderConfig; 2] {
    [
        DecoderConfig::Llama(LlamaConfig::qwen2(97, 64, 128, 2, 4)),
        DecoderConfig::Gpt2(Gpt2Config::new(97, 64, 2, 4)),
    ]
}

#[test]
fn decoders_give_the_logits_of_the_trained_model() {
    let device = Device::default();
    let tokens = Tensor::<2, Int>::from_data([[1, 2, 3, 50, 96], [9, 8, 7, 6, 5]], &device);
    for config in configs() {
        let ternary = Ternary::default();
        let (model, report) = ternary.apply(config.init(&device));
        let expected = model.valid().forward(tokens.clone()).into_data();
        let packed = ternary.pack(model.clone(), &report, FLOAT32).unwrap();
        packed
            .forward(tokens.clone())
            .into_data()
            .assert_approx_eq::<f32>(&expected, Tolerance::absolute(2e-5));

        let mut cache = config.cache();
        let last = packed.forward_cached(tokens.clone(), &mut cache).unwrap();
        let expected = model.valid().forward(tokens.clone()).narrow(1, 4, 1);
        last.into_data().assert_approx_eq::<f32>(
            &expected.squeeze_dim::<2>(1).into_data(),
            Tolerance::absolute(2e-5),
        );

        // Rounded activations change the logits a little, not the model.
        let int8 = ActivationPrecision::Int8;
        let rounded = ternary.pack(model, &report, int8).unwrap();
        let difference = (rounded.forward(tokens.clone()) - packed.forward(tokens.clone())).abs();
        let largest: f32 = difference.max().into_scalar();
        assert!(largest > 0.0 && largest < 0.05, "{largest}");
    }
}

#[test]
fn the_weights_of_a_packed_model_are_the_exact_ternary_ones() {
    let device = Device::default();
    for config in configs() {
        let ternary = Ternary::default();
        let (model, report) = ternary.apply(config.init(&device));
        let packed = ternary.packed_weights(&model, &report, FLOAT32).unwrap();
        assert_eq!(
            (packed.len(), packed.is_empty()),
            (report.ternary.len(), false)
        );
        // 2 bits a weight and 16 a group of 64.
        assert_eq!(
            packed.size_bytes(),
            report.ternary_weights() / 4 + report.ternary_weights() / 32
        );

        let mut exact = Vec::new();
        model
            .valid()
            .materialize()
            .visit_weights(|weight| {
                exact.push((weight.spec.name, weight.values));
                Ok::<(), ()>(())
            })
            .unwrap();
        let mut found = Vec::new();
        ternary
            .pack(model, &report, FLOAT32)
            .unwrap()
            .materialize()
            .visit_weights(|weight| {
                found.push((weight.spec.name, weight.values));
                Ok::<(), ()>(())
            })
            .unwrap();
        assert_eq!(found, exact);
    }
}

#[test]
fn any_linear_works_by_its_floats() {
    let device = Device::default();
    let model: Linear = LinearConfig::new(48, 20).init(&device);
    let quantizer = Quantizer::twn(Granularity::Row);
    let ternary = Ternary::new(quantizer);
    let (model, report) = ternary.apply(model);
    let input = Tensor::<3>::random([2, 5, 48], Distribution::Default, &device);
    let expected = model.valid().forward(input.clone()).into_data();
    let packed = ternary.pack(model, &report, FLOAT32).unwrap();
    assert!(packed.weight.reparameterization::<PackedWeight>().is_some());
    assert_eq!(packed.weight.base().dims(), [48, 20]);
    for output in [
        packed.forward(input.clone()),
        packed_linear(&packed, input.clone()),
    ] {
        output
            .into_data()
            .assert_approx_eq::<f32>(&expected, Tolerance::absolute(1e-5));
    }
}

#[test]
fn activations_pass_their_gradient_through_a_packed_layer() {
    let device = Device::default().autodiff();
    let layer = TernaryLinearConfig::new(32, 8)
        .with_bias(false)
        .init(&device);
    let weights = layer.linear().weight.val().inner();
    let packed = layer.pack(FLOAT32).unwrap();
    let input = Tensor::<2>::random([3, 32], Distribution::Default, &device).require_grad();
    let gradients = packed.forward(input.clone()).sum().backward();
    let found = input.grad(&gradients).unwrap();
    let expected = weights.sum_dim(1).transpose().expand([3, 32]);
    found
        .into_data()
        .assert_approx_eq::<f32>(&expected.into_data(), Tolerance::absolute(1e-5));
}

#[test]
fn a_weight_of_another_shape_is_left_alone() {
    let device = Device::default();
    let matrix = Quantizer::bitnet()
        .quantize(&[1.0; 6], 2, 3, Layout::OutIn)
        .unwrap();
    let mut packed = PackedWeights::new(FLOAT32);
    packed.insert("weight", &matrix);
    let model: Linear = LinearConfig::new(2, 3).init(&device);
    let before = model.weight.val().into_data();
    let model = packed.attach(model);
    model.weight.val().into_data().assert_eq(&before, true);
    assert!(model.weight.reparameterization::<PackedWeight>().is_none());
}

#[test]
fn a_weight_that_cannot_be_quantized_is_named() {
    let device = Device::default();
    let mut model: Linear = LinearConfig::new(2, 2).init(&device);
    model.weight = Param::from_data([[1.0, f32::NAN], [0.0, 1.0]], &device);
    let ternary = Ternary::default();
    let (model, report) = ternary.apply(model);
    let error = ternary.pack(model, &report, FLOAT32).unwrap_err();
    assert_eq!(error.path, "weight");
}
