//! The GPU's codes and scales are the CPU's, bit for bit. Needs a GPU (or a software Vulkan driver):
//! `cargo test --release -p t81-burn --features vulkan --test gpu_bits -- --nocapture`.

use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Gradients, Int, Tensor, TensorData};
use t81_burn::models::llama::{Llama, LlamaConfig};
use t81_burn::{Ternary, TernarySettings, ternary_quantize};
use t81_core::{Granularity, Layout, Quantizer, Reference, Rounding, ScaleRule};

/// Weights like those of a network, of changing size from group to group.
fn weights(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..count)
        .map(|index| {
            let size = [1.0, 0.02, 1e-4, 30.0][index / 997 % 4];
            (next() + next() + next()) * size
        })
        .collect()
}

fn gpu() -> Device {
    Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)
}

fn differences(values: &[f32], shape: [usize; 2], settings: &TernarySettings) -> usize {
    let run = |device: &Device| -> Vec<u32> {
        let weight = Tensor::<2>::from_data(TensorData::new(values.to_vec(), shape), device);
        ternary_quantize(weight, settings.clone())
            .into_data()
            .convert_dtype(DType::F32)
            .iter::<f32>()
            .map(f32::to_bits)
            .collect()
    };
    let (expected, found) = (run(&Device::flex()), run(&gpu()));
    assert_eq!(expected.len(), found.len());
    expected
        .iter()
        .zip(&found)
        .filter(|(expected, found)| expected != found)
        .count()
}

fn granularities() -> Vec<Granularity> {
    let groups = [32, 64, 100, 256, 300, 512];
    let mut all = vec![Granularity::Tensor, Granularity::Row];
    all.extend(groups.map(|length| Granularity::group(length).unwrap()));
    all
}

#[test]
fn a_million_weights_in_every_granularity() {
    let mut total = 0;
    let mut checked = 0;
    // Rows longer than a block, shorter than one, and of odd lengths: 1024 x 1024, 2304 x 576, 1009 x 1031.
    for (seed, shape) in [[1024, 1024], [576, 2304], [1031, 1009]]
        .into_iter()
        .enumerate()
    {
        let values = weights(shape[0] * shape[1], seed as u32 + 1);
        for granularity in granularities() {
            for reference in [Reference::AbsMean, Reference::AbsMax] {
                for scale in [ScaleRule::LeastSquares, ScaleRule::Reference] {
                    for layout in [Layout::InOut, Layout::OutIn] {
                        let threshold = if reference == Reference::AbsMean {
                            0.7
                        } else {
                            0.45
                        };
                        let quantizer = Quantizer::new(granularity, threshold)
                            .unwrap()
                            .with_reference(reference)
                            .with_scale(scale);
                        let mut settings = TernarySettings::new(quantizer);
                        settings.layout = layout;
                        let count = differences(&values, shape, &settings);
                        if count > 0 {
                            println!("{count} of {} differ: {shape:?} {settings:?}", values.len());
                        }
                        total += count;
                        checked += values.len();
                    }
                }
            }
        }
    }
    println!("{total} of {checked} weights differ");
    assert_eq!(total, 0);
}

#[test]
fn stochastic_rounding_and_blending_draw_the_same_bits() {
    let shape = [576, 1536];
    let values = weights(shape[0] * shape[1], 9);
    for granularity in granularities() {
        for blend in [0.0, 0.3, 1.0] {
            for seed in [None, Some(7), Some(u64::MAX)] {
                let rounding = match seed {
                    None => Rounding::Deterministic,
                    Some(seed) => Rounding::Stochastic { seed },
                };
                let quantizer = Quantizer::twn(granularity).with_rounding(rounding);
                let mut settings = TernarySettings::new(quantizer);
                settings.blend = blend;
                let count = differences(&values, shape, &settings);
                assert_eq!(count, 0, "{settings:?}");
            }
        }
    }
}

#[test]
fn awkward_groups() {
    // All zero; one weight; ties of magnitude; scales at the ends of f16; odd shapes.
    let mut values = vec![0.0f32; 64 * 8];
    values[3 * 8 + 1] = -0.25;
    for row in 0..64 {
        values[row * 8 + 2] = if row % 2 == 0 { 0.5 } else { -0.5 };
        values[row * 8 + 3] = 65504.0;
        values[row * 8 + 4] = 3e-8 * (row as f32);
        values[row * 8 + 5] = 1e-9;
        values[row * 8 + 6] = (row as f32 - 31.0) * 6.1e-5;
        values[row * 8 + 7] = row as f32;
    }
    for granularity in granularities() {
        let settings = TernarySettings::new(Quantizer::twn(granularity));
        assert_eq!(differences(&values, [64, 8], &settings), 0, "{granularity}");
        assert_eq!(differences(&values, [8, 64], &settings), 0, "{granularity}");
        assert_eq!(differences(&values[..1], [1, 1], &settings), 0);
        assert_eq!(differences(&values[..77], [7, 11], &settings), 0);
    }
}

#[test]
fn what_has_no_scale_becomes_nan() {
    let settings = TernarySettings::new(Quantizer::twn(Granularity::group(64).unwrap()));
    for bad in [f32::NAN, f32::INFINITY, 1e9] {
        let mut values = vec![0.1f32; 128 * 4];
        values[5] = bad;
        let weight = Tensor::<2>::from_data(TensorData::new(values, [128, 4]), &gpu());
        let found = ternary_quantize(weight, settings.clone()).into_data();
        let nans = found.iter::<f32>().filter(|value| value.is_nan()).count();
        assert_eq!(nans, 64, "{bad}: the group of the bad weight, and no other");
    }
}

#[test]
fn a_half_precision_result_is_exact() {
    let shape = [576, 64];
    let values = weights(shape[0] * shape[1], 4);
    let mut settings = TernarySettings::new(Quantizer::twn(Granularity::group(64).unwrap()));
    settings.dtype = Some(DType::F16);
    assert_eq!(differences(&values, shape, &settings), 0);
}

#[test]
fn the_gradient_passes_straight_through() {
    let device = gpu().autodiff();
    for dtype in [None, Some(DType::F16)] {
        let weight = Tensor::<2>::from_data(TensorData::new(weights(64 * 4, 3), [64, 4]), &device)
            .require_grad();
        let mut settings = TernarySettings::new(Quantizer::twn(Granularity::Row));
        settings.dtype = dtype;
        let factors = Tensor::<2>::from_data(
            TensorData::new((0..256).map(|i| i as f32).collect(), [64, 4]),
            &device,
        );
        let quantized = ternary_quantize(weight.clone(), settings).cast(DType::F32);
        let gradients = (quantized * factors.clone()).backward();
        let found = weight.grad(&gradients).unwrap().into_data();
        assert_eq!(found, factors.inner().into_data());
    }
}

#[test]
fn gradients_of_zeros_are_weakened_where_the_cpu_weakens_them() {
    let shape = [576, 192];
    let values = weights(shape[0] * shape[1], 11);
    let factors = weights(shape[0] * shape[1], 12);
    let gradient = |device: Device, settings: TernarySettings| -> Vec<u32> {
        let device = device.autodiff();
        let tensor = |values: &[f32]| {
            Tensor::<2>::from_data(TensorData::new(values.to_vec(), shape), &device)
        };
        let weight = tensor(&values).require_grad();
        let loss = (ternary_quantize(weight.clone(), settings) * tensor(&factors)).sum();
        let gradient = weight.grad(&loss.backward()).unwrap().into_data();
        gradient.iter::<f32>().map(f32::to_bits).collect()
    };
    for granularity in granularities() {
        for blend in [0.5, 1.0] {
            let mut settings = TernarySettings::new(Quantizer::twn(granularity));
            settings.zero_gain = 0.25;
            settings.blend = blend;
            let expected = gradient(Device::flex(), settings.clone());
            assert_eq!(gradient(gpu(), settings.clone()), expected, "{settings:?}");
            let weakened = factors
                .iter()
                .zip(&expected)
                .filter(|(factor, gradient)| factor.to_bits() != **gradient)
                .count();
            assert!(
                weakened > values.len() / 4,
                "{weakened} weakened: {settings:?}"
            );
        }
    }
}

/// The loss of a small decoder and the gradients of weights of every kind.
fn learnt(model: &Llama, device: &Device) -> (f32, Vec<Vec<f32>>) {
    let device = device.clone().autodiff();
    let model = model.clone().to_device(&device).train();
    let ids: Vec<i32> = (0..3 * 40).map(|index| index * index % 97).collect();
    let tokens =
        |ids: Vec<i32>| Tensor::<2, Int>::from_data(TensorData::new(ids, [3, 40]), &device);
    let targets = ids.iter().map(|id| (id * 7 + 3) % 97).collect();
    let loss = model.forward_loss(tokens(ids), tokens(targets), None).mean;
    let gradients = loss.clone().backward();
    fn of<const D: usize>(weight: &Param<Tensor<D>>, gradients: &Gradients) -> Vec<f32> {
        let gradient = weight.base().grad(gradients).unwrap().into_data();
        gradient.iter::<f32>().collect()
    }
    let layer = &model.layers[0];
    let mut found = vec![
        of(&layer.self_attn.q_proj.weight, &gradients),
        of(&layer.self_attn.k_proj.weight, &gradients),
        of(&layer.self_attn.v_proj.weight, &gradients),
        of(&layer.mlp.down_proj.weight, &gradients),
        of(&layer.input_layernorm.gamma, &gradients),
        of(&model.norm.gamma, &gradients),
        of(&model.embed_tokens.weight, &gradients),
    ];
    if let Some(norm) = &layer.self_attn.k_norm {
        found.push(of(&norm.gamma, &gradients));
    }
    (loss.into_scalar::<f32>(), found)
}

#[test]
fn a_decoder_learns_on_a_gpu_as_on_the_processor() {
    let mut windowed = LlamaConfig::qwen2(97, 64, 128, 2, 4);
    windowed.sliding_window = Some(7);
    for config in [
        LlamaConfig::qwen2(97, 64, 128, 2, 4),
        windowed,
        // Normalized heads, and rows wider than the threads that share one.
        LlamaConfig::qwen3(97, 320, 256, 2, 4),
    ] {
        let (model, _) = Ternary::default().apply(config.init(&Device::flex()));
        let (expected, expected_gradients) = learnt(&model, &Device::flex());
        let (loss, gradients) = learnt(&model, &gpu());
        assert!((loss - expected).abs() < 1e-4, "{loss} {expected}");
        assert_eq!(gradients.len(), expected_gradients.len());
        for (index, (found, expected)) in gradients.iter().zip(&expected_gradients).enumerate() {
            let largest = expected
                .iter()
                .fold(0.0f32, |most, value| most.max(value.abs()));
            assert!(largest > 0.0);
            for (found, expected) in found.iter().zip(expected) {
                assert!(
                    (found - expected).abs() < 1e-3 * largest,
                    "gradient {index}: {found} {expected}"
                );
            }
        }
    }
}
