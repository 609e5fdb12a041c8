//! The packed matrix: its layout, its checks and its views.

use half::f16;
use t81_core::{Granularity, Layout, MatrixError, TernaryMatrix};

/// Codes [[-1, 0, 1, 1, -1], [0, 0, 1, -1, 0]], groups of 2.
fn matrix() -> TernaryMatrix {
    let codes = vec![0b10_10_01_00, 0b01_01_01_00, 0b00_10_01_01, 0b01_01_01_01];
    let scales = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0].map(f16::from_f32).to_vec();
    TernaryMatrix::from_parts(codes, scales, 2, 5, Granularity::group(2).unwrap()).unwrap()
}

#[test]
fn elements_lie_where_the_documentation_says() {
    let matrix = matrix();
    let codes = [0, 1].map(|row| [0, 1, 2, 3, 4].map(|column| matrix.code(row, column)));
    assert_eq!(codes, [[-1, 0, 1, 1, -1], [0, 0, 1, -1, 0]]);
    let scales = [0, 1].map(|row| [0, 1, 2, 3, 4].map(|column| matrix.scale(row, column).to_f32()));
    assert_eq!(
        scales,
        [[1.0, 1.0, 2.0, 2.0, 3.0], [4.0, 4.0, 5.0, 5.0, 6.0]]
    );
    assert_eq!(
        (matrix.rows(), matrix.columns(), matrix.scales_per_row()),
        (2, 5, 3)
    );

    let expected = [-1.0, 0.0, 2.0, 2.0, -3.0, 0.0, 0.0, 5.0, -5.0, 0.0];
    assert_eq!(matrix.dequantize(), expected);
    let mut output = [f32::NAN; 10];
    matrix.dequantize_into(Layout::OutIn, &mut output).unwrap();
    assert_eq!(output, expected);
    matrix.dequantize_into(Layout::InOut, &mut output).unwrap();
    assert_eq!(
        output,
        [-1.0, 0.0, 0.0, 0.0, 2.0, 5.0, 2.0, -5.0, -3.0, 0.0]
    );
    let mut row = [f32::NAN; 5];
    matrix.dequantize_row(1, &mut row).unwrap();
    assert_eq!(row, expected[5..]);

    assert_eq!(matrix.sparsity(), 0.4);
    assert_eq!(matrix.size_bytes(), 4 + 12);
    assert_eq!(matrix.bits_per_weight(), 12.8);
}

#[test]
fn tensor_and_row_scales_serve_their_rows() {
    let with = |scales: &[f32], granularity| {
        let scales = scales.iter().copied().map(f16::from_f32).collect();
        TernaryMatrix::from_parts(
            vec![0b10_10_10_10, 0, 0b10_10_10_10, 0],
            scales,
            2,
            8,
            granularity,
        )
        .unwrap()
    };
    let tensor = with(&[3.0], Granularity::Tensor);
    let row = [3.0, 3.0, 3.0, 3.0, -3.0, -3.0, -3.0, -3.0];
    assert_eq!(tensor.dequantize(), [row, row].concat());
    assert_eq!(tensor.permute_rows(&[1, 0]).unwrap(), tensor);
    let rows = with(&[1.0, 2.0], Granularity::Row);
    assert_eq!(rows.scale(1, 7), f16::from_f32(2.0));
    assert_eq!(
        rows.permute_rows(&[1, 0]).unwrap().scale(1, 7),
        f16::from_f32(1.0)
    );
}

#[test]
fn rows_permute_with_their_scales() {
    let permuted = matrix().permute_rows(&[1, 0]).unwrap();
    assert_eq!(
        permuted.dequantize(),
        [0.0, 0.0, 5.0, -5.0, 0.0, -1.0, 0.0, 2.0, 2.0, -3.0]
    );
    assert_eq!(permuted.permute_rows(&[1, 0]).unwrap(), matrix());
    let error = |order: &[usize]| matrix().permute_rows(order).unwrap_err();
    assert_eq!(
        error(&[0, 0]),
        MatrixError::InvalidOrder {
            position: 1,
            row: 0
        }
    );
    assert_eq!(
        error(&[2, 0]),
        MatrixError::InvalidOrder {
            position: 0,
            row: 2
        }
    );
    assert!(matches!(error(&[0]), MatrixError::Length { .. }));
}

#[test]
fn parts_are_checked() {
    let one = f16::ONE;
    let parts = |codes: &[u8], scales: &[f16], rows, columns, granularity| {
        TernaryMatrix::from_parts(codes.to_vec(), scales.to_vec(), rows, columns, granularity)
            .unwrap_err()
    };
    let row = Granularity::Row;
    assert!(matches!(
        parts(&[], &[], 0, 4, row),
        MatrixError::Empty { .. }
    ));
    assert!(matches!(
        parts(&[], &[], 4, 0, row),
        MatrixError::Empty { .. }
    ));
    assert!(matches!(
        parts(&[0], &[one], 1 << 40, 1 << 40, row),
        MatrixError::TooLarge { .. }
    ));
    assert!(matches!(
        parts(&[0; 2], &[one; 2], 2, 5, row),
        MatrixError::Length { .. }
    ));
    assert!(matches!(
        parts(&[0x54; 2], &[one; 2], 2, 1, Granularity::Tensor),
        MatrixError::Length { .. }
    ));
    assert_eq!(
        parts(&[0x55, 0x54, 0x55, 0x5c], &[one; 2], 2, 8, row),
        MatrixError::InvalidCode {
            row: 1,
            byte: 1,
            value: 0x5c
        }
    );
    // The padding of three columns is one element of value 1.
    assert!(TernaryMatrix::from_parts(vec![0x55], vec![one], 1, 3, row).is_ok());
    assert_eq!(
        parts(&[0x15], &[one], 1, 3, row),
        MatrixError::InvalidCode {
            row: 0,
            byte: 0,
            value: 0x15
        }
    );
    for scale in [f16::INFINITY, f16::NAN, -one, f16::NEG_ZERO] {
        let error = parts(&[0x55; 2], &[one, scale], 2, 4, row);
        assert!(
            matches!(error, MatrixError::InvalidScale { index: 1, .. }),
            "{error}"
        );
    }
    let mut output = [0.0; 5];
    assert!(
        matrix()
            .dequantize_into(Layout::InOut, &mut output)
            .is_err()
    );
    assert!(matrix().dequantize_row(0, &mut output[1..]).is_err());
    let expected = MatrixError::NoSuchRow { row: 2, rows: 2 };
    assert_eq!(matrix().dequantize_row(2, &mut output), Err(expected));
}
