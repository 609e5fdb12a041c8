//! The operation on a backend gives what the quantizer gives, and its gradient is straight-through.

use burn::tensor::{DType, Device, Distribution, Tensor, TensorData};
use t81_burn::{TernarySettings, ternary_quantize};
use t81_core::{Granularity, Layout, Quantizer, Reference, Rounding, ScaleRule};

fn quantizers() -> Vec<Quantizer> {
    let group = |size| Granularity::group(size).unwrap();
    vec![
        Quantizer::bitnet(),
        Quantizer::t81lib(),
        Quantizer::twn(Granularity::Row),
        Quantizer::twn(group(64)),
        Quantizer::twn(group(256)).with_scale(ScaleRule::Reference),
        Quantizer::twn(group(7)).with_reference(Reference::AbsMax),
        Quantizer::twn(group(64)).with_rounding(Rounding::Stochastic { seed: 9 }),
    ]
}

fn random(shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::random(shape, Distribution::Normal(0.0, 0.05), device)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

fn devices() -> Vec<Device> {
    vec![
        Device::flex(),
        #[cfg(feature = "ndarray")]
        Device::ndarray(),
    ]
}

#[test]
fn every_backend_gives_the_bits_of_the_quantizer() {
    for device in devices() {
        for quantizer in quantizers() {
            for [inputs, outputs] in [[256, 32], [130, 17], [1, 5], [64, 1]] {
                let weight = random([inputs, outputs], &device);
                let expected = quantizer
                    .quantize(&values(weight.clone()), outputs, inputs, Layout::InOut)
                    .unwrap();
                let mut dense = vec![0.0; inputs * outputs];
                expected.dequantize_into(Layout::InOut, &mut dense).unwrap();
                let settings = TernarySettings::new(quantizer.clone());
                assert_eq!(
                    values(ternary_quantize(weight, settings)),
                    dense,
                    "{device:?} {quantizer:?} [{inputs}, {outputs}]"
                );
            }
        }
    }
}

#[test]
fn a_view_is_quantized_like_its_copy() {
    let device = Device::flex();
    let quantizer = Quantizer::twn(Granularity::group(64).unwrap());
    let weight = random([32, 128], &device);
    let view = weight.clone().transpose();
    let copy = Tensor::<2>::from_data(view.clone().into_data(), &device);
    let settings = TernarySettings::new(quantizer.clone());
    let expected = values(ternary_quantize(copy, settings.clone()));
    assert_eq!(values(ternary_quantize(view, settings)), expected);

    let transposed = TernarySettings {
        layout: Layout::OutIn,
        ..TernarySettings::new(quantizer)
    };
    let rows = values(ternary_quantize(weight, transposed).transpose());
    assert_eq!(rows, expected);
}

#[test]
fn half_precision_weights_keep_their_type() {
    let device = Device::flex();
    let weight = random([64, 8], &device).cast(DType::F16);
    let settings = TernarySettings::new(Quantizer::twn(Granularity::Row));
    let ternary = ternary_quantize(weight.clone(), settings.clone());
    assert_eq!(ternary.dtype(), DType::F16);
    // An f16 scale survives f16 exactly.
    let expected = values(ternary_quantize(weight.cast(DType::F32), settings));
    assert_eq!(values(ternary.cast(DType::F32)), expected);
}

#[test]
fn blend_moves_from_float_to_ternary() {
    let device = Device::flex();
    let weight = random([64, 4], &device);
    let mut settings = TernarySettings::new(Quantizer::twn(Granularity::Row));
    let (float, ternary) = (
        values(weight.clone()),
        values(ternary_quantize(weight.clone(), settings.clone())),
    );
    settings.blend = 0.0;
    assert_eq!(
        values(ternary_quantize(weight.clone(), settings.clone())),
        float
    );
    settings.blend = 0.25;
    for ((&w, &q), &mixed) in float
        .iter()
        .zip(&ternary)
        .zip(&values(ternary_quantize(weight, settings)))
    {
        assert_eq!(mixed, w + 0.25 * (q - w));
    }
}

#[test]
fn a_weight_that_is_no_number_makes_the_result_no_number() {
    let device = Device::flex();
    for bad in [f32::NAN, f32::INFINITY] {
        let data = TensorData::new(vec![0.5, bad, -0.5, 0.1], [2, 2]);
        let weight = Tensor::<2>::from_data(data, &device);
        let ternary = ternary_quantize(weight, TernarySettings::new(Quantizer::bitnet()));
        assert!(values(ternary).iter().all(|value| value.is_nan()));
    }
}

#[test]
fn at_blend_0_the_result_is_the_weight_whatever_it_holds() {
    let bits =
        |values: &[f32]| -> Vec<u32> { values.iter().map(|value| value.to_bits()).collect() };
    for device in devices() {
        // A number that is none, and a scale beyond f16.
        for bad in [f32::NAN, f32::NEG_INFINITY, 1e6] {
            let weight = [0.5, bad, -0.5, 0.1];
            let tensor =
                || Tensor::<2>::from_data(TensorData::new(weight.to_vec(), [2, 2]), &device);
            let mut settings = TernarySettings::new(Quantizer::bitnet());
            settings.blend = 0.0;
            let found = values(ternary_quantize(tensor(), settings.clone()));
            assert_eq!(bits(&found), bits(&weight), "{device:?}");
            settings.blend = 0.5;
            let found = values(ternary_quantize(tensor(), settings));
            assert!(found.iter().all(|value| value.is_nan()), "{found:?}");
        }
    }
}

#[test]
fn the_gradient_is_that_of_the_dense_product_with_the_ternary_weight() {
    let plain = Device::flex();
    let device = plain.clone().autodiff();
    let settings = TernarySettings::new(Quantizer::twn(Granularity::group(64).unwrap()));
    let weight = random([128, 24], &plain);
    let input = random([10, 128], &plain);
    let target = random([10, 24], &plain);

    let tracked = Tensor::from_inner(weight.clone()).require_grad();
    let ternary = ternary_quantize(tracked.clone(), settings.clone());
    let error =
        Tensor::from_inner(input.clone()).matmul(ternary) - Tensor::from_inner(target.clone());
    let gradients = error.square().sum().backward();
    let gradient = values(tracked.grad(&gradients).unwrap());

    // d/dW |X W - Y|^2 = 2 X^T (X W - Y), with W taken as the ternary weight.
    let ternary = ternary_quantize(weight, settings);
    let residual = input.clone().matmul(ternary) - target;
    let expected = values(input.transpose().matmul(residual).mul_scalar(2.0));
    for (found, expected) in gradient.iter().zip(&expected) {
        assert!((found - expected).abs() <= 1e-5 * expected.abs().max(1e-3));
    }
    drop(device);
}

#[test]
fn gradients_of_zeros_are_weakened_as_far_as_the_blend_goes() {
    let mut settings = TernarySettings::new(Quantizer::twn(Granularity::Row));
    settings.zero_gain = 0.25;
    let start = random([40, 3], &Device::flex());
    let codes = values(ternary_quantize(start.clone(), settings.clone()));
    assert!(codes.contains(&0.0) && codes.iter().any(|&code| code != 0.0));
    for (blend, weakened) in [(0.0, 1.0), (0.5, 0.625), (1.0, 0.25)] {
        settings.blend = blend;
        let tracked = Tensor::from_inner(start.clone()).require_grad();
        let gradients = ternary_quantize(tracked.clone(), settings.clone())
            .sum()
            .backward();
        let gradient = values(tracked.grad(&gradients).unwrap());
        for (code, gradient) in codes.iter().zip(gradient) {
            assert_eq!(gradient, if *code == 0.0 { weakened } else { 1.0 });
        }
    }
}

#[test]
fn the_gradient_matches_finite_differences_of_the_surrogate() {
    // The straight-through surrogate around w0 is q(w0) + (w - w0): ternary in value, the identity in slope.
    let plain = Device::flex();
    let settings = TernarySettings::new(Quantizer::twn(Granularity::Row));
    let start = random([8, 3], &plain);
    let ternary = ternary_quantize(start.clone(), settings.clone());
    let input = random([5, 8], &plain).mul_scalar(20.0);
    let loss = |weight: Tensor<2>| -> f64 {
        let surrogate = ternary.clone() + (weight - start.clone());
        let output = input.clone().matmul(surrogate).tanh();
        output
            .square()
            .sum()
            .into_data()
            .iter::<f64>()
            .next()
            .unwrap()
    };

    let tracked = Tensor::from_inner(start.clone()).require_grad();
    let output = Tensor::from_inner(input.clone())
        .matmul(ternary_quantize(tracked.clone(), settings))
        .tanh();
    let gradients = output.square().sum().backward();
    let gradient = values(tracked.grad(&gradients).unwrap());

    let origin = values(start.clone());
    let step = 1e-2;
    for (index, &analytic) in gradient.iter().enumerate() {
        let moved = |by: f32| {
            let mut weight = origin.clone();
            weight[index] += by;
            loss(Tensor::from_data(TensorData::new(weight, [8, 3]), &plain))
        };
        let numeric = (moved(step) - moved(-step)) / (2.0 * f64::from(step));
        let error = (numeric - f64::from(analytic)).abs();
        assert!(
            error < 2e-3 * numeric.abs().max(1.0),
            "{index}: {numeric} {analytic}"
        );
    }
}
