//! A training run from the command line to the files.

use std::fmt::Display;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use burn::lr_scheduler::LrSchedulerRecord;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::{Module, ParamGroup};
use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::store::ModuleRecord;
use burn::tensor::{DType, Device};
use burn::train::logger::InMemoryMetricLogger;
use burn::train::metric::LearningRateMetric;
use burn::train::{Interrupter, Learner, SupervisedTraining, TrainingStrategy};
use t81_burn::models::Decoder;
use t81_burn::{Ternary, TernaryReport, TernaryScheduler};
use t81_hub::terminal::{print, print_error};

use crate::architecture::check_block_size;
use crate::cli::TrainArguments;
use crate::command::Run;
use crate::data::Data;
use crate::device::{self, workers};
use crate::error::QatError;
use crate::evaluation::evaluate;
use crate::export::tensor_plan;
use crate::gguf::GgufOutput;
use crate::inputs::Inputs;
use crate::interrupt::interrupt_flag;
use crate::memory_check::{available_memory, check_memory};
use crate::optimizer::{embedding_parameters, optimizer};
use crate::output::OutputDirectory;
use crate::recipe::Recipe;
use crate::settings::RunSettings;
use crate::source::Source;
use crate::summary::Baseline;
use crate::training::{
    Cadence, CheckpointDirectory, ColdStart, EarlyStopping, EvaluationLoader, Flaw, LossScale,
    MODEL, OPTIMIZER, Outcome, QatModel, QatStrategy, Quantity, Reporter, RunState, SCHEDULER,
    SamplePrompts, SaveAlways, SilentRenderer, Teacher, TokenMetric, TrainLoader, WarmupDecay,
    dashboard, short,
};

/// Trains as `arguments` say.
pub(crate) fn train(arguments: &TrainArguments) -> Result<Run, QatError> {
    let output =
        OutputDirectory::open(&arguments.output_dir, arguments.overwrite, arguments.resume)?;
    let gguf = GgufOutput::of(arguments);
    if let Some(gguf) = &gguf {
        gguf.check_path(output.path())?;
    }
    let source = Source::open(&arguments.model, arguments.revision.as_deref())?;
    let inputs = Inputs::of(arguments, &source)?;
    inputs.check_apart(output.path())?;
    if let Some(gguf) = &gguf {
        inputs.check_apart(gguf.path())?;
    }
    let block_size = arguments
        .block_size
        .unwrap_or_else(|| source.default_block_size());
    check_block_size(block_size, &source.config)?;
    let samples = SamplePrompts::new(&arguments.sample_prompt, arguments.sample_tokens, &source)?;
    let data = Data::load(arguments, &source, block_size)?;
    let mut settings = RunSettings::resolve(
        arguments,
        block_size,
        data.train_samples,
        data.eval_samples,
        source.checkpoint.is_some(),
    )
    .with_tokens(data.fingerprints());
    if settings.per_device_train_batch_size < arguments.per_device_train_batch_size {
        print_error(format_args!(
            "note: --per-device-train-batch-size {} is more than there are blocks to train on; a batch holds all {}",
            arguments.per_device_train_batch_size, settings.per_device_train_batch_size
        ));
    }
    if settings.auto_granularity
        && let Some(groups) = source.ternary_groups()?
    {
        settings.auto_granularity = false;
        settings.quantizer = settings.quantizer.with_granularity(groups);
        print_error(format_args!(
            "note: weights are ternary already ({groups}): these groups are kept"
        ));
    }
    let checkpoints = CheckpointDirectory::new(output.path(), arguments.save_total_limit);
    let start = if arguments.resume {
        RunSettings::read(&output.settings())?.check_resumed(&settings, output.path())?;
        checkpoints.latest()?.unwrap_or_default()
    } else {
        RunState::default()
    };

    let devices = device::open(arguments.device, arguments.devices)?;
    let dtype = device::compute_dtype(arguments.torch_dtype, &devices[0])?;
    devices.iter().for_each(|device| device.seed(settings.seed));
    let float = source.decoder(&devices[0])?.with_compute_dtype(dtype);
    let mut ternary = Ternary::new(settings.quantizer.clone())
        .with_schedule(&settings.schedule)
        .with_zero_gain(settings.ternary_zero_gain)
        .with_activations(settings.activations)
        .with_compute_dtype(dtype)
        .with_selection(settings.selection()?);
    if settings.auto_granularity {
        ternary = ternary.with_auto_granularity();
    }
    let (decoder, report) = ternary.apply(float.clone());
    if report.ternary.is_empty() && settings.recipe != Recipe::Float {
        return Err(QatError::NothingTernary);
    }
    if device::is_cpu(&devices[0]) {
        let bytes = if dtype.is_some() { 2 } else { 4 };
        check_memory(
            &source.config,
            decoder.num_params(),
            &settings,
            arguments.gradient_checkpointing,
            bytes,
            available_memory(),
        )?;
    }
    if let Some(gguf) = &gguf {
        let quantizer = ternary.exact_quantizer(&report);
        let tensors = tensor_plan(&decoder, &quantizer, &report);
        gguf.check_model(&source, tensors, quantizer)?;
    }
    if !arguments.resume {
        output.start(&settings)?;
    }
    print(format_args!("{}: {report}", source.name));
    print(format_args!(
        "{} steps of {} blocks of {} tokens; {} blocks to train on, {} to evaluate on",
        settings.total_steps,
        settings
            .per_device_train_batch_size
            .saturating_mul(settings.gradient_accumulation_steps),
        block_size,
        data.train_samples,
        data.eval_samples
    ));
    let mut session = Session {
        arguments,
        output,
        source,
        settings,
        checkpoints,
        devices,
        dtype,
        ternary,
        report,
    };
    let evaluation = EvaluationLoader {
        blocks: data.evaluation.clone(),
        start: 0,
        samples: data.eval_samples,
        batch_size: session.settings.per_device_train_batch_size,
    };
    let baseline = session.baseline(start, float, &decoder, &evaluation)?;
    let (decoder, outcome, reporter) = session.learn(start, decoder, &data, evaluation, samples)?;
    if let Some(error) = outcome.error {
        return Err(error);
    }
    if outcome.interrupted {
        print(format_args!(
            "Stopped after step {} of {}. Go on with the same command and --resume.",
            outcome.state.step, session.settings.total_steps
        ));
        return Ok(Run::Interrupted);
    }
    if outcome.stopped_early {
        print(format_args!(
            "Stopped early after step {} of {}: {} evaluations without an improvement.",
            outcome.state.step,
            session.settings.total_steps,
            outcome.state.evaluations.without_improvement
        ));
    }
    session.finish(baseline, decoder, &outcome, &reporter)?;
    Ok(Run::Finished)
}

/// A run and all that it works with.
pub(crate) struct Session<'a> {
    pub(crate) arguments: &'a TrainArguments,
    pub(crate) output: OutputDirectory,
    pub(crate) source: Source,
    pub(crate) settings: RunSettings,
    pub(crate) checkpoints: CheckpointDirectory,
    pub(crate) devices: Vec<Device>,
    pub(crate) dtype: Option<DType>,
    pub(crate) ternary: Ternary,
    pub(crate) report: TernaryReport,
}

impl Session<'_> {
    /// The teacher, if there is one, on the first device.
    fn teacher(&self) -> Result<Option<Teacher>, QatError> {
        let Some(teacher) = &self.settings.teacher else {
            return Ok(None);
        };
        let source = Source::open(teacher, None)?;
        if source.checkpoint.is_none() {
            return Err(QatError::FreshTeacher {
                teacher: teacher.clone(),
            });
        }
        if source.config.vocab_size() != self.source.config.vocab_size() {
            return Err(QatError::TeacherVocabulary {
                teacher: teacher.clone(),
                found: source.config.vocab_size(),
                expected: self.source.config.vocab_size(),
            });
        }
        check_block_size(self.settings.block_size, &source.config)?;
        let decoder = source.decoder(&self.devices[0])?;
        print(format_args!(
            "teacher: {}, {} % of what is taught",
            source.name,
            100.0 * self.settings.distillation_weight
        ));
        Ok(Some(Teacher::new(
            decoder.with_compute_dtype(self.dtype),
            self.settings.distillation_weight,
        )))
    }

    fn autodiff_devices(&self) -> Vec<Device> {
        self.devices.iter().cloned().map(Device::autodiff).collect()
    }

    /// Perplexities before the first update; from the file when the run is resumed.
    fn baseline(
        &self,
        start: RunState,
        float: Decoder,
        ternary: &Decoder,
        evaluation: &EvaluationLoader,
    ) -> Result<Baseline, QatError> {
        let path = self.output.baseline();
        if self.arguments.resume && path.exists() && start.step > 0 {
            let text = fs::read_to_string(&path).map_err(QatError::file("read", &path))?;
            return serde_json::from_str(&text).map_err(|error| QatError::Damaged {
                path,
                message: error.to_string(),
            });
        }
        let workers = workers(&self.devices, evaluation.samples, &float);
        let perplexity = |decoder: Decoder| -> Result<f64, QatError> {
            let model = QatModel::new(decoder, 0.0);
            Ok(evaluate(&model, evaluation, &workers)?.perplexity())
        };
        let _cold_start =
            (!device::is_cpu(&self.devices[0])).then(|| ColdStart::watch("first evaluation"));
        let mut baseline = Baseline::default();
        if self.source.checkpoint.is_some() {
            let value = perplexity(float)?;
            print(format_args!("float model: perplexity {}", short(value)));
            baseline.float_perplexity = Some(value);
        }
        if self.report.ternary.is_empty() {
            self.output.write_json("baseline.json", &baseline)?;
            return Ok(baseline);
        }
        self.ternary
            .handle()
            .set_step(&self.settings.schedule, self.settings.total_steps);
        baseline.ternary_perplexity = perplexity(ternary.valid())?;
        self.ternary.handle().set_step(&self.settings.schedule, 0);
        print(format_args!(
            "ternary, before training: perplexity {}",
            short(baseline.ternary_perplexity)
        ));
        self.output.write_json("baseline.json", &baseline)?;
        Ok(baseline)
    }

    /// Runs Burn's learner from `start` to the end or an interruption.
    fn learn(
        &mut self,
        start: RunState,
        decoder: Decoder,
        data: &Data,
        evaluation: EvaluationLoader,
        samples: SamplePrompts,
    ) -> Result<(Decoder, Outcome, Reporter), QatError> {
        let settings = &self.settings;
        let rates = settings.learning_rates();
        self.output.write_schedule(settings, &rates)?;
        let scales_loss = self.dtype == Some(DType::F16);
        let mut model = QatModel::new(decoder.train(), settings.max_grad_norm)
            .with_loss_scale(scales_loss.then(|| LossScale::new(start.loss_scale)))
            .with_teacher(self.teacher()?)
            .with_gradient_checkpointing(self.arguments.gradient_checkpointing);
        if start.step > 0 {
            print(format_args!("resuming after step {}", start.step));
            model = self.restore_model(start.step, model)?;
        }
        // Groups name parameters by their ids, which come with the record of a restored model.
        let mut scheduler = self.scheduler(&model, rates);
        let mut optimizer = optimizer(&model, settings.weight_decay as f32);
        if start.step > 0 {
            self.restore_progress(start.step, &mut optimizer, &mut scheduler)?;
        }

        let interrupter = Interrupter::new();
        let dashboard = dashboard(&interrupter);
        let reporter = Reporter::open(
            &self.output.metrics(),
            start.step,
            settings.total_steps,
            dashboard.is_none(),
            !self.report.ternary.is_empty(),
        )?;
        let step_blocks = settings
            .per_device_train_batch_size
            .saturating_mul(settings.gradient_accumulation_steps);
        let train = Arc::new(TrainLoader {
            blocks: data.train.clone(),
            samples: settings.train_samples,
            batch_size: settings.per_device_train_batch_size,
            seed: settings.seed,
            start: start
                .step
                .saturating_mul(step_blocks)
                .min(settings.total_blocks),
            end: settings.total_blocks,
        });
        let tenth = (settings.total_steps / 10).max(50);
        let strategy = Arc::new(QatStrategy {
            devices: workers(
                &self.autodiff_devices(),
                settings.per_device_train_batch_size,
                &model,
            ),
            cadence: Cadence {
                total_steps: settings.total_steps,
                accumulation: settings.gradient_accumulation_steps,
                eval_steps: self.arguments.eval_steps.unwrap_or(tenth),
                save_steps: self.arguments.save_steps.unwrap_or(tenth),
                logging_steps: self.arguments.logging_steps,
            },
            start,
            ternary: self.ternary.clone(),
            report: self.report.clone(),
            evaluation: evaluation.clone(),
            samples,
            checkpoints: self.checkpoints.clone(),
            early_stopping: EarlyStopping {
                patience: self.arguments.early_stopping_patience,
                threshold: self.arguments.early_stopping_threshold,
                first_step: settings.warmed_up_step(),
            },
            keeps_every_best: self.arguments.load_best_model_at_end,
            vocabulary: self.source.config.vocab_size(),
            interrupt: interrupt_flag(),
            shows_metrics: dashboard.is_some(),
            reporter: Mutex::new(reporter),
            outcome: Mutex::default(),
        });
        let training = SupervisedTraining::new(self.output.path(), train, Arc::new(evaluation))
            .with_training_strategy(TrainingStrategy::Custom(strategy.clone()))
            .with_interrupter(interrupter)
            .with_application_logger(None)
            .with_metric_logger(InMemoryMetricLogger::default())
            .renderer(dashboard.unwrap_or_else(|| Box::new(SilentRenderer)))
            .with_checkpointing_strategy(SaveAlways)
            .with_custom_checkpointers(
                self.checkpoints.checkpointer(MODEL),
                self.checkpoints.checkpointer(OPTIMIZER),
                self.checkpoints.checkpointer(SCHEDULER),
            )
            .metric_train_numeric(LearningRateMetric::new())
            .metrics((
                TokenMetric::new(Quantity::Loss),
                TokenMetric::new(Quantity::Perplexity),
                TokenMetric::new(Quantity::Threshold),
                TokenMetric::new(Quantity::Lambda),
            ));
        let result = training.launch(Learner::new(model, optimizer, scheduler));
        let stopped = || QatError::Training {
            step: start.step,
            message: "the training loop panicked".to_string(),
        };
        let strategy = Arc::into_inner(strategy).ok_or_else(stopped)?;
        let outcome = strategy.outcome.into_inner().map_err(|_| stopped())?;
        let reporter = strategy.reporter.into_inner().map_err(|_| stopped())?;
        Ok((result.model.decoder, outcome, reporter))
    }

    /// The schedules of learning rates and of the ternary weights, from step 0.
    fn scheduler(&self, model: &QatModel, rates: WarmupDecay) -> ModuleLrScheduler {
        let settings = &self.settings;
        let scheduler = ModuleLrScheduler::from(TernaryScheduler::new(
            rates,
            settings.schedule,
            self.ternary.handle().clone(),
        ));
        if settings.embedding_learning_rate_factor == 1.0 {
            return scheduler;
        }
        let embeddings = ParamGroup::from_ids(embedding_parameters(model));
        scheduler.with_group(embeddings, settings.embedding_learning_rates())
    }

    /// `model` with the weights of the checkpoint at `step`.
    pub(crate) fn restore_model(&self, step: usize, model: QatModel) -> Result<QatModel, QatError> {
        let path = self.checkpoints.part(step, MODEL);
        ModuleRecord::load(&path)
            .and_then(|record| model.try_load_record(record))
            .map_err(|error| self.damaged(step, &path, &error))
    }

    /// Loads the rest of the checkpoint at `step`.
    fn restore_progress(
        &self,
        step: usize,
        optimizer: &mut ModuleOptimizer,
        scheduler: &mut ModuleLrScheduler,
    ) -> Result<(), QatError> {
        let path = self.checkpoints.part(step, OPTIMIZER);
        let record =
            OptimizerRecord::load(&path).map_err(|error| self.damaged(step, &path, &error))?;
        *optimizer = optimizer.clone().load_record(record);
        let path = self.checkpoints.part(step, SCHEDULER);
        let record =
            LrSchedulerRecord::load(&path).map_err(|error| self.damaged(step, &path, &error))?;
        *scheduler = scheduler.clone().load_record(record);
        let restored = self.ternary.handle().step();
        if restored != step {
            let message = format!("its schedule stands at step {restored}, its folder at {step}");
            return Err(self.damaged(step, &path, &message));
        }
        Ok(())
    }

    fn damaged(&self, step: usize, path: &Path, error: &dyn Display) -> QatError {
        self.checkpoints.damaged(step, Flaw::new(path, error))
    }
}
