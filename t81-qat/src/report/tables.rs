//! What a run logged, as tables.

use std::fmt::Write;

use serde_json::Value;

use super::markup::{escape, exact, grouped};
use super::run_files::RunFiles;
use crate::metrics_log::MetricsLog;
use crate::training::{SampleLine, duration, short};

/// Rows of the table of steps at most; of more, every so many-th is shown, and the last.
const MAX_ROWS: usize = 400;

/// The outcome in a few lines.
pub(super) fn outcome(files: &RunFiles) -> String {
    let mut rows: Vec<(&str, String)> = Vec::new();
    if let Some(summary) = &files.summary {
        rows.push((
            "perplexity",
            format!(
                "{:.4} on {} tokens",
                summary.perplexity, summary.eval_tokens
            ),
        ));
        rows.push(("loss", format!("{:.4} nats per token", summary.loss)));
        let before = &summary.before;
        if let Some(float) = before.float_perplexity {
            rows.push((
                "perplexity of the float model before",
                format!("{float:.4}"),
            ));
        }
        if before.ternary_perplexity > 0.0 {
            rows.push((
                "perplexity, ternary, before training",
                format!("{:.4}", before.ternary_perplexity),
            ));
        }
        rows.push((
            "trained",
            format!(
                "{} steps, {} tokens, {}{}",
                summary.steps,
                grouped(summary.tokens),
                duration(summary.seconds),
                match summary.stopped_early {
                    true => ", stopped early",
                    false => "",
                }
            ),
        ));
        rows.push(("result of step", summary.result_step.to_string()));
        if let Some(best) = summary.best {
            rows.push((
                "best evaluation",
                format!("step {}, loss {:.4}", best.step, best.loss),
            ));
        }
        rows.push((
            "parameters",
            format!(
                "{} ternary ({:.2} bits each, {:.2} % zeros), {} float",
                grouped(summary.ternary_weights as u64),
                summary.bits_per_ternary_weight,
                100.0 * summary.sparsity,
                grouped(summary.float_parameters as u64)
            ),
        ));
    } else if let Some(line) = files.log.evaluations.last() {
        rows.push((
            "last evaluation",
            format!(
                "step {}, loss {:.4}, perplexity {:.4}",
                line.step,
                line.eval_loss,
                line.eval_loss.exp()
            ),
        ));
    }
    let mut html = String::from("<table class=\"facts\">");
    for (name, value) in rows {
        let _ = write!(html, "<tr><th>{name}</th><td>{}</td></tr>", escape(&value));
    }
    html + "</table>"
}

/// How the text of each prompt changed.
pub(super) fn samples(log: &MetricsLog) -> String {
    let mut prompts: Vec<(&str, Vec<&SampleLine>)> = Vec::new();
    for line in &log.samples {
        match prompts
            .iter_mut()
            .find(|(prompt, _)| *prompt == line.sample_prompt)
        {
            Some((_, lines)) => lines.push(line),
            None => prompts.push((&line.sample_prompt, vec![line])),
        }
    }
    let mut html = String::new();
    for (prompt, lines) in prompts {
        html.push_str(
            "<table class=\"samples\"><thead><tr><th>step</th><th>text</th></tr></thead><tbody>",
        );
        for line in lines {
            let _ = write!(
                html,
                "<tr><td>{}</td><td><span class=\"prompt\">{}</span>{}</td></tr>",
                line.step,
                escape(prompt),
                escape(&line.sample)
            );
        }
        html.push_str("</tbody></table>");
    }
    html
}

/// The numbers that the curves show, as they were logged.
pub(super) fn numbers(log: &MetricsLog) -> String {
    let mut html = String::new();
    if !log.evaluations.is_empty() {
        html.push_str(
            "<h3>Evaluations</h3><table class=\"numbers\" id=\"evaluations\"><thead><tr><th>step</th><th>tokens trained on</th>\
             <th>loss (nats per token)</th><th>perplexity</th><th>tokens evaluated</th></tr></thead><tbody>",
        );
        for line in &log.evaluations {
            let _ = write!(
                html,
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                line.step,
                line.tokens,
                exact(line.eval_loss),
                exact(line.eval_loss.exp()),
                line.eval_tokens
            );
        }
        html.push_str("</tbody></table>");
    }
    if log.steps.is_empty() {
        return html;
    }
    let stride = log.steps.len().div_ceil(MAX_ROWS).max(1);
    html.push_str("<h3>Training</h3>");
    if stride > 1 {
        let _ = write!(
            html,
            "<p>Every {stride}th of the {} logged lines, and the last.</p>",
            log.steps.len()
        );
    }
    html.push_str(
        "<table class=\"numbers\" id=\"steps\"><thead><tr><th>step</th><th>loss (nats per token)</th><th>learning rate</th>\
         <th>threshold</th><th>lambda</th><th>zeros (share)</th><th>tokens/s</th></tr></thead><tbody>",
    );
    for (index, line) in log.steps.iter().enumerate() {
        if index % stride != 0 && index + 1 != log.steps.len() {
            continue;
        }
        let _ = write!(
            html,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            line.step,
            exact(line.loss),
            exact(line.learning_rate),
            line.threshold,
            line.blend,
            exact(line.sparsity),
            short(line.tokens_per_second)
        );
    }
    html + "</tbody></table>"
}

/// The settings of the run by name; parts of a setting below it.
pub(super) fn settings(settings: &Value) -> String {
    let mut rows = Vec::new();
    flatten("", settings, &mut rows);
    let mut html = String::from("<table class=\"facts\">");
    for (name, value) in rows {
        let _ = write!(
            html,
            "<tr><th>{}</th><td>{}</td></tr>",
            escape(&name),
            escape(&value)
        );
    }
    html + "</table>"
}

fn flatten(name: &str, value: &Value, rows: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let name = match name {
                    "" => field.clone(),
                    name => format!("{name}.{field}"),
                };
                flatten(&name, value, rows);
            }
        }
        Value::Null => {}
        Value::String(text) => rows.push((name.to_string(), text.clone())),
        other => rows.push((name.to_string(), other.to_string())),
    }
}
