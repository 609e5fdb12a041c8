//! What the ternary weights are, and what they were as floats.

use t81_core::TernaryMatrix;
use t81_hub::{T81Directory, T81Tensor};

use super::float_weights::FloatWeights;
use super::histogram::Histogram;
use super::run_files::{RunFiles, with_causes};

/// Root mean squares that a histogram reaches to on either side.
const REACH: f64 = 4.0;

/// One ternary weight.
#[derive(Debug)]
pub(super) struct LayerWeights {
    pub(super) name: String,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) granularity: String,
    /// Counts of the codes -1, 0 and +1.
    pub(super) codes: [u64; 3],
    /// Lowest, mean and highest scale.
    pub(super) scales: [f64; 3],
    pub(super) before: Option<Histogram>,
    pub(super) after: Histogram,
}

impl LayerWeights {
    /// Share of zero codes.
    pub(super) fn sparsity(&self) -> f64 {
        self.codes[1] as f64 / self.codes.iter().sum::<u64>() as f64
    }
}

/// All ternary weights of a model.
#[derive(Debug)]
pub(super) struct Weights {
    pub(super) layers: Vec<LayerWeights>,
    /// All layers together: float weights, each divided by the root mean square of its layer.
    pub(super) before: Option<Histogram>,
    /// All layers together: ternary weights, divided by the same.
    pub(super) after: Histogram,
    /// All scales.
    pub(super) scales: Histogram,
    pub(super) codes: [u64; 3],
    /// Where the float weights come from.
    pub(super) origin: Option<String>,
}

impl Weights {
    /// Reads the codes and scales of the t81 directory and, where they are, the float weights; what is not there or
    /// damaged becomes a note of `files`. None if nothing is ternary.
    pub(super) fn read(files: &mut RunFiles) -> Option<Self> {
        let t81 = files.t81.as_ref()?;
        if t81.metadata().tensors.is_empty() {
            return None;
        }
        let mut notes = Vec::new();
        let floats = match FloatWeights::find(files, t81) {
            Ok(floats) => Some(floats),
            Err(reasons) => {
                notes.push(format!(
                    "There are no float weights to show beside the ternary ones: {reasons}."
                ));
                None
            }
        };
        let weights = Self::of(t81, floats.as_ref(), &mut notes);
        files.notes.append(&mut notes);
        weights
    }

    fn of(
        t81: &T81Directory,
        floats: Option<&FloatWeights>,
        notes: &mut Vec<String>,
    ) -> Option<Self> {
        let mut layers = Vec::new();
        let mut all_scales = Vec::new();
        let (mut before, mut after) = (
            floats.map(|_| Histogram::symmetric(REACH)),
            Histogram::symmetric(REACH),
        );
        let mut codes = [0; 3];
        let mut without_floats = 0;
        for (name, info) in &t81.metadata().tensors {
            let matrix = match t81.get(name) {
                Ok(T81Tensor::Ternary(matrix)) => matrix,
                Ok(T81Tensor::Dense(_)) => continue,
                Err(error) => {
                    notes.push(format!("{name}: {}.", with_causes(&error)));
                    continue;
                }
            };
            let values = floats.and_then(|floats| floats.values(name));
            let values = values.filter(|values| values.len() == matrix.rows() * matrix.columns());
            without_floats += usize::from(floats.is_some() && values.is_none());
            let layer = LayerWeights::of(
                name,
                &matrix,
                info.granularity.to_string(),
                values.as_deref(),
            );
            if let (Some(all), Some(one)) = (&mut before, &layer.before) {
                all.merge(one);
            }
            after.merge(&layer.after);
            for (sum, count) in codes.iter_mut().zip(layer.codes) {
                *sum += count;
            }
            all_scales.extend(matrix.scales().iter().map(|scale| scale.to_f64()));
            layers.push(layer);
        }
        if without_floats > 0 {
            notes.push(format!(
                "The float weights of {without_floats} of the ternary tensors are not there or of another shape."
            ));
        }
        let [lowest, _, highest] = range(&all_scales);
        let mut scales = Histogram::between(lowest, highest);
        all_scales.iter().for_each(|&scale| scales.add(scale, 1));
        layers.sort_by_key(|layer| in_order(&layer.name));
        (!layers.is_empty()).then(|| Self {
            before: before.filter(|before| before.total() > 0),
            after,
            scales,
            codes,
            origin: floats.map(|floats| floats.origin.clone()),
            layers,
        })
    }
}

impl LayerWeights {
    fn of(name: &str, matrix: &TernaryMatrix, granularity: String, floats: Option<&[f32]>) -> Self {
        let ternary = matrix.dequantize();
        // One unit for both pictures, or they could not be compared.
        let unit = match root_mean_square(floats.unwrap_or(&ternary)) {
            unit if unit > 0.0 && unit.is_finite() => unit,
            _ => 1.0,
        };
        let histogram = |values: &[f32]| {
            let mut histogram = Histogram::symmetric(REACH);
            values
                .iter()
                .for_each(|&value| histogram.add(f64::from(value) / unit, 1));
            histogram
        };
        let scales: Vec<f64> = matrix.scales().iter().map(|scale| scale.to_f64()).collect();
        Self {
            name: name.to_string(),
            rows: matrix.rows(),
            columns: matrix.columns(),
            granularity,
            codes: count_codes(matrix),
            scales: range(&scales),
            before: floats.map(histogram),
            after: histogram(&ternary),
        }
    }
}

/// Lowest, mean and highest of some numbers; of none, 0.
fn range(values: &[f64]) -> [f64; 3] {
    if values.is_empty() {
        return [0.0; 3];
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    [lowest, mean, highest]
}

fn root_mean_square(values: &[f32]) -> f64 {
    let squares: f64 = values.iter().map(|&value| f64::from(value).powi(2)).sum();
    (squares / values.len().max(1) as f64).sqrt()
}

fn count_codes(matrix: &TernaryMatrix) -> [u64; 3] {
    let mut counts = [0; 3];
    for byte in matrix.codes() {
        for element in 0..4 {
            // 3 is no code, and no matrix holds it.
            if let Some(count) = counts.get_mut(usize::from(byte >> (2 * element) & 3)) {
                *count += 1;
            }
        }
    }
    // The rest of a row's last byte is filled up with zeros.
    let padding = matrix.rows() * (4 * matrix.columns().div_ceil(4) - matrix.columns());
    counts[1] -= padding as u64;
    counts
}

/// Names in their order in the model: numbers by value, so that layer 2 comes before layer 10.
fn in_order(name: &str) -> Vec<(u64, String)> {
    name.split('.')
        .map(|part| match part.parse() {
            Ok(number) => (number, String::new()),
            Err(_) => (u64::MAX, part.to_string()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use t81_core::{Granularity, Layout, Quantizer};

    #[test]
    fn padding_is_no_weight() {
        let quantizer = Quantizer::new(Granularity::Row, 0.7).unwrap();
        let values = [1.0, 0.0, -1.0, 1.0, 0.0, 2.0, 2.0, 2.0, -2.0, 0.1];
        let matrix = quantizer.quantize(&values, 2, 5, Layout::OutIn).unwrap();
        let layer = LayerWeights::of("x", &matrix, String::new(), Some(&values));
        assert_eq!(layer.codes, [2, 3, 5]);
        assert_eq!(layer.sparsity(), matrix.sparsity());
        assert_eq!(layer.scales[0], 1.0);
        assert_eq!(layer.before.unwrap().total(), 10);
    }

    #[test]
    fn layers_are_in_the_order_of_the_model() {
        let mut names = ["layers.10.q", "layers.2.v", "layers.2.q"];
        names.sort_by_key(|name| in_order(name));
        assert_eq!(names, ["layers.2.q", "layers.2.v", "layers.10.q"]);
    }
}
