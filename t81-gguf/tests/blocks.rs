//! Block types against the bytes and floats of ggml and gguf-py (`fixtures/make_blocks.py`).

use std::path::Path;

use t81_gguf::{GgufError, GgufFile, GgufWriter, Metadata, TensorPlan, TensorType};

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/blocks")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn bits(bytes: &[u8]) -> Vec<u32> {
    let (words, rest) = bytes.as_chunks::<4>();
    assert!(rest.is_empty());
    words.iter().map(|&word| u32::from_le_bytes(word)).collect()
}

/// A file with one tensor of `rows` rows.
fn file(directory: &Path, tensor_type: TensorType, columns: u64, bytes: &[u8]) -> GgufFile {
    let path = directory.join(format!("{tensor_type}.gguf"));
    let row_bytes = tensor_type.row_bytes(columns).unwrap();
    let plan = [TensorPlan {
        name: "t".into(),
        tensor_type,
        dimensions: vec![columns, bytes.len() as u64 / row_bytes],
    }];
    let mut writer = GgufWriter::create(&path, &Metadata::new(), &plan, true).unwrap();
    writer.write_tensor("t", bytes).unwrap();
    writer.finish().unwrap();
    GgufFile::open(&path).unwrap()
}

#[test]
fn floats_are_those_of_ggml_bit_for_bit() {
    let directory = tempfile::tempdir().unwrap();
    for tensor_type in [
        TensorType::Q4_0,
        TensorType::Q4_1,
        TensorType::Q5_0,
        TensorType::Q5_1,
        TensorType::Q8_0,
        TensorType::Q4_K,
        TensorType::Q5_K,
        TensorType::Q6_K,
        TensorType::BF16,
    ] {
        let blocks = fixture(&format!("{tensor_type}.bin"));
        let expected = bits(&fixture(&format!("{tensor_type}.f32")));
        let file = file(directory.path(), tensor_type, 256, &blocks);
        let tensor = file.tensor("t").unwrap();
        let found: Vec<u32> = tensor
            .to_f32()
            .unwrap()
            .iter()
            .map(|value| value.to_bits())
            .collect();
        assert_eq!(found, expected, "{tensor_type}");

        // A row in the middle, by itself.
        let mut row = [0.0; 256];
        tensor.read_rows(1, &mut row).unwrap();
        let row: Vec<u32> = row.iter().map(|value| value.to_bits()).collect();
        assert_eq!(row, expected[256..512], "{tensor_type}");
    }
}

#[test]
fn long_tensors_decode_as_their_pieces_do() {
    // More than one task on any machine: the same blocks over and over.
    let directory = tempfile::tempdir().unwrap();
    for tensor_type in [TensorType::Q8_0, TensorType::Q6_K, TensorType::BF16] {
        let blocks = fixture(&format!("{tensor_type}.bin"));
        let piece = bits(&fixture(&format!("{tensor_type}.f32")));
        let file = file(directory.path(), tensor_type, 512, &blocks.repeat(100));
        let values = file.tensor("t").unwrap().to_f32().unwrap();
        assert_eq!(values.len(), 100 * piece.len());
        for (values, copy) in values.chunks(piece.len()).zip(0..) {
            let found: Vec<u32> = values.iter().map(|value| value.to_bits()).collect();
            assert_eq!(found, piece, "{tensor_type}, copy {copy}");
        }
    }
}

#[test]
fn other_types_are_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let file = file(directory.path(), TensorType::IQ4_NL, 32, &[0; 18]);
    let error = file.tensor("t").unwrap().to_f32().unwrap_err();
    assert!(matches!(
        error,
        GgufError::NoFloats {
            tensor_type: TensorType::IQ4_NL,
            ..
        }
    ));
    let message = error.to_string();
    assert!(
        message.contains("IQ4_NL") && message.contains("Q6_K"),
        "{message}"
    );
}
