//! Our files against one that llama.cpp's own Python writer made (`fixtures/make_golden.py`).

use half::f16;
use t81_core::{BlockFormat, Granularity, TernaryMatrix};
use t81_gguf::{GgufFile, GgufWriter, Metadata, TensorPlan, TensorType};

const GOLDEN: &[u8] = include_bytes!("fixtures/golden.gguf");

/// The matrix of the fixture: `[2, 256]`, codes `7 i mod 3 - 1`, row scales 0.5 and 0.25.
fn ternary() -> TernaryMatrix {
    let mut codes = vec![0u8; 2 * 64];
    for element in 0..512 {
        codes[element / 4] |= ((element * 7 % 3) as u8) << (2 * (element % 4));
    }
    let scales = vec![f16::from_f32(0.5), f16::from_f32(0.25)];
    TernaryMatrix::from_parts(codes, scales, 2, 256, Granularity::group(256).unwrap()).unwrap()
}

fn metadata() -> Metadata {
    let mut metadata = Metadata::new();
    metadata.set("general.architecture", "llama");
    metadata.set("golden.u8", 200u8);
    metadata.set("golden.i8", -100i8);
    metadata.set("golden.u16", 60000u16);
    metadata.set("golden.i16", -30000i16);
    metadata.set("golden.u32", 4_000_000_000u32);
    metadata.set("golden.i32", -2_000_000_000i32);
    metadata.set("golden.f32", 0.1f32);
    metadata.set("golden.u64", (1u64 << 63) + 1);
    metadata.set("golden.i64", -(1i64 << 62));
    metadata.set("golden.f64", 0.1f64);
    metadata.set("golden.bool", true);
    metadata.set("golden.string", "trit ▁ 三");
    metadata.set(
        "golden.tokens",
        vec!["a".to_owned(), String::new(), "Ġb".to_owned()],
    );
    metadata.set("golden.types", vec![1i32, 3, -6]);
    metadata.set("golden.scores", vec![0.0f32, -1.5]);
    metadata.set("golden.flags", vec![true, false]);
    metadata
}

#[test]
fn our_writer_makes_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ours.gguf");
    let planned = |name: &str, tensor_type, dimensions: &[u64]| TensorPlan {
        name: name.to_owned(),
        tensor_type,
        dimensions: dimensions.to_vec(),
    };
    let plan = [
        planned("f32", TensorType::F32, &[5]),
        planned("f16", TensorType::F16, &[3, 2]),
        planned("tq1_0", TensorType::TQ1_0, &[256, 2]),
        planned("tq2_0", TensorType::TQ2_0, &[256, 2]),
    ];
    let mut writer = GgufWriter::create(&path, &metadata(), &plan, false).unwrap();
    let floats: Vec<u8> = (0..5)
        .flat_map(|i| (i as f32 - 2.0).to_le_bytes())
        .collect();
    let halves: Vec<u8> = (0..6)
        .flat_map(|i| f16::from_f32(i as f32 / 4.0).to_le_bytes())
        .collect();
    writer.write_tensor("f32", &floats).unwrap();
    writer.write_tensor("f16", &halves).unwrap();
    writer
        .write_tensor("tq1_0", &BlockFormat::Tq1_0.encode(&ternary()).unwrap())
        .unwrap();
    writer
        .write_tensor("tq2_0", &BlockFormat::Tq2_0.encode(&ternary()).unwrap())
        .unwrap();
    writer.finish().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), GOLDEN);
}

#[test]
fn our_reader_reads_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("golden.gguf");
    std::fs::write(&path, GOLDEN).unwrap();
    let file = GgufFile::open(&path).unwrap();
    assert_eq!(file.header().version, 3);
    assert_eq!(file.metadata(), &metadata());
    assert_eq!(
        file.tensor("f32").unwrap().to_f32().unwrap(),
        [-2.0, -1.0, 0.0, 1.0, 2.0]
    );
    assert_eq!(file.tensor("f16").unwrap().info.dimensions, [3, 2]);
    assert_eq!(
        file.tensor("f16").unwrap().to_f32().unwrap(),
        [0.0, 0.25, 0.5, 0.75, 1.0, 1.25]
    );
    for name in ["tq1_0", "tq2_0"] {
        let tensor = file.tensor(name).unwrap();
        assert_eq!(tensor.to_ternary().unwrap().unwrap(), ternary());
        assert_eq!(tensor.to_f32().unwrap(), ternary().dequantize());
    }
    assert_eq!(file.tensor("f32").unwrap().to_ternary().unwrap(), None);
    assert!(file.tensor("absent").is_none());
}
