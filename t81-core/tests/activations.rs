//! The values of rounded activations are those that the int8 kernels multiply with.

use t81_core::{
    ActivationPrecision, CodeEncoding, Granularity, Instructions, InterleavedMatrix, Layout,
    MatrixError, Quantizer, TernaryMatrix, fake_quantize_activations,
};

/// Rows that end with a block, within one, and before the first one ends.
const WIDTHS: [usize; 6] = [1, 7, 255, 256, 300, 1024];

/// Values of changing size from block to block, among them zeros and equal extremes.
fn activations(count: usize) -> Vec<f32> {
    let mut state = 0x2545_f491_u32;
    (0..count)
        .map(|index| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let uniform = (state >> 8) as f32 / 8_388_608.0 - 1.0;
            let size = [1.0, 1e-3, 40.0, 0.0, 1e-36, 3e37][index / 193 % 6];
            match index % 97 {
                0 => size,
                1 => -size,
                _ => uniform * uniform * uniform * size,
            }
        })
        .collect()
}

fn rounded(input: &[f32], columns: usize) -> Vec<f32> {
    let mut output = vec![f32::NAN; input.len()];
    fake_quantize_activations(input, columns, &mut output).unwrap();
    output
}

/// Codes 1 on the diagonal, every scale 1: its product gives back what it multiplies.
fn identity(size: usize) -> TernaryMatrix {
    let mut weights = vec![0.0; size * size];
    weights.iter_mut().step_by(size + 1).for_each(|w| *w = 1.0);
    let quantizer = Quantizer::twn(Granularity::Row);
    let matrix = quantizer
        .quantize(&weights, size, size, Layout::OutIn)
        .unwrap();
    assert_eq!(matrix.dequantize(), weights);
    matrix
}

#[test]
fn the_kernels_multiply_with_the_very_values() {
    for columns in WIDTHS {
        let input = activations(5 * columns);
        let expected = rounded(&input, columns);
        for encoding in [CodeEncoding::TwoBit, CodeEncoding::BaseThree] {
            let matrix = InterleavedMatrix::new(&identity(columns), encoding);
            for instructions in Instructions::available() {
                for rows in [1, 5] {
                    let mut output = vec![f32::NAN; rows * columns];
                    let input = &input[..rows * columns];
                    let int8 = ActivationPrecision::Int8;
                    matrix
                        .matmul_on(instructions, input, &mut output, int8)
                        .unwrap();
                    assert_eq!(output, expected[..rows * columns], "{columns} columns");
                }
            }
        }
    }
}

#[test]
fn a_float_product_of_rounded_activations_is_the_int8_product() {
    for (columns, group) in [(300, 64), (512, 256), (130, 100)] {
        let weights = activations(24 * columns);
        let weights: Vec<f32> = weights.iter().map(|w| w.clamp(-1.0, 1.0)).collect();
        let quantizer = Quantizer::twn(Granularity::group(group).unwrap());
        let matrix = quantizer
            .quantize(&weights, 24, columns, Layout::OutIn)
            .unwrap();
        let matrix = InterleavedMatrix::new(&matrix, CodeEncoding::TwoBit);
        let input: Vec<f32> = activations(3 * columns)
            .iter()
            .map(|value| value.clamp(-50.0, 50.0))
            .collect();
        let product = |input: &[f32], precision| {
            let mut output = vec![0.0; 3 * 24];
            matrix.matmul(input, &mut output, precision).unwrap();
            output
        };
        let int8 = product(&input, ActivationPrecision::Int8);
        let float = product(&rounded(&input, columns), ActivationPrecision::Float32);
        let exact = product(&input, ActivationPrecision::Float32);
        let largest = int8
            .iter()
            .fold(0.0_f32, |most, value| most.max(value.abs()));
        let distance = |other: &[f32]| {
            let differences = int8.iter().zip(other).map(|(a, b)| (a - b).abs());
            differences.fold(0.0, f32::max) / largest
        };
        assert!(distance(&float) < 1e-6, "{}", distance(&float));
        // Without the rounding the products differ by far more.
        assert!(distance(&exact) > 1e-4, "{}", distance(&exact));
    }
}

#[test]
fn rounding_again_changes_no_code_but_for_its_sign() {
    for columns in WIDTHS {
        let once = rounded(&activations(60 * columns), columns);
        let twice = rounded(&once, columns);
        for (once, twice) in once.iter().zip(&twice) {
            // Five roundings, of half a last bit each.
            let difference = (once - twice).abs();
            assert!(
                difference <= 2.5 * f32::EPSILON * once.abs(),
                "{once} {twice}"
            );
        }
    }
    // -127 decides the scale at first, the first of two equals then: the codes change sign, and so does the scale.
    let once = rounded(&[126.9, -127.0, 3.2], 3);
    assert_eq!(once, [127.0, -127.0, 3.0]);
    assert_eq!(rounded(&once, 3), once);
}

#[test]
fn a_block_with_a_value_that_is_not_finite_is_no_number_and_its_neighbours_are() {
    let mut input = vec![1.0; 2 * 600];
    input[256] = f32::INFINITY;
    input[600] = f32::NAN;
    let output = rounded(&input, 600);
    let unknown = |range: std::ops::Range<usize>| output[range].iter().all(|v| v.is_nan());
    assert!(unknown(256..512) && unknown(600..856));
    assert!(output[..256].iter().all(|&value| value == 1.0));
    assert!(output[512..600].iter().all(|&value| value == 1.0));
    assert!(output[856..].iter().all(|&value| value == 1.0));
}

#[test]
fn lengths_are_checked_and_no_rows_are_no_rows() {
    let length = |what, expected, actual| MatrixError::Length {
        what,
        expected,
        actual,
    };
    fake_quantize_activations(&[], 4, &mut []).unwrap();
    fake_quantize_activations(&[], 0, &mut []).unwrap();
    for (input, columns, error) in [
        (&[0.0; 7][..], 3, length("the activations", 6, 7)),
        (&[0.0; 7], 0, length("the activations", 0, 7)),
        (&[0.0; 6], 3, length("the output", 6, 4)),
    ] {
        let found = fake_quantize_activations(input, columns, &mut [0.0; 4]);
        assert_eq!(found, Err(error));
    }
}
