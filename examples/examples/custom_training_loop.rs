//! A training loop of one's own, without Burn's learner: gradient accumulation, a falling learning rate, evaluation on exact
//! ternary weights, and a checkpoint from which a second run goes on exactly where the first one stopped. The record of the
//! `TernaryScheduler` holds the state of the ternary schedule with that of the learning rate.
//!
//! `cargo run -p t81-examples --example custom_training_loop [STEPS]`
//!
//! ```text
//! step  600  threshold 0.700  lambda 1.000  loss 0.216986  accuracy 94.50 %
//! resumed after step 300
//! step  600  loss 0.216986  accuracy 94.50 %
//! ```

use std::path::Path;

use burn::lr_scheduler::{LrScheduler, LrSchedulerRecord};
use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{
    AdamWConfig, GradientsAccumulator, GradientsParams, ModuleOptimizer, OptimizerRecord,
};
use burn::store::ModuleRecord;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use t81_burn::{RampShape, Ternary, TernarySchedule, TernaryScheduler};
use t81_examples::{CLASSES, Digits, Failure, FallingRate, PIXELS, accuracy, argument_or};

/// Pictures of a batch, and batches of an optimizer step.
const BATCH: usize = 32;
const ACCUMULATED: usize = 2;

#[derive(Module, Debug)]
struct Network {
    input: Linear,
    classifier: Linear,
}

impl Network {
    fn forward(&self, pictures: Tensor<2>) -> Tensor<2> {
        self.classifier.forward(relu(self.input.forward(pictures)))
    }
}

/// All that changes while training.
struct Training {
    model: Network,
    optimizer: ModuleOptimizer,
    rates: TernaryScheduler,
    ternary: Ternary,
}

impl Training {
    fn new(steps: usize, device: &Device) -> Self {
        let schedule = TernarySchedule::constant(0.7)
            .with_threshold_warmup(RampShape::Cosine, steps / 4)
            .with_blend_warmup(RampShape::Linear, steps / 4);
        let ternary = Ternary::default().with_schedule(&schedule);
        let (model, _) = ternary.apply(Network {
            input: LinearConfig::new(PIXELS, 256).init(device),
            classifier: LinearConfig::new(256, CLASSES).init(device),
        });
        let (rates, handle) = (FallingRate::new(4e-3, steps), ternary.handle().clone());
        Self {
            model,
            optimizer: AdamWConfig::new().init(),
            rates: TernaryScheduler::new(rates, schedule, handle),
            ternary,
        }
    }

    /// Goes on to optimizer step `end`; the handle knows where training stands.
    fn train(mut self, end: usize, digits: &Digits, device: &Device) -> Self {
        let cross_entropy = CrossEntropyLossConfig::new().init(device);
        let mut accumulator = GradientsAccumulator::new();
        for step in self.ternary.handle().step()..end {
            for part in 0..ACCUMULATED {
                let (pictures, labels) = digits.batch(step * ACCUMULATED + part, BATCH, device);
                let loss = cross_entropy.forward(self.model.forward(pictures), labels);
                // Gradients are summed up, so that each loss counts for its share.
                let gradients = (loss / ACCUMULATED as f64).backward();
                let gradients = GradientsParams::from_grads(gradients, &self.model);
                accumulator.accumulate(&self.model, gradients);
            }
            let gradients = accumulator.grads();
            self.model = self
                .optimizer
                .step(self.rates.step(), self.model, gradients);
        }
        self
    }

    fn save(&self, directory: &Path) -> Result<(), Failure> {
        // The record holds the float weights: that of a float model has the same form.
        let model = self.model.clone().into_record();
        model.save(directory.join("model"))?;
        let optimizer = self.optimizer.to_record();
        optimizer.save(directory.join("optimizer"))?;
        self.rates.to_record().save(directory.join("schedules"))?;
        Ok(())
    }

    fn load(mut self, directory: &Path) -> Result<Self, Failure> {
        let model = ModuleRecord::load(directory.join("model"))?;
        self.model = self.model.try_load_record(model)?;
        let optimizer = OptimizerRecord::load(directory.join("optimizer"))?;
        self.optimizer = self.optimizer.load_record(optimizer);
        let schedules = LrSchedulerRecord::load(directory.join("schedules"))?;
        self.rates.load_record(schedules);
        Ok(self)
    }

    /// Loss and accuracy of the exact ternary weights, whatever the blend is.
    fn evaluate(&self, digits: &Digits) -> (f32, f32) {
        let device = Device::flex();
        let (pictures, labels) = digits.tensors(0..digits.count(), &device);
        let logits = self.model.valid().forward(pictures);
        let cross_entropy = CrossEntropyLossConfig::new().init(&device);
        let loss = cross_entropy.forward(logits.clone(), labels.clone());
        (loss.into_scalar(), accuracy(logits, labels))
    }
}

fn main() -> Result<(), Failure> {
    let steps = argument_or(600)?;
    let device = Device::flex().autodiff();
    let (train_set, test_set) = (Digits::draw(12_800, 1), Digits::draw(2_000, 2));
    let scratch = tempfile::tempdir()?;
    device.seed(7);
    let mut training = Training::new(steps, &device);
    for quarter in 0..=4 {
        training = training.train(steps * quarter / 4, &train_set, &device);
        let handle = training.ternary.handle();
        let (step, threshold, lambda) = (handle.step(), handle.threshold(), handle.blend());
        let (loss, accuracy) = training.evaluate(&test_set);
        print!("step {step:4}  threshold {threshold:.3}  lambda {lambda:.3}  ");
        println!("loss {loss:.6}  accuracy {accuracy:.2} %");
        if quarter == 2 {
            training.save(scratch.path())?;
        }
    }
    // As a new process would: everything fresh, then the records.
    let resumed = Training::new(steps, &device).load(scratch.path())?;
    let step = resumed.ternary.handle().step();
    println!("resumed after step {step}");
    let resumed = resumed.train(steps, &train_set, &device);
    let (loss, accuracy) = resumed.evaluate(&test_set);
    println!("step {steps:4}  loss {loss:.6}  accuracy {accuracy:.2} %");
    Ok(())
}
