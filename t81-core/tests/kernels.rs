//! Products on every instruction set of the machine: the same bits, and the dense product up to rounding.

use half::f16;
use proptest::prelude::*;
use t81_core::{
    ActivationPrecision, CodeEncoding, Granularity, Instructions, InterleavedMatrix, MatrixError,
    TernaryMatrix,
};

const ENCODINGS: [CodeEncoding; 2] = [CodeEncoding::TwoBit, CodeEncoding::BaseThree];

/// Numbers that look random: `splitmix64`.
fn random(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = state;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }
}

/// A matrix with the codes that `code` gives and scales around `scale`, every fifth of them zero.
fn matrix(
    rows: usize,
    columns: usize,
    granularity: Granularity,
    scale: f32,
    mut code: impl FnMut() -> u8,
) -> TernaryMatrix {
    let codes = (0..rows)
        .flat_map(|_| {
            let digits: Vec<u8> = (0..columns).map(|_| code()).collect();
            digits
                .chunks(4)
                .map(|digits| {
                    (0..4).fold(0, |bits, n| {
                        bits | digits.get(n).copied().unwrap_or(1) << (2 * n)
                    })
                })
                .collect::<Vec<u8>>()
        })
        .collect();
    let scales = match granularity {
        Granularity::Tensor => 1,
        Granularity::Row => rows,
        Granularity::Group(size) => rows * columns.div_ceil(size.get()),
    };
    let scales = (0..scales)
        .map(|index| f16::from_f32(scale * (index % 5) as f32))
        .collect();
    TernaryMatrix::from_parts(codes, scales, rows, columns, granularity).unwrap()
}

fn normal(next: &mut impl FnMut() -> u64) -> f32 {
    (0..4)
        .map(|_| (next() >> 40) as f32 / (1 << 24) as f32 - 0.5)
        .sum()
}

fn product(
    matrix: &InterleavedMatrix,
    instructions: Instructions,
    input: &[f32],
    precision: ActivationPrecision,
) -> Vec<f32> {
    let batch = input.len() / matrix.columns();
    let mut output = vec![f32::NAN; batch * matrix.rows()];
    matrix
        .matmul_on(instructions, input, &mut output, precision)
        .unwrap();
    output
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// The activations that int8 stands for, by the formula of Q8_K.
fn rounded(input: &[f32], columns: usize) -> Vec<f32> {
    input
        .chunks(columns)
        .flat_map(|row| row.chunks(256))
        .flat_map(|block| {
            let extreme = block.iter().fold(0.0_f32, |extreme, &value| {
                if value.abs() > extreme.abs() {
                    value
                } else {
                    extreme
                }
            });
            let inverse = -127.0 / extreme;
            block.iter().map(move |value| {
                if !inverse.is_finite() {
                    0.0
                } else {
                    (inverse * value).round_ties_even() / inverse
                }
            })
        })
        .collect()
}

/// Holds every instruction set, encoding and batch to the portable product, and that to the dense one.
fn check(matrix: &TernaryMatrix, input: &[f32]) {
    let (rows, columns) = (matrix.rows(), matrix.columns());
    let dense = matrix.dequantize();
    for precision in [ActivationPrecision::Float32, ActivationPrecision::Int8] {
        let seen = match precision {
            ActivationPrecision::Float32 => input.to_vec(),
            ActivationPrecision::Int8 => rounded(input, columns),
        };
        let reference = InterleavedMatrix::new(matrix, CodeEncoding::TwoBit);
        let reference = product(&reference, Instructions::PORTABLE, input, precision);
        for (row, output) in reference.chunks(rows).enumerate() {
            for (feature, &output) in output.iter().enumerate() {
                let terms = dense[feature * columns..][..columns]
                    .iter()
                    .zip(&seen[row * columns..])
                    .map(|(weight, value)| f64::from(*weight) * f64::from(*value));
                let (exact, magnitude) = terms.fold((0.0, 0.0), |(sum, magnitude), term| {
                    (sum + term, magnitude + term.abs())
                });
                let error = (f64::from(output) - exact).abs();
                assert!(
                    error <= 4e-5 * magnitude + 1e-30,
                    "{precision:?}, row {row}, feature {feature}: {output} for {exact}"
                );
            }
        }
        for encoding in ENCODINGS {
            let interleaved = InterleavedMatrix::new(matrix, encoding);
            assert_eq!(interleaved.to_matrix(), *matrix);
            for instructions in Instructions::available() {
                let whole = product(&interleaved, instructions, input, precision);
                assert_eq!(
                    bits(&whole),
                    bits(&reference),
                    "{instructions}, {encoding:?}, {precision:?}"
                );
                let rows: Vec<f32> = input
                    .chunks(columns)
                    .flat_map(|row| product(&interleaved, instructions, row, precision))
                    .collect();
                assert_eq!(
                    bits(&rows),
                    bits(&reference),
                    "{instructions}, {encoding:?}, {precision:?}, row by row"
                );
            }
        }
    }
}

fn granularities() -> impl Strategy<Value = Granularity> {
    prop_oneof![
        Just(Granularity::Tensor),
        Just(Granularity::Row),
        prop::sample::select(vec![1, 2, 3, 16, 20, 32, 64, 100, 128, 256, 300, 1024])
            .prop_map(|size| Granularity::group(size).unwrap()),
    ]
}

/// Cases of the property, or as many as `PROPTEST_CASES` says: an emulator takes its time.
fn cases() -> u32 {
    let cases = std::env::var("PROPTEST_CASES").ok();
    cases.and_then(|cases| cases.parse().ok()).unwrap_or(120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn every_instruction_set_gives_the_bits_of_plain_rust(
        rows in 1..70_usize,
        columns in prop_oneof![1..40_usize, 200..330_usize, 500..800_usize],
        batch in 1..14_usize,
        granularity in granularities(),
        seed in any::<u64>(),
    ) {
        let mut next = random(seed);
        let matrix = matrix(rows, columns, granularity, 0.01, || (next() % 3) as u8);
        let mut next = random(!seed);
        let input: Vec<f32> = (0..batch * columns).map(|_| normal(&mut next)).collect();
        check(&matrix, &input);
    }
}

#[test]
fn the_best_instructions_are_the_last_available() {
    let available = Instructions::available();
    assert_eq!(available.first(), Some(&Instructions::PORTABLE));
    assert_eq!(available.last(), Some(&Instructions::best()));
    // With `--nocapture`, what the other tests ran on.
    let names: Vec<String> = available.iter().map(Instructions::to_string).collect();
    println!("instructions: {}", names.join(", "));
}

#[test]
fn sums_hold_where_all_is_at_its_largest() {
    // Every code the same and every activation at -127 or 127: the largest sums that 16 bits must hold.
    for code in 0..3 {
        for sign in [1.0_f32, -1.0] {
            for columns in [256, 512, 257, 640] {
                let matrix = matrix(17, columns, Granularity::Row, 1.0, || code);
                check(&matrix, &vec![sign; columns * 3]);
                let mut alternating = vec![sign; columns];
                alternating
                    .iter_mut()
                    .skip(1)
                    .step_by(2)
                    .for_each(|value| *value = -sign);
                check(&matrix, &alternating);
            }
        }
    }
}

#[test]
fn huge_scales_and_zero_groups_stay_exact() {
    let mut next = random(7);
    let matrix = matrix(33, 520, Granularity::group(64).unwrap(), 16_000.0, || {
        (next() % 3) as u8
    });
    let mut next = random(8);
    let input: Vec<f32> = (0..2 * 520).map(|_| 1e30 * normal(&mut next)).collect();
    check(&matrix, &input);
    check(&matrix, &vec![0.0; 520]);
    check(&matrix, &vec![1e-44; 2 * 520]);
}

/// Products with floats by their definition: in segments, which end with a group or a block of 256 columns, the products of
/// the columns `8n + q` and `8n + 4 + q` are added first, and these go to the segment's sum in order.
fn by_definition(matrix: &TernaryMatrix, group_len: usize, input: &[f32]) -> Vec<f32> {
    let columns = matrix.columns();
    let product = |row: usize, values: &[f32]| {
        let mut total = 0.0;
        let mut first = 0;
        while first < columns {
            let end = (first + 256 - first % 256)
                .min(first + group_len - first % group_len)
                .min(columns);
            let term = |column: usize| {
                let column = (column < end).then_some(column);
                column.map_or(0.0, |column| {
                    f32::from(matrix.code(row, column)) * values[column]
                })
            };
            let mut sum = 0.0;
            for eight in (first..end).step_by(8) {
                for column in eight..eight + 4 {
                    sum += term(column) + term(column + 4);
                }
            }
            total +=
                matrix.scales()[row * matrix.scales_per_row() + first / group_len].to_f32() * sum;
            first = end;
        }
        total
    };
    let rows = 0..matrix.rows();
    input
        .chunks(columns)
        .flat_map(|values| rows.clone().map(move |row| product(row, values)))
        .collect()
}

#[test]
fn sums_of_floats_have_the_documented_order() {
    for (columns, group_len) in [(64, 64), (300, 100), (576, 64), (530, 256), (7, 7)] {
        let mut next = random(columns as u64);
        let granularity = Granularity::group(group_len).unwrap();
        let matrix = matrix(19, columns, granularity, 0.3, || (next() % 3) as u8);
        let mut next = random(12);
        let input: Vec<f32> = (0..3 * columns).map(|_| normal(&mut next)).collect();
        let expected = bits(&by_definition(&matrix, group_len, &input));
        for encoding in ENCODINGS {
            let interleaved = InterleavedMatrix::new(&matrix, encoding);
            let float = ActivationPrecision::Float32;
            let found = product(&interleaved, Instructions::PORTABLE, &input, float);
            assert_eq!(bits(&found), expected, "{columns} {group_len} {encoding:?}");
        }
    }
}

#[test]
fn a_zero_weight_keeps_an_outlier_out() {
    // Code 0 wherever an activation is 1e5 to 1e35 times the rest: the product is that without it, bit for bit.
    let outliers = [(5, 1e5), (9, -1e5), (260, 1e35), (300, -3e8)];
    let mut place = 0;
    let mut next = random(13);
    let matrix = matrix(40, 320, Granularity::group(64).unwrap(), 0.02, || {
        let column = place % 320;
        place += 1;
        match outliers.iter().any(|outlier| outlier.0 == column) {
            true => 1,
            false => (next() % 3) as u8,
        }
    });
    let mut next = random(14);
    let mut input: Vec<f32> = (0..320).map(|_| normal(&mut next)).collect();
    outliers.iter().for_each(|outlier| input[outlier.0] = 0.0);
    let mut with_outliers = input.clone();
    outliers
        .iter()
        .for_each(|outlier| with_outliers[outlier.0] = outlier.1);
    for encoding in ENCODINGS {
        let interleaved = InterleavedMatrix::new(&matrix, encoding);
        for instructions in Instructions::available() {
            let [without, with] = [&input, &with_outliers].map(|input| {
                let float = ActivationPrecision::Float32;
                bits(&product(&interleaved, instructions, input, float))
            });
            assert_eq!(without, with, "{encoding:?} {instructions}");
        }
    }
}

#[test]
fn what_is_not_finite_shows_in_its_own_row_only() {
    let mut next = random(9);
    let matrix = matrix(20, 300, Granularity::Row, 1.0, || (next() % 3) as u8);
    let mut input = vec![1.0; 3 * 300];
    input[310] = f32::NAN;
    input[610] = f32::INFINITY;
    for encoding in ENCODINGS {
        let interleaved = InterleavedMatrix::new(&matrix, encoding);
        for instructions in Instructions::available() {
            for precision in [ActivationPrecision::Float32, ActivationPrecision::Int8] {
                let output = product(&interleaved, instructions, &input, precision);
                assert!(output[..20].iter().all(|value| value.is_finite()));
                assert!(output[20..40].iter().all(|value| value.is_nan()));
                assert!(output[40..].iter().all(|value| !value.is_finite()));
            }
        }
    }
}

#[test]
fn sums_of_pairs_overflow_as_in_plain_rust() {
    // Of two such columns the sum or the difference overflows, which must not show where a code is 0.
    let values = [
        3e38,
        -3e38,
        1.0,
        -0.0,
        f32::MAX,
        f32::MIN,
        f32::INFINITY,
        f32::NAN,
    ];
    for (finite, choices) in [(true, 6), (false, 8)] {
        let mut next = random(15);
        let codes: Vec<u8> = (0..81 * 24).map(|_| (next() % 6).min(3) as u8).collect();
        let mut place = 0;
        // Half of the codes are 0.
        let matrix = matrix(81, 24, Granularity::group(8).unwrap(), 1e-3, || {
            place += 1;
            [0, 1, 2, 1][codes[place - 1] as usize]
        });
        let mut next = random(16);
        let input: Vec<f32> = (0..7 * 24)
            .map(|_| values[(next() % choices) as usize])
            .collect();
        for encoding in ENCODINGS {
            let interleaved = InterleavedMatrix::new(&matrix, encoding);
            for batch in [1, 2, 7] {
                let input = &input[..24 * batch];
                let found = Instructions::available().into_iter().map(|instructions| {
                    let float = ActivationPrecision::Float32;
                    let output = product(&interleaved, instructions, input, float);
                    let numbers = output.iter().map(|&value| match value.is_nan() {
                        true => f32::NAN,
                        false => value,
                    });
                    bits(&numbers.collect::<Vec<f32>>())
                });
                let found: Vec<Vec<u32>> = found.collect();
                let finite_outputs = found[0]
                    .iter()
                    .filter(|&&bits| f32::from_bits(bits).is_finite());
                assert_eq!(finite_outputs.count() > 0, finite, "{encoding:?} {batch}");
                for other in &found {
                    assert_eq!(*other, found[0], "{encoding:?} {batch}");
                }
            }
        }
    }
}

#[test]
fn threads_change_nothing() {
    let mut next = random(10);
    let matrix = matrix(1500, 1100, Granularity::group(64).unwrap(), 0.5, || {
        (next() % 3) as u8
    });
    let mut next = random(11);
    let input: Vec<f32> = (0..7 * 1100).map(|_| normal(&mut next)).collect();
    let interleaved = InterleavedMatrix::new(&matrix, CodeEncoding::TwoBit);
    for precision in [ActivationPrecision::Float32, ActivationPrecision::Int8] {
        for input in [&input[..1100], &input] {
            let outputs = [1, 3].map(|threads| {
                let pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .build()
                    .unwrap();
                pool.install(|| product(&interleaved, Instructions::best(), input, precision))
            });
            assert_eq!(bits(&outputs[0]), bits(&outputs[1]));
        }
    }
}

#[test]
fn lengths_are_checked_and_an_empty_batch_is_empty() {
    let matrix = matrix(4, 6, Granularity::Row, 1.0, || 2);
    let interleaved = InterleavedMatrix::new(&matrix, CodeEncoding::TwoBit);
    for precision in [ActivationPrecision::Float32, ActivationPrecision::Int8] {
        interleaved.matmul(&[], &mut [], precision).unwrap();
        for (input, what, expected, actual) in [
            (&[0.0; 7][..], "the activations", 6, 7),
            (&[0.0; 12], "the output", 8, 4),
        ] {
            let error = interleaved.matmul(input, &mut [0.0; 4], precision);
            let length = MatrixError::Length {
                what,
                expected,
                actual,
            };
            assert_eq!(error, Err(length));
        }
    }
}

#[test]
fn sizes_are_those_of_the_encodings() {
    let matrix = matrix(64, 1024, Granularity::group(256).unwrap(), 1.0, || 1);
    let bits = |encoding| {
        8.0 * InterleavedMatrix::new(&matrix, encoding).size_bytes() as f64 / (64.0 * 1024.0)
    };
    assert_eq!(bits(CodeEncoding::TwoBit), 2.0625);
    assert_eq!(bits(CodeEncoding::BaseThree), 1.625 + 0.0625 + 0.0625);
}
