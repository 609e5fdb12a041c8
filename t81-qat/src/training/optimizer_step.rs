//! One optimizer step: forward, backward and update, shared out over the devices.

use std::thread;

use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Tensor};
use burn::train::{Learner, TrainStep};

use super::batch::TokenBatch;
use super::model::{QatModel, StepOutput, StepState};
use super::transfer::{gradients_on, model_on};

/// Forward, backward and update on the batches of one optimizer step; the error is what happened.
pub(super) fn optimizer_step(
    learner: &mut Learner<QatModel>,
    devices: &[Device],
    state: StepState,
    mut batches: Vec<TokenBatch>,
) -> Result<StepOutput, &'static str> {
    let step_tokens: usize = batches.iter().map(TokenBatch::tokens).sum();
    for batch in &mut batches {
        batch.set_step_tokens(step_tokens);
    }
    let mut sum = Sum::default();
    let model = learner.model();
    let home = devices.first().ok_or("no device to compute on")?;
    // In the order of the rows, so that sums do not depend on which worker was faster.
    for part in in_parallel(devices, &model, shares(batches, devices.len()))? {
        sum.add_from(&model, part, home);
    }
    drop(model);
    let negative_log_likelihood = sum.likelihood.ok_or("an optimizer step without a batch")?;
    learner.lr_step();
    learner.optimizer_step(sum.gradients.grads());
    Ok(StepOutput {
        negative_log_likelihood,
        tokens: step_tokens,
        state,
    })
}

/// What has been added up so far.
#[derive(Default)]
struct Sum {
    gradients: GradientsAccumulator<QatModel>,
    likelihood: Option<Tensor<1>>,
}

impl Sum {
    fn add(&mut self, model: &QatModel, gradients: GradientsParams, likelihood: Tensor<1>) {
        self.gradients.accumulate(model, gradients);
        self.likelihood = Some(match self.likelihood.take() {
            Some(sum) => sum + likelihood,
            None => likelihood,
        });
    }

    /// Adds what a worker has added up on its own device.
    fn add_from(&mut self, model: &QatModel, mut part: Self, home: &Device) {
        let Some(likelihood) = part.likelihood else {
            return;
        };
        let gradients = gradients_on(part.gradients.grads(), model, home);
        self.add(
            model,
            gradients,
            likelihood.to_device(&home.clone().inner()),
        );
    }
}

/// The rows of each batch shared out over `workers`: the parts of each worker.
fn shares(batches: Vec<TokenBatch>, workers: usize) -> Vec<Vec<TokenBatch>> {
    let mut shares: Vec<Vec<TokenBatch>> = Vec::new();
    for batch in batches {
        for (worker, part) in batch.split(workers).into_iter().enumerate() {
            match shares.get_mut(worker) {
                Some(share) => share.push(part),
                None => shares.push(vec![part]),
            }
        }
    }
    shares
}

/// Each worker adds up its share on its own device, so that weights and gradients travel once a step, however many batches it has.
fn in_parallel(
    devices: &[Device],
    model: &QatModel,
    mut shares: Vec<Vec<TokenBatch>>,
) -> Result<Vec<Sum>, &'static str> {
    if shares.len() == 1 {
        return Ok(vec![added_up(model, shares.swap_remove(0))]);
    }
    let sums = thread::scope(|scope| {
        let workers: Vec<_> = shares
            .into_iter()
            .zip(devices)
            .map(|(share, device)| {
                let model = model.clone();
                scope.spawn(move || added_up(&model_on(&model, device), share))
            })
            .collect();
        workers
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect::<Vec<_>>()
    });
    sums.into_iter()
        .map(|sum| sum.map_err(|_| "a worker panicked"))
        .collect()
}

fn added_up(model: &QatModel, batches: Vec<TokenBatch>) -> Sum {
    let mut sum = Sum::default();
    for batch in batches {
        let output = TrainStep::step(model, batch);
        sum.add(model, output.grads, output.item.negative_log_likelihood);
    }
    sum
}
