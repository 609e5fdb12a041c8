//! How floats are made ternary on their way into a file.

use std::collections::BTreeMap;

use regex::Regex;
use t81_core::{BlockFormat, Granularity, QuantizeError, Quantizer, Reference, ScaleRule};

use crate::error::GgufError;
use crate::export::ExportType;

/// How floats are made ternary on their way into a file, and which.
#[derive(Clone, Debug)]
pub struct QuantizeOptions {
    /// Weights below this fraction of their group's reference magnitude become 0; from 0 to 1.
    pub threshold: f32,
    /// How many weights share a scale; `None` takes groups that the type asked for holds without loss.
    pub granularity: Option<Granularity>,
    /// Where a scale comes from.
    pub scale: ScaleRule,
    /// The magnitude that the threshold is a fraction of.
    pub reference: Reference,
    /// Only weights whose name one of these matches become ternary; all when empty. Names are those of the source.
    pub include: Vec<Regex>,
    /// Weights whose name one of these matches stay floats.
    pub exclude: Vec<Regex>,
}

impl Default for QuantizeOptions {
    /// A threshold of 0.45, the granularity that fits, [`ScaleRule::LeastSquares`], [`Reference::AbsMean`], all weights.
    fn default() -> Self {
        Self {
            threshold: 0.45,
            granularity: None,
            scale: ScaleRule::default(),
            reference: Reference::default(),
            include: Vec::new(),
            exclude: Vec::new(),
        }
    }
}

/// A quantizer and what it is to be used on.
#[derive(Debug)]
pub(crate) struct Quantization {
    pub(crate) quantizer: Quantizer,
    /// The granularity of each tensor by name; the quantizer's own unless a format forces smaller groups.
    pub(crate) granularities: BTreeMap<String, Granularity>,
}

impl QuantizeOptions {
    /// Whether a linear weight becomes ternary.
    pub(crate) fn selects(&self, name: &str) -> bool {
        let matches = |patterns: &[Regex]| patterns.iter().any(|pattern| pattern.is_match(name));
        (self.include.is_empty() || matches(&self.include)) && !matches(&self.exclude)
    }

    /// The quantizer for tensors of these row lengths, on their way into `quant`.
    ///
    /// # Errors
    ///
    /// [`GgufError::Settings`] for a threshold that is no fraction.
    pub(crate) fn quantization(
        &self,
        columns: BTreeMap<String, usize>,
        quant: Option<ExportType>,
    ) -> Result<Quantization, GgufError> {
        let format = match quant {
            Some(ExportType::Ternary(format)) => Some(format),
            _ => None,
        };
        let overall = self.granularity.unwrap_or_else(|| match format {
            Some(format) => block(format),
            None => Granularity::auto(columns.values().copied()),
        });
        // Rows that the asked format cannot hold go to Q2_0, whose groups they get.
        let narrow = |columns: usize| {
            self.granularity.is_none()
                && format.is_some_and(|format| !columns.is_multiple_of(format.block_len()))
        };
        let granularities = columns
            .into_iter()
            .map(|(name, columns)| {
                let granularity = if narrow(columns) {
                    block(BlockFormat::Q2_0)
                } else {
                    overall
                };
                (name, granularity)
            })
            .collect();
        let quantizer = Quantizer::new(overall, self.threshold)
            .map_err(|source: QuantizeError| GgufError::Settings { source })?
            .with_scale(self.scale)
            .with_reference(self.reference);
        Ok(Quantization {
            quantizer,
            granularities,
        })
    }
}

/// Groups of a format's block length.
fn block(format: BlockFormat) -> Granularity {
    // Block lengths are not zero, so the row granularity is never reached.
    Granularity::group(format.block_len()).unwrap_or(Granularity::Row)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granularities(options: &QuantizeOptions, quant: Option<BlockFormat>) -> Vec<String> {
        let columns = [("narrow".to_owned(), 576), ("wide".to_owned(), 1536)];
        let quantization = options
            .quantization(columns.into(), quant.map(ExportType::Ternary))
            .unwrap();
        let of_each = quantization.granularities.values();
        of_each.map(Granularity::to_string).collect()
    }

    #[test]
    fn groups_follow_the_type_unless_they_are_given() {
        let open = QuantizeOptions::default();
        assert_eq!(granularities(&open, None), ["group:64", "group:64"]);
        assert_eq!(
            granularities(&open, Some(BlockFormat::Tq1_0)),
            ["group:64", "group:256"]
        );
        assert_eq!(
            granularities(&open, Some(BlockFormat::Q2_0)),
            ["group:64", "group:64"]
        );
        let rows = QuantizeOptions {
            granularity: Some(Granularity::Row),
            ..open
        };
        assert_eq!(
            granularities(&rows, Some(BlockFormat::Tq1_0)),
            ["row", "row"]
        );
    }

    #[test]
    fn a_weight_is_selected_by_its_name() {
        let patterns =
            |texts: &[&str]| texts.iter().map(|text| Regex::new(text).unwrap()).collect();
        let options = QuantizeOptions {
            include: patterns(&["ffn", "attn_q"]),
            exclude: patterns(&["blk\\.0\\."]),
            ..QuantizeOptions::default()
        };
        assert!(options.selects("blk.1.ffn_up.weight"));
        assert!(options.selects("blk.1.attn_q.weight"));
        assert!(!options.selects("blk.1.attn_k.weight"));
        assert!(!options.selects("blk.0.ffn_up.weight"));
        assert!(QuantizeOptions::default().selects("anything"));
    }

    #[test]
    fn a_threshold_must_be_a_fraction() {
        let options = QuantizeOptions {
            threshold: 1.5,
            ..QuantizeOptions::default()
        };
        let error = options.quantization(BTreeMap::new(), None).unwrap_err();
        assert!(matches!(error, GgufError::Settings { .. }), "{error:?}");
    }
}
