//! Which evaluation is the best one, and when further training is in vain.

use serde::{Deserialize, Serialize};

/// The loss of an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluatedStep {
    /// Optimizer steps done.
    pub step: usize,
    /// Mean cross-entropy of the evaluation blocks in nats, with exact ternary weights.
    pub loss: f64,
}

/// What a run remembers of its evaluations, and its checkpoints with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct EvaluationHistory {
    pub(crate) last: Option<EvaluatedStep>,
    pub(crate) best: Option<EvaluatedStep>,
    /// Evaluations since the last one that was better than all before it.
    pub(crate) without_improvement: usize,
}

impl EvaluationHistory {
    /// Takes note of an evaluation; whether it is the best so far.
    ///
    /// An improvement is what Hugging Face's `EarlyStoppingCallback` takes for one: better than the best before by more than
    /// the threshold. What falls into the warm-up, where losses rise and fall with the schedules, is never in vain.
    pub(crate) fn add(&mut self, evaluated: EvaluatedStep, rule: &EarlyStopping) -> bool {
        let gain = self
            .best
            .map_or(f64::INFINITY, |best| best.loss - evaluated.loss);
        let improves = gain > 0.0 && gain > rule.threshold;
        if improves || evaluated.step < rule.first_step {
            self.without_improvement = 0;
        } else {
            self.without_improvement += 1;
        }
        if gain > 0.0 {
            self.best = Some(evaluated);
        }
        self.last = Some(evaluated);
        gain > 0.0
    }

    /// The evaluation at `step`, if that was the last one.
    pub(crate) fn at(&self, step: usize) -> Option<EvaluatedStep> {
        self.last.filter(|last| last.step == step)
    }
}

/// `--early-stopping-patience` and `--early-stopping-threshold`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct EarlyStopping {
    /// Evaluations in a row that may bring no improvement; any number if `None`.
    pub(crate) patience: Option<usize>,
    /// What a loss must be lower by to be an improvement.
    pub(crate) threshold: f64,
    /// First optimizer step after the warm-up.
    pub(crate) first_step: usize,
}

impl EarlyStopping {
    /// Whether the patience is at its end.
    pub(crate) fn stops(&self, history: &EvaluationHistory) -> bool {
        self.patience
            .is_some_and(|patience| history.without_improvement >= patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(rule: EarlyStopping, losses: &[f64]) -> (EvaluationHistory, Vec<bool>) {
        let mut history = EvaluationHistory::default();
        let best = losses.iter().enumerate().map(|(index, &loss)| {
            let step = 10 * (index + 1);
            history.add(EvaluatedStep { step, loss }, &rule)
        });
        let best = best.collect();
        (history, best)
    }

    fn rule(threshold: f64, first_step: usize) -> EarlyStopping {
        EarlyStopping {
            patience: Some(2),
            threshold,
            first_step,
        }
    }

    #[test]
    fn the_lowest_loss_is_the_best() {
        let (history, best) = run(rule(0.0, 0), &[3.0, 2.0, 2.5, 2.0]);
        assert_eq!(best, [true, true, false, false]);
        assert_eq!(history.best.unwrap().step, 20);
        assert_eq!(history.without_improvement, 2);
        assert!(rule(0.0, 0).stops(&history));
        assert_eq!(history.at(40).unwrap().loss, 2.0);
        assert_eq!(history.at(20), None);
    }

    #[test]
    fn a_small_gain_is_the_best_but_no_improvement() {
        let (history, best) = run(rule(0.5, 0), &[3.0, 2.9, 2.8]);
        assert_eq!(best, [true; 3]);
        assert_eq!(history.without_improvement, 2);
        let (history, _) = run(rule(0.5, 0), &[3.0, 2.9, 2.3]);
        assert_eq!(history.without_improvement, 0);
    }

    #[test]
    fn the_warm_up_does_not_count_and_without_patience_nothing_does() {
        let losses = [3.0, 4.0, 5.0, 6.0];
        let (history, _) = run(rule(0.0, 30), &losses);
        assert_eq!(history.without_improvement, 2);
        let (history, _) = run(rule(0.0, 40), &losses);
        assert_eq!(history.without_improvement, 1);
        let endless = EarlyStopping {
            patience: None,
            ..rule(0.0, 0)
        };
        assert!(!endless.stops(&run(endless, &losses).0));
    }
}
