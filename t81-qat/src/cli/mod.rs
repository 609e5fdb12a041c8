//! The command line of `t81-qat`.

mod bench;
mod choices;
mod evaluate;
mod generate;
mod report;
mod train;
mod values;

use clap::{Parser, Subcommand};

pub use bench::{BenchArguments, MatrixShape};
pub use choices::{ActivationChoice, ComputeType, LearningRateType, TextRows, WarmupType};
pub use evaluate::EvaluateArguments;
pub use generate::GenerateArguments;
pub use report::ReportArguments;
pub use train::TrainArguments;

/// Trains a language model with ternary weights and writes what was trained, bit for bit.
#[derive(Debug, Parser)]
#[command(
    name = "t81-qat",
    version = t81_hub::VERSION,
    arg_required_else_help = true,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:\n  \
        A first run, without a network (a small model from scratch on generated stories, ending in a GGUF):\n    \
        t81-qat tiny --dataset-name stories --output-dir ternary-stories --output-gguf ternary-stories.gguf\n  \
        A model of the Hugging Face Hub, fine-tuned on a text file:\n    \
        t81-qat HuggingFaceTB/SmolLM2-135M --dataset-name corpus.txt --output-dir ternary-smollm2 --max-steps 200\n  \
        Go on after Ctrl-C:\n    \
        t81-qat tiny --dataset-name stories --output-dir ternary-stories --resume\n  \
        Perplexity of the result:\n    \
        t81-qat evaluate ternary-stories --text held-out.txt\n  \
        What it has to say:\n    \
        t81-qat generate ternary-stories --prompt \"Tom went to\"\n  \
        How it went, as a page for the browser:\n    \
        t81-qat report ternary-stories"
)]
pub struct Cli {
    /// What to do instead of training.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Training.
    #[command(flatten)]
    pub train: Option<TrainArguments>,
}

/// What `t81-qat` does besides training.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Reference figures of this machine: serialization, matrix products, a short training run.
    Bench(BenchArguments),
    /// Perplexity of a t81 directory on a text, in the way of llama-perplexity.
    Evaluate(EvaluateArguments),
    /// The text with which a model continues a prompt.
    Generate(GenerateArguments),
    /// A page of HTML of what a run left: curves, weights, sizes and samples.
    Report(ReportArguments),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_of_the_original_parse_by_name() {
        let cli = Cli::parse_from([
            "t81-qat",
            "gpt2",
            "--dataset-name",
            "wikitext",
            "--output-dir",
            "ternary-gpt2",
            "--per-device-train-batch-size",
            "4",
            "--learning-rate",
            "5e-5",
            "--max-train-samples",
            "1000",
            "--gradient-accumulation-steps",
            "2",
            "--num-train-epochs",
            "3",
            "--block-size",
            "256",
            "--dataset-config-name",
            "wikitext-2-raw-v1",
            "--ternary-threshold",
            "0.45",
            "--ternary-stochastic-rounding",
            "--ternary-warmup-steps",
            "500",
        ]);
        let train = cli.train.unwrap();
        assert_eq!(train.model, "gpt2");
        assert_eq!(train.dataset_name.as_deref(), Some("wikitext"));
        assert_eq!(
            train.dataset_config_name.as_deref(),
            Some("wikitext-2-raw-v1")
        );
        assert_eq!(train.per_device_train_batch_size, 4);
        assert_eq!(train.learning_rate, Some(5e-5));
        assert_eq!(train.max_train_samples, Some(1000));
        assert_eq!(train.gradient_accumulation_steps, 2);
        assert_eq!(train.num_train_epochs, 3.0);
        assert_eq!(train.ternary_threshold, Some(0.45));
        assert!(train.ternary_stochastic_rounding);
        assert_eq!(train.ternary_warmup_steps, Some(500));
    }

    #[test]
    fn a_word_chooses_what_else_to_do_and_any_other_is_a_model() {
        let cli = Cli::parse_from(["t81-qat", "generate", "DIR", "--prompt", "-1, "]);
        let Some(Command::Generate(generate)) = cli.command else {
            panic!("{cli:?}")
        };
        assert_eq!(
            (generate.model.as_str(), generate.prompt.as_str()),
            ("DIR", "-1, ")
        );
        assert!(generate.stop_at_eos && generate.temperature == 0.0);
        let line = [
            "t81-qat",
            "./generate",
            "--dataset-name",
            "stories",
            "--output-dir",
            "x",
        ];
        let cli = Cli::parse_from(line);
        assert!(cli.command.is_none());
        assert_eq!(cli.train.unwrap().model, "./generate");
        let lines = ["--stop-at-eos=false", "--stop-at-eos"].map(|flag| {
            let line = ["t81-qat", "generate", flag, "DIR", "--prompt", ""];
            match Cli::parse_from(line).command {
                Some(Command::Generate(generate)) => generate.stop_at_eos,
                other => panic!("{other:?}"),
            }
        });
        assert_eq!(lines, [false, true]);
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for flags in [
            ["--ternary-threshold", "1.5"],
            ["--learning-rate", "-1"],
            ["--block-size", "0"],
            ["--granularity", "group:0"],
            ["--max-grad-norm", "NaN"],
        ] {
            let mut line = vec![
                "t81-qat",
                "tiny",
                "--dataset-name",
                "stories",
                "--output-dir",
                "x",
            ];
            line.extend(flags);
            assert!(Cli::try_parse_from(line).is_err(), "{flags:?}");
        }
    }
}
