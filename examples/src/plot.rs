//! Curves in SVG, written as text.

use std::fmt::{self, Display, Formatter};

/// Size of the whole picture.
const SIZE: [f32; 2] = [720.0, 420.0];
/// Where the frame of the curves begins and ends.
const LEFT: f32 = 60.0;
const RIGHT: f32 = 580.0;
const TOP: f32 = 40.0;
const BOTTOM: f32 = 370.0;
/// Colours that remain apart for the colour-blind (Okabe and Ito 2008), on white and on a dark page.
const COLOURS: [[&str; 2]; 3] = [
    ["#0072b2", "#56b4e9"],
    ["#d55e00", "#e69f00"],
    ["#009e73", "#cc79a7"],
];
/// Colours of the page, the text and the grid, on white and on a dark page.
const PAGE: [&str; 2] = ["#ffffff", "#0d1117"];
const TEXT: [&str; 2] = ["#1f2328", "#e6edf3"];
const GRID: [&str; 2] = ["#d0d7de", "#3d444d"];
/// Parts that an axis is cut into.
const TICKS: usize = 5;

/// Values at the steps 0, 1, 2 and so on.
#[derive(Clone, Debug)]
pub struct Curve {
    /// What it shows.
    pub name: String,
    /// The values.
    pub values: Vec<f32>,
}

/// Curves over steps, with values from 0 to 1. Shown as an SVG document that follows the reader's choice of a light or a
/// dark page.
#[derive(Clone, Debug)]
pub struct Plot {
    /// The line above the curves.
    pub title: String,
    /// The curves.
    pub curves: Vec<Curve>,
}

impl Plot {
    /// The step at the right end.
    fn last_step(&self) -> usize {
        let steps = self.curves.iter().map(|curve| curve.values.len());
        steps.max().unwrap_or(0).saturating_sub(1).max(1)
    }
}

/// The style sheet of a light (0) or dark (1) page.
fn style(theme: usize) -> String {
    let mut style = format!(
        ".page{{fill:{}}} text{{fill:{}}} .grid{{stroke:{}}}",
        PAGE[theme], TEXT[theme], GRID[theme]
    );
    for (index, colours) in COLOURS.iter().enumerate() {
        style += &format!(" .curve{index}{{stroke:{}}}", colours[theme]);
    }
    style
}

fn horizontal(share: f32) -> f32 {
    LEFT + share * (RIGHT - LEFT)
}

fn vertical(value: f32) -> f32 {
    BOTTOM - value * (BOTTOM - TOP)
}

/// Text as it may stand in XML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

impl Display for Plot {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let [width, height] = SIZE;
        writeln!(
            f,
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">
<style>
{}
@media (prefers-color-scheme: dark) {{ {} }}
</style>
<rect class="page" width="{width}" height="{height}"/>
<text x="{LEFT}" y="24" font-size="16">{}</text>"##,
            style(0),
            style(1),
            escaped(&self.title)
        )?;
        let last = self.last_step();
        for tick in 0..=TICKS {
            let share = tick as f32 / TICKS as f32;
            let (x, y) = (horizontal(share), vertical(share));
            writeln!(
                f,
                r##"<path d="M{LEFT} {y}H{RIGHT}M{x} {TOP}V{BOTTOM}" class="grid"/>
<text x="{}" y="{}" text-anchor="end">{share}</text>
<text x="{x}" y="{}" text-anchor="middle">{}</text>"##,
                LEFT - 8.0,
                y + 4.0,
                BOTTOM + 18.0,
                (share * last as f32).round()
            )?;
        }
        let (middle, below) = (horizontal(0.5), BOTTOM + 38.0);
        writeln!(
            f,
            r#"<text x="{middle}" y="{below}" text-anchor="middle">optimizer step</text>"#
        )?;
        for (index, curve) in self.curves.iter().enumerate() {
            let colour = index % COLOURS.len();
            // Dashes let a curve be seen that another one covers.
            let dashes = if index % 2 == 0 { "none" } else { "8 5" };
            let points: Vec<String> = curve
                .values
                .iter()
                .enumerate()
                .map(|(step, &value)| {
                    let x = horizontal(step as f32 / last as f32);
                    format!("{x:.2},{:.2}", vertical(value))
                })
                .collect();
            let style = format!(
                r#"class="curve{colour}" fill="none" stroke-width="2" stroke-dasharray="{dashes}""#
            );
            let (x, y) = (RIGHT + 16.0, TOP + 10.0 + 24.0 * index as f32);
            writeln!(
                f,
                r#"<polyline {style} points="{}"><title>{}</title></polyline>
<path {style} d="M{x} {y}h28"/>
<text x="{}" y="{}">{}</text>"#,
                points.join(" "),
                escaped(&curve.name),
                x + 36.0,
                y + 4.0,
                escaped(&curve.name)
            )?;
        }
        writeln!(f, "</svg>")
    }
}
