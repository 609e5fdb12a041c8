//! Quantization-aware training of ternary language models: the `t81-qat` command as a library.
//!
//! A run takes a Hugging Face checkpoint (Llama, Mistral, Qwen2, Qwen3, GPT-2) or a fresh model, makes its `Linear` weights ternary by
//! [`t81_burn::Ternary`], trains it with Burn's learner and writes a t81 directory with the very weights of the last
//! forward pass, from which `t81-gguf` writes a file for llama.cpp and [`from_pretrained_t81`] makes a Burn model.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod architecture;
mod bench;
mod cli;
mod command;
mod data;
mod device;
mod error;
mod evaluate;
mod evaluation;
mod export;
mod generate;
mod gguf;
mod inference;
mod inputs;
mod interrupt;
mod load;
mod memory;
mod memory_check;
mod metrics_log;
mod optimizer;
mod output;
mod recipe;
mod report;
mod result;
mod run;
mod run_lock;
mod settings;
mod source;
mod summary;
mod training;

pub use cli::{
    ActivationChoice, BenchArguments, Cli, Command, ComputeType, EvaluateArguments,
    GenerateArguments, LearningRateType, MatrixShape, ReportArguments, TextRows, TrainArguments,
    WarmupType,
};
pub use command::{Run, run_command};
pub use device::DeviceChoice;
pub use error::QatError;
pub use evaluation::Evaluation;
pub use generate::Sampling;
pub use interrupt::{INTERRUPTED, interrupt_flag};
pub use load::{from_pretrained_t81, from_pretrained_t81_inference, from_pretrained_t81_packed};
pub use memory::PeakMemory;
pub use recipe::Recipe;
pub use settings::RunSettings;
pub use summary::{Baseline, Sizes, Summary};
pub use training::{
    EvaluatedStep, EvaluationLine, QatModel, SampleLine, StepLine, StepOutput, StepState,
    TokenBatch, WarmupDecay,
};
