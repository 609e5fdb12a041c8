//! Products with a ternary matrix beside the dense product of the same shape.

use std::fmt;
use std::hint::black_box;

use burn::tensor::{Device, Tensor, TensorData};
use serde::Serialize;
use t81_core::{
    ActivationPrecision, CodeEncoding, Granularity, InterleavedMatrix, Layout, Quantizer,
};

use super::timing::Timing;
use crate::cli::MatrixShape;
use crate::error::QatError;

/// One matrix and a number of rows to multiply with it.
#[derive(Debug, Serialize)]
pub(super) struct Product {
    rows: usize,
    columns: usize,
    batch: usize,
    granularity: String,
    ternary_int8: Measured,
    ternary_float32: Measured,
    /// The dense product of Burn's Flex backend in float32.
    dense_float32: Measured,
    /// How many times faster than the dense product.
    speedup_int8: f64,
    speedup_float32: f64,
    /// Largest difference of an output from the dense product with the same ternary weights, as a share of the largest output.
    relative_error_int8: f64,
    relative_error_float32: f64,
}

#[derive(Debug, Serialize)]
struct Measured {
    #[serde(flatten)]
    timing: Timing,
    weight_bytes: usize,
    weight_gb_per_second: f64,
    gflop_per_second: f64,
}

/// Measures each shape with each batch.
pub(super) fn measure(
    shapes: &[MatrixShape],
    batches: &[usize],
    seconds: f64,
) -> Result<Vec<Product>, QatError> {
    let mut products = Vec::new();
    for &shape in shapes {
        for &batch in batches {
            let product = Product::of(shape, batch, seconds);
            products.push(product.map_err(QatError::benchmark("the matrix product"))?);
        }
    }
    Ok(products)
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Product {
    fn of(shape: MatrixShape, batch: usize, seconds: f64) -> Result<Self, Failure> {
        let MatrixShape { rows, columns } = shape;
        let granularity = match columns {
            columns if columns.is_multiple_of(256) => Granularity::group(256)?,
            _ => Granularity::group(64)?,
        };
        let quantizer = Quantizer::new(granularity, 0.7)?;
        let matrix =
            quantizer.quantize(&values(rows * columns, 1), rows, columns, Layout::OutIn)?;
        let input = values(
            batch.checked_mul(columns).ok_or("the batch is too large")?,
            2,
        );
        let mut transposed = vec![0.0; rows * columns];
        matrix.dequantize_into(Layout::InOut, &mut transposed)?;

        let device = Device::flex();
        let weights = Tensor::<2>::from_data(TensorData::new(transposed, [columns, rows]), &device);
        let activations = TensorData::new(input.clone(), [batch, columns]);
        let activations = Tensor::<2>::from_data(activations, &device);
        let dense = || activations.clone().matmul(weights.clone()).into_data();
        let expected: Vec<f32> = dense().iter().collect();
        let measured = |timing: Timing, weight_bytes: usize| Measured {
            timing,
            weight_bytes,
            weight_gb_per_second: timing.giga_per_second(weight_bytes),
            gflop_per_second: timing.giga_per_second(2 * rows * columns * batch),
        };
        let dense_float32 = Timing::of(seconds, || {
            black_box(dense());
            Ok::<_, Failure>(())
        })?;

        let interleaved = InterleavedMatrix::new(&matrix, CodeEncoding::TwoBit);
        let mut output = vec![0.0; batch * rows];
        let mut ternary = |precision| -> Result<(Timing, f64), Failure> {
            let timing = Timing::of(seconds, || {
                interleaved.matmul(black_box(&input), &mut output, precision)
            })?;
            Ok((timing, relative_error(&output, &expected)))
        };
        let (int8, relative_error_int8) = ternary(ActivationPrecision::Int8)?;
        let (float32, relative_error_float32) = ternary(ActivationPrecision::Float32)?;
        Ok(Self {
            rows,
            columns,
            batch,
            granularity: granularity.to_string(),
            speedup_int8: dense_float32.best_seconds / int8.best_seconds,
            speedup_float32: dense_float32.best_seconds / float32.best_seconds,
            ternary_int8: measured(int8, interleaved.size_bytes()),
            ternary_float32: measured(float32, interleaved.size_bytes()),
            dense_float32: measured(dense_float32, 4 * rows * columns),
            relative_error_int8,
            relative_error_float32,
        })
    }
}

/// Numbers without a pattern, the same ones each time, between -1 and 1.
fn values(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn relative_error(found: &[f32], expected: &[f32]) -> f64 {
    let largest = expected
        .iter()
        .fold(0.0_f32, |most, value| most.max(value.abs()));
    let differences = found.iter().zip(expected);
    let error = differences.fold(0.0_f32, |most, (found, expected)| {
        most.max((found - expected).abs())
    });
    match largest > 0.0 {
        true => f64::from(error / largest),
        false => f64::from(error),
    }
}

impl fmt::Display for Product {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "product, {}x{} with {} rows: int8 {:.2} GFLOP/s ({:.2} times dense), float32 {:.2} GFLOP/s ({:.2} times dense), dense {:.2} GFLOP/s",
            self.rows,
            self.columns,
            self.batch,
            self.ternary_int8.gflop_per_second,
            self.speedup_int8,
            self.ternary_float32.gflop_per_second,
            self.speedup_float32,
            self.dense_float32.gflop_per_second
        )
    }
}
