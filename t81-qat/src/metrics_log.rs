//! `metrics.jsonl`, read back.

use serde_json::Value;

use crate::training::{EvaluationLine, SampleLine, StepLine};

/// The lines of a run by what they tell.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct MetricsLog {
    pub(crate) steps: Vec<StepLine>,
    pub(crate) evaluations: Vec<EvaluationLine>,
    pub(crate) samples: Vec<SampleLine>,
    /// Numbers of the lines that tell nothing, from 1.
    pub(crate) damaged: Vec<usize>,
}

impl MetricsLog {
    /// Reads what can be read; a line that a kill or a full disk cut short costs that line alone.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let mut log = Self::default();
        for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            if !line.iter().all(u8::is_ascii_whitespace) && log.add(line).is_none() {
                log.damaged.push(index + 1);
            }
        }
        log
    }

    fn add(&mut self, line: &[u8]) -> Option<()> {
        let value: Value = serde_json::from_slice(line).ok()?;
        let has = |field: &str| value.get(field).is_some();
        if has("eval_loss") {
            self.evaluations.push(serde_json::from_value(value).ok()?);
        } else if has("sample") {
            self.samples.push(serde_json::from_value(value).ok()?);
        } else {
            self.steps.push(serde_json::from_value(value).ok()?);
        }
        Some(())
    }

    /// The optimizer step of the last line.
    pub(crate) fn last_step(&self) -> Option<usize> {
        let steps = self.steps.last().map(|line| line.step);
        steps.max(self.evaluations.last().map(|line| line.step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_line_costs_itself_alone() {
        let text = b"{\"step\":2,\"tokens\":9,\"eval_loss\":2.5,\"eval_tokens\":4,\"eval_perplexity\":12.18}\n\
            {\"step\":2,\"sample_prompt\":\"Tom\",\"sample\":\" ran\"}\n\n\
            {\"step\":3,\"tokens\":\n\xff\xfe\n[]\n{\"step\":4,\"tokens\":1,\"eval_loss\":null,\"eval_tokens\":4}";
        let log = MetricsLog::parse(text);
        assert_eq!(log.evaluations[0].eval_loss, 2.5);
        assert_eq!(log.samples[0].sample, " ran");
        assert_eq!(log.damaged, [4, 5, 6, 7]);
        assert_eq!(log.last_step(), Some(2));
    }
}
