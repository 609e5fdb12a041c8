//! Functions of single floats and of rows of them, in loops that the compiler turns into vector code.

use crate::vectorized::vectorized;

/// Partial sums of a reduction.
const LANES: usize = 16;

vectorized! {
    /// RMS normalisation (Zhang & Sennrich 2019, [RMSNorm](https://arxiv.org/abs/1910.07467)) of one row:
    /// `output = input / sqrt(mean(input^2) + epsilon) * gain`. All three have one length.
    pub fn rms_norm(input: &[f32], gain: &[f32], epsilon: f32, output: &mut [f32]) = rms_norm_loop;

    /// `output = gate / (1 + exp(-gate)) * up`, element by element: the gated half of
    /// [SwiGLU](https://arxiv.org/abs/2002.05202). All three have one length.
    pub fn silu_gate(gate: &[f32], up: &[f32], output: &mut [f32]) = silu_gate_loop;

    /// Turns scores into `exp(score - highest)` and gives the sum of these, which is NaN if a score is.
    pub(super) fn softmax_numerators(scores: &mut [f32]) -> Softmax = softmax_loop;
}

/// What a softmax divides by, and what was taken off the scores.
#[derive(Clone, Copy, Debug)]
pub(super) struct Softmax {
    pub(super) highest: f32,
    pub(super) sum: f32,
}

/// `ln(sum(exp(score)))`, from which a score is as far as its log-probability; NaN if a score is. The scores are used up.
#[must_use]
pub fn log_sum_exp(scores: &mut [f32]) -> f64 {
    let softmax = softmax_numerators(scores);
    f64::from(softmax.highest) + f64::from(softmax.sum).ln()
}

/// The sum of what `$term` makes of each element, in lanes that fold pairwise.
macro_rules! lane_sum {
    ($values:expr, $value:ident => $term:expr) => {{
        let mut lanes = [0.0_f32; LANES];
        let (chunks, rest) = $values.as_chunks::<LANES>();
        for chunk in chunks {
            for (lane, &$value) in lanes.iter_mut().zip(chunk) {
                *lane += $term;
            }
        }
        for (lane, &$value) in lanes.iter_mut().zip(rest) {
            *lane += $term;
        }
        fold(lanes)
    }};
}

#[inline(always)]
fn fold(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

#[inline(always)]
fn rms_norm_loop(input: &[f32], gain: &[f32], epsilon: f32, output: &mut [f32]) {
    let squares = lane_sum!(input, value => value * value);
    let factor = 1.0 / (squares / input.len() as f32 + epsilon).sqrt();
    for ((output, value), gain) in output.iter_mut().zip(input).zip(gain) {
        *output = value * factor * gain;
    }
}

#[inline(always)]
fn silu_gate_loop(gate: &[f32], up: &[f32], output: &mut [f32]) {
    for ((output, gate), up) in output.iter_mut().zip(gate).zip(up) {
        *output = gate / (1.0 + exp(-gate)) * up;
    }
}

#[inline(always)]
fn softmax_loop(scores: &mut [f32]) -> Softmax {
    let mut highest = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = scores.as_chunks::<LANES>();
    for chunk in chunks {
        for (highest, &score) in highest.iter_mut().zip(chunk) {
            *highest = if score > *highest { score } else { *highest };
        }
    }
    for (highest, &score) in highest.iter_mut().zip(rest) {
        *highest = if score > *highest { score } else { *highest };
    }
    let highest = highest.into_iter().fold(f32::NEG_INFINITY, f32::max);
    for score in scores.iter_mut() {
        *score = exp(*score - highest);
    }
    let sum = lane_sum!(scores, score => score);
    Softmax { highest, sum }
}

/// `e^x` to a few units in the last place, without a branch: a power of two times a polynomial of the rest (the one of
/// Moshier's Cephes). Below -87 it is 0, above 88 it stays `e^88`, and NaN stays NaN.
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// Adding it leaves a float's integer part, rounded to nearest even, in the low bits of the mantissa.
    const ROUNDING: f32 = 12_582_912.0;
    const LOWEST: f32 = -87.0;
    let bounded = if x > 88.0 { 88.0 } else { x };
    let bounded = if bounded < LOWEST { LOWEST } else { bounded };
    let shifted = bounded * std::f32::consts::LOG2_E + ROUNDING;
    let power = shifted - ROUNDING;
    // ln 2 in two parts, the first of which times a whole power is exact.
    let rest = bounded - power * 0.693_359_4 + power * 2.121_944_4e-4;
    let polynomial = ((((1.987_569_2e-4 * rest + 1.398_199_9e-3) * rest + 8.333_452e-3) * rest
        + 4.166_579_6e-2)
        * rest
        + 1.666_666_5e-1)
        * rest
        + 0.5;
    let mantissa = polynomial * rest * rest + rest + 1.0;
    let exponent = shifted
        .to_bits()
        .wrapping_sub(ROUNDING.to_bits())
        .wrapping_add(127);
    let result = mantissa * f32::from_bits(exponent << 23);
    if x < LOWEST { 0.0 } else { result }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_right_to_a_few_units() {
        for index in -86_999..=87_999 {
            let x = index as f32 * 1e-3;
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) / expected - 1.0).abs();
            assert!(error < 3e-7, "{x}: {error}");
        }
        assert_eq!((exp(0.0), exp(-0.0)), (1.0, 1.0));
        assert_eq!((exp(-88.0), exp(f32::NEG_INFINITY)), (0.0, 0.0));
        assert!(exp(f32::NAN).is_nan() && exp(1000.0) > 1e38 && exp(1000.0).is_finite());
    }

    #[test]
    fn a_softmax_sums_its_numerators() {
        let mut scores: Vec<f32> = (0..37).map(|index| index as f32 * 0.5).collect();
        let sum = softmax_numerators(&mut scores).sum;
        assert_eq!((scores[36], scores.len()), (1.0, 37));
        assert!((scores[35] - (-0.5_f32).exp()).abs() < 1e-6);
        assert!((sum - scores.iter().sum::<f32>()).abs() < 1e-5);
        let mut scores = [1.0, f32::NAN];
        assert!(softmax_numerators(&mut scores).sum.is_nan());
        let mut scores = [0.5, 2.0, -1.0];
        let expected = scores
            .iter()
            .map(|&score| f64::from(score).exp())
            .sum::<f64>();
        assert!((log_sum_exp(&mut scores) - expected.ln()).abs() < 1e-6);
    }

    #[test]
    fn rows_are_normalised_and_gated() {
        let input = [3.0, -4.0, 0.0];
        let mut output = [0.0; 3];
        rms_norm(&input, &[1.0, 2.0, 1.0], 0.0, &mut output);
        let root = (25.0_f32 / 3.0).sqrt();
        for (found, expected) in output.iter().zip([3.0 / root, -8.0 / root, 0.0]) {
            assert!((found - expected).abs() < 1e-6);
        }
        let mut output = [0.0; 3];
        silu_gate(&[1.0, -100.0, f32::NAN], &[2.0; 3], &mut output);
        assert!((output[0] - 2.0 / (1.0 + (-1.0_f32).exp())).abs() < 1e-6);
        assert!(output[1].abs() < 1e-30 && output[2].is_nan());
    }
}
