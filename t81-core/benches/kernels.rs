//! Products, quantizer and codecs: `cargo bench -p t81-core --bench kernels`.
//!
//! One thread and a matrix that the caches of most machines hold; `cargo run --example kernels` has products from memory
//! and other programs beside ours.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use t81_core::{
    ActivationPrecision, BlockFormat, CodeEncoding, Granularity, InterleavedMatrix, Layout,
    Quantizer, Rounding, TernaryMatrix,
};

const SIZE: usize = 1024;
const BATCH: usize = 32;

fn weights() -> Vec<f32> {
    let waves = (0..SIZE * SIZE).map(|i| ((i as f32) * 0.618).sin() * 0.05);
    waves.collect()
}

fn quantizer(group_size: usize) -> Quantizer {
    let granularity = Granularity::group(group_size).expect("a group has weights");
    Quantizer::new(granularity, 0.7).expect("a valid threshold")
}

fn matrix(group_size: usize) -> TernaryMatrix {
    let matrix = quantizer(group_size).quantize(&weights(), SIZE, SIZE, Layout::OutIn);
    matrix.expect("finite weights")
}

fn products(criterion: &mut Criterion) {
    for batch in [1, BATCH] {
        let mut group = criterion.benchmark_group(format!("product with {batch} rows"));
        group.throughput(Throughput::Elements((SIZE * SIZE * batch) as u64));
        let input: Vec<f32> = (0..SIZE * batch)
            .map(|i| ((i as f32) * 0.37).sin())
            .collect();
        let mut output = vec![0.0; SIZE * batch];
        for (encoding, group_size) in [
            (CodeEncoding::TwoBit, 256),
            (CodeEncoding::TwoBit, 64),
            (CodeEncoding::BaseThree, 256),
        ] {
            let matrix = InterleavedMatrix::new(&matrix(group_size), encoding);
            for precision in [ActivationPrecision::Int8, ActivationPrecision::Float32] {
                let name = format!("{encoding:?} group:{group_size}");
                group.bench_function(
                    BenchmarkId::new(name, format!("{precision:?}")),
                    |bencher| {
                        bencher.iter(|| {
                            let product = matrix.matmul(black_box(&input), &mut output, precision);
                            product.expect("lengths that fit");
                        });
                    },
                );
            }
        }
        group.finish();
    }
}

fn quantization(criterion: &mut Criterion) {
    let weights = weights();
    let mut group = criterion.benchmark_group("quantizer");
    group.throughput(Throughput::Elements((SIZE * SIZE) as u64));
    for layout in [Layout::OutIn, Layout::InOut] {
        let stochastic = quantizer(64).with_rounding(Rounding::Stochastic { seed: 1 });
        for (name, quantizer) in [
            ("group:64", quantizer(64)),
            ("group:256", quantizer(256)),
            ("tensor", Quantizer::bitnet()),
            ("group:64 stochastic", stochastic),
        ] {
            let mut output = vec![0.0; SIZE * SIZE];
            let id = BenchmarkId::new(format!("fake_quantize {name}"), format!("{layout:?}"));
            group.bench_function(id, |bencher| {
                bencher.iter(|| {
                    let weights = black_box(&weights);
                    quantizer.fake_quantize(weights, SIZE, SIZE, layout, 1.0, &mut output)
                });
            });
            let id = BenchmarkId::new(format!("quantize {name}"), format!("{layout:?}"));
            group.bench_function(id, |bencher| {
                bencher.iter(|| quantizer.quantize(black_box(&weights), SIZE, SIZE, layout));
            });
        }
    }
    group.finish();
}

fn codecs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec");
    group.throughput(Throughput::Elements((SIZE * SIZE) as u64));
    let matrix = matrix(256);
    for format in BlockFormat::ALL {
        let bytes = format.encode(&matrix).expect("groups of 256 fit");
        let mut floats = vec![0.0; SIZE * SIZE];
        group.bench_function(BenchmarkId::new("encode", format), |bencher| {
            bencher.iter(|| format.encode(black_box(&matrix)));
        });
        group.bench_function(BenchmarkId::new("decode", format), |bencher| {
            bencher.iter(|| format.decode(black_box(&bytes), SIZE, SIZE));
        });
        group.bench_function(BenchmarkId::new("dequantize", format), |bencher| {
            bencher.iter(|| format.dequantize(black_box(&bytes), &mut floats));
        });
    }
    group.finish();
}

fn all(criterion: &mut Criterion) {
    let threads = rayon::ThreadPoolBuilder::new().num_threads(1);
    let pool = threads.use_current_thread().build_global();
    pool.expect("no pool was built before");
    products(criterion);
    quantization(criterion);
    codecs(criterion);
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500));
    targets = all
}
criterion_main!(benches);
