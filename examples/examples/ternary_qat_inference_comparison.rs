//! Trains a small model with ternary weights, logs its warm-up, and compares ways to run it: float, fake-quantized (as in
//! training: ternary values in float tensors) and packed (two bits a weight, `t81_core::InterleavedMatrix`).
//!
//! The model predicts the next character of generated stories. Loss, time and bytes are compared; the last two for its ternary layers.
//!
//! `cargo run -p t81-examples --example ternary_qat_inference_comparison [STEPS]`
//!
//! ```text
//! inference          loss  one character     bytes
//! float            1.7059       142.1 us   1572864
//! fake-quantized   1.7993      3152.3 us   1572864
//! packed Float32   1.7993        41.8 us    101376
//! packed Int8      1.7995        14.6 us    101376
//! ```

use burn::lr_scheduler::LrScheduler;
use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor, TensorData};
use t81_burn::{RampShape, Ternary, TernarySchedule, TernaryScheduler};
use t81_core::ActivationPrecision;
use t81_datasets::Split;
use t81_examples::{
    Characters, Failure, FallingRate, PackedLayer, argument_or, microseconds, relative_difference,
};

const CONTEXT: usize = 8;
const EMBEDDING: usize = 32;
const HIDDEN: usize = 512;
const BATCH: usize = 64;

#[derive(Module, Debug)]
struct NextCharacter {
    embedding: Embedding,
    first: Linear,
    second: Linear,
    head: Linear,
}

impl NextCharacter {
    fn new(device: &Device) -> Self {
        Self {
            embedding: EmbeddingConfig::new(Characters::COUNT, EMBEDDING).init(device),
            first: LinearConfig::new(CONTEXT * EMBEDDING, HIDDEN).init(device),
            second: LinearConfig::new(HIDDEN, HIDDEN).init(device),
            head: LinearConfig::new(HIDDEN, Characters::COUNT).init(device),
        }
    }

    fn embed(&self, contexts: Tensor<2, Int>) -> Tensor<2> {
        self.embedding.forward(contexts).flatten(1, 2)
    }

    /// The two layers that become ternary.
    fn hidden(&self, embedded: Tensor<2>) -> Tensor<2> {
        relu(self.second.forward(relu(self.first.forward(embedded))))
    }

    /// Cross-entropy of the character after each context.
    fn loss(&self, hidden: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<1> {
        let cross_entropy = CrossEntropyLossConfig::new().init(&hidden.device());
        cross_entropy.forward(self.head.forward(hidden), targets)
    }
}

fn train(
    mut model: NextCharacter,
    mut rates: impl LrScheduler,
    steps: usize,
    device: &Device,
    log: impl Fn(usize, f32),
) -> NextCharacter {
    let text = Characters::new(Split::Train, 200_000, CONTEXT);
    let mut optimizer = AdamConfig::new().init();
    for step in 0..steps {
        let (contexts, targets) = text.windows(step * BATCH, BATCH, device);
        let loss = model.loss(model.hidden(model.embed(contexts)), targets);
        if step % (steps / 12).max(1) == 0 {
            log(step, loss.clone().into_scalar());
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(rates.step(), model, gradients);
    }
    model
}

fn main() -> Result<(), Failure> {
    let steps = argument_or(300)?;
    let plain = Device::flex();
    let device = plain.clone().autodiff();
    let rates = FallingRate::new(3e-3, steps);
    let fresh = || {
        device.seed(7);
        NextCharacter::new(&device)
    };
    let float = train(fresh(), rates.clone(), steps, &device, |_, _| ());

    let schedule = TernarySchedule::constant(0.7)
        .with_threshold_warmup(RampShape::Linear, steps / 3)
        .with_blend_warmup(RampShape::Linear, steps / 3);
    let ternary = Ternary::default().with_schedule(&schedule);
    let (model, report) = ternary.apply(fresh());
    println!("{report}");
    let handle = ternary.handle();
    let rates = TernaryScheduler::new(rates, schedule, handle.clone());
    let model = train(model, rates, steps, &device, |step, loss| {
        let (threshold, lambda) = (handle.threshold(), handle.blend());
        println!("step {step:4}  threshold {threshold:.3}  lambda {lambda:.3}  loss {loss:.4}");
    });
    let layers = [&model.first, &model.second];
    let packed = PackedLayer::pack(&model, &ternary, &report, &layers)?;

    let text = Characters::new(Split::Validation, 20_000, CONTEXT);
    let (contexts, targets) = text.windows(0, 1024, &plain);
    let show = |name: &str, loss: Tensor<1>, time: f64, bytes: usize| {
        let loss = loss.into_scalar::<f32>();
        println!("{name:<15}{loss:>8.4}{time:>12.1} us{bytes:>10}");
    };
    println!("\ninference          loss  one character     bytes");
    let (float, fake) = (float.valid(), model.valid());
    for (name, model) in [("float", &float), ("fake-quantized", &fake)] {
        let embedded = model.embed(contexts.clone());
        let one = embedded.clone().narrow(0, 0, 1);
        let time = microseconds(|| Ok::<_, Failure>(model.hidden(one.clone()).into_data()))?;
        let loss = model.loss(model.hidden(embedded), targets.clone());
        show(name, loss, time, 4 * report.ternary_weights());
    }
    let embedded = fake.embed(contexts);
    let expected: Vec<f32> = fake.hidden(embedded.clone()).into_data().try_into_vec()?;
    let embedded: Vec<f32> = embedded.into_data().try_into_vec()?;
    let bytes = packed.iter().map(PackedLayer::weight_bytes).sum();
    for precision in [ActivationPrecision::Float32, ActivationPrecision::Int8] {
        let run = |x: &[f32]| packed[1].forward(&packed[0].forward(x, precision)?, precision);
        let time = microseconds(|| run(&embedded[..CONTEXT * EMBEDDING]))?;
        let hidden = run(&embedded)?;
        let difference = relative_difference(&hidden, &expected);
        let hidden = Tensor::from_data(TensorData::new(hidden, [1024, HIDDEN]), &plain);
        let loss = fake.loss(hidden, targets.clone());
        show(&format!("packed {precision:?}"), loss, time, bytes);
        println!("  differs from fake-quantized by {difference:.1e} of the largest output");
    }
    Ok(())
}
