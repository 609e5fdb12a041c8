//! Gradient checkpointing gives the loss and the gradients of the plain backward pass, bit for bit.

mod sharpened;

use burn::module::{Module, ModuleVisitor, Param, ParamGroup};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use t81_burn::models::gpt2::Gpt2Config;
use t81_burn::models::llama::LlamaConfig;
use t81_burn::models::{Decoder, DecoderConfig, TokenLoss};
use t81_burn::{RampShape, Selection, Ternary, TernarySchedule};
use t81_core::{Granularity, Quantizer, Rounding};

use sharpened::sharpened;

const VOCABULARY: usize = 61;
/// Long enough for the attention to work in two pieces.
const SHAPE: [usize; 2] = [2, 130];

fn configs() -> Vec<(&'static str, DecoderConfig)> {
    let grouped = |config: LlamaConfig| config.with_num_key_value_heads(Some(2));
    let llama = grouped(LlamaConfig::new(VOCABULARY, 32, 48, 3, 4));
    let mistral = grouped(LlamaConfig::mistral(VOCABULARY, 32, 48, 3, 4));
    let qwen3 = grouped(LlamaConfig::qwen3(VOCABULARY, 32, 48, 3, 4)).with_head_dim(Some(8));
    let gpt2 = Gpt2Config::new(VOCABULARY, 32, 3, 4).with_n_positions(SHAPE[1]);
    vec![
        ("llama", DecoderConfig::Llama(llama.clone())),
        (
            "llama, tied",
            DecoderConfig::Llama(llama.with_tie_word_embeddings(true)),
        ),
        (
            "mistral",
            DecoderConfig::Llama(mistral.with_sliding_window(Some(70))),
        ),
        ("qwen3", DecoderConfig::Llama(qwen3)),
        ("gpt2", DecoderConfig::Gpt2(gpt2.clone())),
        (
            "gpt2, untied",
            DecoderConfig::Gpt2(gpt2.with_tie_word_embeddings(false)),
        ),
    ]
}

/// Nothing ternary, a weight in the middle of its warm-up, and one that is drawn.
fn ternaries() -> Vec<(&'static str, Ternary)> {
    let schedule = TernarySchedule::constant(0.7).with_blend_warmup(RampShape::Linear, 200);
    let row = Quantizer::twn(Granularity::Row);
    let drawn = row.clone().with_rounding(Rounding::Stochastic { seed: 81 });
    let at = |quantizer: &Quantizer, step: usize| {
        let ternary = Ternary::new(quantizer.clone()).with_schedule(&schedule);
        ternary.handle().set_step(&schedule, step);
        ternary
    };
    let nothing = Selection::default().exclude("").unwrap();
    vec![
        ("float", at(&row, 0).with_selection(nothing)),
        ("blend 0.5", at(&row, 100).with_zero_gain(0.25)),
        ("drawn", at(&drawn, 150).with_zero_gain(0.25)),
        ("drawn, ternary", at(&drawn, 300).with_zero_gain(0.25)),
    ]
}

/// Different-looking token ids.
fn sequence(factor: i64, device: &Device) -> Tensor<2, Int> {
    let values: Vec<i64> = (0..(SHAPE[0] * SHAPE[1]) as i64)
        .map(|index| (index * index * factor + 3 * index) % VOCABULARY as i64)
        .collect();
    Tensor::from_data(TensorData::new(values, SHAPE), device)
}

/// The last positions of the second row are padding, and one counts twice.
fn mask(device: &Device) -> Tensor<2> {
    let mut values = vec![1.0f32; SHAPE[0] * SHAPE[1]];
    values[3] = 2.0;
    values[SHAPE[1] + 90..].fill(0.0);
    Tensor::from_data(TensorData::new(values, SHAPE), device)
}

/// A step without checkpointing: the loss, and the gradients of `objective` of it.
fn plain(
    model: &Decoder,
    teacher: Option<(&Decoder, f64)>,
    mask: Option<Tensor<2>>,
    objective: impl FnOnce(Tensor<1>) -> Tensor<1>,
) -> (TokenLoss, GradientsParams) {
    let device = model.devices().swap_remove(0);
    let (tokens, targets) = (sequence(7, &device), sequence(5, &device));
    let TokenLoss { mean, count } = match teacher {
        Some((teacher, share)) => {
            model.forward_distillation_loss(tokens, targets, mask, teacher, share)
        }
        None => model.forward_loss(tokens, targets, mask),
    };
    let gradients = objective(mean.clone()).backward();
    let mean = mean.inner();
    let gradients = GradientsParams::from_grads(gradients, model);
    (TokenLoss { mean, count }, gradients)
}

fn checkpointed(
    model: &Decoder,
    teacher: Option<(&Decoder, f64)>,
    mask: Option<Tensor<2>>,
    objective: impl FnOnce(Tensor<1>) -> Tensor<1>,
) -> (TokenLoss, GradientsParams) {
    let device = model.devices().swap_remove(0);
    let (tokens, targets) = (sequence(7, &device), sequence(5, &device));
    model.forward_backward(tokens, targets, mask, teacher, objective)
}

fn bits<const D: usize>(tensor: Tensor<D>) -> Vec<u32> {
    let data = tensor.cast(DType::F32).into_data();
    data.iter::<f32>().map(f32::to_bits).collect()
}

/// Asserts that two steps have the same loss and, for each parameter that `needs` one, the same gradient; gives their number.
fn assert_same(
    place: &str,
    model: &Decoder,
    found: (TokenLoss, GradientsParams),
    expected: (TokenLoss, GradientsParams),
) -> usize {
    let loss = |loss: &TokenLoss| [bits(loss.mean.clone()), bits(loss.count.clone())];
    assert!(!found.0.mean.is_autodiff(), "{place}");
    assert_eq!(loss(&found.0), loss(&expected.0), "{place}");
    assert_eq!(found.1.len(), expected.1.len(), "{place}");
    let mut check = SameGradients {
        place,
        path: Vec::new(),
        found: found.1,
        expected: expected.1,
        seen: 0,
    };
    model.visit(&mut check);
    check.seen
}

struct SameGradients<'a> {
    place: &'a str,
    path: Vec<String>,
    found: GradientsParams,
    expected: GradientsParams,
    seen: usize,
}

impl ModuleVisitor for SameGradients<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let place = format!("{}: {}", self.place, self.path.join("."));
        let Some(expected) = self.expected.get::<D>(param.id) else {
            assert!(!param.is_require_grad(), "{place}");
            return;
        };
        let found = self.found.get::<D>(param.id).expect(&place);
        assert!(expected.clone().abs().max().into_scalar::<f32>() > 0.0);
        assert!(bits(found) == bits(expected), "{place}");
        self.seen += 1;
    }
}

#[test]
fn loss_and_gradients_are_those_of_the_plain_pass() {
    let device = Device::default().autodiff();
    for (name, config) in configs() {
        for (kind, ternary) in ternaries() {
            let (model, report) = ternary.apply(sharpened(&config, &device));
            assert_eq!(report.ternary.is_empty(), kind == "float");
            let same = |place: &str, mask: Option<Tensor<2>>, factor: f64| {
                let place = format!("{name}, {kind}, {place}");
                let objective = |mean: Tensor<1>| mean.mul_scalar(factor);
                let found = checkpointed(&model, None, mask.clone(), objective);
                let expected = plain(&model, None, mask, objective);
                let seen = assert_same(&place, &model, found, expected);
                assert_eq!(seen, model.weight_specs().len(), "{place}");
            };
            same("plain", None, 1.0);
            same("mask", Some(mask(&device)), 0.3);
        }
    }
}

#[test]
fn a_teacher_teaches_the_same() {
    let device = Device::default().autodiff();
    for (name, config) in configs() {
        let teacher = sharpened(&config, &device.clone().inner());
        for (kind, ternary) in ternaries() {
            let (model, _) = ternary.apply(sharpened(&config, &device));
            let (mask, objective) = (Some(mask(&device)), |mean: Tensor<1>| mean);
            let taught = Some((&teacher, 0.9));
            let found = checkpointed(&model, taught, mask.clone(), objective);
            let expected = plain(&model, taught, mask, objective);
            let place = format!("{name}, {kind}, teacher");
            assert_same(&place, &model, found, expected);
        }
    }
}

/// Products in half precision, and the scaled loss that such a run needs.
#[test]
fn half_precision_products_have_the_same_gradients() {
    let device = Device::default().autodiff();
    for (name, config) in configs() {
        let model = sharpened(&config, &device).with_compute_dtype(Some(DType::F16));
        let (model, _) = Ternary::default()
            .with_compute_dtype(Some(DType::F16))
            .apply(model);
        let objective = |mean: Tensor<1>| mean.mul_scalar(64.0);
        let found = checkpointed(&model, None, None, objective);
        let expected = plain(&model, None, None, objective);
        assert_same(name, &model, found, expected);
    }
}

/// A step on several batches computes with the same parameters again and again.
#[test]
fn a_second_pass_is_the_first_one_again() {
    let device = Device::default().autodiff();
    for (name, config) in configs() {
        let (model, _) = Ternary::default().apply(sharpened(&config, &device));
        let first = checkpointed(&model, None, None, |mean| mean);
        let second = checkpointed(&model, None, None, |mean| mean);
        assert_same(name, &model, second, first);
    }
}

#[test]
fn frozen_parameters_get_no_gradient() {
    let device = Device::default().autodiff();
    for (name, config) in configs() {
        let model = sharpened(&config, &device);
        let all = model.weight_specs().len();
        for (pattern, frozen) in [("embed_tokens|wte|wpe", 1..=2), ("layers.1|h.1", 9..=20)] {
            let group = ParamGroup::from_regex(pattern).unwrap();
            let model = model.clone().set_require_grad_group(group, false);
            let found = checkpointed(&model, None, None, |mean| mean);
            let expected = plain(&model, None, None, |mean| mean);
            let seen = assert_same(&format!("{name}, {pattern}"), &model, found, expected);
            assert!(frozen.contains(&(all - seen)), "{name}, {pattern}: {seen}");
        }
    }
}
