//! Charts as inline SVG. Colours come from the page's style sheet.

mod axis;
mod bars;
mod lines;

pub(super) use axis::{Axis, Frame};
pub(super) use bars::{BarChart, ColumnChart};
pub(super) use lines::{Line, LineChart};
