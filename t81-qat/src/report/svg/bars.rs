//! Bars: horizontal ones with names, and the columns of a histogram.

use std::fmt::Write;

use super::axis::{Axis, Frame};
use crate::report::histogram::Histogram;
use crate::report::markup::escape;

/// Pixels of a bar with its gap.
const ROW: f64 = 19.0;
const BAR: f64 = 13.0;
const FOOT: f64 = 40.0;
const RIGHT: f64 = 96.0;
/// Pixels that a letter of a name takes.
const LETTER: f64 = 6.9;

/// Horizontal bars, each with a name and a value.
#[derive(Clone, Debug)]
pub(in crate::report) struct BarChart {
    pub(in crate::report) title: String,
    pub(in crate::report) width: f64,
    pub(in crate::report) axis: Axis,
    /// Name, class of the style sheet, value, and the value as text.
    pub(in crate::report) bars: Vec<(String, &'static str, f64, String)>,
}

impl BarChart {
    pub(in crate::report) fn html(&self) -> String {
        let letters = self.bars.iter().map(|bar| bar.0.chars().count()).max();
        let left = (letters.unwrap_or(0) as f64 * LETTER + 12.0).min(self.width / 2.0);
        let bottom = self.bars.len() as f64 * ROW + 4.0;
        let (width, height) = (self.width, bottom + FOOT);
        let x_of = |value: f64| Some(left + self.axis.place(value)? * (width - left - RIGHT));
        let mut svg = format!(
            "<svg class=\"chart\" role=\"img\" aria-label=\"{}\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\">",
            escape(&self.title)
        );
        for (value, text) in self.axis.ticks() {
            let Some(x) = x_of(value) else { continue };
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{bottom}\"/>\
                 <text class=\"tick\" text-anchor=\"middle\" x=\"{x:.1}\" y=\"{}\">{text}</text>",
                bottom + 14.0
            );
        }
        for (index, (name, class, value, text)) in self.bars.iter().enumerate() {
            let top = index as f64 * ROW + 3.0;
            let end = x_of(*value).unwrap_or(left);
            let _ = write!(
                svg,
                "<text class=\"name\" text-anchor=\"end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\
                 <rect class=\"bar {class}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{BAR}\"/>\
                 <text class=\"value\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                left - 6.0,
                top + BAR - 2.0,
                escape(name),
                (end - left).max(0.0),
                end + 5.0,
                top + BAR - 2.0,
                escape(text),
            );
        }
        let _ = write!(
            svg,
            "<line class=\"axis\" x1=\"{left:.1}\" x2=\"{left:.1}\" y1=\"0\" y2=\"{bottom}\"/>\
             <text class=\"label\" text-anchor=\"middle\" x=\"{:.1}\" y=\"{}\">{}</text></svg>",
            (left + width - RIGHT) / 2.0,
            height - 6.0,
            escape(&self.axis.label)
        );
        format!(
            "<figure><figcaption>{}</figcaption>{svg}</figure>",
            escape(&self.title)
        )
    }
}

/// The columns of a histogram, in percent of all values.
#[derive(Clone, Debug)]
pub(in crate::report) struct ColumnChart<'a> {
    pub(in crate::report) title: &'a str,
    pub(in crate::report) size: (f64, f64),
    pub(in crate::report) x_label: &'a str,
    pub(in crate::report) class: &'static str,
    pub(in crate::report) histogram: &'a Histogram,
}

impl ColumnChart<'_> {
    pub(in crate::report) fn html(&self) -> String {
        let percents = self.histogram.percents();
        let (lowest, highest) = (self.histogram.lowest, self.histogram.highest);
        let frame = Frame {
            width: self.size.0,
            height: self.size.1,
            x: Axis::between(self.x_label, lowest, highest),
            y: Axis::from_zero("% per bar", percents.iter().copied()),
        };
        let mut svg = frame.open(self.title);
        let width = (highest - lowest) / percents.len() as f64;
        let mut path = String::new();
        for (index, percent) in percents.iter().enumerate().filter(|(_, p)| **p > 0.0) {
            let left = lowest + index as f64 * width;
            if let (Some(left), Some(right), Some(top), Some(bottom)) = (
                frame.x_of(left),
                frame.x_of(left + width),
                frame.y_of(*percent),
                frame.y_of(0.0),
            ) {
                let _ = write!(
                    path,
                    "M{left:.1} {bottom:.1}V{top:.1}H{right:.1}V{bottom:.1}z"
                );
            }
        }
        let _ = write!(
            svg,
            "<path class=\"bar {}\" d=\"{path}\"/></svg>",
            self.class
        );
        format!(
            "<figure><figcaption>{}</figcaption>{svg}</figure>",
            escape(self.title)
        )
    }
}
