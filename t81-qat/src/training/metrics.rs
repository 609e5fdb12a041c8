//! The run's numbers as Burn metrics, for Burn's dashboard.

use std::sync::Arc;

use burn::tensor::TensorReadError;
use burn::train::metric::{
    Adaptor, Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes,
    NumericEntry, SerializedEntry, format_float,
};

use super::model::StepOutput;

impl Adaptor<StepOutput> for StepOutput {
    fn adapt(&self) -> StepOutput {
        self.clone()
    }
}

/// What a [`TokenMetric`] shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quantity {
    Loss,
    Perplexity,
    Threshold,
    Lambda,
}

/// A mean over tokens.
#[derive(Clone)]
pub(crate) struct TokenMetric {
    quantity: Quantity,
    sum: f64,
    tokens: usize,
    current: f64,
}

impl TokenMetric {
    pub(crate) fn new(quantity: Quantity) -> Self {
        Self {
            quantity,
            sum: 0.0,
            tokens: 0,
            current: f64::NAN,
        }
    }

    /// The perplexity of several batches is the exponential of their mean loss, not the mean of their perplexities.
    fn shown(&self, mean: f64) -> f64 {
        match self.quantity {
            Quantity::Perplexity => mean.exp(),
            _ => mean,
        }
    }

    fn mean(&self) -> f64 {
        self.shown(self.sum / self.tokens as f64)
    }

    fn entry(&self) -> SerializedEntry {
        let (epoch, batch) = (self.mean(), self.shown(self.current));
        let formatted = format!(
            "epoch {} - batch {}",
            format_float(epoch, 3),
            format_float(batch, 3)
        );
        SerializedEntry::new(formatted, batch.to_string())
    }
}

impl Metric for TokenMetric {
    type Input = StepOutput;

    fn name(&self) -> MetricName {
        Arc::new(format!("{:?}", self.quantity))
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes {
            unit: None,
            higher_is_better: false,
        }
        .into()
    }

    fn update(
        &mut self,
        output: &StepOutput,
        _metadata: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        self.current = match self.quantity {
            Quantity::Loss | Quantity::Perplexity => {
                let likelihood = output.negative_log_likelihood.clone();
                likelihood.try_into_scalar::<f64>()? / output.tokens as f64
            }
            Quantity::Threshold => f64::from(output.state.threshold),
            Quantity::Lambda => f64::from(output.state.blend),
        };
        self.sum += self.current * output.tokens as f64;
        self.tokens += output.tokens;
        Ok(self.entry())
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(self.entry())
    }

    fn clear(&mut self) {
        *self = Self::new(self.quantity);
    }
}

impl Numeric for TokenMetric {
    fn value(&self) -> Option<NumericEntry> {
        Some(NumericEntry::Value(self.shown(self.current)))
    }

    fn running_value(&self) -> Option<NumericEntry> {
        Some(NumericEntry::Aggregated {
            aggregated_value: self.mean(),
            count: self.tokens,
        })
    }

    fn final_value(&self) -> NumericEntry {
        NumericEntry::Final(self.mean())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::model::StepState;
    use burn::data::dataloader::Progress;
    use burn::tensor::{Device, Tensor};

    fn output(likelihood: f32, tokens: usize) -> StepOutput {
        StepOutput {
            negative_log_likelihood: Tensor::from_floats([likelihood], &Device::default()),
            tokens,
            state: StepState {
                threshold: 0.7,
                blend: 0.25,
            },
        }
    }

    #[test]
    fn perplexity_is_the_exponential_of_the_mean_loss() {
        let metadata = MetricMetadata {
            progress: Progress::new(1, 2, None),
            iteration: Some(1),
            lr: None,
        };
        let mut metric = TokenMetric::new(Quantity::Perplexity);
        metric.update(&output(2.0, 2), &metadata).unwrap();
        metric.update(&output(18.0, 6), &metadata).unwrap();
        assert!((metric.final_value().current() - 2.5f64.exp()).abs() < 1e-6);
        assert!((metric.value().unwrap().current() - 3f64.exp()).abs() < 1e-6);
        metric.clear();
        let mut lambda = TokenMetric::new(Quantity::Lambda);
        lambda.update(&output(1.0, 1), &metadata).unwrap();
        assert_eq!(lambda.final_value().current(), 0.25);
    }
}
