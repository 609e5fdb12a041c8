//! Curves.

use std::fmt::Write;

use super::axis::Frame;
use crate::report::markup::escape;

/// Points of a curve at most; of more, every so many-th is drawn, and the last.
const MAX_POINTS: usize = 2_000;

/// A curve.
#[derive(Clone, Debug)]
pub(in crate::report) struct Line {
    /// What the legend calls it.
    pub(in crate::report) name: String,
    /// The class of the style sheet that colours it.
    pub(in crate::report) class: &'static str,
    pub(in crate::report) points: Vec<(f64, f64)>,
    /// Whether each point is marked and says its value.
    pub(in crate::report) marks: bool,
}

/// Curves over common axes.
#[derive(Clone, Debug)]
pub(in crate::report) struct LineChart {
    pub(in crate::report) title: String,
    pub(in crate::report) frame: Frame,
    pub(in crate::report) lines: Vec<Line>,
}

impl LineChart {
    /// The chart with its title and, of several curves, a legend.
    pub(in crate::report) fn html(&self) -> String {
        let mut svg = self.frame.open(&self.title);
        for line in &self.lines {
            self.draw(line, &mut svg);
        }
        svg.push_str("</svg>");
        let mut legend = String::new();
        if self.lines.len() > 1 {
            legend.push_str("<div class=\"legend\">");
            for line in &self.lines {
                let _ = write!(
                    legend,
                    "<span class=\"key {}\">{}</span>",
                    line.class,
                    escape(&line.name)
                );
            }
            legend.push_str("</div>");
        }
        format!(
            "<figure><figcaption>{}</figcaption>{legend}{svg}</figure>",
            escape(&self.title)
        )
    }

    fn draw(&self, line: &Line, svg: &mut String) {
        let places: Vec<_> = thinned(&line.points)
            .filter_map(|(x, y)| Some((self.frame.x_of(x)?, self.frame.y_of(y)?, x, y)))
            .collect();
        let path: Vec<String> = places
            .iter()
            .map(|(x, y, _, _)| format!("{x:.1} {y:.1}"))
            .collect();
        if path.len() > 1 {
            let _ = write!(
                svg,
                "<path class=\"curve {}\" d=\"M{}\"/>",
                line.class,
                path.join("L")
            );
        }
        if line.marks || path.len() == 1 {
            for (x, y, step, value) in places {
                let _ = write!(
                    svg,
                    "<circle class=\"mark {}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"><title>{}: {value} at {step}</title></circle>",
                    line.class,
                    escape(&line.name)
                );
            }
        }
    }
}

fn thinned(points: &[(f64, f64)]) -> impl Iterator<Item = (f64, f64)> + '_ {
    let stride = points.len().div_ceil(MAX_POINTS).max(1);
    let last = points.len().saturating_sub(1);
    points
        .iter()
        .enumerate()
        .filter(move |(index, _)| index % stride == 0 || *index == last)
        .map(|(_, point)| *point)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_curve_keeps_its_ends() {
        let points: Vec<(f64, f64)> = (0..9_999).map(|step| (f64::from(step), 1.0)).collect();
        let drawn: Vec<_> = thinned(&points).collect();
        assert!(drawn.len() <= MAX_POINTS + 1);
        assert_eq!((drawn[0].0, drawn[drawn.len() - 1].0), (0.0, 9_998.0));
        assert_eq!(thinned(&[]).count(), 0);
    }
}
