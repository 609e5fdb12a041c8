//! One optimizer step: forward, backward and update, shared out over the devices.

use std::thread;

use burn::module::Module;
use burn::optim::GradientsAccumulator;
use burn::tensor::Device;
use burn::train::{Learner, TrainOutput, TrainStep};

use super::batch::TokenBatch;
use super::model::{QatModel, StepOutput, StepState};

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
    let mut accumulator = GradientsAccumulator::new();
    let mut likelihood = None;
    let model = learner.model();
    for batch in batches {
        for output in parallel_step(devices, &model, batch)? {
            let gradients = output.grads.to_device(&devices[0], &model);
            accumulator.accumulate(&model, gradients);
            let part = output
                .item
                .negative_log_likelihood
                .to_device(&devices[0].clone().inner());
            likelihood = Some(match likelihood.take() {
                Some(sum) => sum + part,
                None => part,
            });
        }
    }
    drop(model);
    learner.lr_step();
    learner.optimizer_step(accumulator.grads());
    Ok(StepOutput {
        negative_log_likelihood: likelihood.ok_or("an optimizer step without a batch")?,
        tokens: step_tokens,
        state,
    })
}

/// One batch, its rows shared out over the workers. The outputs come in the order of the rows, so that sums over
/// them do not depend on which worker was faster.
fn parallel_step(
    devices: &[Device],
    model: &QatModel,
    batch: TokenBatch,
) -> Result<Vec<TrainOutput<StepOutput>>, &'static str> {
    let mut parts = batch.split(devices.len());
    if parts.len() == 1 {
        return Ok(vec![TrainStep::step(model, parts.swap_remove(0))]);
    }
    let outputs = thread::scope(|scope| {
        let workers: Vec<_> = parts
            .into_iter()
            .zip(devices)
            .map(|(part, device)| {
                let model = model.clone();
                scope.spawn(move || TrainStep::step(&model.fork(device), part))
            })
            .collect();
        workers
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect::<Vec<_>>()
    });
    outputs
        .into_iter()
        .map(|output| output.map_err(|_| "a worker panicked"))
        .collect()
}
