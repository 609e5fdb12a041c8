//! Recipes: settings that were measured together.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use t81_core::{Granularity, Reference, ScaleRule};

use crate::cli::LearningRateType;

/// `--recipe`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Recipe {
    /// What was measured best: one set of values for pretrained models, one for fresh ones.
    Default,
    /// BitNet b1.58 with the blend of Hugging Face's 1.58-bit fine-tuning: one absmean scale for each matrix.
    Bitnet,
    /// The recipe of t81lib: one absmax scale for each matrix, and a threshold that falls from 1.
    T81lib,
    /// Nothing ternary: a plain fine-tune, to compare with or to be a --teacher.
    Float,
}

/// What a recipe sets where the command line does not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Preset {
    pub(crate) learning_rate: f64,
    /// Of the embedding, as a factor of the others'.
    pub(crate) embedding_rate: f64,
    pub(crate) decay: LearningRateType,
    /// `None`: by the model.
    pub(crate) granularity: Option<Granularity>,
    pub(crate) reference: Reference,
    pub(crate) scale: ScaleRule,
    pub(crate) threshold: f32,
    /// Shares of the steps that the warm-ups take.
    pub(crate) threshold_warmup: f64,
    pub(crate) blend_warmup: f64,
    /// Of gradients of weights whose code is 0.
    pub(crate) zero_gain: f32,
    /// Share of the teacher's distribution in the target, if there is a teacher.
    pub(crate) distillation: f64,
}

impl Recipe {
    pub(crate) fn preset(self, is_pretrained: bool) -> Preset {
        let fresh = Preset {
            learning_rate: 1e-3,
            embedding_rate: 1.0,
            decay: LearningRateType::Cosine,
            granularity: None,
            reference: Reference::AbsMean,
            scale: ScaleRule::LeastSquares,
            threshold: 0.7,
            threshold_warmup: 0.0,
            blend_warmup: 0.2,
            zero_gain: 1.0,
            distillation: 0.9,
        };
        match self {
            Self::Default if is_pretrained => Preset {
                learning_rate: 2e-3,
                embedding_rate: 0.3,
                decay: LearningRateType::Linear,
                zero_gain: 0.25,
                ..fresh
            },
            Self::Default => fresh,
            Self::Bitnet => Preset {
                granularity: Some(Granularity::Tensor),
                scale: ScaleRule::Reference,
                threshold: 0.5,
                ..fresh
            },
            Self::T81lib => Preset {
                granularity: Some(Granularity::Tensor),
                reference: Reference::AbsMax,
                scale: ScaleRule::Reference,
                threshold: 0.45,
                threshold_warmup: 0.2,
                blend_warmup: 0.0,
                ..fresh
            },
            Self::Float => Preset {
                learning_rate: 3e-4,
                embedding_rate: 0.3,
                decay: LearningRateType::Linear,
                ..fresh
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bitnet_is_one_absmean_scale_and_pretrained_models_have_values_of_their_own() {
        let bitnet = Recipe::Bitnet.preset(true);
        assert_eq!(bitnet.granularity, Some(Granularity::Tensor));
        assert_eq!(bitnet.scale, ScaleRule::Reference);
        assert_eq!((bitnet.threshold, bitnet.zero_gain), (0.5, 1.0));
        let (pretrained, fresh) = (Recipe::Default.preset(true), Recipe::Default.preset(false));
        assert_eq!(
            (pretrained.learning_rate, fresh.learning_rate),
            (2e-3, 1e-3)
        );
        assert_eq!((pretrained.zero_gain, fresh.zero_gain), (0.25, 1.0));
    }
}
