//! Block formats against the bytes and floats of ggml and gguf-py (see `fixtures/generate.py`), and round trips.

use std::path::Path;

use half::f16;
use proptest::prelude::*;
use t81_core::{BlockFormat, CodecError, Granularity, MatrixError, TernaryMatrix};

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn float_bits(name: &str) -> Vec<u32> {
    let bytes = fixture(name);
    let (words, rest) = bytes.as_chunks::<4>();
    assert!(rest.is_empty());
    words.iter().map(|&word| u32::from_le_bytes(word)).collect()
}

fn dequantized_bits(format: BlockFormat, bytes: &[u8]) -> Vec<u32> {
    let mut weights = vec![f32::NAN; bytes.len() / format.block_bytes() * format.block_len()];
    format.dequantize(bytes, &mut weights).unwrap();
    weights.iter().map(|weight| weight.to_bits()).collect()
}

fn packed(codes: &[i8], columns: usize) -> Vec<u8> {
    let pack = |four: &[i8]| {
        (0..4).fold(0, |byte, i| {
            byte | ((four.get(i).unwrap_or(&0) + 1) as u8) << (2 * i)
        })
    };
    codes
        .chunks(columns)
        .flat_map(|row| row.chunks(4).map(pack))
        .collect()
}

fn group(size: usize) -> Granularity {
    Granularity::group(size).unwrap()
}

/// The fixtures' codes and scales.
fn fixture_matrix() -> TernaryMatrix {
    let codes: Vec<i8> = fixture("codes.bin")
        .into_iter()
        .map(|code| code as i8)
        .collect();
    let bytes = fixture("scales.bin");
    let scales = bytes
        .as_chunks::<2>()
        .0
        .iter()
        .map(|&scale| f16::from_le_bytes(scale));
    TernaryMatrix::from_parts(packed(&codes, 512), scales.collect(), 3, 512, group(256)).unwrap()
}

#[test]
fn blocks_are_byte_for_byte_those_of_ggml() {
    for format in BlockFormat::ALL {
        let expected = fixture(&format!("{format}.bin"));
        let matrix = fixture_matrix();
        assert!(format.holds(&matrix));
        assert_eq!(format.encode(&matrix).unwrap(), expected, "{format}");
        let row_bytes = format.row_bytes(512).unwrap();
        let mut rows = vec![0; 2 * row_bytes];
        format.encode_rows(&matrix, 1..3, &mut rows).unwrap();
        assert_eq!(rows, expected[row_bytes..]);
        format.encode_rows(&matrix, 3..3, &mut []).unwrap();
    }
}

#[test]
fn floats_are_bit_for_bit_those_of_ggml() {
    for format in BlockFormat::ALL {
        let bytes = fixture(&format!("{format}.bin"));
        let expected = float_bits(&format!("{format}.f32"));
        assert_eq!(dequantized_bits(format, &bytes), expected, "{format}");
        let decoded = format.decode(&bytes, 3, 512).unwrap();
        assert_eq!(decoded.granularity(), group(format.block_len()));
        let values: Vec<f32> = expected.into_iter().map(f32::from_bits).collect();
        assert_eq!(decoded.dequantize(), values);
        assert_eq!(format.encode(&decoded).unwrap(), bytes);
    }
}

#[test]
fn any_bytes_dequantize_as_in_ggml() {
    for format in BlockFormat::ALL {
        let bytes = fixture(&format!("{format}.any.bin"));
        let expected = float_bits(&format!("{format}.any.f32"));
        assert_eq!(dequantized_bits(format, &bytes), expected, "{format}");
    }
}

#[test]
fn numbers_are_those_of_gguf() {
    let table =
        BlockFormat::ALL.map(|f| (f.block_len(), f.block_bytes(), f.ggml_type(), f.file_type()));
    assert_eq!(
        table,
        [(256, 54, 34, 36), (256, 66, 35, 37), (64, 18, 42, 41)]
    );
    assert_eq!(BlockFormat::Q2_0.row_bytes(576), Some(162));
    assert_eq!(BlockFormat::Tq2_0.row_bytes(576), None);
    for format in BlockFormat::ALL {
        assert_eq!(format.to_string().to_lowercase().parse(), Ok(format));
        assert_eq!(
            serde_json::to_string(&format).unwrap(),
            format!("\"{format}\"")
        );
    }
    assert!("Q4_0".parse::<BlockFormat>().is_err());
}

#[test]
fn a_group_spans_whole_blocks_or_is_refused() {
    let matrix = |granularity, columns| {
        let codes = packed(&vec![1; 2 * columns], columns);
        let scales = match granularity {
            Granularity::Tensor => 1,
            granularity => 2 * granularity.scales_per_row(columns),
        };
        let scales = (1..=scales)
            .map(|scale| f16::from_f32(scale as f32))
            .collect();
        TernaryMatrix::from_parts(codes, scales, 2, columns, granularity).unwrap()
    };
    let held = |granularity, columns| {
        BlockFormat::ALL.map(|format| format.holds(&matrix(granularity, columns)))
    };
    assert_eq!(held(Granularity::Tensor, 512), [true; 3]);
    assert_eq!(held(Granularity::Row, 512), [true; 3]);
    assert_eq!(held(group(512), 512), [true; 3]);
    assert_eq!(held(group(256), 512), [true; 3]);
    assert_eq!(held(group(1000), 512), [true; 3]);
    assert_eq!(held(group(128), 512), [false, false, true]);
    assert_eq!(held(group(384), 1024), [false, false, true]);
    assert_eq!(held(group(96), 512), [false; 3]);
    assert_eq!(held(Granularity::Row, 576), [false, false, true]);
    assert_eq!(held(Granularity::Row, 100), [false; 3]);

    let error = BlockFormat::Tq2_0
        .encode(&matrix(group(64), 512))
        .unwrap_err();
    let message = "TQ2_0 has one scale for 256 weights, but the matrix has one for each 64";
    assert_eq!(error.to_string(), message);
    let error = BlockFormat::Q2_0
        .encode(&matrix(Granularity::Row, 100))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "Q2_0 holds rows of a multiple of 64 weights, not 100"
    );

    for granularity in [
        Granularity::Tensor,
        Granularity::Row,
        group(512),
        group(128),
    ] {
        let matrix = matrix(granularity, 512);
        let bytes = BlockFormat::Q2_0.encode(&matrix).unwrap();
        let decoded = BlockFormat::Q2_0.decode(&bytes, 2, 512).unwrap();
        assert_eq!(decoded.dequantize(), matrix.dequantize(), "{granularity}");
    }
}

#[test]
fn bad_buffers_are_errors() {
    let matrix = fixture_matrix();
    for format in BlockFormat::ALL {
        let row_bytes = format.row_bytes(512).unwrap();
        let mut bytes = vec![0; 3 * row_bytes];
        let encode = |rows, bytes: &mut [u8]| format.encode_rows(&matrix, rows, bytes).unwrap_err();
        assert!(matches!(
            encode(0..3, &mut bytes[1..]),
            CodecError::Length { .. }
        ));
        assert!(matches!(
            encode(2..4, &mut bytes),
            CodecError::RowRange { .. }
        ));
        #[allow(clippy::reversed_empty_ranges)]
        let reversed = encode(2..1, &mut []);
        assert!(matches!(reversed, CodecError::RowRange { .. }));
        let decode = |rows, columns| format.decode(&bytes, rows, columns).unwrap_err();
        assert!(matches!(decode(2, 512), CodecError::Length { .. }));
        assert!(matches!(decode(3, 500), CodecError::RowLength { .. }));
        assert!(matches!(
            decode(0, 512),
            CodecError::Dimensions(MatrixError::Empty { .. })
        ));
        assert!(matches!(
            decode(usize::MAX, 512),
            CodecError::Dimensions(MatrixError::TooLarge { .. })
        ));
        assert!(matches!(
            decode(1 << 40, 1 << 20),
            CodecError::Length { .. }
        ));
        let mut weights = vec![0.0; 3 * 512];
        assert!(format.dequantize(&bytes[1..], &mut weights).is_err());
        assert!(format.dequantize(&bytes, &mut weights[1..]).is_err());
        format.dequantize(&[], &mut []).unwrap();
    }
}

#[test]
fn bytes_that_are_no_ternary_codes_are_named() {
    for (format, byte, value) in [
        (BlockFormat::Tq1_0, 3, 0x14),
        // A fifth digit in a byte of four.
        (BlockFormat::Tq1_0, 51, 0x02),
        (BlockFormat::Tq2_0, 63, 0b11_00_00_00),
        (BlockFormat::Q2_0, 2, 0b00_11_01_00),
    ] {
        let mut bytes = fixture(&format!("{format}.bin"));
        let block = bytes.len() / format.block_bytes() - 1;
        bytes[block * format.block_bytes() + byte] = value;
        let expected = CodecError::InvalidCode {
            format,
            block,
            byte,
            value,
        };
        assert_eq!(format.decode(&bytes, 3, 512), Err(expected), "{format}");
    }
    // Exactly the 243 stored values of five digits.
    let canonical = (0..=255_u8).filter(|&byte| {
        let mut block = fixture("TQ1_0.bin")[..54].to_vec();
        block[0] = byte;
        BlockFormat::Tq1_0.decode(&block, 1, 256).is_ok()
    });
    assert_eq!(canonical.count(), 243);
}

#[test]
fn scales_of_blocks_are_finite_and_lose_their_sign() {
    for (format, scale_at) in BlockFormat::ALL.into_iter().zip([52, 64, 0]) {
        let block_bytes = format.block_bytes();
        let with_scale = |scale: f16| {
            let mut bytes = fixture(&format!("{format}.bin"));
            bytes[block_bytes + scale_at..][..2].copy_from_slice(&scale.to_le_bytes());
            bytes
        };
        for scale in [f16::INFINITY, f16::NEG_INFINITY, f16::NAN] {
            let error = format.decode(&with_scale(scale), 3, 512).unwrap_err();
            assert!(
                matches!(error, CodecError::InvalidScale { block: 1, .. }),
                "{error}"
            );
        }
        for scale in [f16::from_f32(-0.5), f16::NEG_ZERO] {
            let bytes = with_scale(scale);
            let decoded = format.decode(&bytes, 3, 512).unwrap();
            assert!(
                decoded
                    .scales()
                    .iter()
                    .all(|scale| scale.is_sign_positive())
            );
            let mut expected = vec![0.0; 3 * 512];
            format.dequantize(&bytes, &mut expected).unwrap();
            assert_eq!(decoded.dequantize(), expected);
        }
    }
}

proptest! {
    #[test]
    fn matrices_survive_every_format(
        rows in 1..40_usize,
        blocks in 1..4_usize,
        sparse: bool,
        words in prop::collection::vec(any::<u32>(), 64),
    ) {
        for format in BlockFormat::ALL {
            let len = format.block_len();
            let columns = blocks * len;
            let word = |i: usize| words[i % 64].wrapping_mul(i as u32 | 1).rotate_left(i as u32 % 31);
            let code = |i: usize| if sparse && (i / len).is_multiple_of(2) { 0 } else { (word(i) % 3) as i8 - 1 };
            let codes: Vec<i8> = (0..rows * columns).map(code).collect();
            let scales: Vec<f16> = (0..rows * blocks).map(|i| f16::from_bits(word(i) as u16 % 0x7c00)).collect();
            let packed = packed(&codes, columns);
            let matrix = TernaryMatrix::from_parts(packed, scales, rows, columns, group(len)).unwrap();
            let bytes = format.encode(&matrix).unwrap();
            prop_assert_eq!(bytes.len(), rows * format.row_bytes(columns).unwrap());
            let decoded = format.decode(&bytes, rows, columns).unwrap();
            prop_assert_eq!(decoded.codes(), matrix.codes());
            let zero = |block: usize| codes[block * len..][..len].iter().all(|&code| code == 0);
            for (block, (found, scale)) in decoded.scales().iter().zip(matrix.scales()).enumerate() {
                let expected = if zero(block) { f16::ZERO } else { *scale };
                prop_assert_eq!(found.to_bits(), expected.to_bits());
            }
        }
    }

    #[test]
    fn random_bytes_decode_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..400), columns in 0..600_usize) {
        for format in BlockFormat::ALL {
            let whole = bytes.len() / format.block_bytes();
            let bytes = &bytes[..whole * format.block_bytes()];
            let mut weights = vec![0.0; whole * format.block_len()];
            format.dequantize(bytes, &mut weights).unwrap();
            prop_assert!(format.decode(bytes, 1, columns).is_err() || columns == weights.len());
            if let Ok(matrix) = format.decode(bytes, 1, weights.len()) {
                prop_assert_eq!(matrix.dequantize(), weights);
            }
        }
    }
}

#[test]
fn zero_codes_are_counted_for_any_bytes() {
    for format in BlockFormat::ALL {
        // Every byte value at every place of a block but the scale's, which is 1.
        for value in 0..=255 {
            let mut block = vec![value; format.block_bytes()];
            let scale = if format == BlockFormat::Q2_0 {
                0
            } else {
                format.block_bytes() - 2
            };
            block[scale..scale + 2].copy_from_slice(&f16::ONE.to_le_bytes());
            let mut weights = vec![0.0; format.block_len()];
            format.dequantize(&block, &mut weights).unwrap();
            let zeros = weights.iter().filter(|&&weight| weight == 0.0).count();
            assert_eq!(
                format.zero_codes(&block),
                Ok(zeros as u64),
                "{format}, bytes of {value:#04x}"
            );
        }
        let many = vec![0x55; format.block_bytes() * 10_000];
        let one = format.zero_codes(&many[..format.block_bytes()]).unwrap();
        assert_eq!(format.zero_codes(&many), Ok(10_000 * one));
        assert!(matches!(
            format.zero_codes(&many[1..]),
            Err(CodecError::Length { .. })
        ));
    }
}
