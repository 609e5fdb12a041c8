//! Measures products with f32 activations on one instruction set, by one thread.
//!
//! ```text
//! cargo run --release -p t81-core --example float_products -- INSTRUCTIONS
//! ```
//!
//! `INSTRUCTIONS` is the name of a set that the machine has: `portable`, `AVX2`, `AVX-VNNI`, `AVX-512`, `NEON`. Each figure
//! is the best of several passes.

use std::error::Error;
use std::time::Instant;

use t81_core::{
    ActivationPrecision, CodeEncoding, Granularity, Instructions, InterleavedMatrix, Layout,
    Quantizer,
};

const SIZE: usize = 4096;

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let name = std::env::args().nth(1).unwrap_or_default();
    let available = Instructions::available();
    let named = available.iter().find(|set| set.to_string() == name);
    let instructions = *named.ok_or_else(|| format!("no instruction set {name:?} here"))?;
    let weights: Vec<f32> = (0..SIZE * SIZE)
        .map(|i| ((i as f32) * 0.618).sin() * 0.05)
        .collect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    println!("{SIZE} x {SIZE}, {instructions}");
    for group_size in [256, 64] {
        let quantizer = Quantizer::new(Granularity::group(group_size)?, 0.7)?;
        let matrix = quantizer.quantize(&weights, SIZE, SIZE, Layout::OutIn)?;
        for encoding in [CodeEncoding::TwoBit, CodeEncoding::BaseThree] {
            let matrix = InterleavedMatrix::new(&matrix, encoding);
            for rows in [1, 2, 8, 128] {
                let seconds = pool.install(|| best(&matrix, instructions, rows))?;
                let products = (rows * SIZE * SIZE) as f64 / seconds / 1e9;
                println!(
                    "{encoding:?}, groups of {group_size}, {rows:>3} rows {:>9.3} ms {products:>6.1} G weights/s {:>4.0} GFLOP/s",
                    1e3 * seconds,
                    2.0 * products
                );
            }
        }
    }
    Ok(())
}

/// Seconds of the best pass of at least half a second of passes.
fn best(
    matrix: &InterleavedMatrix,
    instructions: Instructions,
    rows: usize,
) -> Result<f64, Box<dyn Error + Send + Sync>> {
    let input: Vec<f32> = (0..rows * SIZE)
        .map(|i| ((i as f32) * 0.37).sin())
        .collect();
    let mut output = vec![0.0; rows * SIZE];
    let mut best = f64::INFINITY;
    let begin = Instant::now();
    let mut passes = 0;
    while passes < 5 || begin.elapsed().as_secs_f64() < 0.5 {
        let start = Instant::now();
        let float = ActivationPrecision::Float32;
        matrix.matmul_on(instructions, &input, &mut output, float)?;
        best = best.min(start.elapsed().as_secs_f64());
        passes += 1;
    }
    Ok(best)
}
