//! Prints the speed of the quantizer and of the block codecs, in millions of weights a second.
//!
//! ```text
//! cargo run --release -p t81-core --example quantize_speed -- [ROWS] [COLUMNS] [THREADS] [NAME]
//! ```
//!
//! Each figure is the best of several passes over a matrix of `ROWS` output and `COLUMNS` input features (2048 x 2048,
//! one thread, unless told); `NAME` selects the figures whose name contains it.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use t81_core::{BlockFormat, Granularity, Layout, Quantizer, Reference, Rounding, ScaleRule};

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize, default| {
        arguments
            .get(place)
            .map_or(Ok(default), |text| text.parse())
    };
    let (rows, columns, threads) = (number(0, 2048)?, number(1, 2048)?, number(2, 1)?);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()?;
    pool.install(|| measure(rows, columns))
}

fn measure(rows: usize, columns: usize) -> Result<(), Box<dyn Error + Send + Sync>> {
    let count = rows * columns;
    let weights: Vec<f32> = (0..count)
        .map(|i| ((i as f32) * 0.618).sin() * 0.05)
        .collect();
    let mut output = vec![0.0; count];

    report("copy (for comparison)", count, || {
        output.copy_from_slice(black_box(&weights));
        Ok(())
    })?;

    let group = |size| {
        Ok::<_, Box<dyn Error + Send + Sync>>(Quantizer::new(Granularity::group(size)?, 0.7)?)
    };
    let quantizers = [
        ("group:64", group(64)?),
        ("group:256", group(256)?),
        ("row", Quantizer::twn(Granularity::Row)),
        ("tensor", Quantizer::twn(Granularity::Tensor)),
        ("bitnet", Quantizer::bitnet()),
        (
            "group:64 abs-max reference",
            group(64)?
                .with_reference(Reference::AbsMax)
                .with_scale(ScaleRule::Reference),
        ),
        (
            "group:64 stochastic",
            group(64)?.with_rounding(Rounding::Stochastic { seed: 1 }),
        ),
    ];
    for (name, quantizer) in &quantizers {
        for layout in [Layout::OutIn, Layout::InOut] {
            for blend in [1.0, 0.5] {
                report(
                    &format!("fake_quantize {layout:?} {name} blend {blend}"),
                    count,
                    || {
                        let weights = black_box(&weights);
                        quantizer.fake_quantize(
                            weights,
                            rows,
                            columns,
                            layout,
                            blend,
                            &mut output,
                        )?;
                        Ok(())
                    },
                )?;
            }
        }
    }
    for layout in [Layout::OutIn, Layout::InOut] {
        report(&format!("quantize {layout:?} group:256"), count, || {
            black_box(
                quantizers[1]
                    .1
                    .quantize(black_box(&weights), rows, columns, layout)?,
            );
            Ok(())
        })?;
    }
    let matrix = quantizers[1]
        .1
        .quantize(&weights, rows, columns, Layout::OutIn)?;
    report("dequantize", count, || {
        Ok(matrix.dequantize_into(Layout::OutIn, &mut output)?)
    })?;
    report("dequantize InOut", count, || {
        Ok(matrix.dequantize_into(Layout::InOut, &mut output)?)
    })?;
    for format in BlockFormat::ALL
        .into_iter()
        .filter(|format| format.holds(&matrix))
    {
        let mut bytes = vec![0; format.row_bytes(columns).unwrap_or(0) * rows];
        report(&format!("{format} encode"), count, || {
            Ok(format.encode_rows(black_box(&matrix), 0..rows, &mut bytes)?)
        })?;
        report(&format!("{format} decode"), count, || {
            black_box(format.decode(black_box(&bytes), rows, columns)?);
            Ok(())
        })?;
        report(&format!("{format} dequantize"), count, || {
            Ok(format.dequantize(black_box(&bytes), &mut output)?)
        })?;
    }
    Ok(())
}

fn report(
    name: &str,
    weights: usize,
    mut pass: impl FnMut() -> Result<(), Box<dyn Error + Send + Sync>>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    if std::env::args()
        .nth(4)
        .is_some_and(|part| !name.contains(&part))
    {
        return Ok(());
    }
    let mut best = f64::INFINITY;
    let begin = Instant::now();
    let mut passes = 0;
    while passes < 3 || (begin.elapsed().as_secs_f64() < 1.0 && passes < 2000) {
        let start = Instant::now();
        pass()?;
        best = best.min(start.elapsed().as_secs_f64());
        passes += 1;
    }
    let speed = weights as f64 / best / 1e6;
    println!("{speed:>8.0} M weights/s  {name}");
    Ok(())
}
