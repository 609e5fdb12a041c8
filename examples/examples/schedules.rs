//! The warm-up schedules as curves: the threshold that moves down to its target, and the blend (lambda) from float to ternary.
//!
//! The values are those that `t81_burn::TernaryHandle` holds at each step of a training loop. Writes an SVG file and prints a table.
//!
//! `cargo run -p t81-examples --example schedules [FILE.svg]`
//!
//! ```text
//!  step  threshold, linear  threshold, cosine     lambda, linear     lambda, cosine
//!     0             1.0000             1.0000             0.0000             0.0000
//!    25             0.9250             0.9561             0.2500             0.1464
//! ```

use std::fs;
use std::path::PathBuf;

use t81_burn::{RampShape, TernaryHandle, TernarySchedule};
use t81_examples::{Curve, Failure, Plot, argument_or};

/// Optimizer steps of the run, and those of its warm-ups.
const STEPS: usize = 200;
const WARM_UP: usize = 100;
/// The threshold that the warm-up ends at.
const THRESHOLD: f32 = 0.7;

/// The curves of threshold and blend for a run whose warm-ups have this shape.
fn curves(name: &str, shape: RampShape) -> [Curve; 2] {
    let schedule = TernarySchedule::constant(THRESHOLD)
        .with_threshold_warmup(shape, WARM_UP)
        .with_blend_warmup(shape, WARM_UP);
    // A training loop has a `TernaryScheduler` that moves the handle; the forward passes read it.
    let handle = TernaryHandle::new(&schedule);
    let (mut threshold, mut blend) = (Vec::new(), Vec::new());
    for step in 0..=STEPS {
        handle.set_step(&schedule, step);
        threshold.push(handle.threshold());
        blend.push(handle.blend());
    }
    [("threshold", threshold), ("lambda", blend)].map(|(quantity, values)| Curve {
        name: format!("{quantity}, {name}"),
        values,
    })
}

fn main() -> Result<(), Failure> {
    let path = argument_or(PathBuf::from("target/schedules.svg"))?;
    let [linear_threshold, linear_blend] = curves("linear", RampShape::Linear);
    let [cosine_threshold, cosine_blend] = curves("cosine", RampShape::Cosine);
    let plot = Plot {
        title: format!("Warm-ups over {WARM_UP} of {STEPS} steps"),
        curves: vec![
            linear_threshold,
            cosine_threshold,
            linear_blend,
            cosine_blend,
        ],
    };

    print!("{:>5}", "step");
    for curve in &plot.curves {
        print!("{:>19}", curve.name);
    }
    println!();
    for step in (0..=STEPS).step_by(WARM_UP / 4) {
        print!("{step:5}");
        for curve in &plot.curves {
            print!("{:19.4}", curve.values[step]);
        }
        println!();
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(&path, plot.to_string())?;
    println!("wrote {}", path.display());
    Ok(())
}
