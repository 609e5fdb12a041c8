//! The quantizer against its definition: every setting, both layouts, awkward shapes, any number of threads.

mod naive;

use proptest::prelude::*;
use t81_core::{
    Distortion, Granularity, Layout, QuantizeError, Quantizer, Reference, Rounding, ScaleRule,
    TernaryMatrix,
};

fn transpose(weights: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..rows * columns)
        .map(|i| weights[i % rows * columns + i / rows])
        .collect()
}

fn bits(weights: &[f32]) -> Vec<u32> {
    weights.iter().map(|weight| weight.to_bits()).collect()
}

fn unpacked(matrix: &TernaryMatrix) -> Vec<i8> {
    (0..matrix.rows())
        .flat_map(|row| (0..matrix.columns()).map(move |column| matrix.code(row, column)))
        .collect()
}

fn streamed(
    quantizer: &Quantizer,
    weights: &[f32],
    rows: usize,
    columns: usize,
    chunk_rows: usize,
) -> Result<(TernaryMatrix, Distortion), QuantizeError> {
    quantizer.quantize_rows(rows, columns, chunk_rows, |range, buffer| {
        assert!(range.len() <= chunk_rows.max(1) && range.end <= rows);
        buffer.copy_from_slice(&weights[range.start * columns..range.end * columns]);
        Ok(())
    })
}

/// Chunks of any size give the matrix of the whole, and the distortion that its floats have.
fn check_streams(quantizer: &Quantizer, weights: &[f32], matrix: &TernaryMatrix, ternary: &[f32]) {
    let (rows, columns) = (matrix.rows(), matrix.columns());
    let square = |value: f64| value * value;
    let pairs = || weights.iter().zip(ternary);
    let squared_error: f64 = pairs()
        .map(|(&w, &q)| square(f64::from(w) - f64::from(q)))
        .sum();
    let squared_weights: f64 = weights.iter().map(|&w| square(f64::from(w))).sum();
    let mut first = None;
    for chunk_rows in [0, 7, rows / 2, usize::MAX] {
        let (streamed, distortion) =
            streamed(quantizer, weights, rows, columns, chunk_rows).unwrap();
        assert_eq!(&streamed, matrix, "{chunk_rows} rows at a time");
        let first = *first.get_or_insert(distortion);
        assert_eq!(distortion, first, "{chunk_rows} rows at a time");
    }
    let distortion = first.unwrap();
    assert!((distortion.squared_error - squared_error).abs() <= 1e-9 * squared_error);
    assert!((distortion.squared_weights - squared_weights).abs() <= 1e-9 * squared_weights);
}

/// Everything the quantizer gives for these weights (in `[out, in]` order) is what the definition gives.
fn check(quantizer: &Quantizer, weights: &[f32], rows: usize, columns: usize) {
    let turned = transpose(weights, rows, columns);
    let mut output = vec![f32::NAN; weights.len()];
    let Some(expected) = naive::quantize(quantizer, weights, columns) else {
        let in_order = weights;
        let mut errors = Vec::new();
        for (layout, weights) in [(Layout::OutIn, weights), (Layout::InOut, &turned)] {
            let error = quantizer
                .quantize(weights, rows, columns, layout)
                .unwrap_err();
            assert!(matches!(error, QuantizeError::ScaleOverflow { .. }));
            let again = quantizer.fake_quantize(weights, rows, columns, layout, 1.0, &mut output);
            assert_eq!(again.as_ref(), Err(&error));
            errors.push(error);
        }
        errors.push(streamed(quantizer, in_order, rows, columns, 3).unwrap_err());
        assert!(errors.iter().all(|error| *error == errors[0]));
        return;
    };
    let matrix = quantizer
        .quantize(weights, rows, columns, Layout::OutIn)
        .unwrap();
    assert_eq!(unpacked(&matrix), expected.codes);
    assert_eq!(matrix.scales(), expected.scales);
    assert_eq!(
        quantizer
            .quantize(&turned, rows, columns, Layout::InOut)
            .unwrap(),
        matrix
    );
    let parts = (matrix.codes().to_vec(), matrix.scales().to_vec());
    let checked =
        TernaryMatrix::from_parts(parts.0, parts.1, rows, columns, quantizer.granularity());
    assert_eq!(checked.as_ref(), Ok(&matrix));

    let ternary = matrix.dequantize();
    check_streams(quantizer, weights, &matrix, &ternary);
    let zeros = expected.codes.iter().filter(|&&code| code == 0).count() as u64;
    for blend in [1.0, 0.0, 0.37] {
        let blended: Vec<f32> = weights
            .iter()
            .zip(&ternary)
            .map(|(w, q)| match blend {
                1.0 => *q,
                0.0 => *w,
                _ => w + blend * (q - w),
            })
            .collect();
        let statistics = quantizer
            .fake_quantize(weights, rows, columns, Layout::OutIn, blend, &mut output)
            .unwrap();
        assert_eq!(bits(&output), bits(&blended));
        assert_eq!(
            (statistics.weights, statistics.zeros),
            (weights.len() as u64, zeros)
        );
        let turned_statistics = quantizer
            .fake_quantize(&turned, rows, columns, Layout::InOut, blend, &mut output)
            .unwrap();
        assert_eq!(bits(&output), bits(&transpose(&blended, rows, columns)));
        assert_eq!(turned_statistics, statistics);
    }
    assert_eq!(matrix.sparsity(), zeros as f64 / weights.len() as f64);
    matrix.dequantize_into(Layout::InOut, &mut output).unwrap();
    assert_eq!(bits(&output), bits(&transpose(&ternary, rows, columns)));
}

fn quantizers() -> impl Strategy<Value = Quantizer> {
    let granularity = prop_oneof![
        Just(Granularity::Tensor),
        Just(Granularity::Row),
        (1..20_usize).prop_map(|size| Granularity::group(size).unwrap()),
        prop_oneof![Just(64), Just(256), Just(300), Just(512), 1..700_usize]
            .prop_map(|size| Granularity::group(size).unwrap()),
    ];
    let threshold = prop_oneof![Just(0.0_f32), Just(0.5), Just(0.7), Just(1.0), 0.0..1.0_f32];
    let reference = prop_oneof![Just(Reference::AbsMean), Just(Reference::AbsMax)];
    let scale = prop_oneof![Just(ScaleRule::LeastSquares), Just(ScaleRule::Reference)];
    let rounding = prop_oneof![
        Just(Rounding::Deterministic),
        any::<u64>().prop_map(|seed| Rounding::Stochastic { seed })
    ];
    (granularity, threshold, reference, scale, rounding).prop_map(
        |(granularity, threshold, reference, scale, rounding)| {
            Quantizer::new(granularity, threshold)
                .unwrap()
                .with_reference(reference)
                .with_scale(scale)
                .with_rounding(rounding)
        },
    )
}

/// A small generator, so that a case is its seed (a matrix of 10^5 proptest values would be slow to make and to
/// shrink).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        let word = self.0 ^ self.0 >> 29;
        word.wrapping_mul(0xbf58476d1ce4e5b9) ^ word >> 32
    }

    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 24) as f32
    }
}

/// Kinds of weights that stress different things.
fn weights(kind: u8, seed: u64, len: usize) -> Vec<f32> {
    let mut random = Random(seed);
    (0..len)
        .map(|i| match kind {
            // Like a trained layer.
            0 => (random.unit() + random.unit() + random.unit() - 1.5) * 0.04,
            // Ties with thresholds, signed zeros.
            1 => [-2.0, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 2.0][random.next() as usize % 8],
            // Sums whose rounding depends on their order.
            2 => (random.unit() - 0.5) * 2.0_f32.powi((random.next() % 40) as i32 - 30),
            // Scales around the smallest f16, and f32 subnormals.
            3 => (random.unit() - 0.5) * 2.0_f32.powi(-24 - (random.next() % 4) as i32 * 40),
            // Scales around the largest f16.
            4 => 65520.0 * (1.0 - random.unit() * 0.0005) * if i % 3 == 0 { -1.0 } else { 1.0 },
            // Mostly zeros.
            _ => {
                if random.next().is_multiple_of(50) {
                    random.unit() - 0.5
                } else {
                    0.0
                }
            }
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_setting_follows_the_definition(
        quantizer in quantizers(),
        rows in prop_oneof![Just(1_usize), 1..20_usize, 60..135_usize],
        columns in prop_oneof![Just(1_usize), 1..20_usize, 250..300_usize, 1..1100_usize],
        kind in 0..6_u8,
        seed: u64,
    ) {
        check(&quantizer, &weights(kind, seed, rows * columns), rows, columns);
    }
}

fn settings() -> Vec<Quantizer> {
    let group = |size| Quantizer::new(Granularity::group(size).unwrap(), 0.7).unwrap();
    vec![
        group(64),
        group(256),
        group(1000).with_rounding(Rounding::Stochastic { seed: 1 << 40 | 9 }),
        group(64)
            .with_reference(Reference::AbsMax)
            .with_scale(ScaleRule::Reference),
        Quantizer::twn(Granularity::Row),
        Quantizer::twn(Granularity::Tensor),
        Quantizer::bitnet(),
        Quantizer::t81lib(),
    ]
}

#[test]
fn large_and_lopsided_matrices_follow_the_definition() {
    for (rows, columns) in [
        (1, 100_003),
        (100_003, 1),
        (257, 521),
        (3, 40_000),
        (40_000, 3),
    ] {
        let weights = weights(2, rows as u64, rows * columns);
        for quantizer in settings() {
            check(&quantizer, &weights, rows, columns);
        }
    }
}

#[test]
fn thread_count_does_not_matter() {
    let (rows, columns) = (331, 1201);
    let weights = weights(2, 5, rows * columns);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let mut results = Vec::new();
            for quantizer in settings() {
                for layout in [Layout::OutIn, Layout::InOut] {
                    let mut output = vec![0.0; weights.len()];
                    let statistics = quantizer
                        .fake_quantize(&weights, rows, columns, layout, 0.6, &mut output)
                        .unwrap();
                    let matrix = quantizer.quantize(&weights, rows, columns, layout).unwrap();
                    results.push((bits(&output), statistics, matrix));
                }
            }
            results
        })
    };
    let one = run(1);
    for threads in [2, 7, 16] {
        assert!(run(threads) == one, "{threads} threads differ from one");
    }
}
