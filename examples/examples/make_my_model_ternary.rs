//! An ordinary Burn model, made ternary by three changed lines, and what it costs.
//!
//! `cargo run -p t81-examples --example make_my_model_ternary`
//!
//! ```text
//! float
//!   accuracy 100.0 %
//! ternary
//!   16896 of 17154 weights ternary (98.5 %) in 3 parameters, scale per group:64; 3 parameters stay float
//!   accuracy 99.3 %
//! ```

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor, TensorData};
// Changed line 1.
use t81_burn::Ternary;

/// Tells the two arms of a spiral apart.
#[derive(Module, Debug)]
struct Classifier {
    input: Linear,
    hidden: Linear,
    output: Linear,
}

impl Classifier {
    fn new(device: &Device) -> Self {
        Self {
            input: LinearConfig::new(2, 128).init(device),
            hidden: LinearConfig::new(128, 128).init(device),
            output: LinearConfig::new(128, 2).init(device),
        }
    }

    /// Points `[batch, 2]` to logits `[batch, 2]`.
    fn forward(&self, points: Tensor<2>) -> Tensor<2> {
        let hidden = relu(self.input.forward(points));
        self.output.forward(relu(self.hidden.forward(hidden)))
    }
}

/// `count` points on the two arms, and their arms; `offset` shifts them along the arms.
fn spiral(count: usize, offset: f32, device: &Device) -> (Tensor<2>, Tensor<1, Int>) {
    let (mut points, mut arms) = (Vec::new(), Vec::new());
    for index in 0..count {
        let arm = index % 2;
        let radius = (index as f32 + offset) / count as f32;
        let angle = 9.0 * radius + std::f32::consts::PI * arm as f32;
        points.extend([radius * angle.cos(), radius * angle.sin()]);
        arms.push(arm as i32);
    }
    (
        Tensor::from_data(TensorData::new(points, [count, 2]), device),
        Tensor::from_data(TensorData::new(arms, [count]), device),
    )
}

fn train(mut model: Classifier, device: &Device) -> Classifier {
    let (points, arms) = spiral(400, 0.0, device);
    let mut optimizer = AdamConfig::new().init();
    let loss = CrossEntropyLossConfig::new().init(device);
    for step in 0..600 {
        let value = loss.forward(model.forward(points.clone()), arms.clone());
        if step % 200 == 0 {
            println!(
                "  step {step:3}  loss {:.4}",
                value.clone().into_scalar::<f32>()
            );
        }
        let gradients = GradientsParams::from_grads(value.backward(), &model);
        model = optimizer.step(3e-3, model, gradients);
    }
    model
}

fn accuracy(model: &Classifier, device: &Device) -> f32 {
    let (points, arms) = spiral(1000, 0.5, device);
    let right = model
        .forward(points)
        .argmax(1)
        .reshape([1000])
        .equal(arms)
        .int()
        .sum();
    right.into_scalar::<i32>() as f32 / 10.0
}

fn main() {
    let plain = Device::flex();
    let device = plain.clone().autodiff();
    device.seed(7);

    println!("float");
    let float = train(Classifier::new(&device), &device).valid();
    println!("  accuracy {:.1} %", accuracy(&float, &plain));

    println!("ternary");
    // Changed lines 2 and 3.
    let (model, report) = Ternary::default().apply(Classifier::new(&device));
    println!("  {report}");
    let ternary = train(model, &device).valid().materialize();
    println!("  accuracy {:.1} %", accuracy(&ternary, &plain));
}
