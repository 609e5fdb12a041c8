//! The quantizer's settings and its two operations.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::distortion::Distortion;
use super::error::QuantizeError;
use super::fake::{self, QuantizeStatistics};
use super::pack;
use super::rows::Streamed;
use super::rule::Rule;
use crate::matrix::{TernaryMatrix, check_dimensions};
use crate::settings::{Granularity, Layout, Reference, Rounding, ScaleRule};

/// Turns a float weight matrix into ternary codes and f16 scales.
///
/// For every group of weights (see [`Granularity`]):
///
/// 1. `reference` is the mean or the maximum of `abs(w)`, rounded to f32.
/// 2. `code = sign(w)` where `abs(w) >= threshold * reference` (an f32 product) and `w != 0`, else 0; stochastic
///    [`Rounding`] zeroes some of these.
/// 3. `scale` is the f16 nearest to the exact quotient of the [`ScaleRule`], ties to even. A scale that underflows to 0
///    zeroes the codes.
///
/// Sums are f32 in one canonical order: element i of a run of 256 adds into lane `i % 8`; the lanes fold as
/// `((0 + 4) + (2 + 6)) + ((1 + 5) + (3 + 7))`; the sums of the runs of a row fold pairwise (0 + 1, 2 + 3, ..., an odd
/// last one passing through) until one is left, and the row sums of a tensor fold the same way. So the result is bit for
/// bit the same for either [`Layout`] and any number of threads.
///
/// Serialized as its settings: `{"granularity": "group:64", "threshold": 0.7, "reference": "abs-mean", "scale":
/// "least-squares", "rounding": "deterministic"}`, the last three optional.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Settings")]
pub struct Quantizer {
    granularity: Granularity,
    threshold: f32,
    reference: Reference,
    scale: ScaleRule,
    rounding: Rounding,
}

/// A quantizer as read from a file, before its checks.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    granularity: Granularity,
    threshold: f32,
    #[serde(default)]
    reference: Reference,
    #[serde(default)]
    scale: ScaleRule,
    #[serde(default)]
    rounding: Rounding,
}

impl TryFrom<Settings> for Quantizer {
    type Error = QuantizeError;

    fn try_from(settings: Settings) -> Result<Self, Self::Error> {
        Ok(Self::new(settings.granularity, settings.threshold)?
            .with_reference(settings.reference)
            .with_scale(settings.scale)
            .with_rounding(settings.rounding))
    }
}

impl Quantizer {
    /// A quantizer with reference [`Reference::AbsMean`], scale [`ScaleRule::LeastSquares`] and deterministic rounding.
    ///
    /// # Errors
    ///
    /// When `threshold` is not within 0..=1.
    pub fn new(granularity: Granularity, threshold: f32) -> Result<Self, QuantizeError> {
        if !(0.0..=1.0).contains(&threshold) {
            return Err(QuantizeError::Threshold(threshold));
        }
        Ok(Self::from_valid(granularity, threshold))
    }

    fn from_valid(granularity: Granularity, threshold: f32) -> Self {
        Self {
            granularity,
            // Not -0.0, whose bits would compare as a huge magnitude.
            threshold: threshold.abs(),
            reference: Reference::default(),
            scale: ScaleRule::default(),
            rounding: Rounding::default(),
        }
    }

    /// BitNet b1.58 (Ma et al., arXiv:2402.17764): per tensor, `round(w / mean(abs(w)))` clipped to -1..=1, scaled by
    /// that mean.
    #[must_use]
    pub fn bitnet() -> Self {
        Self::from_valid(Granularity::Tensor, 0.5).with_scale(ScaleRule::Reference)
    }

    /// Ternary Weight Networks (Li et al., arXiv:1605.04711): threshold `0.7 * mean(abs(w))`, least-squares scale.
    #[must_use]
    pub fn twn(granularity: Granularity) -> Self {
        Self::from_valid(granularity, 0.7)
    }

    /// The original t81lib: per tensor, threshold `0.45 * max(abs(w))`, scaled by that maximum.
    #[must_use]
    pub fn t81lib() -> Self {
        Self::from_valid(Granularity::Tensor, 0.45)
            .with_reference(Reference::AbsMax)
            .with_scale(ScaleRule::Reference)
    }

    /// Sets how many weights share a scale.
    #[must_use]
    pub fn with_granularity(self, granularity: Granularity) -> Self {
        Self {
            granularity,
            ..self
        }
    }

    /// Sets the threshold, as a warm-up does at each step.
    ///
    /// # Errors
    ///
    /// When `threshold` is not within 0..=1.
    pub fn with_threshold(self, threshold: f32) -> Result<Self, QuantizeError> {
        let checked = Self::new(self.granularity, threshold)?;
        Ok(Self {
            threshold: checked.threshold,
            ..self
        })
    }

    /// Sets the magnitude that the threshold is a fraction of.
    #[must_use]
    pub fn with_reference(self, reference: Reference) -> Self {
        Self { reference, ..self }
    }

    /// Sets where the scale comes from.
    #[must_use]
    pub fn with_scale(self, scale: ScaleRule) -> Self {
        Self { scale, ..self }
    }

    /// Sets which weights above the threshold get a non-zero code.
    #[must_use]
    pub fn with_rounding(self, rounding: Rounding) -> Self {
        Self { rounding, ..self }
    }

    /// How many weights share a scale.
    #[must_use]
    pub fn granularity(&self) -> Granularity {
        self.granularity
    }

    /// The fraction of the reference magnitude below which a weight becomes 0.
    #[must_use]
    pub fn threshold(&self) -> f32 {
        self.threshold
    }

    /// The magnitude that the threshold is a fraction of.
    #[must_use]
    pub fn reference(&self) -> Reference {
        self.reference
    }

    /// Where the scale comes from.
    #[must_use]
    pub fn scale(&self) -> ScaleRule {
        self.scale
    }

    /// Which weights above the threshold get a non-zero code.
    #[must_use]
    pub fn rounding(&self) -> Rounding {
        self.rounding
    }

    /// Quantizes a matrix of `rows` output and `columns` input features; `weights` has length `rows * columns`.
    ///
    /// # Errors
    ///
    /// When a dimension is zero, the length is off, a weight is not finite, or a scale exceeds the f16 range.
    pub fn quantize(
        &self,
        weights: &[f32],
        rows: usize,
        columns: usize,
        layout: Layout,
    ) -> Result<TernaryMatrix, QuantizeError> {
        let matrix = Weights::new(weights, rows, columns, layout)?;
        pack::quantize(&Rule::new(self), matrix)
    }

    /// Quantizes a matrix that need never be in memory as a whole: the very result of [`quantize`](Self::quantize), and its
    /// distortion.
    ///
    /// `fill` writes the weights of a range of at most `chunk_rows` rows (output features), row-major `[out, in]`. It is called
    /// from all threads at once, each with a buffer of its own, and may be asked for the same rows again: with
    /// [`Granularity::Tensor`] two or three times, and when a weight cannot be quantized. So memory is the result and
    /// `chunk_rows * columns` floats a thread.
    ///
    /// # Errors
    ///
    /// Whatever `fill` returns, and as [`quantize`](Self::quantize).
    pub fn quantize_rows<E, F>(
        &self,
        rows: usize,
        columns: usize,
        chunk_rows: usize,
        fill: F,
    ) -> Result<(TernaryMatrix, Distortion), E>
    where
        E: From<QuantizeError> + Send,
        F: Fn(Range<usize>, &mut [f32]) -> Result<(), E> + Sync,
    {
        check_dimensions(rows, columns).map_err(QuantizeError::from)?;
        let source = Streamed::new(rows, columns, fill);
        pack::quantize_rows(&Rule::new(self), &source, chunk_rows)
    }

    /// The training forward pass: writes `w + blend * (q - w)` with `q = scale * code`, in the layout of the input.
    ///
    /// A blend of 1 writes exactly `q`, the floats of [`Quantizer::quantize`]'s matrix; a blend of 0 exactly `w`. After
    /// an error the output's content is unspecified.
    ///
    /// # Errors
    ///
    /// As [`Quantizer::quantize`], and when `blend` is not within 0..=1.
    pub fn fake_quantize(
        &self,
        weights: &[f32],
        rows: usize,
        columns: usize,
        layout: Layout,
        blend: f32,
        output: &mut [f32],
    ) -> Result<QuantizeStatistics, QuantizeError> {
        let matrix = Weights::new(weights, rows, columns, layout)?;
        check_length("the output", output, rows, columns)?;
        if !(0.0..=1.0).contains(&blend) {
            return Err(QuantizeError::Blend(blend));
        }
        fake::quantize(&Rule::new(self), matrix, blend, output)
    }
}

/// A float matrix in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weights<'a> {
    pub(super) values: &'a [f32],
    /// Output features.
    pub(super) rows: usize,
    /// Input features.
    pub(super) columns: usize,
    pub(super) layout: Layout,
}

impl<'a> Weights<'a> {
    fn new(
        values: &'a [f32],
        rows: usize,
        columns: usize,
        layout: Layout,
    ) -> Result<Self, QuantizeError> {
        check_dimensions(rows, columns)?;
        check_length("the weights", values, rows, columns)?;
        Ok(Self {
            values,
            rows,
            columns,
            layout,
        })
    }
}

fn check_length(
    what: &'static str,
    values: &[f32],
    rows: usize,
    columns: usize,
) -> Result<(), QuantizeError> {
    if values.len() == rows * columns {
        Ok(())
    } else {
        let actual = values.len();
        Err(QuantizeError::Length {
            what,
            rows,
            columns,
            actual,
        })
    }
}
