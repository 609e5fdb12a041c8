//! Exact integers beside those of `num-bigint`: `cargo bench -p t81-core --bench numeric`.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use num_bigint::BigInt as Reference;
use num_integer::Integer;
use t81_core::numeric::BigInt;

/// A text of `length` decimal digits without a pattern that arithmetic could use.
fn decimal(length: usize, seed: u64) -> String {
    let mut state = seed;
    (0..length)
        .map(|index| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let digit = (state >> 60) % 10;
            char::from(b'0' + if index == 0 { digit.max(1) } else { digit } as u8)
        })
        .collect()
}

/// One number in both libraries.
struct Pair {
    ours: BigInt,
    reference: Reference,
}

impl Pair {
    fn new(length: usize, seed: u64) -> Self {
        let text = decimal(length, seed);
        Self {
            ours: text.parse().expect("digits"),
            reference: text.parse().expect("digits"),
        }
    }
}

fn arithmetic(criterion: &mut Criterion) {
    for length in [100, 1_000, 10_000, 100_000] {
        let (left, right) = (Pair::new(length, 1), Pair::new(length, 2));
        let half = Pair::new(length / 2, 3);
        let mut group = criterion.benchmark_group(format!("{length} digits"));
        group
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_secs(1))
            .sample_size(20);
        group.bench_function("add/t81", |b| {
            b.iter(|| black_box(&left.ours) + black_box(&right.ours));
        });
        group.bench_function("add/num-bigint", |b| {
            b.iter(|| black_box(&left.reference) + black_box(&right.reference));
        });
        group.bench_function("multiply/t81", |b| {
            b.iter(|| black_box(&left.ours) * black_box(&right.ours));
        });
        group.bench_function("multiply/num-bigint", |b| {
            b.iter(|| black_box(&left.reference) * black_box(&right.reference));
        });
        group.bench_function("divide/t81", |b| {
            b.iter(|| black_box(&left.ours) / black_box(&half.ours));
        });
        group.bench_function("divide/num-bigint", |b| {
            b.iter(|| black_box(&left.reference) / black_box(&half.reference));
        });
        // Both algorithms are quadratic: 100,000 digits take too long to repeat.
        if length <= 10_000 {
            group.bench_function("gcd/t81", |b| {
                b.iter(|| black_box(&left.ours).gcd(black_box(&right.ours)));
            });
            group.bench_function("gcd/num-bigint", |b| {
                b.iter(|| black_box(&left.reference).gcd(black_box(&right.reference)));
            });
        }
        group.bench_function("print/t81", |b| {
            b.iter(|| black_box(&left.ours).to_string())
        });
        group.bench_function("print/num-bigint", |b| {
            b.iter(|| black_box(&left.reference).to_string());
        });
        let text = decimal(length, 1);
        group.bench_function("parse/t81", |b| {
            b.iter(|| black_box(&text).parse::<BigInt>());
        });
        group.bench_function("parse/num-bigint", |b| {
            b.iter(|| black_box(&text).parse::<Reference>());
        });
        group.finish();
    }
}

fn power_modulo(criterion: &mut Criterion) {
    let (base, exponent, modulus) = (Pair::new(300, 3), Pair::new(300, 4), Pair::new(300, 5));
    let mut group = criterion.benchmark_group("power modulo 300 digits");
    group
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(10);
    group.bench_function("t81", |b| {
        b.iter(|| base.ours.pow_mod(black_box(&exponent.ours), &modulus.ours));
    });
    group.bench_function("num-bigint", |b| {
        b.iter(|| {
            base.reference
                .modpow(black_box(&exponent.reference), &modulus.reference)
        });
    });
    group.finish();
}

fn bytes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bytes");
    group
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20);
    for length in [1_000, 100_000] {
        let number = Pair::new(length, 1).ours;
        let bytes = number.to_bytes();
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(BenchmarkId::new("to_bytes", length), |b| {
            b.iter(|| black_box(&number).to_bytes());
        });
        group.bench_function(BenchmarkId::new("from_bytes", length), |b| {
            b.iter(|| BigInt::from_bytes(black_box(&bytes)));
        });
        group.bench_function(BenchmarkId::new("round trip", length), |b| {
            b.iter(|| BigInt::from_bytes(&black_box(&number).to_bytes()));
        });
    }
    group.finish();
}

criterion_group!(benches, arithmetic, power_modulo, bytes);
criterion_main!(benches);
