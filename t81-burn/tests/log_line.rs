//! What cannot be quantized is named in the log. A test binary of its own: a program has one logger.
#![cfg(feature = "flex")]

use std::sync::Mutex;

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::Device;
use log::{LevelFilter, Log, Metadata, Record};
use t81_burn::{RampShape, Ternary, TernarySchedule};

struct Lines(Mutex<Vec<String>>);

static LINES: Lines = Lines(Mutex::new(Vec::new()));

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if record.target().starts_with("t81_burn") {
            self.0.lock().unwrap().push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

#[derive(Module, Debug)]
struct Model {
    layers: Vec<Linear>,
}

#[test]
fn a_weight_that_becomes_nan_is_named() {
    log::set_logger(&LINES).unwrap();
    log::set_max_level(LevelFilter::Info);
    let device = Device::flex().autodiff();
    let mut model = Model {
        layers: (0..2)
            .map(|_| LinearConfig::new(64, 8).init(&device))
            .collect(),
    };
    let schedule = TernarySchedule::constant(0.7).with_blend_warmup(RampShape::Linear, 10);
    let ternary = Ternary::default().with_schedule(&schedule);
    model.layers[1].weight = model.layers[1]
        .weight
        .clone()
        .map(|weight| weight.mul_scalar(1e9));
    let (model, _) = ternary.apply(model);
    let sum = |layer: &Linear| layer.weight.val().sum().into_scalar::<f32>();

    // Blend 0 is the float model.
    assert!(sum(&model.layers[1]).is_finite());
    assert!(LINES.0.lock().unwrap().is_empty());

    ternary.handle().set_step(&schedule, 5);
    assert!(sum(&model.layers[0]).is_finite());
    assert!(LINES.0.lock().unwrap().is_empty());
    assert!(sum(&model.layers[1]).is_nan());
    let in_training = LINES.0.lock().unwrap().drain(..).collect::<Vec<_>>();
    assert!(sum(&model.valid().layers[1]).is_nan());
    let in_evaluation = LINES.0.lock().unwrap().drain(..).collect::<Vec<_>>();
    for lines in [in_training, in_evaluation] {
        let [line] = lines.as_slice() else {
            panic!("{lines:?}");
        };
        assert!(line.starts_with("layers.1.weight becomes NaN"), "{line}");
        assert!(line.contains("f16"), "{line}");
    }
}
