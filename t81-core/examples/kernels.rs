//! Prints the table of `docs/benchmarks.md`: our kernels beside those of other programs, measured in the same run.
//!
//! ```text
//! cargo run --release -p t81-core --example kernels -- [PEER]...
//! ```
//!
//! A `PEER` is a command that prints its own measurements, a line each, `name<TAB>seconds`: the program that
//! `t81-core/benches/ggml_kernels.sh` builds, and `python3 t81-core/benches/torch_matmul.py`. Each figure is the best of
//! several passes; each peer runs right before ours.

use std::collections::BTreeMap;
use std::error::Error;
use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

use t81_core::{
    ActivationPrecision, BlockFormat, CodeEncoding, Granularity, Instructions, InterleavedMatrix,
    Layout, Quantizer, TernaryMatrix,
};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const SIZE: usize = 4096;
const WEIGHTS: f64 = (SIZE * SIZE) as f64;
/// Bytes of weights that no cache of a small machine holds.
const BEYOND_CACHES: usize = 160 << 20;

/// Output and input features of the linear layers of models that people run.
const LAYERS: [(&str, usize, usize); 12] = [
    ("SmolLM2-135M q, o", 576, 576),
    ("SmolLM2-135M k, v", 192, 576),
    ("SmolLM2-135M gate, up", 1536, 576),
    ("SmolLM2-135M down", 576, 1536),
    ("Llama-3.2-1B q, o", 2048, 2048),
    ("Llama-3.2-1B k, v", 512, 2048),
    ("Llama-3.2-1B gate, up", 8192, 2048),
    ("Llama-3.2-1B down", 2048, 8192),
    ("Llama-3.2-3B q, o", 3072, 3072),
    ("Llama-3.2-3B k, v", 1024, 3072),
    ("Llama-3.2-3B gate, up", 8192, 3072),
    ("Llama-3.2-3B down", 3072, 8192),
];

fn main() -> Result<()> {
    let mut peers = BTreeMap::new();
    for peer in std::env::args().skip(1) {
        measure_peer(&peer, &mut peers)?;
    }
    println!("instructions: {}\n", Instructions::best());
    let bandwidth = bandwidth();
    println!("reading memory, one thread: {:.1} GB/s\n", bandwidth / 1e9);
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()?;
        pool.install(|| products(threads, bandwidth, &peers))?;
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    pool.install(|| quantization(&peers))?;
    pool.install(|| layers(&peers))
}

/// Adds what a command prints.
fn measure_peer(command: &str, peers: &mut BTreeMap<String, f64>) -> Result<()> {
    let output = Command::new("sh").arg("-c").arg(command).output()?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command}: {}\n{reason}", output.status).into());
    }
    for line in String::from_utf8(output.stdout)?.lines() {
        if let Some((name, seconds)) = line.split_once('\t') {
            peers.insert(name.to_owned(), seconds.parse()?);
        }
    }
    Ok(())
}

/// Seconds of the best pass of at least half a second of passes.
fn best(mut pass: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut best = f64::INFINITY;
    let begin = Instant::now();
    let mut passes = 0;
    while passes < 5 || begin.elapsed().as_secs_f64() < 0.5 {
        let start = Instant::now();
        pass()?;
        best = best.min(start.elapsed().as_secs_f64());
        passes += 1;
    }
    Ok(best)
}

/// Bytes that one thread reads from memory in a second.
fn bandwidth() -> f64 {
    let data = vec![1_u64; (512 << 20) / 8];
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let start = Instant::now();
        let mut sums = [0_u64; 32];
        for chunk in data.as_chunks::<32>().0 {
            for (sum, value) in sums.iter_mut().zip(chunk) {
                *sum = sum.wrapping_add(*value);
            }
        }
        black_box(sums);
        best = best.min(start.elapsed().as_secs_f64());
    }
    (8 * data.len()) as f64 / best
}

fn weights(count: usize) -> Vec<f32> {
    (0..count)
        .map(|i| ((i as f32) * 0.618).sin() * 0.05)
        .collect()
}

fn ternary(rows: usize, columns: usize, group_size: usize) -> Result<TernaryMatrix> {
    let quantizer = Quantizer::new(Granularity::group(group_size)?, 0.7)?;
    Ok(quantizer.quantize(&weights(rows * columns), rows, columns, Layout::OutIn)?)
}

fn activations(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i as f32) * 0.37).sin()).collect()
}

/// One line: ours, and the ratio of the peer's time to ours.
fn report(what: &str, rate: &str, seconds: f64, peers: &BTreeMap<String, f64>, names: &[String]) {
    print!("{what:<52} {:>9.4} ms {rate:>17}", 1e3 * seconds);
    for name in names {
        if let Some(peer) = peers.get(name) {
            let short = name.split(" threads").next().unwrap_or(name);
            print!("  {:>6.2} x {short}", peer / seconds);
        }
    }
    println!();
}

fn products(threads: usize, bandwidth: f64, peers: &BTreeMap<String, f64>) -> Result<()> {
    println!("{SIZE} x {SIZE}, {threads} thread(s)");
    let (int8, float) = (ActivationPrecision::Int8, ActivationPrecision::Float32);
    let kinds = [
        (
            "2 bits, groups of 256, int8",
            256,
            CodeEncoding::TwoBit,
            int8,
            "TQ2_0",
        ),
        (
            "base 3, groups of 256, int8",
            256,
            CodeEncoding::BaseThree,
            int8,
            "TQ1_0",
        ),
        (
            "2 bits, groups of 64, int8",
            64,
            CodeEncoding::TwoBit,
            int8,
            "Q2_0",
        ),
        (
            "2 bits, groups of 256, f32",
            256,
            CodeEncoding::TwoBit,
            float,
            "F32",
        ),
    ];
    for (name, group_size, encoding, precision, peer) in kinds {
        let matrix = InterleavedMatrix::new(&ternary(SIZE, SIZE, group_size)?, encoding);
        let copies = vec![matrix; BEYOND_CACHES / (SIZE * SIZE / 5) + 1];
        let bytes = copies[0].size_bytes() as f64;
        let mut output = vec![0.0; SIZE];
        let input = activations(SIZE);
        let seconds = best(|| Ok(copies[0].matmul(black_box(&input), &mut output, precision)?))?;
        report(
            &format!("mat-vec, cache, {name}"),
            &format!("{:.1} G weights/s", WEIGHTS / seconds / 1e9),
            seconds,
            peers,
            &[format!("mat-vec, cache {peer} threads={threads}")],
        );
        let seconds = best(|| {
            for matrix in &copies {
                matrix.matmul(black_box(&input), &mut output, precision)?;
            }
            Ok(())
        })? / copies.len() as f64;
        let share = 100.0 * bytes / seconds / bandwidth;
        report(
            &format!("mat-vec, memory ({share:.0} % of reading), {name}"),
            &format!("{:.1} G weights/s", WEIGHTS / seconds / 1e9),
            seconds,
            peers,
            &[format!("mat-vec, memory {peer} threads={threads}")],
        );
        for batch in [32, 128] {
            let input = activations(batch * SIZE);
            let mut output = vec![0.0; batch * SIZE];
            let seconds =
                best(|| Ok(copies[0].matmul(black_box(&input), &mut output, precision)?))?;
            report(
                &format!("mat-mat N={batch}, {name}"),
                &format!(
                    "{:.0} GFLOP/s",
                    2.0 * WEIGHTS * batch as f64 / seconds / 1e9
                ),
                seconds,
                peers,
                &[peer, "Q4_K"].map(|peer| format!("mat-mat N={batch} {peer} threads={threads}")),
            );
        }
    }
    println!();
    Ok(())
}

fn quantization(peers: &BTreeMap<String, f64>) -> Result<()> {
    println!("floats to blocks, one thread");
    let weights = weights(SIZE * SIZE);
    for (format, group_size) in [
        (BlockFormat::Tq2_0, 256),
        (BlockFormat::Tq1_0, 256),
        (BlockFormat::Q2_0, 64),
    ] {
        let quantizer = Quantizer::new(Granularity::group(group_size)?, 0.7)?;
        let seconds = best(|| {
            let matrix = quantizer.quantize(black_box(&weights), SIZE, SIZE, Layout::OutIn)?;
            black_box(format.encode(&matrix)?);
            Ok(())
        })?;
        report(
            &format!("quantize {format}"),
            &format!("{:.0} M weights/s", WEIGHTS / seconds / 1e6),
            seconds,
            peers,
            &[format!("quantize {format}")],
        );
    }
    println!();
    Ok(())
}

fn layers(peers: &BTreeMap<String, f64>) -> Result<()> {
    println!("layers, one row of activations, one thread");
    for (name, rows, columns) in LAYERS {
        let matrix = ternary(rows, columns, 64)?;
        let matrix = InterleavedMatrix::new(&matrix, CodeEncoding::TwoBit);
        let input = activations(columns);
        let mut output = vec![0.0; rows];
        for (kind, precision) in [
            ("int8", ActivationPrecision::Int8),
            ("f32", ActivationPrecision::Float32),
        ] {
            let seconds = best(|| Ok(matrix.matmul(black_box(&input), &mut output, precision)?))?;
            report(
                &format!("{rows} x {columns} {name}, {kind}"),
                &format!("{:.1} GB/s", matrix.size_bytes() as f64 / seconds / 1e9),
                seconds,
                peers,
                &["float32", "bfloat16"].map(|kind| format!("torch {kind} {rows}x{columns}")),
            );
        }
    }
    Ok(())
}
