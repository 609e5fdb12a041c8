//! The settings of a run, resolved, as `settings.json` keeps them.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use t81_burn::{Ramp, RampShape, Selection, TernarySchedule};
use t81_core::{ActivationPrecision, Quantizer, Rounding};

use crate::cli::{LearningRateType, TextRows, TrainArguments, WarmupType};
use crate::error::QatError;
use crate::recipe::Recipe;
use crate::training::WarmupDecay;

/// Share of the steps in which the learning rate rises.
const LEARNING_RATE_WARMUP: f64 = 0.05;

/// Settings that fingerprint tokens, and the use of those tokens.
const TOKENS: [(&str, &str); 2] = [("train_tokens", "train"), ("eval_tokens", "evaluate")];

/// Everything that decides what a run computes. Two runs with equal settings see the same batches, schedules and updates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSettings {
    /// `MODEL` of the command line, with `@REVISION` if one was given.
    pub model: String,
    /// `--dataset-name` with what was chosen of it, or the training files.
    pub dataset: String,
    /// `--validation-file`.
    pub validation_file: Option<String>,
    /// Tokens a block.
    pub block_size: usize,
    /// Training blocks.
    pub train_samples: usize,
    /// Evaluation blocks.
    pub eval_samples: usize,
    /// Fingerprint of the training tokens; `None` in runs of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_tokens: Option<String>,
    /// Fingerprint of the evaluation tokens; `None` in runs of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval_tokens: Option<String>,
    /// Blocks a batch: as many as were asked for, at most all that there are.
    pub per_device_train_batch_size: usize,
    /// Batches an optimizer step.
    pub gradient_accumulation_steps: usize,
    /// Optimizer steps.
    pub total_steps: usize,
    /// Blocks that the run sees, counting repetitions.
    pub total_blocks: usize,
    /// `--recipe`.
    pub recipe: Recipe,
    /// `--teacher`.
    pub teacher: Option<String>,
    /// Share of the teacher's predictions in what is taught.
    pub distillation_weight: f64,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Learning rate of the embeddings as a factor of the others'.
    pub embedding_learning_rate_factor: f64,
    /// Fall of the learning rate.
    pub lr_scheduler_type: LearningRateType,
    /// Optimizer steps in which the learning rate rises.
    pub warmup_steps: usize,
    /// Decoupled weight decay of matrices.
    pub weight_decay: f64,
    /// Norm that the gradient is clipped to; 0 for none.
    pub max_grad_norm: f64,
    /// Seed of weights, order and stochastic rounding.
    pub seed: u64,
    /// The quantizer, but for an automatic granularity.
    pub quantizer: Quantizer,
    /// Whether the granularity follows from the model.
    pub auto_granularity: bool,
    /// Factor of the gradients of weights whose code is 0.
    pub ternary_zero_gain: f32,
    /// How activations enter the products with ternary weights.
    #[serde(default)]
    pub activations: ActivationPrecision,
    /// Warm-up of threshold and blend.
    pub schedule: TernarySchedule,
    /// `--include`.
    pub include: Option<String>,
    /// `--exclude`.
    pub exclude: Option<String>,
}

impl RunSettings {
    /// Resolves the command line for `train_samples` and `eval_samples` blocks of data.
    pub(crate) fn resolve(
        arguments: &TrainArguments,
        block_size: usize,
        train_samples: usize,
        eval_samples: usize,
        is_pretrained: bool,
    ) -> Self {
        let preset = arguments.recipe.preset(is_pretrained);
        let batch_size = arguments
            .per_device_train_batch_size
            .min(train_samples.max(1));
        let step_blocks = batch_size.saturating_mul(arguments.gradient_accumulation_steps);
        let total_blocks = match arguments.max_steps {
            Some(steps) => steps.saturating_mul(step_blocks),
            None => ((arguments.num_train_epochs * train_samples as f64).round() as usize).max(1),
        };
        let total_steps = total_blocks.div_ceil(step_blocks);
        let share = |share: f64| (share * total_steps as f64).round() as usize;
        let blend_steps = arguments
            .lambda_warmup_steps
            .unwrap_or_else(|| share(preset.blend_warmup));
        let rounding = if arguments.ternary_stochastic_rounding {
            Rounding::Stochastic {
                seed: arguments.seed,
            }
        } else {
            Rounding::Deterministic
        };
        let granularity = match arguments.granularity {
            Some(choice) => choice.0,
            None => preset.granularity,
        };
        let threshold = arguments.ternary_threshold.unwrap_or(preset.threshold);
        let distillation = arguments
            .distillation_weight
            .map_or(preset.distillation, f64::from);
        let quantizer = Quantizer::new(
            granularity.unwrap_or(t81_core::Granularity::Tensor),
            threshold,
        )
        .expect("the command line checked the threshold")
        .with_reference(arguments.reference.unwrap_or(preset.reference))
        .with_scale(arguments.scale.unwrap_or(preset.scale))
        .with_rounding(rounding);
        Self {
            model: match &arguments.revision {
                Some(revision) => format!("{}@{revision}", arguments.model),
                None => arguments.model.clone(),
            },
            dataset: dataset_label(arguments),
            validation_file: arguments
                .validation_file
                .as_ref()
                .map(|path| path.display().to_string()),
            block_size,
            train_samples,
            eval_samples,
            train_tokens: None,
            eval_tokens: None,
            per_device_train_batch_size: batch_size,
            gradient_accumulation_steps: arguments.gradient_accumulation_steps,
            total_steps,
            total_blocks,
            recipe: arguments.recipe,
            teacher: arguments.teacher.clone(),
            distillation_weight: match arguments.teacher {
                Some(_) => distillation,
                None => 0.0,
            },
            learning_rate: arguments.learning_rate.unwrap_or(preset.learning_rate),
            embedding_learning_rate_factor: arguments
                .embedding_learning_rate_factor
                .unwrap_or(preset.embedding_rate),
            lr_scheduler_type: arguments.lr_scheduler_type.unwrap_or(preset.decay),
            warmup_steps: arguments
                .warmup_steps
                .unwrap_or_else(|| share(LEARNING_RATE_WARMUP)),
            weight_decay: arguments.weight_decay,
            max_grad_norm: arguments.max_grad_norm,
            seed: arguments.seed,
            quantizer,
            auto_granularity: granularity.is_none(),
            ternary_zero_gain: arguments.ternary_zero_gain.unwrap_or(preset.zero_gain),
            activations: arguments.activations.into(),
            schedule: TernarySchedule {
                threshold: Ramp::new(
                    shape(arguments.ternary_warmup_type),
                    1.0,
                    threshold,
                    arguments
                        .ternary_warmup_steps
                        .unwrap_or_else(|| share(preset.threshold_warmup)),
                ),
                blend: Ramp::new(shape(arguments.lambda_warmup_type), 0.0, 1.0, blend_steps),
            },
            include: arguments.include.clone(),
            exclude: arguments.exclude.clone(),
        }
    }

    /// These settings with the fingerprints of the tokens to train and to evaluate on.
    pub(crate) fn with_tokens(mut self, [train, evaluation]: [String; 2]) -> Self {
        self.train_tokens = Some(train);
        self.eval_tokens = Some(evaluation);
        self
    }

    /// The learning-rate schedule from step 0.
    pub(crate) fn learning_rates(&self) -> WarmupDecay {
        self.learning_rates_of(self.learning_rate)
    }

    /// The embeddings' learning-rate schedule from step 0.
    pub(crate) fn embedding_learning_rates(&self) -> WarmupDecay {
        self.learning_rates_of(self.learning_rate * self.embedding_learning_rate_factor)
    }

    fn learning_rates_of(&self, highest: f64) -> WarmupDecay {
        WarmupDecay::new(
            self.lr_scheduler_type,
            highest,
            self.warmup_steps,
            self.total_steps,
        )
    }

    /// First optimizer step after the warm-ups of threshold and blend.
    pub(crate) fn warmed_up_step(&self) -> usize {
        if self.recipe == Recipe::Float {
            return 0;
        }
        let length = |ramp: &Ramp| match ramp.shape {
            RampShape::Constant => 0,
            RampShape::Linear | RampShape::Cosine => ramp.steps,
        };
        length(&self.schedule.threshold).max(length(&self.schedule.blend))
    }

    /// Which weights become ternary.
    pub(crate) fn selection(&self) -> Result<Selection, QatError> {
        let mut selection = Selection::default();
        if self.recipe == Recipe::Float {
            selection = selection
                .exclude("")
                .map_err(|error| pattern_error("exclude", &error.to_string()))?;
        }
        if let Some(pattern) = &self.include {
            selection = selection
                .include(pattern)
                .map_err(|error| pattern_error("include", &error.to_string()))?;
        }
        if let Some(pattern) = &self.exclude {
            selection = selection
                .exclude(pattern)
                .map_err(|error| pattern_error("exclude", &error.to_string()))?;
        }
        Ok(selection)
    }

    /// Reads `settings.json`.
    pub(crate) fn read(path: &Path) -> Result<Self, QatError> {
        let text = std::fs::read_to_string(path).map_err(QatError::file("read", path))?;
        serde_json::from_str(&text).map_err(|error| QatError::Damaged {
            path: path.to_path_buf(),
            message: error.to_string(),
        })
    }

    /// Checks that the run in `directory`, whose settings these are, is continued with the same ones.
    pub(crate) fn check_resumed(&self, now: &Self, directory: &Path) -> Result<(), QatError> {
        let (before, now) = (fields(self), fields(now));
        for (setting, value) in &before {
            if now.get(setting) != Some(value) {
                if let Some((_, purpose)) = TOKENS.iter().find(|(name, _)| name == setting) {
                    return Err(QatError::TokensDiffer {
                        directory: directory.to_path_buf(),
                        purpose,
                    });
                }
                return Err(QatError::SettingsDiffer {
                    directory: directory.to_path_buf(),
                    setting: setting.clone(),
                    before: value.to_string(),
                    now: now.get(setting).map_or_else(String::new, Value::to_string),
                });
            }
        }
        Ok(())
    }
}

/// What the run trains on, as the user named it.
fn dataset_label(arguments: &TrainArguments) -> String {
    let files = arguments.train_file.iter();
    let files: Vec<String> = files.map(|path| path.display().to_string()).collect();
    let mut label = arguments
        .dataset_name
        .clone()
        .unwrap_or_else(|| files.join(", "));
    let choices = [
        ("configuration", &arguments.dataset_config_name),
        ("revision", &arguments.dataset_revision),
        ("split", &arguments.train_split),
        ("validation split", &arguments.validation_split),
        ("column", &arguments.text_column),
    ];
    for (what, choice) in choices {
        if let Some(choice) = choice {
            label.push_str(&format!(", {what} {choice}"));
        }
    }
    match arguments.text_rows {
        TextRows::Auto => {}
        TextRows::Lines => label.push_str(", rows are lines"),
        TextRows::Documents => label.push_str(", rows are documents"),
    }
    label
}

fn fields(settings: &RunSettings) -> serde_json::Map<String, Value> {
    match serde_json::to_value(settings) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    }
}

fn shape(kind: WarmupType) -> RampShape {
    match kind {
        WarmupType::Linear => RampShape::Linear,
        WarmupType::Cosine => RampShape::Cosine,
        WarmupType::Constant => RampShape::Constant,
    }
}

fn pattern_error(flag: &'static str, message: &str) -> QatError {
    QatError::Pattern {
        flag,
        message: message.lines().last().unwrap_or_default().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser;

    fn settings(flags: &[&str]) -> RunSettings {
        let mut line = vec![
            "t81-qat",
            "tiny",
            "--dataset-name",
            "stories",
            "--output-dir",
            "x",
        ];
        line.extend(flags);
        RunSettings::resolve(&Cli::parse_from(line).train.unwrap(), 128, 1000, 64, false)
    }

    #[test]
    fn steps_follow_from_epochs_or_are_given() {
        let epochs = settings(&[
            "--num-train-epochs",
            "2",
            "--gradient-accumulation-steps",
            "4",
        ]);
        assert_eq!((epochs.total_blocks, epochs.total_steps), (2000, 63));
        assert_eq!(epochs.schedule.blend.steps, 13);
        assert_eq!(epochs.warmup_steps, 3);
        let steps = settings(&["--max-steps", "50", "--lambda-warmup-steps", "0"]);
        assert_eq!((steps.total_blocks, steps.total_steps), (400, 50));
        assert_eq!(steps.schedule.blend.value_at(0), 1.0);
    }

    #[test]
    fn the_dataset_is_named_with_all_that_is_chosen_of_it() {
        assert_eq!(settings(&[]).dataset, "stories");
        let flags = ["--dataset-config-name", "raw", "--train-split", "train[:9]"];
        assert_eq!(
            settings(&flags).dataset,
            "stories, configuration raw, split train[:9]"
        );
        assert_eq!(
            settings(&["--text-rows", "lines"]).dataset,
            "stories, rows are lines"
        );
    }

    #[test]
    fn a_resumed_run_must_keep_its_settings() {
        let before = settings(&["--max-steps", "50"]);
        let text = serde_json::to_string(&before).unwrap();
        let read: RunSettings = serde_json::from_str(&text).unwrap();
        read.check_resumed(&before, Path::new("x")).unwrap();
        let now = settings(&["--max-steps", "50", "--learning-rate", "0.5"]);
        let error = read.check_resumed(&now, Path::new("x")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "--resume with another learning_rate: the run in x has 0.001, the command line asks for 0.5"
        );
        let now = settings(&["--max-steps", "50", "--activations", "int8"]);
        let error = read.check_resumed(&now, Path::new("x")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "--resume with another activations: the run in x has \"float32\", the command line asks for \"int8\""
        );
    }

    #[test]
    fn a_resumed_run_must_keep_its_tokens() {
        let tokens = |train: &str| settings(&[]).with_tokens([train.into(), "e".into()]);
        let text = serde_json::to_string(&tokens("t")).unwrap();
        let read: RunSettings = serde_json::from_str(&text).unwrap();
        read.check_resumed(&tokens("t"), Path::new("x")).unwrap();
        let error = read.check_resumed(&tokens("u"), Path::new("x"));
        assert!(matches!(
            error,
            Err(QatError::TokensDiffer {
                purpose: "train",
                ..
            })
        ));
        // Earlier versions wrote no fingerprints.
        settings(&[])
            .check_resumed(&tokens("t"), Path::new("x"))
            .unwrap();
    }

    #[test]
    fn a_batch_holds_no_block_twice() {
        let large = settings(&["--per-device-train-batch-size", "100000"]);
        assert_eq!(large.per_device_train_batch_size, 1000);
        assert_eq!((large.total_blocks, large.total_steps), (1000, 1));
    }

    #[test]
    fn a_run_from_before_activations_were_a_setting_took_them_as_they_are() {
        let now = settings(&[]);
        let mut fields = fields(&now);
        assert!(fields.remove("activations").is_some());
        let read: RunSettings = serde_json::from_value(Value::Object(fields)).unwrap();
        read.check_resumed(&now, Path::new("x")).unwrap();
    }
}
