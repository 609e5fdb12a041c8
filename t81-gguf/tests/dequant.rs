//! Floats in place of blocks.

mod rewrite;
mod tiny_model;

use std::ops::ControlFlow;
use std::path::Path;

use rewrite::{Contents, exported};
use t81_gguf::{FloatType, GgufError, GgufFile, TensorType, check, dequant};
use tiny_model::TinyModel;

fn dequantized(source: &GgufFile, directory: &Path, float_type: FloatType) -> GgufFile {
    let path = directory.join("floats.gguf");
    dequant(source, &path, float_type, true, &mut |_| {
        ControlFlow::Continue(())
    })
    .unwrap();
    GgufFile::open(path).unwrap()
}

#[test]
fn ternary_weights_are_the_same_numbers_as_floats() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["TQ1_0", "TQ2_0", "Q2_0"] {
        let source = exported(
            &TinyModel::default(),
            directory.path(),
            &format!("{name}.gguf"),
            name,
        );
        for (float_type, matrix, file_type) in [
            (FloatType::F16, TensorType::F16, 1),
            (FloatType::F32, TensorType::F32, 0),
        ] {
            let file = dequantized(&source, directory.path(), float_type);
            assert_eq!(file.metadata().u32("general.file_type"), Some(file_type));
            assert_eq!(file.metadata().len(), source.metadata().len());
            for tensor in file.tensors() {
                let old = source.tensor(&tensor.info.name).unwrap();
                let expected = match tensor.info.dimensions.len() {
                    1 => TensorType::F32,
                    _ => matrix,
                };
                assert_eq!(tensor.info.tensor_type, expected, "{}", tensor.info.name);
                assert_eq!(tensor.info.dimensions, old.info.dimensions);
                assert!(tensor.to_f32().unwrap() == old.to_f32().unwrap());
            }
            let report = check(file.path()).unwrap();
            assert!(report.is_clean(), "{:?}", report.problems);
        }
    }
}

#[test]
fn values_beyond_f16_keep_their_tensor_in_f32() {
    let directory = tempfile::tempdir().unwrap();
    let source = exported(&TinyModel::default(), directory.path(), "f32.gguf", "F32");
    let mut contents = Contents::of(&source);
    contents.tensor("blk.0.attn_q.weight").1[..4].copy_from_slice(&1e6f32.to_le_bytes());
    let source = contents.write(&directory.path().join("large.gguf"));
    let path = directory.path().join("floats.gguf");
    let summary = dequant(&source, &path, FloatType::F16, false, &mut |_| {
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(summary.fallbacks.len(), 1);
    assert_eq!(summary.fallbacks[0].tensor, "blk.0.attn_q.weight");
    let file = GgufFile::open(&path).unwrap();
    let tensor = file.tensor("blk.0.attn_q.weight").unwrap();
    assert_eq!(tensor.info.tensor_type, TensorType::F32);
    assert_eq!(tensor.to_f32().unwrap()[0], 1e6);

    let again = dequant(&source, &path, FloatType::F16, false, &mut |_| {
        ControlFlow::Continue(())
    });
    assert!(matches!(again, Err(GgufError::OutputExists { .. })));
}

#[test]
fn blocks_that_cannot_be_read_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let source = exported(&TinyModel::default(), directory.path(), "f32.gguf", "F32");
    let mut contents = Contents::of(&source);
    let bytes = TensorType::IQ4_NL.row_bytes(256).unwrap() as usize * 128;
    contents.replace("blk.0.attn_k.weight", TensorType::IQ4_NL, vec![0; bytes]);
    let source = contents.write(&directory.path().join("iq.gguf"));
    let path = directory.path().join("floats.gguf");
    let error = dequant(&source, &path, FloatType::F16, false, &mut |_| {
        ControlFlow::Continue(())
    })
    .unwrap_err();
    assert!(error.to_string().contains("IQ4_NL"), "{error}");
    assert!(!path.exists());
}
