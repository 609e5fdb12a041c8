//! Arguments of `bench`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::values::{positive, positive_number};

/// Weights of a matrix at most.
const MAX_WEIGHTS: usize = 1 << 28;

/// Arguments of `bench`.
#[derive(Args, Clone, Debug)]
pub struct BenchArguments {
    /// A t81 directory, or the output directory of a run: the numbers go beside its metadata, and its layers' shapes are
    /// measured.
    #[arg(value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Where the numbers are written [default: benchmarks.json beside the model's metadata, or here without DIR].
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Matrices to multiply with; may be given several times [default: those of DIR, or 256x256, 768x256 and 256x768].
    #[arg(long, value_name = "OUTxIN")]
    pub shape: Vec<MatrixShape>,
    /// Rows of activations of a product; may be given several times.
    #[arg(long, value_name = "N", default_values_t = [1, 32], value_parser = positive)]
    pub batch: Vec<usize>,
    /// Bytes of the numbers that are written and read back; may be given several times.
    #[arg(long, value_name = "BYTES", default_values_t = [1_024, 65_536, 1_048_576], value_parser = positive)]
    pub blob_bytes: Vec<usize>,
    /// Optimizer steps of the training run.
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = positive)]
    pub steps: usize,
    /// Seconds that each measurement takes at least.
    #[arg(long, value_name = "SECONDS", default_value_t = 0.2, value_parser = positive_number)]
    pub seconds: f64,
}

/// Output and input features of a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MatrixShape {
    /// Output features.
    pub rows: usize,
    /// Input features.
    pub columns: usize,
}

impl FromStr for MatrixShape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sizes = text.split_once('x').and_then(|(rows, columns)| {
            let (rows, columns): (usize, usize) = (rows.parse().ok()?, columns.parse().ok()?);
            Some((rows, columns, rows.checked_mul(columns)?))
        });
        match sizes {
            Some((rows, columns, weights)) if (1..=MAX_WEIGHTS).contains(&weights) => {
                Ok(Self { rows, columns })
            }
            Some(_) => Err(format!("must hold 1 to {MAX_WEIGHTS} weights")),
            None => Err("expected OUTxIN, as in 768x256".to_string()),
        }
    }
}
