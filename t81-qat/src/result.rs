//! The end of a run: from the trained model to the files.

use std::fs;

use burn::module::Module;
use t81_burn::models::Decoder;
use t81_hub::T81Directory;
use t81_hub::terminal::print;

use crate::error::QatError;
use crate::export::write_t81_directory;
use crate::gguf::GgufOutput;
use crate::run::Session;
use crate::summary::{Baseline, Sizes, Summary};
use crate::training::{Outcome, QatModel, Reporter, RunState};

impl Session<'_> {
    /// Writes the t81 directory, the GGUF and the summary.
    pub(crate) fn finish(
        &self,
        before: Baseline,
        decoder: Decoder,
        outcome: &Outcome,
        reporter: &Reporter,
    ) -> Result<(), QatError> {
        let state = outcome.state;
        let (decoder, step) = self.result(decoder, &state)?;
        let evaluations = reporter.evaluations();
        let evaluated = evaluations.iter().rfind(|line| line.step == step);
        let Some(evaluation) = evaluated.or(evaluations.last()) else {
            return Err(QatError::Training {
                step: state.step,
                message: "the run ended without an evaluation".to_string(),
            });
        };
        let training = serde_json::json!({
            "steps": step,
            "tokens": evaluation.tokens,
            "eval_loss": evaluation.eval_loss,
            "settings": self.settings,
        });
        let t81 = write_t81_directory(
            &self.output.t81(),
            &decoder,
            &self.ternary,
            &self.report,
            &self.source,
            self.settings.activations,
            training,
        )?;
        let directory = T81Directory::open(&t81)?;
        let statistics = &directory.metadata().statistics;
        let mut summary = Summary {
            tool_version: env!("CARGO_PKG_VERSION").to_string(),
            before,
            perplexity: evaluation.eval_loss.exp(),
            loss: evaluation.eval_loss,
            eval_tokens: evaluation.eval_tokens,
            result_step: step,
            best: state.evaluations.best,
            stopped_early: outcome.stopped_early,
            sparsity: statistics.sparsity,
            ternary_weights: self.report.ternary_weights(),
            float_parameters: self.report.kept_weights(),
            bits_per_ternary_weight: statistics.bits_per_weight,
            bytes: Sizes {
                float32: 4 * decoder.num_params() as u64,
                t81: statistics.stored_bytes,
                gguf: None,
            },
            steps: state.step,
            tokens: state.tokens,
            seconds: state.seconds,
            peak_memory: outcome.memory,
            settings: self.settings.clone(),
        };
        let kind = match self.report.ternary.is_empty() {
            true => "float",
            false => "ternary",
        };
        print(format_args!("{}: the {kind} model", t81.display()));
        // Before the export, so that a failure costs the file alone.
        self.output.write_json("summary.json", &summary)?;
        let mut exported = Ok(());
        if let Some(gguf) = GgufOutput::of(self.arguments) {
            exported = gguf.write(&directory).map(|export| print(&export));
            if exported.is_ok() {
                summary.bytes.gguf = fs::metadata(gguf.path()).ok().map(|file| file.len());
                self.output.write_json("summary.json", &summary)?;
            }
        }
        print(&summary);
        exported
    }

    /// The model that becomes the result and the optimizer step that made it: `last`, or with `--load-best-model-at-end` that
    /// of the checkpoint with the lowest evaluation loss.
    fn result(&self, last: Decoder, state: &RunState) -> Result<(Decoder, usize), QatError> {
        if !self.arguments.load_best_model_at_end {
            return Ok((last, state.step));
        }
        let Some(best) = self.checkpoints.best()? else {
            print("No checkpoint was evaluated: the result is the last model.");
            return Ok((last, state.step));
        };
        if best.step == state.step {
            return Ok((last, state.step));
        }
        self.checkpoints.verified(best.step)?;
        let model = self.restore_model(best.step, QatModel::new(last, 0.0))?;
        // The threshold of that step, in case it was still moving.
        self.ternary
            .handle()
            .set_step(&self.settings.schedule, best.step);
        Ok((model.decoder, best.step))
    }
}
