//! Values of flags that name one of several things.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use t81_core::ActivationPrecision;

/// `--text-rows`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TextRows {
    /// Told from the first rows.
    Auto,
    /// Lines of one text.
    Lines,
    /// Documents.
    Documents,
}

/// `--lr-scheduler-type`, by the names of `transformers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum LearningRateType {
    /// Half a cosine wave down to a tenth of the highest rate.
    Cosine,
    /// In equal steps down to 0.
    Linear,
    /// Stays at the highest rate after the warm-up.
    #[value(alias = "constant_with_warmup")]
    Constant,
}

/// The curve of a warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WarmupType {
    /// In equal steps.
    Linear,
    /// Half a cosine wave.
    Cosine,
    /// No warm-up: the final value from the start.
    Constant,
}

/// `--activations`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ActivationChoice {
    /// As they are.
    Float32,
    /// Rounded in blocks of 256.
    Int8,
}

impl From<ActivationChoice> for ActivationPrecision {
    fn from(choice: ActivationChoice) -> Self {
        match choice {
            ActivationChoice::Float32 => Self::Float32,
            ActivationChoice::Int8 => Self::Int8,
        }
    }
}

/// `--torch-dtype`, by the names of PyTorch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ComputeType {
    /// Chosen by the device.
    Auto,
    /// 32 bits.
    Float32,
    /// 16 bits, of these 10 for the fraction; the loss is scaled.
    Float16,
    /// 16 bits, of these 7 for the fraction.
    Bfloat16,
}
