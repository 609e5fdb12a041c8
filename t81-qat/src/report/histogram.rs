//! Counts of values by their size.

/// Bars of a histogram; odd, so that 0 lies in the middle of one.
const BINS: usize = 61;

/// How often values fall into equal ranges between `-limit` and `limit`. What lies outside counts in the outermost ones.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Histogram {
    pub(super) lowest: f64,
    pub(super) highest: f64,
    pub(super) counts: Vec<u64>,
}

impl Histogram {
    /// An empty one around 0.
    pub(super) fn symmetric(limit: f64) -> Self {
        Self::between(-limit, limit)
    }

    pub(super) fn between(lowest: f64, highest: f64) -> Self {
        let highest = match highest > lowest {
            true => highest,
            // All values are the same.
            false => lowest + lowest.abs().max(1e-9),
        };
        Self {
            lowest,
            highest,
            counts: vec![0; BINS],
        }
    }

    pub(super) fn add(&mut self, value: f64, times: u64) {
        let position = (value - self.lowest) / (self.highest - self.lowest) * BINS as f64;
        // A cast saturates, so what lies below or above lands in the first or last bin.
        let bin = (position.floor() as usize).min(BINS - 1);
        self.counts[bin] += times;
    }

    pub(super) fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Shares of the bins in percent.
    pub(super) fn percents(&self) -> Vec<f64> {
        let total = self.total().max(1) as f64;
        let percent = |count: &u64| 100.0 * *count as f64 / total;
        self.counts.iter().map(percent).collect()
    }

    /// Adds the counts of another one of the same range.
    pub(super) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_counts_once_and_zero_in_the_middle() {
        let mut histogram = Histogram::symmetric(1.0);
        for value in [-5.0, -1.0, 0.0, 1e-9, 0.999, 7.0, f64::NAN] {
            histogram.add(value, 1);
        }
        assert_eq!(histogram.total(), 7);
        assert_eq!(histogram.counts[BINS / 2], 2);
        assert_eq!(histogram.counts[BINS - 1], 2);
        let mut twice = histogram.clone();
        twice.merge(&histogram);
        assert_eq!(twice.total(), 14);
        assert!((twice.percents().iter().sum::<f64>() - 100.0).abs() < 1e-9);
    }

    #[test]
    fn equal_values_have_a_range() {
        let mut histogram = Histogram::between(0.0, 0.0);
        histogram.add(0.0, 3);
        assert_eq!(histogram.counts[0], 3);
    }
}
