//! The schedules of a training run as curves: the threshold that moves down to its target, the blend (lambda) from float to
//! ternary, and the learning rate.
//!
//! Threshold and blend are those that `t81_burn::TernaryHandle` holds at each step of a training loop, the learning rate is
//! that of `t81-qat`. Prints a table of each and writes an SVG file of each into a directory. The pictures of
//! `docs/training.md` are made by the second command.
//!
//! ```sh
//! cargo run -p t81-examples --example schedules [DIRECTORY]
//! cargo run -p t81-examples --example schedules docs/images
//! ```
//!
//! ```text
//! Threshold, falling to 0.7
//!  step    linear    cosine
//!     0    1.0000    1.0000
//!    25    0.9250    0.9561
//! ```

use std::fs;
use std::path::PathBuf;

use t81_burn::{RampShape, TernaryHandle, TernarySchedule};
use t81_examples::{Curve, Failure, Plot, argument_or};
use t81_qat::{LearningRateType, WarmupDecay};

/// Optimizer steps of the run, those of the warm-ups of threshold and blend, and those in which the learning rate rises.
const STEPS: usize = 200;
const WARM_UP: usize = 100;
const RISE: usize = 20;
/// The threshold that the warm-up ends at.
const THRESHOLD: f32 = 0.7;

/// Threshold and blend of a run whose warm-ups have this shape.
fn ternary_curves(name: &str, shape: RampShape) -> [Curve; 2] {
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
    [threshold, blend].map(|values| Curve {
        name: name.to_owned(),
        values,
    })
}

/// The learning rate as a share of the highest.
fn rate_curve(name: &str, kind: LearningRateType) -> Curve {
    let rates = WarmupDecay::new(kind, 1.0, RISE, STEPS);
    Curve {
        name: name.to_owned(),
        values: (0..=STEPS).map(|step| rates.rate_at(step) as f32).collect(),
    }
}

fn print_table(plot: &Plot) {
    println!("{}", plot.title);
    print!("{:>5}", "step");
    for curve in &plot.curves {
        print!("{:>10}", curve.name);
    }
    println!();
    for step in (0..=STEPS).step_by(STEPS / 8) {
        print!("{step:5}");
        for curve in &plot.curves {
            print!("{:10.4}", curve.values[step]);
        }
        println!();
    }
}

fn main() -> Result<(), Failure> {
    let directory = argument_or(PathBuf::from("target/schedules"))?;
    let [linear_threshold, linear_blend] = ternary_curves("linear", RampShape::Linear);
    let [cosine_threshold, cosine_blend] = ternary_curves("cosine", RampShape::Cosine);
    let rates = vec![
        rate_curve("cosine", LearningRateType::Cosine),
        rate_curve("linear", LearningRateType::Linear),
        rate_curve("constant", LearningRateType::Constant),
    ];
    let plots = [
        (
            "threshold",
            format!("Threshold, falling to {THRESHOLD} over {WARM_UP} of {STEPS} steps"),
            vec![linear_threshold, cosine_threshold],
        ),
        (
            "lambda",
            format!("Lambda, rising to 1 over {WARM_UP} of {STEPS} steps"),
            vec![linear_blend, cosine_blend],
        ),
        (
            "learning-rate",
            format!("Learning rate as a share of the highest, rising over {RISE} of {STEPS} steps"),
            rates,
        ),
    ];
    fs::create_dir_all(&directory)?;
    for (name, title, curves) in plots {
        let plot = Plot { title, curves };
        print_table(&plot);
        let path = directory.join(name).with_extension("svg");
        fs::write(&path, plot.to_string())?;
        println!("wrote {}\n", path.display());
    }
    Ok(())
}
