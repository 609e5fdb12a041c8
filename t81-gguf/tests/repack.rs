//! Repacking GGUF files: what the new file holds against what the old one does.

mod rewrite;
mod tiny_model;

use std::ops::ControlFlow;
use std::path::Path;

use regex::Regex;
use rewrite::{Contents, exported};
use t81_core::{BlockFormat, Granularity, Layout, Quantizer};
use t81_gguf::{
    Comparison, EmbeddingType, ExportOptions, ExportSummary, GgufError, GgufFile, MetadataValue,
    QuantizeOptions, TensorType, repack,
};
use tiny_model::TinyModel;

fn repacked(
    source: &GgufFile,
    quantize: &QuantizeOptions,
    options: &ExportOptions,
) -> Result<(ExportSummary, GgufFile, tempfile::TempDir), GgufError> {
    let directory = rewrite::directory();
    let output = directory.path().join("out.gguf");
    let summary = repack(source, &output, quantize, options, &mut |_| {
        ControlFlow::Continue(())
    })?;
    let file = GgufFile::open(output)?;
    Ok((summary, file, directory))
}

fn quant(name: &str) -> ExportOptions {
    ExportOptions {
        quant: Some(name.parse().unwrap()),
        validate: true,
        ..ExportOptions::default()
    }
}

/// A file whose matrices are 256 columns wide, as F32, and the same with another type for one of them.
fn float_file(directory: &Path) -> GgufFile {
    exported(&TinyModel::default(), directory, "f32.gguf", "F32")
}

#[test]
fn floats_that_are_ternary_become_the_very_blocks_that_a_direct_export_writes() {
    for (model, types) in [
        (TinyModel::default(), &["TQ1_0", "TQ2_0", "Q2_0"][..]),
        (TinyModel::narrow(), &["Q2_0"]),
    ] {
        let directory = rewrite::directory();
        for float in ["F32", "F16"] {
            let source = exported(&model, directory.path(), &format!("{float}.gguf"), float);
            for name in types {
                let direct = exported(&model, directory.path(), &format!("{name}.gguf"), name);
                let options = ExportOptions {
                    embedding_type: Some(EmbeddingType::F16),
                    ..quant(name)
                };
                let quantize = QuantizeOptions {
                    granularity: Some(model.granularity),
                    ..QuantizeOptions::default()
                };
                let (summary, file, _directory) = repacked(&source, &quantize, &options).unwrap();
                let comparison = Comparison::of(&direct, &file);
                assert!(comparison.is_equal(), "{float} to {name}: {comparison}");
                assert_eq!(summary.fallbacks, []);
                let ternary = summary.tensors.iter().filter(|tensor| tensor.ternary);
                assert_eq!(ternary.count(), 14);
            }
        }
    }
}

#[test]
fn floats_that_are_ternary_in_narrow_groups_keep_their_codes() {
    let model = TinyModel {
        granularity: Granularity::group(64).unwrap(),
        ..TinyModel::default()
    };
    let directory = rewrite::directory();
    let source = exported(&model, directory.path(), "f32.gguf", "F32");
    let equal = |file: &GgufFile| {
        source.tensors().all(|tensor| {
            let other = file.tensor(&tensor.info.name).unwrap();
            tensor.to_f32().unwrap() == other.to_f32().unwrap()
        })
    };
    for options in [ExportOptions::default(), quant("Q2_0"), quant("TQ2_0")] {
        let (summary, file, _directory) =
            repacked(&source, &QuantizeOptions::default(), &options).unwrap();
        assert!(equal(&file), "{options:?}");
        let narrow = file.tensor("blk.0.ffn_up.weight").unwrap();
        assert_eq!(narrow.info.tensor_type, TensorType::Q2_0);
        let noted = summary
            .notes
            .iter()
            .any(|note| note.contains("(group:64): their codes are kept"));
        // Groups of 64 are what Q2_0 has anyway.
        assert_eq!(noted, options != quant("Q2_0"), "{:?}", summary.notes);
    }
    let chosen = QuantizeOptions {
        granularity: Some(Granularity::Row),
        ..QuantizeOptions::default()
    };
    let (summary, file, _directory) =
        repacked(&source, &chosen, &ExportOptions::default()).unwrap();
    assert!(!equal(&file));
    assert!(
        summary.notes[0].contains("row does not keep their codes"),
        "{:?}",
        summary.notes
    );
}

#[test]
fn matrices_of_zeros_are_named() {
    let directory = rewrite::directory();
    let mut contents = Contents::of(&float_file(directory.path()));
    let name = "blk.1.ffn_down.weight";
    let small: Vec<u8> = (0..512 * 256)
        .flat_map(|at| (1e-13 * at as f32).to_le_bytes())
        .collect();
    contents.replace(name, TensorType::F32, small);
    let source = contents.write(&directory.path().join("small.gguf"));
    let (summary, file, _directory) = repacked(
        &source,
        &QuantizeOptions {
            granularity: Some(Granularity::group(256).unwrap()),
            ..QuantizeOptions::default()
        },
        &quant("TQ2_0"),
    )
    .unwrap();
    let zeros = vec![0.0; 512 * 256];
    assert_eq!(
        file.tensor(name).unwrap().to_f32().unwrap() == zeros,
        summary.notes.iter().any(|note| note.contains(name))
    );
    assert!(
        summary
            .notes
            .iter()
            .any(|note| note.contains(&format!("every weight of {name} is 0"))),
        "{:?}",
        summary.notes
    );
    let report = t81_gguf::check(file.path()).unwrap();
    assert!(report.is_clean());
    let subjects: Vec<&str> = report
        .remarks
        .iter()
        .map(|remark| remark.subject.as_str())
        .collect();
    assert_eq!(subjects, [name]);
}

#[test]
fn quantized_matrices_become_what_the_quantizer_makes_of_their_floats() {
    let directory = rewrite::directory();
    let source = float_file(directory.path());
    let mut contents = Contents::of(&source);
    let name = "blk.1.ffn_down.weight";
    let blocks = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/blocks");
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
        // ggml's blocks of 512 weights as each of the 256 rows.
        let fixture = std::fs::read(blocks.join(format!("{tensor_type}.bin"))).unwrap();
        let row = tensor_type.row_bytes(512).unwrap() as usize;
        contents.replace(name, tensor_type, fixture[..row].repeat(256));
        let source = contents.write(&directory.path().join("quantized.gguf"));
        let floats = source.tensor(name).unwrap().to_f32().unwrap();
        let whole = QuantizeOptions {
            threshold: 0.7,
            granularity: Some(Granularity::Tensor),
            ..QuantizeOptions::default()
        };
        for format in BlockFormat::ALL {
            let group = Granularity::group(format.block_len()).unwrap();
            let options = ExportOptions {
                validate: false,
                ..quant(&format.to_string())
            };
            for (quantize, granularity, threshold) in [
                (&QuantizeOptions::default(), group, 0.45),
                (&whole, Granularity::Tensor, 0.7),
            ] {
                let quantizer = Quantizer::new(granularity, threshold).unwrap();
                let expected = quantizer
                    .quantize(&floats, 256, 512, Layout::OutIn)
                    .unwrap();
                let (_, file, _directory) = repacked(&source, quantize, &options).unwrap();
                let written = file.tensor(name).unwrap();
                assert_eq!(written.info.tensor_type, format.into());
                let same = written.bytes == format.encode(&expected).unwrap();
                assert!(same, "{tensor_type} to {format}, {granularity}");
            }
        }
    }
}

#[test]
fn ternary_blocks_keep_their_codes_and_scales_from_type_to_type() {
    let directory = rewrite::directory();
    let names = ["TQ1_0", "TQ2_0", "Q2_0"];
    let files: Vec<GgufFile> = names
        .iter()
        .map(|name| {
            let file = format!("{name}.gguf");
            exported(&TinyModel::default(), directory.path(), &file, name)
        })
        .collect();
    // Settings that would destroy the codes if they were applied.
    let quantize = QuantizeOptions {
        threshold: 1.0,
        granularity: Some(Granularity::Tensor),
        ..QuantizeOptions::default()
    };
    for source in &files {
        for (name, expected) in names.iter().zip(&files) {
            let (summary, file, _directory) = repacked(source, &quantize, &quant(name)).unwrap();
            let comparison = Comparison::of(expected, &file);
            assert!(comparison.is_equal(), "to {name}: {comparison}");
            assert!(summary.notes[0].contains("14 matrices were ternary already"));
            assert_eq!(
                file.metadata().get("t81.quantizer.threshold"),
                source.metadata().get("t81.quantizer.threshold")
            );
        }
    }
}

#[test]
fn scales_that_a_type_cannot_hold_stay_in_q2_0() {
    let directory = rewrite::directory();
    let model = TinyModel {
        granularity: Granularity::group(64).unwrap(),
        ..TinyModel::default()
    };
    let source = exported(&model, directory.path(), "q2_0.gguf", "Q2_0");
    let (summary, file, _directory) =
        repacked(&source, &QuantizeOptions::default(), &quant("TQ1_0")).unwrap();
    assert!(Comparison::of(&source, &file).is_equal());
    assert_eq!(summary.fallbacks.len(), 14);
    assert!(summary.fallbacks[0].reason.contains("one scale for 256"));
}

#[test]
fn blocks_with_a_fourth_value_are_floats_like_any_other() {
    let directory = rewrite::directory();
    let source = exported(&TinyModel::default(), directory.path(), "q2_0.gguf", "Q2_0");
    let name = "blk.0.attn_v.weight";
    let mut contents = Contents::of(&source);
    contents.tensor(name).1[2] = 0b11_10_01_00;
    let source = contents.write(&directory.path().join("other.gguf"));
    let (summary, file, _directory) =
        repacked(&source, &QuantizeOptions::default(), &quant("Q2_0")).unwrap();
    assert!(
        summary.notes[0].contains("13 matrices"),
        "{:?}",
        summary.notes
    );
    let floats = source.tensor(name).unwrap().to_f32().unwrap();
    let quantizer = Quantizer::new(Granularity::group(64).unwrap(), 0.45).unwrap();
    let expected = quantizer
        .quantize(&floats, 128, 256, Layout::OutIn)
        .unwrap();
    let written = file.tensor(name).unwrap();
    assert!(written.bytes == BlockFormat::Q2_0.encode(&expected).unwrap());
}

#[test]
fn metadata_is_kept_but_for_what_says_how_the_file_was_made() {
    let directory = rewrite::directory();
    let mut contents = Contents::of(&float_file(directory.path()));
    contents.metadata.set("general.name", "A name");
    contents.metadata.set("someone.else", vec![true, false]);
    contents.metadata.set("general.alignment", 64u32);
    contents.metadata.set("split.count", 1u16);
    let source = contents.write(&directory.path().join("source.gguf"));
    let (_, file, _directory) =
        repacked(&source, &QuantizeOptions::default(), &quant("TQ2_0")).unwrap();
    let changed = |key: &str| {
        key.starts_with("t81.")
            || [
                "general.file_type",
                "general.quantization_version",
                "general.quantized_by",
            ]
            .contains(&key)
    };
    let kept = |file: &GgufFile| -> Vec<(String, MetadataValue)> {
        let entries = file.metadata().iter().filter(|(key, _)| !changed(key));
        entries
            .map(|(key, value)| (key.to_owned(), value.clone()))
            .collect()
    };
    assert_eq!(kept(&source), kept(&file));
    assert_eq!(file.metadata().u32("general.file_type"), Some(37));
    assert_eq!(file.header().alignment, 64);
    assert_eq!(file.metadata().string("t81.source"), Some("source.gguf"));
    assert_eq!(
        file.metadata().string("t81.quantizer.granularity"),
        Some("group:256")
    );
}

#[test]
fn other_tensors_are_copied_unless_a_type_is_asked_for() {
    let directory = rewrite::directory();
    let source = float_file(directory.path());
    let mut contents = Contents::of(&source);
    // A type that cannot be read is no obstacle where nothing reads it.
    let (plan, _) = contents.tensor("token_embd.weight").clone();
    let rows = plan.dimensions[1] as usize;
    let bytes = TensorType::IQ4_NL.row_bytes(256).unwrap() as usize * rows;
    contents.replace("token_embd.weight", TensorType::IQ4_NL, vec![0; bytes]);
    let unreadable = contents.write(&directory.path().join("iq.gguf"));
    let (_, file, _directory) =
        repacked(&unreadable, &QuantizeOptions::default(), &quant("TQ2_0")).unwrap();
    for name in [
        "token_embd.weight",
        "output_norm.weight",
        "blk.1.ffn_norm.weight",
    ] {
        let (old, new) = (unreadable.tensor(name).unwrap(), file.tensor(name).unwrap());
        assert_eq!(old.info.tensor_type, new.info.tensor_type, "{name}");
        assert!(old.bytes == new.bytes, "{name}");
    }

    for (embedding_type, expected) in [
        (EmbeddingType::F16, TensorType::F16),
        (EmbeddingType::BF16, TensorType::BF16),
        (EmbeddingType::Q8_0, TensorType::Q8_0),
        (EmbeddingType::F32, TensorType::F32),
    ] {
        let options = ExportOptions {
            embedding_type: Some(embedding_type),
            ..quant("TQ2_0")
        };
        let (_, file, _directory) =
            repacked(&source, &QuantizeOptions::default(), &options).unwrap();
        let embedding = file.tensor("token_embd.weight").unwrap();
        assert_eq!(embedding.info.tensor_type, expected);
        let exact = source
            .tensor("token_embd.weight")
            .unwrap()
            .to_f32()
            .unwrap();
        let largest = exact
            .iter()
            .fold(0.0f32, |largest, value| largest.max(value.abs()));
        let error = embedding
            .to_f32()
            .unwrap()
            .iter()
            .zip(&exact)
            .map(|(found, exact)| (found - exact).abs())
            .fold(0.0, f32::max);
        assert!(error <= largest / 127.0, "{embedding_type}: {error}");
    }
    let refused = repacked(
        &unreadable,
        &QuantizeOptions::default(),
        &ExportOptions {
            embedding_type: Some(EmbeddingType::F16),
            ..quant("TQ2_0")
        },
    );
    assert!(
        matches!(refused, Err(GgufError::NoFloats { tensor, .. }) if tensor == "token_embd.weight")
    );
}

#[test]
fn vectors_of_half_floats_become_f32() {
    let directory = rewrite::directory();
    let source = float_file(directory.path());
    let mut contents = Contents::of(&source);
    let norm = "output_norm.weight";
    let halves: Vec<u8> = (0..256u32)
        .flat_map(|i| half::f16::from_f32(i as f32 / 64.0).to_le_bytes())
        .collect();
    contents.replace(norm, TensorType::F16, halves);
    let source = contents.write(&directory.path().join("half.gguf"));
    let (summary, file, _directory) =
        repacked(&source, &QuantizeOptions::default(), &quant("TQ2_0")).unwrap();
    let written = file.tensor(norm).unwrap();
    assert_eq!(written.info.tensor_type, TensorType::F32);
    assert_eq!(written.to_f32().unwrap()[64], 1.0);
    assert!(
        summary.notes[0].contains("1 vectors"),
        "{:?}",
        summary.notes
    );
}

#[test]
fn names_select_matrices() {
    let directory = rewrite::directory();
    let source = float_file(directory.path());
    let quantize = QuantizeOptions {
        include: vec![Regex::new("ffn").unwrap()],
        exclude: vec![Regex::new(r"^blk\.0\.").unwrap()],
        ..QuantizeOptions::default()
    };
    let (_, file, _directory) = repacked(&source, &quantize, &quant("TQ2_0")).unwrap();
    for tensor in file.tensors() {
        let name = &tensor.info.name;
        let ternary = name.starts_with("blk.1.ffn_") && !name.contains("norm");
        let old = source.tensor(name).unwrap();
        if ternary {
            assert_eq!(tensor.info.tensor_type, TensorType::TQ2_0, "{name}");
        } else {
            assert!(tensor.bytes == old.bytes, "{name}");
        }
    }
    let none = QuantizeOptions {
        include: vec![Regex::new("nothing is called so").unwrap()],
        ..QuantizeOptions::default()
    };
    let refused = repacked(&source, &none, &quant("TQ2_0")).unwrap_err();
    assert!(
        matches!(refused, GgufError::NothingSelected { candidates: 14, .. }),
        "{refused}"
    );
}

#[test]
fn rows_that_do_not_fit_fall_to_q2_0_and_f16() {
    let directory = rewrite::directory();
    let source = exported(&TinyModel::narrow(), directory.path(), "f32.gguf", "F32");
    let mut contents = Contents::of(&source);
    let odd = "blk.0.ffn_down.weight";
    // 192 rows of 320 as 640 rows of 96.
    contents.tensor(odd).0.dimensions = vec![96, 640];
    let source = contents.write(&directory.path().join("odd.gguf"));
    let options = ExportOptions {
        validate: false, // No such model could load.
        ..quant("TQ1_0")
    };
    let (summary, file, _directory) =
        repacked(&source, &QuantizeOptions::default(), &options).unwrap();
    assert_eq!(summary.fallbacks.len(), 14);
    assert_eq!(file.tensor(odd).unwrap().info.tensor_type, TensorType::F16);
    let other = file.tensor("blk.1.ffn_down.weight").unwrap();
    assert_eq!(other.info.tensor_type, TensorType::Q2_0);
    assert_eq!(file.metadata().u32("general.file_type"), Some(41));
    // The groups of 64, cut across in rows of 96, are kept as ones of 32.
    let floats = source.tensor(odd).unwrap().to_f32().unwrap();
    assert!(file.tensor(odd).unwrap().to_f32().unwrap() == floats);
}

#[test]
fn what_cannot_be_repacked_is_refused_by_name_and_leaves_nothing() {
    let directory = rewrite::directory();
    let source = float_file(directory.path());
    let name = "blk.0.attn_k.weight";
    let refused = |contents: &Contents| {
        let source = contents.write(&directory.path().join("refused.gguf"));
        let output = directory.path().join("out.gguf");
        let error = repack(
            &source,
            &output,
            &QuantizeOptions::default(),
            &quant("TQ2_0"),
            &mut |_| ControlFlow::Continue(()),
        )
        .unwrap_err();
        assert!(!output.exists());
        let left = std::fs::read_dir(directory.path()).unwrap();
        let partial = left
            .map(|entry| entry.unwrap().file_name())
            .find(|name| name.to_string_lossy().ends_with(".partial"));
        assert_eq!(partial, None);
        error
    };

    let mut contents = Contents::of(&source);
    let bytes = TensorType::IQ4_NL.row_bytes(256).unwrap() as usize * 128;
    contents.replace(name, TensorType::IQ4_NL, vec![0; bytes]);
    let message = refused(&contents).to_string();
    assert!(
        message.contains(name) && message.contains("IQ4_NL"),
        "{message}"
    );

    let mut contents = Contents::of(&source);
    contents.metadata.set("split.count", 3u16);
    let error = refused(&contents);
    assert!(
        matches!(error, GgufError::Split { count: 3, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("llama-gguf-split --merge"));

    let mut contents = Contents::of(&source);
    contents.tensor(name).1[4 * (5 * 256 + 3)..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
    let error = refused(&contents);
    assert!(
        matches!(&error, GgufError::Quantize { tensor, .. } if tensor == name),
        "{error}"
    );
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("row 5, column 3"), "{cause}");

    // A file that would not load is not written with --validate.
    let contents = Contents::of(&source).without("tokenizer.ggml.eos_token_id");
    let error = refused(&contents);
    assert!(
        matches!(&error, GgufError::Invalid { problem, .. } if problem.contains("eos_token_id")),
        "{error}"
    );
}

#[test]
fn an_interrupted_repack_leaves_nothing() {
    let directory = rewrite::directory();
    let source = float_file(directory.path());
    let output = directory.path().join("out.gguf");
    let mut calls = 0;
    let error = repack(
        &source,
        &output,
        &QuantizeOptions::default(),
        &ExportOptions::default(),
        &mut |progress| {
            calls += 1;
            assert_eq!(progress.tensors_total, 20);
            if calls == 5 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        },
    )
    .unwrap_err();
    assert!(matches!(error, GgufError::Interrupted));
    assert!(!output.exists());
}
