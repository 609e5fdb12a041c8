//! The command line of `t81-convert`: flags and their meaning.

use std::path::{Path, PathBuf};

use clap::Parser;
use regex::Regex;
use t81_core::{BlockFormat, GranularityChoice, Reference, ScaleRule};
use t81_gguf::command_line::TOKENIZER_PRE_HELP;
use t81_gguf::{ExportOptions, ExportType, PreTokenizerName};
use t81_hub::{Dtype, OutputFormat, model_name};

use crate::{ConvertError, ConvertOptions, GgufOutput};

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
    /// Choose groups for this GGUF type: TQ1_0, TQ2_0 or Q2_0 [default: that of --gguf-quant]
    #[arg(long, value_name = "TYPE")]
    quant: Option<BlockFormat>,
    /// Also write a GGUF file; both appear, or neither
    #[arg(long, value_name = "PATH")]
    output_gguf: Option<PathBuf>,
    /// Type of the ternary matrices in the GGUF file: TQ1_0, TQ2_0, Q2_0, F16 or F32 [default: that of --quant, else TQ2_0
    /// if it holds all of them without loss, else Q2_0]
    #[arg(long, value_name = "TYPE")]
    gguf_quant: Option<ExportType>,
    #[arg(long, value_name = "NAME", help = TOKENIZER_PRE_HELP, requires = "output_gguf")]
    tokenizer_pre: Option<PreTokenizerName>,
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
    /// The options of a conversion that the flags set; the name of the source is not among them.
    ///
    /// # Errors
    /// [`ConvertError::Groups`].
    pub fn options(&self) -> Result<ConvertOptions, ConvertError> {
        Ok(ConvertOptions {
            threshold: self.threshold,
            granularity: self.granularity.0,
            reference: self.reference,
            scale: self.scale,
            gguf_format: self.groups()?,
            gguf: self.gguf_output(),
            dtype: self.torch_dtype,
            keep_biases_bf16: !self.no_keep_biases_bf16,
            include: self.include.clone(),
            exclude: self.exclude.clone(),
            format: self.format,
            overwrite: self.overwrite,
            validate: self.validate,
            source_name: None,
        })
    }

    /// The source as the user knows it, read from `directory`.
    pub fn source_name(&self, directory: &Path) -> String {
        model_name(&self.source, self.revision.as_deref(), directory)
    }

    /// The type that groups are chosen for.
    fn groups(&self) -> Result<Option<BlockFormat>, ConvertError> {
        let file = match self.gguf_quant {
            Some(ExportType::Ternary(format)) => Some(format),
            _ => None,
        };
        if let (Some(groups), Some(file), None) = (self.quant, file, self.granularity.0)
            && !groups.block_len().is_multiple_of(file.block_len())
        {
            return Err(ConvertError::Groups { groups, file });
        }
        Ok(self.quant.or(file))
    }

    /// The GGUF file that the flags ask for.
    fn gguf_output(&self) -> Option<GgufOutput> {
        let path = self.output_gguf.clone()?;
        let options = ExportOptions {
            quant: self.gguf_quant.or(self.quant.map(ExportType::Ternary)),
            tokenizer_pre: self.tokenizer_pre,
            overwrite: self.overwrite,
            validate: self.validate,
            ..ExportOptions::default()
        };
        Some(GgufOutput { path, options })
    }

    /// A device map that names an accelerator, unless the CPU was asked for too.
    pub fn accelerator(&self) -> Option<&str> {
        let on_cpu = self.force_cpu_device_map
            || matches!(self.device_map.as_str(), "auto" | "cpu" | "none");
        (!on_cpu).then_some(self.device_map.as_str())
    }
}
