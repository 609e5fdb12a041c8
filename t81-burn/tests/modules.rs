//! Whole models: what becomes ternary, what records hold, what evaluation sees, what training does.

use burn::module::Module;
use burn::nn::{
    Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig, LinearLayout,
};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Distribution, Int, Tensor};
use t81_burn::{
    PackedWeights, QuantizeWeightError, RampShape, Selection, Ternary, TernaryLinearConfig,
    TernarySchedule,
};
use t81_core::{ActivationPrecision, Granularity, Layout, Quantizer, Rounding};

#[derive(Module, Debug)]
struct Classifier {
    embedding: Embedding,
    norm: LayerNorm,
    hidden: Vec<Linear>,
    lm_head: Linear,
}

impl Classifier {
    fn new(device: &Device) -> Self {
        Self {
            embedding: EmbeddingConfig::new(11, 64).init(device),
            norm: LayerNormConfig::new(64).init(device),
            hidden: (0..2)
                .map(|_| LinearConfig::new(64, 64).init(device))
                .collect(),
            lm_head: LinearConfig::new(64, 11).with_bias(false).init(device),
        }
    }

    fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let mut state = self.norm.forward(self.embedding.forward(tokens));
        for layer in &self.hidden {
            state = layer.forward(state).tanh();
        }
        self.lm_head.forward(state)
    }
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

fn tokens(device: &Device) -> Tensor<2, Int> {
    Tensor::from_ints([[1, 2, 3, 4], [5, 6, 7, 10]], device)
}

fn ternary() -> Ternary {
    Ternary::new(Quantizer::twn(Granularity::group(64).unwrap()))
}

#[test]
fn linears_become_ternary_embeddings_norms_and_head_do_not() {
    let device = Device::flex();
    let (model, report) = Ternary::default().apply(Classifier::new(&device));
    let paths: Vec<&str> = report.ternary.iter().map(|p| p.path.as_str()).collect();
    assert_eq!(paths, ["hidden.0.weight", "hidden.1.weight"]);
    assert_eq!(report.granularity, Granularity::group(64).unwrap());
    let kept: Vec<&str> = report.kept.iter().map(|p| p.path.as_str()).collect();
    assert_eq!(
        kept,
        [
            "embedding.weight",
            "norm.gamma",
            "norm.beta",
            "hidden.0.bias",
            "hidden.1.bias",
            "lm_head.weight"
        ]
    );
    assert_eq!(report.ternary_weights(), 2 * 64 * 64);
    assert_eq!(
        report.ternary_weights() + report.kept_weights(),
        model.num_params()
    );

    let selection = Selection::default().exclude(r"\.0\.").unwrap();
    let (_, report) = ternary()
        .with_selection(selection)
        .apply(Classifier::new(&device));
    assert_eq!(report.ternary[0].path, "hidden.1.weight");
}

#[test]
fn a_column_major_linear_has_its_own_shape_before_its_first_use() {
    let device = Device::flex();
    let column_major = || {
        LinearConfig::new(256, 64)
            .with_layout(LinearLayout::Col)
            .init(&device)
    };
    let groups = Granularity::group(256).unwrap();
    for used in [false, true] {
        let layer = column_major();
        if used {
            assert_eq!(layer.weight.val().dims(), [256, 64]);
        }
        let ternary = Ternary::default();
        let (layer, report) = ternary.apply(layer);
        let found = &report.ternary[0];
        assert_eq!((found.rows, found.columns), (64, 256), "used: {used}");
        assert_eq!(report.granularity, groups, "used: {used}");
        let float = values(layer.weight.base());
        let expected = ternary
            .exact_quantizer(&report)
            .quantize(&float, 64, 256, Layout::InOut)
            .unwrap();
        let mut dense = vec![0.0; 64 * 256];
        expected.dequantize_into(Layout::InOut, &mut dense).unwrap();
        assert_eq!(values(layer.weight.val()), dense);

        let float_only = Selection::default().include("none").unwrap();
        let (_, report) = ternary.with_selection(float_only).apply(column_major());
        assert_eq!(report.kept[0].shape, [256, 64]);
    }
    let layer = TernaryLinearConfig::new(1, 1).init_from(column_major(), None);
    assert_eq!(layer.quantizer().granularity(), groups);
    // The weight of the fresh layer is drawn and its place is taken by the packed one.
    let mut packed = PackedWeights::new(ActivationPrecision::Float32);
    let matrix = Quantizer::twn(groups)
        .quantize(&[0.25; 64 * 256], 64, 256, Layout::InOut)
        .unwrap();
    packed.insert("weight", &matrix);
    let layer = packed.attach(column_major());
    assert_eq!(values(layer.weight.val()), [0.25; 64 * 256]);
}

#[test]
fn evaluation_is_exact_whatever_the_blend_and_materializes_to_the_same() {
    let device = Device::flex();
    let schedule = TernarySchedule::constant(0.7).with_blend_warmup(RampShape::Linear, 10);
    let ternary = ternary().with_schedule(&schedule);
    let float = Classifier::new(&device.clone().autodiff());
    let (model, report) = ternary.apply(float.clone());

    let training = values(model.hidden[0].weight.val());
    assert_eq!(
        training,
        values(float.hidden[0].weight.val()),
        "blend 0 is the float model"
    );

    let evaluation = model.valid();
    let folded = evaluation.clone().materialize();
    let mut seen = 0;
    ternary
        .quantize_weights(&model, &report, |path, matrix| {
            let layer = &evaluation.hidden[seen];
            assert_eq!(path, format!("hidden.{seen}.weight"));
            let mut dense = vec![0.0; 64 * 64];
            matrix.dequantize_into(Layout::InOut, &mut dense).unwrap();
            assert_eq!(values(layer.weight.val()), dense);
            assert_eq!(values(folded.hidden[seen].weight.val()), dense);
            seen += 1;
            Ok::<_, QuantizeWeightError>(())
        })
        .unwrap();
    assert_eq!(seen, 2);
    assert_eq!(
        values(evaluation.forward(tokens(&device))),
        values(folded.forward(tokens(&device)))
    );

    ternary.handle().set_step(&schedule, 10);
    assert_eq!(
        values(model.hidden[1].weight.val().inner()),
        values(folded.hidden[1].weight.val()),
        "blend 1 trains on what is evaluated"
    );
}

#[test]
fn records_hold_the_float_weights() {
    let device = Device::flex();
    let float = Classifier::new(&device);
    let (other, _) = ternary().apply(Classifier::new(&device));
    let other = other.load_record(float.clone().into_record());
    let (same, _) = ternary().apply(float.clone());
    assert_eq!(
        values(other.forward(tokens(&device))),
        values(same.forward(tokens(&device)))
    );
    let back = Classifier::new(&device).load_record(other.into_record());
    assert_eq!(
        values(back.forward(tokens(&device))),
        values(float.forward(tokens(&device)))
    );
}

#[test]
fn training_moves_the_float_weights_and_lowers_the_loss() {
    let device = Device::flex().autodiff();
    device.seed(1);
    let (mut model, _) = ternary().apply(Classifier::new(&device));
    let targets = Tensor::<2, Int>::from_ints([[2, 3, 4, 5], [6, 7, 8, 0]], &device);
    let mut optimizer = AdamConfig::new().init();
    let before = values(model.hidden[0].weight.base().inner());
    let mut losses = Vec::new();
    for _ in 0..40 {
        let logits = model.forward(tokens(&device)).reshape([8, 11]);
        let logarithms = burn::tensor::activation::log_softmax(logits, 1);
        let loss = logarithms
            .gather(1, targets.clone().reshape([8, 1]))
            .mean()
            .neg();
        losses.push(loss.clone().into_data().iter::<f64>().next().unwrap());
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(3e-3, model, gradients);
    }
    assert!(losses[39] < 0.2 * losses[0], "{losses:?}");
    assert_ne!(values(model.hidden[0].weight.base().inner()), before);
    // Still ternary after the updates: three values a group.
    let column = values(model.hidden[0].weight.val().inner().slice([0..64, 0..1]));
    let scale = column
        .iter()
        .fold(0.0f32, |scale, value| scale.max(value.abs()));
    assert!(scale > 0.0);
    assert!(
        column
            .iter()
            .all(|&value| value == 0.0 || value.abs() == scale)
    );
}

#[test]
fn stochastic_rounding_draws_anew_each_step_and_evaluates_without_chance() {
    let device = Device::flex().autodiff();
    let quantizer = Quantizer::twn(Granularity::Row)
        .with_threshold(0.2)
        .unwrap()
        .with_rounding(Rounding::Stochastic { seed: 3 });
    let schedule = TernarySchedule::constant(0.2);
    let ternary = Ternary::new(quantizer).with_schedule(&schedule);
    let (model, _) = ternary.apply(Classifier::new(&device));
    let read = || values(model.hidden[0].weight.val().inner());
    let first = read();
    assert_eq!(first, read(), "the same step draws the same");
    ternary.handle().set_step(&schedule, 1);
    assert_ne!(first, read());
    let (valid, again) = (model.valid(), model.valid());
    ternary.handle().set_step(&schedule, 2);
    assert_eq!(
        values(valid.hidden[0].weight.val()),
        values(again.hidden[0].weight.val())
    );
}

#[test]
fn ternary_linear_is_a_linear_in_records() {
    let device = Device::flex();
    let float = LinearConfig::new(128, 16).init(&device);
    let config = TernaryLinearConfig::new(128, 16);
    let layer = config
        .init(&device)
        .load_record(float.clone().into_record());
    let input = Tensor::<3>::random([2, 3, 128], Distribution::Default, &device);

    let quantizer = Quantizer::twn(Granularity::group(64).unwrap());
    assert_eq!(layer.quantizer(), quantizer);
    let (reference, _) = Ternary::new(quantizer).apply(float.clone());
    let output = values(layer.forward(input.clone()));
    assert_eq!(output, values(reference.forward(input.clone())));
    assert_ne!(output, values(float.forward(input.clone())));

    let from = config.init_from(float.clone(), None);
    assert_eq!(values(from.forward(input.clone())), output);
    let back = LinearConfig::new(128, 16)
        .init(&device)
        .load_record(layer.clone().into_record());
    assert_eq!(
        values(back.forward(input.clone())),
        values(float.forward(input))
    );
    assert_eq!(layer.num_params(), 128 * 16 + 16);
    assert_eq!(layer.materialize().num_params(), 128 * 16 + 16);
}

#[test]
fn ternary_linear_follows_a_schedule() {
    let device = Device::flex().autodiff();
    let schedule = TernarySchedule::constant(0.7)
        .with_threshold_warmup(RampShape::Linear, 4)
        .with_blend_warmup(RampShape::Cosine, 4);
    let handle = t81_burn::TernaryHandle::new(&schedule);
    let layer = TernaryLinearConfig::new(64, 8)
        .with_bias(false)
        .init_with_handle(&device, &handle);
    assert_eq!(layer.quantizer().threshold(), 1.0);
    let float = values(layer.linear().weight.base().inner());
    assert_eq!(values(layer.linear().weight.val().inner()), float);
    handle.set_step(&schedule, 4);
    assert_eq!(layer.quantizer().threshold(), 0.7);
    assert_ne!(values(layer.linear().weight.val().inner()), float);
}
