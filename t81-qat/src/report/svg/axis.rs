//! Axes: from values to places, and the round numbers along them.

use std::fmt::Write;

use crate::report::markup::escape;

/// An axis with its label.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::report) struct Axis {
    /// What it measures, with the unit.
    pub(in crate::report) label: String,
    lowest: f64,
    highest: f64,
    logarithmic: bool,
}

impl Axis {
    /// From the lowest to the highest of `values`, widened to round numbers.
    pub(in crate::report) fn around(label: &str, values: impl IntoIterator<Item = f64>) -> Self {
        let (lowest, highest) = extent(values);
        let step = step(lowest, highest);
        Self::between(
            label,
            (lowest / step).floor() * step,
            (highest / step).ceil() * step,
        )
    }

    /// From 0 to a round number above `values`.
    pub(in crate::report) fn from_zero(label: &str, values: impl IntoIterator<Item = f64>) -> Self {
        Self::around(label, values.into_iter().chain([0.0]))
    }

    pub(in crate::report) fn between(label: &str, lowest: f64, highest: f64) -> Self {
        Self {
            label: label.to_string(),
            lowest,
            highest: match highest > lowest {
                true => highest,
                false => lowest + 1.0,
            },
            logarithmic: false,
        }
    }

    /// Equal ratios are equally far apart; for values above 0, others do not count.
    pub(in crate::report) fn logarithmic(
        label: &str,
        values: impl IntoIterator<Item = f64>,
    ) -> Self {
        let logarithms = values.into_iter().filter(|value| *value > 0.0);
        let (lowest, highest) = extent(logarithms.map(f64::log10));
        // Half a decade at least, so that there are two round numbers on it.
        let middle = (lowest + highest) / 2.0;
        Self {
            label: label.to_string(),
            lowest: (lowest - 0.03).min(middle - 0.25),
            highest: (highest + 0.03).max(middle + 0.25),
            logarithmic: true,
        }
    }

    /// Where `value` lies, 0 to 1; none for one that the axis does not have.
    pub(super) fn place(&self, value: f64) -> Option<f64> {
        let value = match self.logarithmic {
            true if value <= 0.0 => return None,
            true => value.log10(),
            false => value,
        };
        let place = (value - self.lowest) / (self.highest - self.lowest);
        place.is_finite().then(|| place.clamp(0.0, 1.0))
    }

    /// Round numbers along the axis and how they are written.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        if self.logarithmic {
            return self.decades();
        }
        let step = step(self.lowest, self.highest);
        let first = (self.lowest / step - 1e-9).ceil() as i64;
        let last = (self.highest / step + 1e-9).floor() as i64;
        (first..=last)
            .take(20)
            .map(|index| {
                let value = index as f64 * step;
                (value, number(value, step))
            })
            .collect()
    }

    /// Powers of ten, with their doubles and fivefolds if the axis is short.
    fn decades(&self) -> Vec<(f64, String)> {
        let decades = self.highest - self.lowest;
        let factors: &[f64] = match decades {
            decades if decades > 3.0 => &[1.0],
            decades if decades > 0.9 => &[1.0, 2.0, 5.0],
            _ => &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0],
        };
        let stride = ((decades / 8.0).ceil() as i32).max(1);
        let mut ticks = Vec::new();
        for power in (self.lowest.floor() as i32)..=(self.highest.ceil() as i32) {
            for factor in factors {
                let value = factor * 10f64.powi(power);
                let inside = (self.lowest..=self.highest).contains(&value.log10());
                if inside && power % stride == 0 {
                    ticks.push((value, number(value, value / 10.0)));
                }
            }
        }
        ticks
    }
}

/// The lowest and highest of the finite values; of none, 0 and 1.
fn extent(values: impl IntoIterator<Item = f64>) -> (f64, f64) {
    let finite = values.into_iter().filter(|value| value.is_finite());
    let (lowest, highest) = finite
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
    match lowest <= highest {
        true => (lowest, highest),
        false => (0.0, 1.0),
    }
}

/// 1, 2 or 5 times a power of ten, about a fifth of the range.
fn step(lowest: f64, highest: f64) -> f64 {
    let range = match highest - lowest {
        range if range > 0.0 => range,
        _ => highest.abs().max(1.0),
    };
    let rough = range / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|factor| factor * power >= rough * 0.999);
    factor.unwrap_or(10.0) * power
}

/// `value` with as many digits as numbers `step` apart need.
fn number(value: f64, step: f64) -> String {
    let value = if value.abs() < step * 1e-6 {
        0.0
    } else {
        value
    };
    if value != 0.0 && (value.abs() < 1e-3 || value.abs() >= 1e6) {
        let digits = (value.abs().log10().floor() - step.log10().floor()).clamp(0.0, 3.0);
        let text = format!("{value:.*e}", digits as usize);
        return match text.split_once('e') {
            Some((mantissa, power)) => format!("{mantissa}·10{}", superscript(power)),
            None => text,
        };
    }
    let digits = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
    let text = format!("{value:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text,
    }
}

fn superscript(power: &str) -> String {
    let digit = |character: char| match character {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        other => char::from_u32(other as u32 - '0' as u32 + 0x2070).unwrap_or(other),
    };
    power.chars().map(digit).collect()
}

/// The rectangle that a chart draws in, with both axes.
#[derive(Clone, Debug)]
pub(in crate::report) struct Frame {
    pub(in crate::report) width: f64,
    pub(in crate::report) height: f64,
    pub(in crate::report) x: Axis,
    pub(in crate::report) y: Axis,
}

const LEFT: f64 = 62.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 42.0;

impl Frame {
    /// Where a value of the x axis lies, in pixels.
    pub(super) fn x_of(&self, value: f64) -> Option<f64> {
        Some(LEFT + self.x.place(value)? * (self.width - LEFT - RIGHT))
    }

    /// Where a value of the y axis lies, in pixels from the top.
    pub(super) fn y_of(&self, value: f64) -> Option<f64> {
        Some(TOP + (1.0 - self.y.place(value)?) * (self.height - TOP - BOTTOM))
    }

    /// The start of the drawing: grid, axes and labels. `title` is for those who hear the page.
    pub(super) fn open(&self, title: &str) -> String {
        let (width, height) = (self.width, self.height);
        let (right, bottom) = (width - RIGHT, height - BOTTOM);
        let mut svg = format!(
            "<svg class=\"chart\" role=\"img\" aria-label=\"{}\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\">",
            escape(title)
        );
        for (value, text) in self.y.ticks() {
            let Some(y) = self.y_of(value) else { continue };
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"tick\" text-anchor=\"end\" x=\"{}\" y=\"{:.1}\">{text}</text>",
                LEFT - 6.0,
                y + 4.0
            );
        }
        for (value, text) in self.x.ticks() {
            let Some(x) = self.x_of(value) else { continue };
            let _ = write!(
                svg,
                "<line class=\"axis\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{bottom}\" y2=\"{}\"/>\
                 <text class=\"tick\" text-anchor=\"middle\" x=\"{x:.1}\" y=\"{}\">{text}</text>",
                bottom + 4.0,
                bottom + 17.0
            );
        }
        let _ = write!(
            svg,
            "<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/>\
             <text class=\"label\" text-anchor=\"middle\" x=\"{:.1}\" y=\"{}\">{}</text>\
             <text class=\"label\" text-anchor=\"middle\" transform=\"translate(13 {:.1}) rotate(-90)\">{}</text>",
            (LEFT + right) / 2.0,
            height - 6.0,
            escape(&self.x.label),
            (TOP + bottom) / 2.0,
            escape(&self.y.label),
        );
        svg
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis) -> Vec<String> {
        axis.ticks().into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        let axis = Axis::from_zero("loss", [7.63]);
        assert_eq!(texts(&axis), ["0", "2", "4", "6", "8"]);
        let axis = Axis::from_zero("rate", [1e-3]);
        assert_eq!(
            texts(&axis),
            ["0", "2·10⁻⁴", "4·10⁻⁴", "6·10⁻⁴", "8·10⁻⁴", "0.001"]
        );
        let axis = Axis::logarithmic("perplexity", [9.0, 2100.0]);
        assert_eq!(
            texts(&axis),
            ["10", "20", "50", "100", "200", "500", "1000", "2000"]
        );
        assert_eq!(axis.place(0.0), None);
    }

    #[test]
    fn nothing_and_one_value_have_an_axis() {
        for values in [
            vec![],
            vec![0.7],
            vec![f64::NAN],
            vec![0.0],
            vec![1e300, 1e-300],
        ] {
            for axis in [
                Axis::around("x", values.clone()),
                Axis::from_zero("x", values.clone()),
                Axis::logarithmic("x", values.clone()),
            ] {
                assert!(axis.highest > axis.lowest, "{values:?}: {axis:?}");
                assert!(!axis.ticks().is_empty(), "{values:?}: {axis:?}");
            }
        }
    }
}
