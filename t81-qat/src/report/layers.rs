//! The ternary weights of the result, all together and layer by layer, and what they take.

use std::fmt::Write;

use super::markup::{escape, grouped};
use super::run_files::RunFiles;
use super::svg::{Axis, BarChart, ColumnChart};
use super::weights::{LayerWeights, Weights};

/// Pixels of the page's content.
const WIDTH: f64 = 952.0;
/// Layers whose pictures are shown without being asked for.
const SHOWN_LAYERS: usize = 16;
const UNIT: &str = "weight (root mean squares of the layer before)";

/// Zeros among the codes of each layer.
pub(super) fn sparsity(weights: &Weights) -> String {
    let bars = weights.layers.iter().map(|layer| {
        let percent = 100.0 * layer.sparsity();
        (
            short_name(&layer.name),
            "after",
            percent,
            format!("{percent:.1} %"),
        )
    });
    let chart = BarChart {
        title: "Zeros among the codes of each layer".to_string(),
        width: WIDTH,
        axis: Axis::between("zeros among codes (%)", 0.0, 100.0),
        bars: bars.collect(),
    };
    chart.html()
}

/// The distribution of weights, codes and scales over all layers.
pub(super) fn distribution(weights: &Weights) -> String {
    let columns = |title, x_label, class, histogram| {
        let chart = ColumnChart {
            title,
            size: (468.0, 220.0),
            x_label,
            class,
            histogram,
        };
        chart.html()
    };
    let mut html = String::new();
    html.push_str(&match &weights.before {
        Some(before) => columns("Before: float weights", UNIT, "before", before),
        None => "<figure><figcaption>Before: float weights</figcaption><p class=\"absent\">There are no float weights to be had.</p></figure>".to_string(),
    });
    html.push_str(&columns(
        "After: ternary weights (scale · code)",
        match weights.before {
            Some(_) => UNIT,
            None => "weight (root mean squares of the layer)",
        },
        "after",
        &weights.after,
    ));
    let total = weights.codes.iter().sum::<u64>().max(1) as f64;
    let names = ["code \u{2212}1", "code 0", "code +1"];
    let bars = names.into_iter().zip(weights.codes).map(|(name, count)| {
        let percent = 100.0 * count as f64 / total;
        (
            name.to_string(),
            "after",
            percent,
            format!("{percent:.2} %"),
        )
    });
    let codes = BarChart {
        title: "After: codes".to_string(),
        width: 468.0,
        axis: Axis::from_zero(
            "share of all ternary weights (%)",
            weights.codes.map(|count| 100.0 * count as f64 / total),
        ),
        bars: bars.collect(),
    };
    html.push_str(&codes.html());
    html.push_str(&columns(
        "After: scales",
        "scale (float16, in units of the weights)",
        "after",
        &weights.scales,
    ));
    html
}

/// A picture of each layer before and after.
pub(super) fn each(weights: &Weights) -> String {
    let open = match weights.layers.len() <= SHOWN_LAYERS {
        true => " open",
        false => "",
    };
    let mut html = format!(
        "<details{open}><summary>Each of the {} layers</summary><div class=\"layers\">",
        weights.layers.len()
    );
    for layer in &weights.layers {
        layer_html(layer, &mut html);
    }
    html.push_str("</div></details>");
    html
}

fn layer_html(layer: &LayerWeights, html: &mut String) {
    let total = layer.codes.iter().sum::<u64>().max(1) as f64;
    let [minus, zero, plus] = layer.codes.map(|count| 100.0 * count as f64 / total);
    let [lowest, mean, highest] = layer.scales;
    let _ = write!(
        html,
        "<section class=\"layer\"><h4>{}</h4><p>[{}, {}], granularity {}; codes \u{2212}1 {minus:.1} %, 0 {zero:.1} %, +1 {plus:.1} %; \
         scales {lowest:.4} to {highest:.4}, mean {mean:.4}</p>",
        escape(&layer.name),
        layer.rows,
        layer.columns,
        escape(&layer.granularity),
    );
    for (title, class, histogram) in [
        ("before", "before", layer.before.as_ref()),
        ("after", "after", Some(&layer.after)),
    ] {
        if let Some(histogram) = histogram {
            let chart = ColumnChart {
                title,
                size: (228.0, 160.0),
                x_label: "weight (RMS)",
                class,
                histogram,
            };
            html.push_str(&chart.html());
        }
    }
    html.push_str("</section>");
}

/// What the parameters take as float16 and ternary.
pub(super) fn sizes(files: &RunFiles) -> Option<String> {
    let t81 = files.t81.as_ref()?;
    let statistics = &t81.metadata().statistics;
    let parameters = statistics.ternary_weights + statistics.dense_weights;
    let packed: u64 = t81
        .metadata()
        .tensors
        .values()
        .map(|tensor| tensor.stored_bytes)
        .sum();
    let mut sizes = Vec::new();
    if statistics.ternary_weights > 0 {
        sizes.extend([
            (
                "ternary weights, as float16",
                "before",
                2 * statistics.ternary_weights,
            ),
            ("ternary weights, packed", "after", packed),
        ]);
    }
    sizes.extend([
        ("all parameters, as float16", "before", 2 * parameters),
        (
            "all parameters, t81 directory",
            "after",
            statistics.stored_bytes,
        ),
    ]);
    let gguf = files
        .summary
        .as_ref()
        .and_then(|summary| summary.bytes.gguf);
    sizes.extend(gguf.map(|bytes| ("GGUF file, tokenizer included", "after", bytes)));
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    let chart = BarChart {
        title: "Bytes of the parameters".to_string(),
        width: WIDTH,
        axis: Axis::from_zero(
            "size (MB, 10\u{2076} bytes)",
            sizes.iter().map(|(_, _, bytes)| megabytes(*bytes)),
        ),
        bars: sizes
            .iter()
            .map(|(name, class, bytes)| {
                let text = format!("{} bytes", grouped(*bytes));
                (name.to_string(), *class, megabytes(*bytes), text)
            })
            .collect(),
    };
    Some(chart.html())
}

/// The name without what all names share.
fn short_name(name: &str) -> String {
    let name = name.strip_suffix(".weight").unwrap_or(name);
    name.strip_prefix("model.").unwrap_or(name).to_string()
}
