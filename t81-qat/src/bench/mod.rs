//! `t81-qat bench`: the reference figures of a machine and a build, as JSON.

mod convergence;
mod products;
mod serialization;
mod timing;

use std::path::PathBuf;
use std::thread::available_parallelism;

use serde::Serialize;
use t81_core::Instructions;
use t81_hub::T81Directory;
use t81_hub::terminal::print;

use crate::cli::{BenchArguments, MatrixShape};
use crate::command::Run;
use crate::error::QatError;
use crate::output::{result_file, write_whole};
use convergence::Convergence;
use products::Product;
use serialization::RoundTrip;

const FILE: &str = "benchmarks.json";

/// Shapes of a model that are measured at most.
const MAX_SHAPES: usize = 8;

/// Contents of `benchmarks.json`.
#[derive(Debug, Serialize)]
struct Benchmarks {
    tool: &'static str,
    tool_version: &'static str,
    machine: Machine,
    /// The model whose shapes were measured, if one was given.
    model: Option<Model>,
    serialization: Vec<RoundTrip>,
    gemm: Vec<Product>,
    convergence: Convergence,
}

#[derive(Debug, Serialize)]
struct Machine {
    cores: usize,
    architecture: &'static str,
    system: &'static str,
    /// The fastest that the ternary kernels have here.
    instructions: String,
    /// Whether the build checks its debug assertions, as no release build does: its times say little.
    debug_build: bool,
}

#[derive(Debug, Serialize)]
struct Model {
    directory: String,
    source: String,
    architecture: String,
    ternary_weights: u64,
}

pub(crate) fn run(arguments: &BenchArguments) -> Result<Run, QatError> {
    let model = arguments
        .directory
        .as_ref()
        .map(T81Directory::open)
        .transpose()?;
    let usual = match &model {
        Some(model) => model.directory().join(FILE),
        None => PathBuf::from(FILE),
    };
    let path = result_file(
        usual,
        arguments.output.as_deref(),
        arguments.directory.as_deref(),
    )?;
    let shapes = shapes(arguments, model.as_ref());
    let Some(convergence) = convergence::measure(arguments.steps)? else {
        return Ok(Run::Interrupted);
    };
    let benchmarks = Benchmarks {
        tool: "t81-qat",
        tool_version: env!("CARGO_PKG_VERSION"),
        machine: machine(),
        model: model.as_ref().map(facts),
        serialization: serialization::measure(&arguments.blob_bytes, arguments.seconds)?,
        gemm: products::measure(&shapes, &arguments.batch, arguments.seconds)?,
        convergence,
    };
    let mut text = serde_json::to_vec_pretty(&benchmarks)
        .map_err(std::io::Error::other)
        .map_err(QatError::file("write", &path))?;
    text.push(b'\n');
    write_whole(&path, &text)?;
    say(&benchmarks);
    print(format_args!("{}: the figures", path.display()));
    Ok(Run::Finished)
}

/// What was asked for, or the model's own shapes, or those of the preset `tiny`.
fn shapes(arguments: &BenchArguments, model: Option<&T81Directory>) -> Vec<MatrixShape> {
    if !arguments.shape.is_empty() {
        return arguments.shape.clone();
    }
    let tensors = model
        .into_iter()
        .flat_map(|model| model.metadata().tensors.values());
    let mut shapes: Vec<MatrixShape> = tensors
        .filter_map(|tensor| match tensor.shape[..] {
            [rows, columns] => Some(MatrixShape { rows, columns }),
            _ => None,
        })
        .collect();
    shapes.sort_unstable();
    shapes.dedup();
    shapes.truncate(MAX_SHAPES);
    if shapes.is_empty() {
        shapes = [(256, 256), (768, 256), (256, 768)]
            .map(|(rows, columns)| MatrixShape { rows, columns })
            .to_vec();
    }
    shapes
}

fn machine() -> Machine {
    Machine {
        cores: available_parallelism().map_or(1, usize::from),
        architecture: std::env::consts::ARCH,
        system: std::env::consts::OS,
        instructions: Instructions::best().to_string(),
        debug_build: cfg!(debug_assertions),
    }
}

fn facts(model: &T81Directory) -> Model {
    let metadata = model.metadata();
    Model {
        directory: model.directory().display().to_string(),
        source: metadata.source.clone(),
        architecture: metadata.architecture.clone(),
        ternary_weights: metadata.statistics.ternary_weights,
    }
}

fn say(benchmarks: &Benchmarks) {
    let machine = &benchmarks.machine;
    print(format_args!(
        "{} cores, {} ({}){}",
        machine.cores,
        machine.instructions,
        machine.architecture,
        match machine.debug_build {
            true => "; a debug build, whose times say little",
            false => "",
        }
    ));
    for line in &benchmarks.serialization {
        print(line);
    }
    for line in &benchmarks.gemm {
        print(line);
    }
    print(&benchmarks.convergence);
}
