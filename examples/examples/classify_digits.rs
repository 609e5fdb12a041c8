//! Ternary weights are not only for language models: a network that reads pictures of digits, as floats and ternary.
//!
//! The pictures are drawn from a 5x7 font, shifted, of uneven strength and noisy; nothing is downloaded. Two of the three layers
//! become ternary, the last one stays float because it is called `classifier` (see `t81_burn::Selection`).
//!
//! `cargo run -p t81-examples --example classify_digits [STEPS]`
//!
//! ```text
//! 102400 of 105482 weights ternary (97.1 %) in 2 parameters, scale per group:64; 4 parameters stay float
//! float    accuracy 98.00 %, 409600 bytes
//! ternary  accuracy 96.70 %, 29184 bytes
//! ```

use burn::lr_scheduler::LrScheduler;
use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use t81_burn::{QuantizeWeightError, RampShape, Ternary, TernarySchedule, TernaryScheduler};
use t81_examples::{CLASSES, Digits, Failure, FallingRate, PIXELS, accuracy, argument_or};

const BATCH: usize = 64;

#[derive(Module, Debug)]
struct Network {
    input: Linear,
    hidden: Linear,
    classifier: Linear,
}

impl Network {
    fn new(device: &Device) -> Self {
        Self {
            input: LinearConfig::new(PIXELS, 256).init(device),
            hidden: LinearConfig::new(256, 256).init(device),
            classifier: LinearConfig::new(256, CLASSES).init(device),
        }
    }

    /// Pictures `[batch, PIXELS]` to logits `[batch, CLASSES]`.
    fn forward(&self, pictures: Tensor<2>) -> Tensor<2> {
        let hidden = relu(self.input.forward(pictures));
        self.classifier.forward(relu(self.hidden.forward(hidden)))
    }
}

/// Trains for `steps` steps, whose learning rates `rates` gives.
fn train(
    mut model: Network,
    mut rates: impl LrScheduler,
    digits: &Digits,
    steps: usize,
    device: &Device,
) -> Network {
    let mut optimizer = AdamConfig::new().init();
    let cross_entropy = CrossEntropyLossConfig::new().init(device);
    for step in 0..steps {
        let (pictures, labels) = digits.batch(step, BATCH, device);
        let loss = cross_entropy.forward(model.forward(pictures), labels);
        if step % (steps / 4).max(1) == 0 {
            println!(
                "  step {step:4}  loss {:.4}",
                loss.clone().into_scalar::<f32>()
            );
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(rates.step(), model, gradients);
    }
    model
}

fn main() -> Result<(), Failure> {
    let steps = argument_or(600)?;
    let plain = Device::flex();
    let device = plain.clone().autodiff();
    let (train_set, test_set) = (Digits::draw(12_800, 1), Digits::draw(2_000, 2));
    println!("a {}:\n{}", test_set.label(0), test_set.picture(0));
    let (pictures, labels) = test_set.tensors(0..test_set.count(), &plain);

    let rates = FallingRate::new(4e-3, steps);
    println!("float");
    device.seed(7);
    let model = Network::new(&device);
    let float = train(model, rates.clone(), &train_set, steps, &device).valid();
    let float_accuracy = accuracy(float.forward(pictures.clone()), labels.clone());

    println!("ternary");
    device.seed(7);
    // A fifth of the steps leads from the float weights to the ternary ones.
    let schedule = TernarySchedule::constant(0.7).with_blend_warmup(RampShape::Linear, steps / 5);
    let ternary = Ternary::default().with_schedule(&schedule);
    let (model, report) = ternary.apply(Network::new(&device));
    println!("  {report}");
    let rates = TernaryScheduler::new(rates, schedule, ternary.handle().clone());
    let model = train(model, rates, &train_set, steps, &device);
    // What is evaluated has the exact ternary weights, as a file would hold them.
    let exact = model.valid().materialize();
    let ternary_accuracy = accuracy(exact.forward(pictures), labels);

    let (mut packed, mut weights) = (0, 0);
    ternary.quantize_weights(&model, &report, |_, matrix| {
        packed += matrix.codes().len() + 2 * matrix.scales().len();
        weights += matrix.rows() * matrix.columns();
        Ok::<_, QuantizeWeightError>(())
    })?;
    println!(
        "float    accuracy {float_accuracy:.2} %, {} bytes",
        4 * weights
    );
    println!("ternary  accuracy {ternary_accuracy:.2} %, {packed} bytes");
    Ok(())
}
