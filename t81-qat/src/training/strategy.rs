//! How a run goes: the loop that Burn's learner executes.
//!
//! Burn's own strategies count in epochs and lose what lies between two of them. This one counts in optimizer steps: it
//! evaluates and saves by step, splits a batch over the cores of a processor, divides the loss by the targets of
//! the whole optimizer step, and finishes the step in hand when it is interrupted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use burn::data::dataloader::Progress;
use burn::module::Module;
use burn::tensor::Device;
use burn::train::metric::store::EventStoreClient;
use burn::train::{
    EventProcessorTraining, Interrupter, Learner, LearnerEvent, LearningCheckpointer,
    SupervisedLearningStrategy, SupervisedTrainingEventProcessor, TrainLoader, TrainingComponents,
    TrainingError, TrainingItem, ValidLoader,
};
use t81_burn::{Ternary, TernaryReport};

use super::batch::{EvaluationLoader, TokenBatch};
use super::checkpoint::{CheckpointDirectory, RunState};
use super::cold_start::ColdStart;
use super::early_stopping::{EarlyStopping, EvaluatedStep};
use super::health::{Health, way_out};
use super::model::{QatModel, StepOutput, StepState};
use super::optimizer_step::optimizer_step;
use super::reporter::{EvaluationLine, Reporter, StepLine};
use super::samples::SamplePrompts;
use super::window::Window;
use crate::device::is_cpu;
use crate::error::QatError;
use crate::evaluation;
use crate::memory::PeakMemory;

/// When the loop does what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cadence {
    /// Optimizer steps of the whole run.
    pub(crate) total_steps: usize,
    /// Batches summed up in an optimizer step.
    pub(crate) accumulation: usize,
    /// Optimizer steps between two evaluations.
    pub(crate) eval_steps: usize,
    /// Optimizer steps between two checkpoints.
    pub(crate) save_steps: usize,
    /// Optimizer steps between two lines of progress.
    pub(crate) logging_steps: usize,
}

/// What the loop leaves behind.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) state: RunState,
    pub(crate) interrupted: bool,
    /// Whether it ended before its last step because evaluations stopped getting better.
    pub(crate) stopped_early: bool,
    pub(crate) memory: PeakMemory,
    pub(crate) error: Option<QatError>,
}

/// The loop.
pub(crate) struct QatStrategy {
    /// The same device as often as it has workers, or one device each.
    pub(crate) devices: Vec<Device>,
    pub(crate) cadence: Cadence,
    pub(crate) start: RunState,
    pub(crate) ternary: Ternary,
    pub(crate) report: TernaryReport,
    pub(crate) evaluation: EvaluationLoader,
    pub(crate) samples: SamplePrompts,
    pub(crate) checkpoints: CheckpointDirectory,
    pub(crate) early_stopping: EarlyStopping,
    /// Whether an evaluation that is the best so far is worth a checkpoint of its own.
    pub(crate) keeps_every_best: bool,
    /// Tokens of the model.
    pub(crate) vocabulary: usize,
    pub(crate) interrupt: Arc<AtomicBool>,
    /// Whether a dashboard shows the metrics of every step, which reads each step's loss back.
    pub(crate) shows_metrics: bool,
    pub(crate) reporter: Mutex<Reporter>,
    pub(crate) outcome: Mutex<Outcome>,
}

impl QatStrategy {
    /// Whether the weights lie in the processor's memory.
    fn reads_weights_freely(&self) -> bool {
        is_cpu(&self.devices[0].clone().inner())
    }

    /// Whether the first step waits for kernels of a GPU, where a dashboard is not in the way of saying so.
    fn compiles_kernels(&self) -> bool {
        !self.reads_weights_freely() && !self.shows_metrics
    }

    /// What an error of the learner means, once all checkpoints are on disk.
    fn stopped_by(&self, error: &TrainingError, step: usize) -> QatError {
        let kept = self.checkpoints.steps().last().copied();
        match (error, kept) {
            (TrainingError::Checkpoint(error), Some(kept)) => QatError::Save {
                message: error.to_string(),
                kept: self.checkpoints.folder(kept),
            },
            _ => QatError::Training {
                step,
                message: error.to_string(),
            },
        }
    }

    /// The devices without autodiff.
    fn plain_devices(&self) -> Vec<Device> {
        self.devices.iter().cloned().map(Device::inner).collect()
    }
}

type Events = SupervisedTrainingEventProcessor<QatModel>;

impl SupervisedLearningStrategy<QatModel> for QatStrategy {
    fn fit(
        &self,
        components: TrainingComponents<QatModel>,
        mut learner: Learner<QatModel>,
        train: TrainLoader<QatModel>,
        _valid: ValidLoader<QatModel>,
        _starting_epoch: usize,
    ) -> (QatModel, Events) {
        learner.fork(&self.devices[0]);
        let mut run = Run {
            strategy: self,
            learner,
            events: components.event_processor,
            checkpointer: components.checkpointer,
            event_store: components.event_store,
            interrupter: components.interrupter.clone(),
            state: self.start,
            saved: None,
            interrupted: false,
            sparsity: 0.0,
            measured: None,
            memory: PeakMemory::default(),
        };
        let result = run.train(&train);
        // Dropping the checkpointer waits until its files are on disk.
        run.checkpointer = None;
        self.checkpoints.remove_partial();
        if let Ok(mut outcome) = self.outcome.lock() {
            outcome.state = run.state;
            outcome.interrupted = run.interrupted;
            outcome.memory = run.memory;
            outcome.stopped_early = run.is_in_vain() && run.state.step < self.cadence.total_steps;
            let diverged = |error: QatError| error.with_way_out(way_out(&self.checkpoints));
            let stopped = components.interrupter.error();
            outcome.error = result
                .err()
                .map(diverged)
                .or_else(|| stopped.map(|error| self.stopped_by(&error, run.state.step)));
        }
        (run.learner.model(), run.events)
    }
}

struct Run<'a> {
    strategy: &'a QatStrategy,
    learner: Learner<QatModel>,
    events: Events,
    checkpointer: Option<LearningCheckpointer<QatModel>>,
    event_store: Arc<EventStoreClient>,
    interrupter: Interrupter,
    state: RunState,
    saved: Option<usize>,
    interrupted: bool,
    /// Share of zeros among the ternary codes, as last measured.
    sparsity: f64,
    /// Optimizer step at which it was.
    measured: Option<usize>,
    memory: PeakMemory,
}

impl Run<'_> {
    fn train(&mut self, train: &TrainLoader<QatModel>) -> Result<(), QatError> {
        let cadence = self.strategy.cadence;
        let mut batches = train.iter();
        self.events_say(LearnerEvent::StartSplit {
            epoch_number: 1,
            total_items: train.num_items(),
        });
        if self.owes_evaluation() {
            self.evaluate()?;
            self.save()?;
        }
        let mut window = Window::start(&self.state);
        while self.state.step < cadence.total_steps && !self.is_in_vain() {
            let mut step_batches = Vec::new();
            for batch in batches.by_ref().take(cadence.accumulation) {
                step_batches.push(batch.map_err(|error| self.failure(&error.to_string()))?);
            }
            if step_batches.is_empty() {
                break;
            }
            let started = Instant::now();
            let first = self.state.step == self.strategy.start.step;
            let cold_start =
                (first && self.strategy.compiles_kernels()).then(|| ColdStart::watch("first step"));
            let output = self.optimizer_step(step_batches)?;
            self.state.step += 1;
            self.state.tokens += output.tokens as u64;

            // A checkpoint that could not be written on its own thread; the outcome names it.
            if self.interrupter.error().is_some() {
                break;
            }
            let last = self.state.step == cadence.total_steps;
            let asked =
                self.strategy.interrupt.load(Ordering::Relaxed) || self.interrupter.should_stop();
            self.interrupted = asked && !last;
            let due = |every: usize| self.state.step.is_multiple_of(every) || last;
            let evaluates = due(cadence.eval_steps) && !self.interrupted;
            let mut saves = due(cadence.save_steps) || self.interrupted;
            let logs = due(cadence.logging_steps) || self.state.step == 1 || self.interrupted;
            // Before a save, so that no checkpoint holds what a diverged step left. Reading the loss waits for the device, so
            // the steps between two lines run ahead of it.
            let loss = (logs || saves || evaluates).then(|| self.health().loss(&output));
            drop(cold_start);
            self.state.seconds += started.elapsed().as_secs_f64();
            if let Some(loss) = loss.transpose()?
                && logs
            {
                if evaluates || self.state.step == 1 || self.strategy.reads_weights_freely() {
                    self.measure_sparsity()?;
                }
                self.memory.observe(&self.strategy.plain_devices());
                self.log(loss, &output, &mut window)?;
            }
            if self.strategy.shows_metrics {
                let item = TrainingItem::new(
                    output,
                    batches.progress(),
                    Some(self.state.step),
                    Some(self.learner.lr_current()),
                );
                self.events_say(LearnerEvent::ProcessedItem(item));
            }
            if evaluates {
                let is_best = self.evaluate()?;
                saves |= is_best && self.strategy.keeps_every_best;
                saves |= self.is_in_vain();
                window = Window::start(&self.state);
            }
            if saves {
                self.save()?;
            }
            if self.interrupted {
                break;
            }
        }
        self.events_say(LearnerEvent::EndSplit(1));
        Ok(())
    }

    /// Whether the run was interrupted at a step that it would have evaluated, before it did.
    fn owes_evaluation(&self) -> bool {
        let step = self.state.step;
        step > 0
            && step.is_multiple_of(self.strategy.cadence.eval_steps)
            && self.state.evaluations.at(step).is_none()
    }

    /// Measures the share of zeros among the ternary codes, for which all weights must be quantizable.
    fn measure_sparsity(&mut self) -> Result<(), QatError> {
        if self.measured == Some(self.state.step) {
            return Ok(());
        }
        self.sparsity = self.health().sparsity(
            &self.learner.model(),
            &self.strategy.ternary,
            &self.strategy.report,
        )?;
        self.measured = Some(self.state.step);
        Ok(())
    }

    /// Whether evaluations stopped getting better.
    fn is_in_vain(&self) -> bool {
        self.strategy.early_stopping.stops(&self.state.evaluations)
    }

    /// Forward, backward and update on the batches of one optimizer step.
    fn optimizer_step(&mut self, batches: Vec<TokenBatch>) -> Result<StepOutput, QatError> {
        let handle = self.strategy.ternary.handle();
        let state = StepState {
            threshold: handle.threshold(),
            blend: handle.blend(),
        };
        optimizer_step(&mut self.learner, &self.strategy.devices, state, batches)
            .map_err(|message| self.failure(message))
    }

    /// Judges the run as it is now.
    fn health(&self) -> Health {
        Health {
            step: self.state.step,
            vocabulary: self.strategy.vocabulary,
        }
    }

    fn log(&mut self, loss: f64, output: &StepOutput, window: &mut Window) -> Result<(), QatError> {
        let strategy = self.strategy;
        let model = self.learner.model();
        let line = StepLine {
            step: self.state.step,
            tokens: self.state.tokens,
            loss,
            learning_rate: self.learner.lr_current().base(),
            gradient_norm: model.gradient_norm(),
            threshold: output.state.threshold,
            blend: output.state.blend,
            sparsity: self.sparsity,
            tokens_per_second: window.tokens_per_second(&self.state),
            seconds: self.state.seconds,
            seconds_left: self.state.seconds / (self.state.step as f64)
                * (strategy.cadence.total_steps - self.state.step) as f64,
        };
        *window = Window::start(&self.state);
        self.with_reporter(|reporter| reporter.step(&line))
    }

    /// Evaluates the exact ternary weights: a model in validation mode has no blend. Whether they are the best so far.
    fn evaluate(&mut self) -> Result<bool, QatError> {
        let strategy = self.strategy;
        let model = self.learner.model().valid();
        let total = strategy.evaluation.samples;
        self.events_say_valid(LearnerEvent::StartSplit {
            epoch_number: 1,
            total_items: total,
        });
        let outputs =
            evaluation::step_outputs(&model, &strategy.evaluation, &strategy.plain_devices())?;
        let mean = evaluation::mean(&outputs)?;
        let count = outputs.len();
        for (index, output) in outputs.into_iter().enumerate() {
            let progress = Progress::new(index + 1, count, Some("batches".to_string()));
            let item = TrainingItem::new(output, progress, Some(self.state.step), None);
            self.events_say_valid(LearnerEvent::ProcessedItem(item));
        }
        self.events_say_valid(LearnerEvent::EndSplit(1));
        let line = EvaluationLine {
            step: self.state.step,
            tokens: self.state.tokens,
            eval_loss: mean.loss,
            eval_tokens: mean.tokens,
        };
        self.with_reporter(|reporter| reporter.evaluation(&line))?;
        self.write_samples(model)?;
        let evaluated = EvaluatedStep {
            step: self.state.step,
            loss: self.health().evaluation_loss(mean.loss)?,
        };
        let history = &mut self.state.evaluations;
        Ok(history.add(evaluated, &strategy.early_stopping))
    }

    /// Lets `model` continue the prompts, if there are any, by weights that are quantized once.
    fn write_samples(&self, model: QatModel) -> Result<(), QatError> {
        let samples = &self.strategy.samples;
        if samples.is_empty() {
            return Ok(());
        }
        let device = self.strategy.devices[0].clone().inner();
        let decoder = model.decoder.materialize();
        for line in samples.write(self.state.step, &decoder, &device)? {
            self.with_reporter(|reporter| reporter.sample(&line))?;
        }
        Ok(())
    }

    /// Saves a checkpoint, if what the last update made can be trained further: a finite loss says only that of the weights
    /// before it.
    fn save(&mut self) -> Result<(), QatError> {
        if self.saved == Some(self.state.step) {
            return Ok(());
        }
        self.health().weights(&self.learner.model())?;
        self.measure_sparsity()?;
        self.saved = Some(self.state.step);
        self.state.loss_scale = self.learner.model().loss_scale();
        self.strategy.checkpoints.begin(self.state);
        let Some(checkpointer) = &mut self.checkpointer else {
            return Ok(());
        };
        // Burn's checkpointer reads the weights on threads of its own. On a GPU the next step would meanwhile reuse the memory
        // that it reads.
        let waits = !self.strategy.reads_weights_freely();
        if waits {
            for device in self.strategy.plain_devices() {
                // A device that fails here fails the reading, too, which tells of it.
                let _ = device.sync();
            }
        }
        checkpointer.checkpoint(&self.learner, self.state.step, &self.event_store);
        let is_pending = || self.strategy.checkpoints.is_pending(self.state.step);
        while waits && is_pending() && self.interrupter.error().is_none() {
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn with_reporter(
        &self,
        write: impl FnOnce(&mut Reporter) -> Result<(), QatError>,
    ) -> Result<(), QatError> {
        match self.strategy.reporter.lock() {
            Ok(mut reporter) => write(&mut reporter),
            Err(_) => Err(self.failure("the progress reporter panicked")),
        }
    }

    fn failure(&self, message: &str) -> QatError {
        QatError::Training {
            step: self.state.step,
            message: message.to_string(),
        }
    }

    // A failing metric must not end a training run.
    fn events_say(&mut self, event: LearnerEvent<StepOutput>) {
        let _ = self.events.process_train(event);
    }

    fn events_say_valid(&mut self, event: LearnerEvent<StepOutput>) {
        let _ = self.events.process_valid(event);
    }
}
