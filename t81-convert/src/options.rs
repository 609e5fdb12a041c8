//! What a user can choose about a conversion.

use regex::Regex;
use t81_core::{BlockFormat, Granularity, QuantizeError, Quantizer, Reference, ScaleRule};
use t81_hub::{Dtype, OutputFormat};

use crate::GgufOutput;

/// Settings of [`convert`](crate::convert).
#[derive(Clone, Debug)]
pub struct ConvertOptions {
    /// Weights below this fraction of their group's reference magnitude become 0; from 0 to 1.
    pub threshold: f32,
    /// How many weights share a scale. None chooses groups that GGUF holds without loss: for `gguf_format` if
    /// that is given, else 256 where all rows divide by it and 64 elsewhere ([`Granularity::auto`]).
    pub granularity: Option<Granularity>,
    /// The magnitude that the threshold is a fraction of.
    pub reference: Reference,
    /// Where a group's scale comes from.
    pub scale: ScaleRule,
    /// The GGUF format that groups are chosen for.
    pub gguf_format: Option<BlockFormat>,
    /// A GGUF file to write along with the directory.
    pub gguf: Option<GgufOutput>,
    /// Dtype of the tensors that stay floats; none keeps each as it is in the source.
    pub dtype: Option<Dtype>,
    /// Whether BF16 biases stay BF16 whatever `dtype` says; otherwise all biases become F32.
    pub keep_biases_bf16: bool,
    /// If not empty, only weights whose name one of these matches become ternary.
    pub include: Vec<Regex>,
    /// Weights whose name one of these matches stay floats.
    pub exclude: Vec<Regex>,
    /// How ternary tensors are stored.
    pub format: OutputFormat,
    /// Whether a t81 directory at the destination is replaced.
    pub overwrite: bool,
    /// Whether the result is read again before it gets its name: every code, scale and float must be what the source gives.
    pub validate: bool,
    /// What the metadata of the result calls the source, such as an id of the Hugging Face Hub; none is its path.
    pub source_name: Option<String>,
}

impl Default for ConvertOptions {
    /// Threshold 0.45 of the mean magnitude, automatic groups, least-squares scales, everything else as in the source.
    fn default() -> Self {
        Self {
            threshold: 0.45,
            granularity: None,
            reference: Reference::AbsMean,
            scale: ScaleRule::LeastSquares,
            gguf_format: None,
            gguf: None,
            dtype: None,
            keep_biases_bf16: true,
            include: Vec::new(),
            exclude: Vec::new(),
            format: OutputFormat::Packed,
            overwrite: false,
            validate: false,
            source_name: None,
        }
    }
}

impl ConvertOptions {
    /// The quantizer of these settings.
    pub(crate) fn quantizer(&self, granularity: Granularity) -> Result<Quantizer, QuantizeError> {
        let quantizer = Quantizer::new(granularity, self.threshold)?;
        Ok(quantizer
            .with_reference(self.reference)
            .with_scale(self.scale))
    }

    /// The dtype in which a tensor of floats is stored.
    pub(crate) fn dense_dtype(&self, name: &str, source: Dtype) -> Dtype {
        if name.ends_with(".bias") {
            return match (self.keep_biases_bf16, source) {
                (false, _) => Dtype::F32,
                (true, Dtype::BF16) => Dtype::BF16,
                (true, _) => self.dtype.unwrap_or(source),
            };
        }
        self.dtype.unwrap_or(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn biases_have_a_rule_of_their_own() {
        let mut options = ConvertOptions {
            dtype: Some(Dtype::F16),
            ..Default::default()
        };
        assert_eq!(options.dense_dtype("a.bias", Dtype::BF16), Dtype::BF16);
        assert_eq!(options.dense_dtype("a.bias", Dtype::F32), Dtype::F16);
        assert_eq!(options.dense_dtype("a.weight", Dtype::BF16), Dtype::F16);
        options.keep_biases_bf16 = false;
        assert_eq!(options.dense_dtype("a.bias", Dtype::BF16), Dtype::F32);
        options.dtype = None;
        assert_eq!(options.dense_dtype("a.weight", Dtype::BF16), Dtype::BF16);
    }
}
