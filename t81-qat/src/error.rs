//! What can go wrong in a run.

use std::path::PathBuf;

use thiserror::Error;

/// An error of training, evaluation or export.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum QatError {
    /// A file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried, as in "write".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A checkpoint or t81 directory could not be used.
    #[error(transparent)]
    Hub(#[from] t81_hub::HubError),
    /// `--revision` for a preset, which has none.
    #[error("--revision {revision}: `{preset}` is a fresh model without revisions; leave it out")]
    RevisionOfPreset {
        /// The preset.
        preset: String,
        /// The revision asked for.
        revision: String,
    },
    /// The device asked for is not there.
    #[error("--device: {missing} of the devices asked for are not there; there are: {available}")]
    Device {
        /// How many are missing.
        missing: usize,
        /// What there is.
        available: String,
    },
    /// The device does not compute in the type asked for.
    #[error("--torch-dtype: the device does not compute in {dtype}; leave it to auto")]
    ComputeType {
        /// The type.
        dtype: String,
    },
    /// The teacher is a preset, whose weights are random.
    #[error("--teacher {teacher}: a fresh model has nothing to teach; pass a checkpoint directory")]
    FreshTeacher {
        /// The preset.
        teacher: String,
    },
    /// The teacher speaks another vocabulary.
    #[error("--teacher {teacher}: its vocabulary has {found} tokens, the model's has {expected}")]
    TeacherVocabulary {
        /// The teacher.
        teacher: String,
        /// Its tokens.
        found: usize,
        /// The model's tokens.
        expected: usize,
    },
    /// The training or evaluation data could not be used.
    #[error(transparent)]
    Data(#[from] t81_datasets::DataError),
    /// A weight could not be quantized.
    #[error(transparent)]
    Quantize(#[from] t81_burn::QuantizeWeightError),
    /// The model's weights could not be loaded.
    #[error("cannot load the weights from {}", directory.display())]
    LoadWeights {
        /// The checkpoint directory.
        directory: PathBuf,
        /// Which weight, and why.
        source: t81_burn::models::LoadWeightsError,
    },
    /// A model that only Burn's decoders compute.
    #[error(
        "{} holds no model of the LLaMA family; open it with from_pretrained_t81_packed",
        directory.display()
    )]
    NotLlama {
        /// The t81 directory.
        directory: PathBuf,
    },
    /// The model's configuration describes no model.
    #[error("{} describes a model that cannot be built", path.display())]
    Configuration {
        /// The configuration.
        path: PathBuf,
        /// Why.
        source: t81_burn::models::DecoderConfigError,
    },
    /// The tokenizer has tokens without an embedding.
    #[error(
        "the tokenizer of {} has {tokenizer} tokens, its model embeds {model}: they do not belong together",
        directory.display()
    )]
    Vocabulary {
        /// The checkpoint directory.
        directory: PathBuf,
        /// Tokens of the tokenizer.
        tokenizer: usize,
        /// Rows of the embedding.
        model: usize,
    },
    /// The architecture has no model to train.
    #[error(
        "{} asks for {what}, which can be converted but not trained (trainable: llama, mistral, qwen2, qwen3, gpt2)",
        path.display()
    )]
    Untrainable {
        /// The configuration.
        path: PathBuf,
        /// What the decoders do not have.
        what: String,
    },
    /// A block is longer than the model has positions.
    #[error(
        "--block-size {block_size}: the model has {positions} positions; pass at most --block-size {positions}"
    )]
    BlockSize {
        /// Tokens a block.
        block_size: usize,
        /// Positions of the model.
        positions: usize,
    },
    /// `--include` or `--exclude` is no regular expression.
    #[error("--{flag} is not a regular expression: {message}")]
    Pattern {
        /// The flag.
        flag: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// The selection leaves nothing to quantize.
    #[error("no weight of the model is ternary; loosen --include and --exclude")]
    NothingTernary,
    /// The output directory holds an earlier run.
    #[error(
        "{} holds an earlier run; pass --resume to go on with it, --overwrite to replace it, or another --output-dir",
        directory.display()
    )]
    RunExists {
        /// The output directory.
        directory: PathBuf,
    },
    /// Another run writes to the output directory.
    #[error(
        "another run{} is writing to {}; wait for its end, stop it, or pass another --output-dir",
        process.map_or_else(String::new, |id| format!(" (process {id})")),
        directory.display()
    )]
    InUse {
        /// The output directory.
        directory: PathBuf,
        /// The other run's process, where it can be read.
        process: Option<u32>,
    },
    /// The output directory holds something else.
    #[error(
        "{} exists and is not the output of a run; choose another --output-dir",
        directory.display()
    )]
    NotARun {
        /// The output directory.
        directory: PathBuf,
    },
    /// There is nothing to resume.
    #[error("{} holds no complete checkpoint to resume from; start without --resume", directory.display())]
    NothingToResume {
        /// The output directory.
        directory: PathBuf,
    },
    /// There is nothing to report on.
    #[error(
        "{} holds nothing that a run leaves (metrics.jsonl, settings.json, summary.json, t81); pass the --output-dir of a run",
        directory.display()
    )]
    NothingToReport {
        /// The directory.
        directory: PathBuf,
    },
    /// A benchmark could not be finished.
    #[error("bench: {what} failed")]
    Benchmark {
        /// What was measured.
        what: &'static str,
        /// Why it failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The run to resume had other settings.
    #[error(
        "--resume with another {setting}: the run in {} has {before}, the command line asks for {now}",
        directory.display()
    )]
    SettingsDiffer {
        /// The output directory.
        directory: PathBuf,
        /// The setting that differs.
        setting: String,
        /// Its value in the run.
        before: String,
        /// Its value on the command line.
        now: String,
    },
    /// `--resume` with other tokens than those that the run began with.
    #[error(
        "--resume in {} with other tokens to {purpose} on: the dataset or the tokenizer has changed since the run began; restore them, or start a new run with --overwrite",
        directory.display()
    )]
    TokensDiffer {
        /// The output directory.
        directory: PathBuf,
        /// `train` or `evaluate`.
        purpose: &'static str,
    },
    /// A step needs more memory than is available.
    #[error(
        "a training step needs {needed:.1} GB of memory or more, and {available:.1} GB are available: {advice}"
    )]
    Memory {
        /// Lower bound in GB.
        needed: f64,
        /// GB that the system can still give.
        available: f64,
        /// Flags that help.
        advice: String,
    },
    /// A file of the run is damaged.
    #[error("{} is damaged: {message}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A checkpoint of the run is damaged.
    #[error("the checkpoint is damaged ({}: {message}); {advice}", path.display())]
    DamagedCheckpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
        /// What the user can do.
        advice: String,
    },
    /// The loss is no number any more.
    #[error("the loss of optimizer step {step} is {loss}; {way_out}")]
    NonFiniteLoss {
        /// The optimizer step.
        step: usize,
        /// The loss.
        loss: f64,
        /// What the user can do.
        way_out: String,
    },
    /// The loss is far above that of a model that guesses.
    #[error(
        "the loss of optimizer step {step} exploded to {loss:.1}, where a model that guesses has {guess:.1}; {way_out}"
    )]
    ExplodedLoss {
        /// The optimizer step.
        step: usize,
        /// The loss.
        loss: f64,
        /// The loss of a model that gives every token the same probability.
        guess: f64,
        /// What the user can do.
        way_out: String,
    },
    /// The loss of an evaluation is no number.
    #[error("the evaluation after optimizer step {step} gives a loss of {loss}; {way_out}")]
    NonFiniteEvaluation {
        /// The optimizer step.
        step: usize,
        /// The loss.
        loss: f64,
        /// What the user can do.
        way_out: String,
    },
    /// An update made a weight that cannot be quantized any more.
    #[error("the weights diverged at optimizer step {step}; {way_out}")]
    Diverged {
        /// The optimizer step.
        step: usize,
        /// What the user can do.
        way_out: String,
        /// Which weight, and why.
        source: t81_burn::QuantizeWeightError,
    },
    /// An update left a weight that is not a number.
    #[error("optimizer step {step} made `{weight}` infinite or NaN; {way_out}")]
    NonFiniteWeight {
        /// The optimizer step.
        step: usize,
        /// Name of the weight as in a Hugging Face checkpoint.
        weight: String,
        /// What the user can do.
        way_out: String,
    },
    /// A checkpoint could not be written.
    #[error(
        "the checkpoint was not saved: {message}; make room and go on with --resume from {}",
        kept.display()
    )]
    Save {
        /// Which file, and why.
        message: String,
        /// The newest complete checkpoint.
        kept: PathBuf,
    },
    /// Burn's learner stopped on an error.
    #[error("training stopped at optimizer step {step}: {message}")]
    Training {
        /// Optimizer steps done.
        step: usize,
        /// What happened.
        message: String,
    },
    /// An evaluation could not be finished.
    #[error("evaluation stopped: {message}")]
    Evaluation {
        /// What happened.
        message: String,
    },
    /// The prompt, or what was generated, does not fit the model.
    #[error("cannot continue the prompt")]
    Prompt(#[source] t81_burn::models::CacheError),
    /// There is nothing to continue, and the model has no token to begin a text with.
    #[error("--prompt is empty and the model names no token to begin with; pass a text")]
    EmptyPrompt,
    /// A prompt of the samples fills the context.
    #[error(
        "--sample-prompt: one has {tokens} tokens, the model's context {context_length}; pass a shorter one"
    )]
    SamplePrompt {
        /// Tokens of the prompt.
        tokens: usize,
        /// Tokens of the context.
        context_length: usize,
    },
    /// A preset, whose weights are random, is asked to write.
    #[error(
        "`{preset}` is a fresh model and has nothing to say; pass a directory or an id of the Hub"
    )]
    FreshGeneration {
        /// The preset.
        preset: String,
    },
    /// The model's logits are no numbers.
    #[error(
        "the model gives no number for the token at position {position}; its weights are damaged"
    )]
    NonFiniteLogits {
        /// The position.
        position: usize,
    },
    /// The tokenizer failed.
    #[error("the tokenizer cannot {action} the text: {message}")]
    Tokenizer {
        /// What was tried, as in "encode".
        action: &'static str,
        /// Why it failed.
        message: String,
    },
    /// An evaluation has nothing to score.
    #[error(
        "--block-size {block_size} leaves no token to score: only the second half of a window counts, without its first token; pass --block-size 3 or more"
    )]
    NothingScored {
        /// Tokens of a window.
        block_size: usize,
    },
    /// The run is complete but for its GGUF.
    #[error(
        "the GGUF file was not written; the model in {} is complete, write it again with `{command}`",
        directory.display()
    )]
    Export {
        /// The t81 directory.
        directory: PathBuf,
        /// The command line that does what failed.
        command: String,
        /// Why it failed.
        source: Box<t81_gguf::GgufError>,
    },
    /// The GGUF could not be planned.
    #[error(transparent)]
    Gguf(#[from] t81_gguf::GgufError),
}

impl QatError {
    /// Says what to do about a run that diverged; another error stays as it is.
    pub(crate) fn with_way_out(mut self, text: String) -> Self {
        if let Self::NonFiniteLoss { way_out, .. }
        | Self::ExplodedLoss { way_out, .. }
        | Self::NonFiniteEvaluation { way_out, .. }
        | Self::NonFiniteWeight { way_out, .. }
        | Self::Diverged { way_out, .. } = &mut self
        {
            *way_out = text;
        }
        self
    }

    /// Attaches what was measured to an error.
    pub(crate) fn benchmark(
        what: &'static str,
    ) -> impl FnOnce(Box<dyn std::error::Error + Send + Sync>) -> Self {
        move |source| Self::Benchmark { what, source }
    }

    /// Attaches what was tried and where to an I/O error.
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }
}
