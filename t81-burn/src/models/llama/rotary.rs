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
    frequencies: Vec<f64>,
}

impl RotaryTables {
    /// Tables for `frequencies` (radians a position, one for each pair of features) and up to `positions` positions.
    pub(super) fn new(frequencies: Vec<f64>, positions: usize, device: &Device) -> Self {
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

/// Radians a position of each pair of features: `theta^(-2i / head_dim)`, then scaled.
pub(crate) fn inverse_frequencies(
    head_dim: usize,
    theta: f64,
    scaling: Option<RopeScaling>,
) -> Vec<f64> {
    let plain = (0..head_dim / 2).map(|pair| theta.powf(-2.0 * pair as f64 / head_dim as f64));
    plain
        .map(|frequency| scaling.map_or(frequency, |scaling| scaling.apply(frequency)))
        .collect()
}

impl RopeScaling {
    /// The scaled frequency, in radians a position. Llama 3.1's rule is the one of Meta's `apply_scaling`.
    fn apply(self, frequency: f64) -> f64 {
        match self {
            Self::Linear { factor } => frequency / factor,
            Self::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            } => {
                let turns = original_max_position_embeddings as f64 * frequency / TAU;
                let kept = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
                let kept = kept.clamp(0.0, 1.0);
                kept * frequency + (1.0 - kept) * frequency / factor
            }
        }
    }
}

fn tables(frequencies: &[f64], positions: Range<usize>, device: &Device) -> (Tensor<2>, Tensor<2>) {
    let table = |function: fn(f64) -> f64| {
        let values: Vec<f32> = positions
            .clone()
            .flat_map(|position| {
                frequencies
                    .iter()
                    .map(move |frequency| function(position as f64 * frequency) as f32)
            })
            .collect();
        let data = TensorData::new(values, [positions.len(), frequencies.len()]);
        Tensor::from_data(data, (device, DType::F32))
    };
    (table(f64::cos), table(f64::sin))
}
