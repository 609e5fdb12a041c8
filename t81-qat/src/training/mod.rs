//! Training by Burn's learner.

mod batch;
mod checkpoint;
mod checksums;
mod cold_start;
mod early_stopping;
mod health;
mod learning_rate;
mod loss_scale;
mod metrics;
mod model;
mod optimizer_step;
mod renderer;
mod reporter;
mod samples;
mod strategy;
mod transfer;
mod window;

pub use batch::TokenBatch;
pub use early_stopping::EvaluatedStep;
pub use learning_rate::WarmupDecay;
pub use model::{QatModel, StepOutput, StepState};
pub use reporter::{EvaluationLine, StepLine};
pub use samples::SampleLine;

pub(crate) use batch::{EvaluationLoader, TrainLoader};
pub(crate) use checkpoint::{
    CheckpointDirectory, Flaw, MODEL, OPTIMIZER, RunState, SCHEDULER, SaveAlways,
};
pub(crate) use cold_start::ColdStart;
pub(crate) use early_stopping::EarlyStopping;
pub(crate) use loss_scale::LossScale;
pub(crate) use metrics::{Quantity, TokenMetric};
pub(crate) use model::Teacher;
pub(crate) use renderer::{SilentRenderer, dashboard};
pub(crate) use reporter::{Reporter, duration, short};
pub(crate) use samples::SamplePrompts;
pub(crate) use strategy::{Cadence, Outcome, QatStrategy};
