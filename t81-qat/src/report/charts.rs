//! The curves of a run over its optimizer steps.

use super::run_files::RunFiles;
use super::svg::{Axis, Frame, Line, LineChart};
use crate::training::StepLine;

const STEPS: &str = "optimizer step";

/// Loss and perplexity.
pub(super) fn learning(files: &RunFiles) -> String {
    let training = points(files, |line| line.loss);
    let evaluations = &files.log.evaluations;
    let evaluated: Vec<(f64, f64)> = evaluations
        .iter()
        .map(|line| (line.step as f64, line.eval_loss))
        .collect();
    let exponential = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
        points
            .iter()
            .map(|(step, loss)| (*step, loss.exp()))
            .collect()
    };
    let perplexities = [exponential(&training), exponential(&evaluated)];
    let losses = values(&[&training, &evaluated]);
    let loss = LineChart {
        title: "Loss".to_string(),
        frame: frame(
            files,
            Axis::around("cross-entropy (nats per token)", losses),
        ),
        lines: learning_lines(training, evaluated),
    };
    let mut exponentials = values(&[&perplexities[0], &perplexities[1]]);
    let last = last_step(files);
    let baseline = files.baseline.unwrap_or_default();
    let is_ternary = baseline.ternary_perplexity > 0.0;
    let before = [
        ("float before", "float", baseline.float_perplexity),
        (
            "ternary before",
            "untrained",
            is_ternary.then_some(baseline.ternary_perplexity),
        ),
    ];
    let [training, evaluated] = perplexities;
    let mut lines = learning_lines(training, evaluated);
    for (name, class, perplexity) in before {
        if let Some(perplexity) = perplexity {
            exponentials.push(perplexity);
            lines.push(Line {
                name: name.to_string(),
                class,
                points: vec![(0.0, perplexity), (last, perplexity)],
                marks: false,
            });
        }
    }
    let perplexity = LineChart {
        title: "Perplexity".to_string(),
        frame: frame(
            files,
            Axis::logarithmic("perplexity (exp of loss, log scale)", exponentials),
        ),
        lines,
    };
    loss.html() + &perplexity.html()
}

/// Learning rate, threshold, lambda and the zeros among all codes.
pub(super) fn schedules(files: &RunFiles) -> String {
    let rates = points(files, |line| line.learning_rate);
    let thresholds = points(files, |line| f64::from(line.threshold));
    let blends = points(files, |line| f64::from(line.blend));
    let zeros = points(files, |line| 100.0 * line.sparsity);
    let rate_axis = Axis::from_zero("learning rate (dimensionless)", values(&[&rates]));
    let threshold_axis = Axis::between("threshold (fraction)", 0.0, 1.0);
    let blend_axis = Axis::between("lambda (fraction)", 0.0, 1.0);
    let zero_axis = Axis::from_zero("zeros among codes (%)", values(&[&zeros]));
    [
        ("Learning rate", rate_axis, rates),
        ("Ternary threshold", threshold_axis, thresholds),
        ("Lambda: from float to ternary weights", blend_axis, blends),
        ("Sparsity of all layers", zero_axis, zeros),
    ]
    .into_iter()
    .map(|(title, axis, points)| {
        let chart = LineChart {
            title: title.to_string(),
            frame: Frame {
                height: 210.0,
                ..frame(files, axis)
            },
            lines: vec![Line {
                name: title.to_string(),
                class: "training",
                points,
                marks: false,
            }],
        };
        chart.html()
    })
    .collect()
}

fn learning_lines(training: Vec<(f64, f64)>, evaluated: Vec<(f64, f64)>) -> Vec<Line> {
    let line = |name: &str, class, points, marks| Line {
        name: name.to_string(),
        class,
        points,
        marks,
    };
    vec![
        line("training", "training", training, false),
        line("evaluation (exact weights)", "evaluation", evaluated, true),
    ]
}

fn points(files: &RunFiles, of: impl Fn(&StepLine) -> f64) -> Vec<(f64, f64)> {
    let steps = files.log.steps.iter();
    steps.map(|line| (line.step as f64, of(line))).collect()
}

fn values(curves: &[&[(f64, f64)]]) -> Vec<f64> {
    let points = curves.iter().flat_map(|points| points.iter());
    points.map(|(_, value)| *value).collect()
}

fn last_step(files: &RunFiles) -> f64 {
    files.log.last_step().unwrap_or(1) as f64
}

fn frame(files: &RunFiles, y: Axis) -> Frame {
    Frame {
        width: 468.0,
        height: 290.0,
        x: Axis::between(STEPS, 0.0, last_step(files)),
        y,
    }
}
