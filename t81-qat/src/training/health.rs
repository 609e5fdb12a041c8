//! Whether a run is still one worth going on with.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Bool, Tensor};
use t81_burn::{QuantizeWeightError, Ternary, TernaryReport};

use super::checkpoint::CheckpointDirectory;
use super::model::{QatModel, StepOutput};
use crate::error::QatError;

/// A loss this many times that of a model that guesses (`ln(vocabulary)`) is an explosion: no warm-up reaches it.
const EXPLOSION: f64 = 10.0;

/// Judges the state of a run at a step. What to do about an error is for [`way_out`] to say, once all checkpoints are on disk.
pub(super) struct Health {
    pub(super) step: usize,
    pub(super) vocabulary: usize,
}

impl Health {
    /// Mean loss of a step in nats, if it is one of a model that still learns.
    pub(super) fn loss(&self, output: &StepOutput) -> Result<f64, QatError> {
        let likelihood = output.negative_log_likelihood.clone();
        let sum: f64 = likelihood.into_data().iter::<f64>().sum();
        let loss = sum / output.tokens as f64;
        if !loss.is_finite() {
            return Err(QatError::NonFiniteLoss {
                step: self.step,
                loss,
                way_out: String::new(),
            });
        }
        let guess = (self.vocabulary.max(2) as f64).ln();
        if loss > EXPLOSION * guess {
            return Err(QatError::ExplodedLoss {
                step: self.step,
                loss,
                guess,
                way_out: String::new(),
            });
        }
        Ok(loss)
    }

    /// The loss of an evaluation, if it is a number.
    pub(super) fn evaluation_loss(&self, loss: f64) -> Result<f64, QatError> {
        if loss.is_finite() {
            return Ok(loss);
        }
        Err(QatError::NonFiniteEvaluation {
            step: self.step,
            loss,
            way_out: String::new(),
        })
    }

    /// Checks that every weight of `model` is a number. Waits for the device once.
    pub(super) fn weights(&self, model: &QatModel) -> Result<(), QatError> {
        let mut finite = Finite { all: None };
        model.visit(&mut finite);
        let all = finite
            .all
            .map(|all| all.into_data().iter::<bool>().all(|finite| finite));
        if all != Some(false) {
            return Ok(());
        }
        model.decoder.visit_weights(|weight| {
            if weight.values.iter().all(|value| value.is_finite()) {
                return Ok(());
            }
            Err(QatError::NonFiniteWeight {
                step: self.step,
                weight: weight.spec.name,
                way_out: String::new(),
            })
        })
    }

    /// Share of zeros among the ternary codes of `model`, if all of its weights can be quantized.
    pub(super) fn sparsity(
        &self,
        model: &QatModel,
        ternary: &Ternary,
        report: &TernaryReport,
    ) -> Result<f64, QatError> {
        let (mut zeros, mut weights) = (0.0, 0);
        ternary
            .quantize_weights(&model.decoder, report, |_, matrix| {
                let count = matrix.rows() * matrix.columns();
                zeros += matrix.sparsity() * count as f64;
                weights += count;
                Ok::<_, QuantizeWeightError>(())
            })
            .map_err(|source| QatError::Diverged {
                step: self.step,
                way_out: String::new(),
                source,
            })?;
        Ok(zeros / weights.max(1) as f64)
    }
}

/// Whether all floats of a model are finite, `[1]`, decided where they lie.
struct Finite {
    all: Option<Tensor<1, Bool>>,
}

impl ModuleVisitor for Finite {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let finite = param.base().inner().is_finite().all();
        self.all = Some(match self.all.take() {
            Some(all) => all.bool_and(finite),
            None => finite,
        });
    }
}

/// What to do about a run that diverged, whose checkpoints are all on disk.
pub(super) fn way_out(checkpoints: &CheckpointDirectory) -> String {
    match checkpoints.steps().last() {
        Some(&step) => format!(
            "the last good checkpoint is {}; start again with a smaller --learning-rate",
            checkpoints.folder(step).display()
        ),
        None => "start again with a smaller --learning-rate".to_string(),
    }
}
