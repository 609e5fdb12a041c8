//! The page.

use std::fmt::Write;

use super::markup::escape;
use super::run_files::RunFiles;
use super::weights::Weights;
use super::{charts, layers, tables};

const STYLE: &str = include_str!("style.css");

/// The whole page: nothing of it lies elsewhere.
pub(super) fn write(files: &RunFiles, weights: Option<&Weights>) -> String {
    let title = title(files);
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{0}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{0}</h1>\n",
        escape(&title)
    );
    if !files.notes.is_empty() {
        html.push_str("<ul class=\"notes\">");
        for note in &files.notes {
            let _ = write!(html, "<li>{}</li>", escape(note));
        }
        html.push_str("</ul>\n");
    }
    html.push_str(&tables::outcome(files));
    section(&mut html, "Learning", |html| match files.log.last_step() {
        Some(_) => {
            let _ = write!(
                html,
                "<div class=\"pair\">{}</div>",
                charts::learning(files)
            );
        }
        None => html.push_str("<p class=\"absent\">The run logged no loss.</p>"),
    });
    if !files.log.steps.is_empty() {
        section(&mut html, "Schedules", |html| {
            let _ = write!(
                html,
                "<div class=\"pair\">{}</div>",
                charts::schedules(files)
            );
        });
    }
    section(&mut html, "Weights", |html| match (weights, &files.t81) {
        (Some(weights), _) => weight_section(weights, html),
        (None, Some(_)) => {
            html.push_str("<p class=\"absent\">The result has no ternary weights.</p>");
        }
        (None, None) => html.push_str("<p class=\"absent\">There is no result yet.</p>"),
    });
    if let Some(sizes) = layers::sizes(files) {
        section(&mut html, "Sizes", |html| html.push_str(&sizes));
    }
    section(&mut html, "Samples", |html| {
        match files.log.samples.is_empty() {
            true => html.push_str(
                "<p class=\"absent\">The run logged no text; --sample-prompt asks for it.</p>",
            ),
            false => html.push_str(&tables::samples(&files.log)),
        }
    });
    if let Some(settings) = &files.settings {
        let _ = writeln!(
            html,
            "<details><summary>Settings</summary>{}</details>",
            tables::settings(settings)
        );
    }
    let _ = write!(
        html,
        "<details><summary>Numbers</summary>{}</details>\n<footer>t81-qat report {}</footer>\n</main>\n</body>\n</html>\n",
        tables::numbers(&files.log),
        env!("CARGO_PKG_VERSION")
    );
    html
}

fn title(files: &RunFiles) -> String {
    let dataset = files.setting("dataset").and_then(|value| value.as_str());
    match (files.model(), dataset) {
        (Some(model), Some(dataset)) => format!("{model}, trained on {dataset}"),
        (Some(model), None) => format!("{model}, trained"),
        (None, _) => "A run of t81-qat".to_string(),
    }
}

fn section(html: &mut String, title: &str, content: impl FnOnce(&mut String)) {
    let _ = writeln!(html, "<section><h2>{title}</h2>");
    content(html);
    html.push_str("</section>\n");
}

fn weight_section(weights: &Weights, html: &mut String) {
    html.push_str(&layers::sparsity(weights));
    match &weights.origin {
        Some(origin) => {
            let _ = write!(
                html,
                "<p>Before: {}. After: codes and scales of the t81 directory. Values beyond four root mean squares count in the \
                 outermost bars.</p>",
                escape(origin)
            );
        }
        None => html.push_str(
            "<p>After: codes and scales of the t81 directory. Values beyond four root mean squares count in the outermost bars.</p>",
        ),
    }
    let _ = write!(
        html,
        "<div class=\"pair\">{}</div>{}",
        layers::distribution(weights),
        layers::each(weights)
    );
}
