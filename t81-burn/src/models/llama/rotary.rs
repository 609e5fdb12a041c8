use super::config::RopeScaling;
use burn::module::Module;
use burn::tensor::{DType, Device, Tensor, TensorData};
use std::f64::consts::TAU;
use std::ops::Range;

/// Positions kept ready at least and at most; sequences beyond are computed at use.
const LONGEST_TABLE: usize = 8192;

/// Cosines and sines of the rotary position embedding (Su et al. 2021, [RoFormer](https://arxiv.org/abs/2104.09864)) in the
/// rotate-half order of Hugging Face: feature `i` turns with feature `i + head_dim / 2`.
///
/// The tables are constants: they follow the module to a device and in and out of training, but are no parameters
/// and appear in no record.
#[derive(Module, Debug)]
pub struct RotaryTables {
    cosines: Tensor<2>,
    sines: Tensor<2>,
    #[module(skip)]
    frequencies: RotaryFrequencies,
}

impl RotaryTables {
    /// Tables for up to `positions` positions.
    pub(super) fn new(frequencies: RotaryFrequencies, positions: usize, device: &Device) -> Self {
        let (cosines, sines) = tables(&frequencies, 0..positions.min(LONGEST_TABLE), device);
        Self {
            cosines,
            sines,
            frequencies,
        }
    }

    /// Cosines and sines of positions `0..length`, each `[length, head_dim / 2]` in f32.
    pub fn first(&self, length: usize) -> (Tensor<2>, Tensor<2>) {
        self.range(0..length)
    }

    /// Cosines and sines of `positions`, each `[positions, head_dim / 2]` in f32.
    pub fn range(&self, positions: Range<usize>) -> (Tensor<2>, Tensor<2>) {
        if positions.end > self.cosines.dims()[0] {
            return tables(&self.frequencies, positions, &self.cosines.device());
        }
        let (start, length) = (positions.start, positions.len());
        (
            self.cosines.clone().narrow(0, start, length),
            self.sines.clone().narrow(0, start, length),
        )
    }
}

/// How fast each pair of features turns, and by what the turned features are multiplied.
#[derive(Clone, Debug)]
pub(crate) struct RotaryFrequencies {
    /// Radians a position, `[head_dim / 2]`.
    pub(crate) radians: Vec<f64>,
    /// Factor of cosines and sines; 1 but for YaRN.
    pub(crate) magnitude: f64,
}

impl RotaryFrequencies {
    /// `theta^(-2i / head_dim)` for pair `i`, then scaled.
    pub(crate) fn new(head_dim: usize, theta: f64, scaling: Option<RopeScaling>) -> Self {
        let pairs = head_dim / 2;
        let plain = |pair: usize| theta.powf(-2.0 * pair as f64 / head_dim as f64);
        let radians = match scaling {
            None => (0..pairs).map(plain).collect(),
            Some(scaling) => (0..pairs)
                .map(|pair| {
                    let kept = scaling.kept(pair, plain(pair), head_dim, theta);
                    plain(pair) * (kept + (1.0 - kept) / scaling.factor())
                })
                .collect(),
        };
        let magnitude = match scaling {
            Some(RopeScaling::Yarn {
                attention_factor, ..
            }) => attention_factor,
            _ => 1.0,
        };
        Self { radians, magnitude }
    }
}

impl RopeScaling {
    /// Divisor of the frequencies that are scaled in full.
    fn factor(self) -> f64 {
        match self {
            Self::Linear { factor } | Self::Llama3 { factor, .. } | Self::Yarn { factor, .. } => {
                factor
            }
        }
    }

    /// Share of the frequency of a pair, in radians a position, that is not scaled. Llama 3.1's rule is the one of Meta's
    /// `apply_scaling`, YaRN's that of Hugging Face's `_compute_yarn_parameters`.
    fn kept(self, pair: usize, frequency: f64, head_dim: usize, theta: f64) -> f64 {
        match self {
            Self::Linear { .. } => 0.0,
            Self::Llama3 {
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
                ..
            } => {
                let turns = original_max_position_embeddings as f64 * frequency / TAU;
                let kept = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
                kept.clamp(0.0, 1.0)
            }
            Self::Yarn {
                original_max_position_embeddings,
                beta_fast,
                beta_slow,
                truncate,
                ..
            } => {
                // The pair, a fraction, whose frequency turns `turns` times in the original context.
                let pair_of = |turns: f64| {
                    let longest = original_max_position_embeddings as f64 / (turns * TAU);
                    head_dim as f64 * longest.ln() / (2.0 * theta.ln())
                };
                let (mut low, mut high) = (pair_of(beta_fast), pair_of(beta_slow));
                if truncate {
                    (low, high) = (low.floor(), high.ceil());
                }
                (low, high) = (low.max(0.0), high.min(head_dim as f64 - 1.0));
                if low == high {
                    high += 0.001;
                }
                1.0 - ((pair as f64 - low) / (high - low)).clamp(0.0, 1.0)
            }
        }
    }
}

fn tables(
    frequencies: &RotaryFrequencies,
    positions: Range<usize>,
    device: &Device,
) -> (Tensor<2>, Tensor<2>) {
    let RotaryFrequencies { radians, magnitude } = frequencies;
    let table = |function: fn(f64) -> f64| {
        let values: Vec<f32> = positions
            .clone()
            .flat_map(|position| {
                radians
                    .iter()
                    .map(move |radians| (function(position as f64 * radians) * magnitude) as f32)
            })
            .collect();
        let data = TensorData::new(values, [positions.len(), radians.len()]);
        Tensor::from_data(data, (device, DType::F32))
    };
    (table(f64::cos), table(f64::sin))
}
