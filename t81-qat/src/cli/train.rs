//! Arguments of training.

use std::path::PathBuf;

use clap::Args;
use t81_core::GranularityChoice;
use t81_core::{Reference, ScaleRule};
use t81_gguf::command_line::TOKENIZER_PRE_HELP;
use t81_gguf::{ExportType, PreTokenizerName};

use super::choices::{ActivationChoice, ComputeType, LearningRateType, TextRows, WarmupType};
use super::values::{fraction, learning_rate, non_negative_number, positive, positive_number};
use crate::device::DeviceChoice;
use crate::recipe::Recipe;

/// Arguments of training.
#[derive(Args, Clone, Debug)]
#[command(next_line_help = false)]
pub struct TrainArguments {
    /// An id of the Hugging Face Hub or a checkpoint directory (llama, mistral, qwen2, qwen3, gpt2), or `tiny` or `small` for
    /// a fresh model.
    #[arg(value_name = "MODEL")]
    pub model: String,
    /// Branch, tag or commit of a model of the Hugging Face Hub [default: main].
    #[arg(long, value_name = "REVISION")]
    pub revision: Option<String>,

    /// `stories` (generated, no network), a dataset of the Hugging Face Hub, a file, or a directory of files.
    #[arg(
        long,
        help_heading = "Data",
        value_name = "NAME",
        required_unless_present = "train_file"
    )]
    pub dataset_name: Option<String>,
    /// Configuration of a dataset that has several [default: the dataset's; of `wikitext`, `wikitext-2-raw-v1`].
    #[arg(
        long,
        help_heading = "Data",
        value_name = "NAME",
        conflicts_with = "train_file"
    )]
    pub dataset_config_name: Option<String>,
    /// Branch, tag or commit of a dataset on the Hub [default: main].
    #[arg(
        long,
        help_heading = "Data",
        value_name = "REVISION",
        conflicts_with = "train_file"
    )]
    pub dataset_revision: Option<String>,
    /// Split to train on, or a slice of it such as `train[:10%]` or `train[:1000]` [default: train].
    #[arg(long, help_heading = "Data", value_name = "SPLIT")]
    pub train_split: Option<String>,
    /// Split to evaluate on, or a slice of it [default: validation or what else is called so, else test].
    #[arg(
        long,
        help_heading = "Data",
        value_name = "SPLIT",
        conflicts_with = "validation_file"
    )]
    pub validation_split: Option<String>,
    /// Column that holds the text [default: text, content, or the only one that reads as text].
    #[arg(long, help_heading = "Data", value_name = "COLUMN")]
    pub text_column: Option<String>,
    /// What a row is: `lines` are joined, `documents` have the end-of-text token between them.
    #[arg(
        long,
        help_heading = "Data",
        value_name = "KIND",
        default_value = "auto"
    )]
    pub text_rows: TextRows,
    /// File of text, JSON lines, CSV, TSV or parquet to train on, in place of a dataset; may be given several times.
    #[arg(
        long,
        help_heading = "Data",
        value_name = "FILE",
        conflicts_with = "dataset_name"
    )]
    pub train_file: Vec<PathBuf>,
    /// File of text, JSON lines, CSV, TSV or parquet to evaluate on [default: the last tenth of a text file, a split of a dataset].
    #[arg(long, help_heading = "Data", value_name = "FILE")]
    pub validation_file: Option<PathBuf>,
    /// Do not keep the tokens for the next run (in $T81_CACHE, or else `t81` in the user's cache directory).
    #[arg(long, help_heading = "Data")]
    pub no_token_cache: bool,
    /// Blocks to train on at most.
    #[arg(long, value_name = "N", help_heading = "Data", value_parser = positive)]
    pub max_train_samples: Option<usize>,
    /// Blocks to evaluate on at most.
    #[arg(long, value_name = "N", help_heading = "Data", default_value_t = 64, value_parser = positive)]
    pub max_eval_samples: usize,
    /// Tokens a block [default: 128 for `tiny`, 256 for `small`, else 512 or the model's context if that is shorter].
    #[arg(long, value_name = "TOKENS", help_heading = "Data", value_parser = positive)]
    pub block_size: Option<usize>,

    /// Where the run is written; `metrics.jsonl`, checkpoints, `t81/` (the result), `summary.json`.
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub output_dir: PathBuf,
    /// Replace an earlier run in the output directory.
    #[arg(long, help_heading = "Output", conflicts_with = "resume")]
    pub overwrite: bool,
    /// Go on from the last checkpoint in the output directory.
    #[arg(long, help_heading = "Output")]
    pub resume: bool,
    /// Also write the result as GGUF.
    #[arg(long, value_name = "PATH", help_heading = "Output")]
    pub output_gguf: Option<PathBuf>,
    /// Type of the ternary tensors in the GGUF [default: TQ2_0 where every row divides by 256, else Q2_0].
    #[arg(long, value_name = "TYPE", help_heading = "Output")]
    pub gguf_quant: Option<ExportType>,
    /// llama.cpp's name of the pre-tokenizer in the GGUF.
    #[arg(long, value_name = "NAME", help_heading = "Output", help = TOKENIZER_PRE_HELP, requires = "output_gguf")]
    pub tokenizer_pre: Option<PreTokenizerName>,

    /// Blocks that a device sees at once.
    #[arg(long, value_name = "N", help_heading = "Training", default_value_t = 8, value_parser = positive)]
    pub per_device_train_batch_size: usize,
    /// Batches an optimizer step sums up.
    #[arg(long, value_name = "N", help_heading = "Training", default_value_t = 1, value_parser = positive)]
    pub gradient_accumulation_steps: usize,
    /// Keep the activations of one layer at a time and compute the others again: less memory, longer steps, the same result.
    #[arg(long, help_heading = "Training")]
    pub gradient_checkpointing: bool,
    /// Settings that were measured together; each can still be set apart.
    #[arg(
        long,
        value_name = "RECIPE",
        help_heading = "Training",
        default_value = "default"
    )]
    pub recipe: Recipe,
    /// A float model whose predictions are taught: a checkpoint directory, such as the `t81` directory of a run with `--recipe
    /// float`. Same vocabulary as MODEL.
    #[arg(long, value_name = "DIR", help_heading = "Training")]
    pub teacher: Option<String>,
    /// Share of the teacher's predictions in what is taught, the rest being the text [default: 0.9 with a teacher].
    #[arg(long, value_name = "SHARE", help_heading = "Training", requires = "teacher", value_parser = fraction)]
    pub distillation_weight: Option<f32>,
    /// Highest learning rate [default: by the recipe, 2e-3 for a pretrained model, 1e-3 for a fresh one].
    #[arg(long, value_name = "RATE", help_heading = "Training", value_parser = learning_rate)]
    pub learning_rate: Option<f64>,
    /// Learning rate of the embeddings as a factor of the others' [default: by the recipe, 0.3 for a pretrained model].
    #[arg(long, value_name = "FACTOR", help_heading = "Training", value_parser = non_negative_number)]
    pub embedding_learning_rate_factor: Option<f64>,
    /// Passes over the training blocks.
    #[arg(long, value_name = "N", help_heading = "Training", default_value_t = 1.0, value_parser = positive_number)]
    pub num_train_epochs: f64,
    /// Optimizer steps, in place of --num-train-epochs.
    #[arg(long, value_name = "N", help_heading = "Training", value_parser = positive)]
    pub max_steps: Option<usize>,
    /// How the learning rate falls after its warm-up [default: by the recipe, linear for a pretrained model, cosine for a fresh
    /// one].
    #[arg(long, value_name = "TYPE", help_heading = "Training")]
    pub lr_scheduler_type: Option<LearningRateType>,
    /// Optimizer steps in which the learning rate rises from 0 [default: 5 % of the steps].
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub warmup_steps: Option<usize>,
    /// Decoupled weight decay of AdamW (matrices only).
    #[arg(long, value_name = "DECAY", help_heading = "Training", default_value_t = 0.0, value_parser = non_negative_number)]
    pub weight_decay: f64,
    /// Norm that the gradient of all parameters together is clipped to; 0 for none.
    #[arg(long, value_name = "NORM", help_heading = "Training", default_value_t = 1.0, value_parser = non_negative_number)]
    pub max_grad_norm: f64,
    /// Seed of the initial weights, the order of the blocks and stochastic rounding.
    #[arg(
        long,
        value_name = "SEED",
        help_heading = "Training",
        default_value_t = 42
    )]
    pub seed: u64,
    /// Where to compute: auto (a GPU if there is one), cpu, gpu, or one as in vulkan:0, metal:0, cuda:0.
    #[arg(
        long,
        value_name = "DEVICE",
        help_heading = "Training",
        default_value = "auto"
    )]
    pub device: DeviceChoice,
    /// Devices that share each batch: the one of --device and those after it.
    #[arg(long, value_name = "N", help_heading = "Training", default_value_t = 1, value_parser = positive)]
    pub devices: usize,
    /// Type of the matrix products; weights and optimizer are always float32 [auto: float32 on a CPU, else the shortest that
    /// the device has].
    #[arg(
        long,
        value_name = "TYPE",
        help_heading = "Training",
        default_value = "auto"
    )]
    pub torch_dtype: ComputeType,
    /// Optimizer steps between two progress lines.
    #[arg(long, value_name = "N", help_heading = "Training", default_value_t = 10, value_parser = positive)]
    pub logging_steps: usize,
    /// Optimizer steps between two evaluations [default: a tenth of the steps, at least 50].
    #[arg(long, value_name = "N", help_heading = "Training", value_parser = positive)]
    pub eval_steps: Option<usize>,
    /// Text that each evaluation continues, most probable token by most probable token; may be given several times.
    #[arg(
        long,
        value_name = "TEXT",
        help_heading = "Training",
        allow_hyphen_values = true
    )]
    pub sample_prompt: Vec<String>,
    /// Tokens to continue each --sample-prompt by at most.
    #[arg(long, value_name = "N", help_heading = "Training", default_value_t = 32, value_parser = positive)]
    pub sample_tokens: usize,
    /// Optimizer steps between two checkpoints [default: a tenth of the steps, at least 50].
    #[arg(long, value_name = "N", help_heading = "Training", value_parser = positive)]
    pub save_steps: Option<usize>,
    /// Checkpoints to keep: the newest ones and always the one with the lowest evaluation loss.
    #[arg(long, value_name = "N", help_heading = "Training", default_value_t = 2, value_parser = positive)]
    pub save_total_limit: usize,
    /// Make the result from the checkpoint with the lowest evaluation loss; each evaluation that is the best so far is saved.
    #[arg(long, help_heading = "Training")]
    pub load_best_model_at_end: bool,
    /// Stop after this many evaluations in a row without an improvement; those in the warm-ups of lambda and threshold do not
    /// count.
    #[arg(long, value_name = "N", help_heading = "Training", value_parser = positive)]
    pub early_stopping_patience: Option<usize>,
    /// What the evaluation loss must fall by to be an improvement.
    #[arg(long, value_name = "LOSS", help_heading = "Training", default_value_t = 0.0, value_parser = non_negative_number)]
    pub early_stopping_threshold: f64,

    /// Fraction of a group's reference magnitude below which a weight becomes 0 [default: by the recipe, 0.7].
    #[arg(long, value_name = "T", help_heading = "Ternary", value_parser = fraction)]
    pub ternary_threshold: Option<f32>,
    /// Factor of the gradients of weights whose code is 0 [default: by the recipe, 0.25 for a pretrained model].
    #[arg(long, value_name = "FACTOR", help_heading = "Ternary", value_parser = fraction)]
    pub ternary_zero_gain: Option<f32>,
    /// Keep a weight above the threshold with a probability that grows with its magnitude.
    #[arg(long, help_heading = "Ternary")]
    pub ternary_stochastic_rounding: bool,
    /// Optimizer steps in which the threshold moves from 1.0 to --ternary-threshold [default: by the recipe, 0].
    #[arg(long, value_name = "N", help_heading = "Ternary")]
    pub ternary_warmup_steps: Option<usize>,
    /// Curve of the threshold's warm-up.
    #[arg(
        long,
        value_name = "CURVE",
        help_heading = "Ternary",
        default_value = "linear"
    )]
    pub ternary_warmup_type: WarmupType,
    /// Optimizer steps in which the forward pass moves from float to ternary weights [default: by the recipe, 20 % of the steps].
    #[arg(long, value_name = "N", help_heading = "Ternary")]
    pub lambda_warmup_steps: Option<usize>,
    /// Curve of the move from float to ternary weights.
    #[arg(
        long,
        value_name = "CURVE",
        help_heading = "Ternary",
        default_value = "linear"
    )]
    pub lambda_warmup_type: WarmupType,
    /// Which weights share a scale: auto, tensor, row, group:N. `auto` takes groups of 256 where every ternary row
    /// divides by 256, else of 64 [default: by the recipe, auto].
    #[arg(long, value_name = "G", help_heading = "Ternary")]
    pub granularity: Option<GranularityChoice>,
    /// How a scale is computed: least-squares or reference [default: by the recipe, least-squares].
    #[arg(long, value_name = "RULE", help_heading = "Ternary")]
    pub scale: Option<ScaleRule>,
    /// What the threshold is a fraction of: abs-mean or abs-max [default: by the recipe, abs-mean].
    #[arg(long, value_name = "REFERENCE", help_heading = "Ternary")]
    pub reference: Option<Reference>,
    /// How activations enter the products with ternary weights: as they are, or rounded to int8 as `generate --activations int8`
    /// and llama.cpp round them.
    #[arg(long, value_name = "TYPE", help_heading = "Ternary", value_enum, default_value_t = ActivationChoice::Float32)]
    pub activations: ActivationChoice,
    /// Only `Linear` weights whose name matches become ternary.
    #[arg(long, value_name = "REGEX", help_heading = "Ternary")]
    pub include: Option<String>,
    /// `Linear` weights whose name matches stay float.
    #[arg(long, value_name = "REGEX", help_heading = "Ternary")]
    pub exclude: Option<String>,
}
