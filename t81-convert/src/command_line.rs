//! The command line of `t81-convert`: flags and their meaning.

use std::path::PathBuf;

use clap::Parser;
use regex::Regex;
use t81_core::{BlockFormat, GranularityChoice, Reference, ScaleRule};
use t81_hub::{Dtype, OutputFormat};

use crate::ConvertOptions;

/// Make a Hugging Face checkpoint ternary: every linear weight of every block becomes scale * code, code in {-1, 0, +1}.
///
/// A pretrained model is unusable after conversion alone; train it with ternary weights (t81-qat).
#[derive(Debug, Parser)]
#[command(name = "t81-convert", version = t81_hub::VERSION)]
pub struct Arguments {
    /// The checkpoint: a directory with config.json, safetensors and tokenizer files, or an id of the Hugging Face Hub
    pub source: PathBuf,
    /// The t81 directory to write
    pub out: PathBuf,
    /// Branch, tag or commit of a model of the Hugging Face Hub [default: main]
    #[arg(long)]
    pub revision: Option<String>,
    /// Weights below this fraction of their group's reference magnitude become 0; from 0 to 1
    #[arg(long, default_value_t = 0.45, value_parser = threshold)]
    threshold: f32,
    /// Weights that share a scale: auto, tensor, row or group:N; auto takes groups that GGUF holds without loss
    #[arg(long, default_value = "auto")]
    granularity: GranularityChoice,
    /// Where a scale comes from: least-squares or reference
    #[arg(long, default_value_t)]
    scale: ScaleRule,
    /// The magnitude that the threshold is a fraction of: abs-mean or abs-max
    #[arg(long, default_value_t)]
    reference: Reference,
    /// Store what stays float as float32, float16 or bfloat16 [default: as in the source]
    #[arg(long, visible_alias = "dtype", value_name = "DTYPE")]
    torch_dtype: Option<Dtype>,
    /// Keep BF16 biases BF16 whatever --torch-dtype says (the default)
    #[arg(long, overrides_with = "no_keep_biases_bf16")]
    keep_biases_bf16: bool,
    /// Store all biases as float32
    #[arg(long, overrides_with = "keep_biases_bf16")]
    no_keep_biases_bf16: bool,
    /// Accepted for compatibility: conversion reads one tensor at a time and runs on the CPU, whatever is given here
    #[arg(long, default_value = "auto", value_name = "MAP")]
    device_map: String,
    /// Accepted for compatibility: conversion always runs on the CPU
    #[arg(long)]
    force_cpu_device_map: bool,
    /// Make only weights ternary whose name matches this regular expression; may be repeated
    #[arg(long, value_name = "REGEX")]
    include: Vec<Regex>,
    /// Leave weights whose name matches this regular expression as floats; may be repeated
    #[arg(long, value_name = "REGEX")]
    exclude: Vec<Regex>,
    /// packed (2-bit codes and scales) or dense (the same values as F16 for any Hugging Face tool)
    #[arg(long, default_value_t)]
    format: OutputFormat,
    /// Choose groups for this GGUF type: TQ1_0, TQ2_0 or Q2_0; also the type of --output-gguf
    #[arg(long, visible_alias = "gguf-quant", value_name = "TYPE")]
    pub quant: Option<BlockFormat>,
    /// Also write a GGUF file
    #[arg(long, value_name = "PATH")]
    pub output_gguf: Option<PathBuf>,
    /// Read everything again before it gets its name, and compare it with the source
    #[arg(long)]
    pub validate: bool,
    /// Replace OUT (if it is a t81 directory) and the GGUF file
    #[arg(long)]
    pub overwrite: bool,
    /// Print nothing but errors
    #[arg(short, long)]
    pub quiet: bool,
}

fn threshold(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(threshold) if (0.0..=1.0).contains(&threshold) => Ok(threshold),
        _ => Err("it must be a number from 0 to 1".into()),
    }
}

impl Arguments {
    /// What the flags ask of a conversion.
    pub fn options(&self) -> ConvertOptions {
        ConvertOptions {
            threshold: self.threshold,
            granularity: self.granularity.0,
            reference: self.reference,
            scale: self.scale,
            gguf_format: self.quant,
            dtype: self.torch_dtype,
            keep_biases_bf16: !self.no_keep_biases_bf16,
            include: self.include.clone(),
            exclude: self.exclude.clone(),
            format: self.format,
            overwrite: self.overwrite,
            validate: self.validate,
            source_name: Some(self.source_name()),
        }
    }

    /// The source as the user knows it, not where the cache has it.
    fn source_name(&self) -> String {
        let source = self.source.display();
        match &self.revision {
            Some(revision) => format!("{source}@{revision}"),
            None => source.to_string(),
        }
    }

    /// A device map that names an accelerator, unless the CPU was asked for too.
    pub fn accelerator(&self) -> Option<&str> {
        let on_cpu = self.force_cpu_device_map
            || matches!(self.device_map.as_str(), "auto" | "cpu" | "none");
        (!on_cpu).then_some(self.device_map.as_str())
    }
}
