//! What is written to a t81 directory comes back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use t81_core::{Granularity, Quantizer, TernaryMatrix};
use t81_hub::{
    Checkpoint, Dtype, HubError, ModelConfig, OutputFormat, QuantizedCheckpoint, Storage,
    T81Directory, T81Metadata, T81Tensor, T81Writer, TernarySource,
};

use crate::model::{config_json, values, write_single};

/// Quantizes the tiny model and writes it; the plan is written backwards, which the writer allows.
pub(crate) fn write_t81(
    source: &Path,
    target: &Path,
    granularity: Granularity,
    format: OutputFormat,
) -> PathBuf {
    let checkpoint = Checkpoint::open(source).unwrap();
    let quantizer = Quantizer::new(granularity, 0.45).unwrap();
    let quantized = QuantizedCheckpoint::new(&checkpoint, quantizer.clone()).unwrap();
    let plan = quantized.plan();
    let mut writer = T81Writer::create(target, plan.clone(), true, format).unwrap();
    for tensor in plan.iter().rev() {
        match quantized.get(&tensor.name).unwrap() {
            T81Tensor::Ternary(matrix) => writer.write_ternary(&tensor.name, &matrix).unwrap(),
            T81Tensor::Dense(view) => writer.write_dense(&tensor.name, view.bytes).unwrap(),
        }
    }
    writer.copy_file(source, "config.json").unwrap();
    writer.write_file("tokenizer.json", b"{}").unwrap();
    let template = "additional_chat_templates/tool_use.jinja";
    writer.write_file(template, b"tools").unwrap();
    writer
        .finish(T81Metadata::new("test", "1", "tiny", quantizer, "llama"))
        .unwrap()
}

fn matrices(directory: &T81Directory) -> BTreeMap<String, TernaryMatrix> {
    directory
        .names()
        .filter_map(|name| match directory.get(name).unwrap() {
            T81Tensor::Ternary(matrix) => Some((name.to_owned(), matrix)),
            T81Tensor::Dense(_) => None,
        })
        .collect()
}

fn granularities() -> [Granularity; 5] {
    let group = |size| Granularity::group(size).unwrap();
    [
        Granularity::Tensor,
        Granularity::Row,
        group(5),
        group(16),
        group(256),
    ]
}

#[test]
fn packed_and_dense_hold_the_quantizer_s_values() {
    let source = tempfile::tempdir().unwrap();
    write_single(source.path(), Dtype::BF16);
    let checkpoint = Checkpoint::open(source.path()).unwrap();
    for granularity in granularities() {
        let quantizer = Quantizer::new(granularity, 0.45).unwrap();
        let quantized = QuantizedCheckpoint::new(&checkpoint, quantizer.clone()).unwrap();
        let packed = write_t81(
            source.path(),
            &source.path().join("packed"),
            granularity,
            OutputFormat::Packed,
        );
        let dense = write_t81(
            source.path(),
            &source.path().join("dense"),
            granularity,
            OutputFormat::Dense,
        );
        let (packed, dense) = (
            T81Directory::open(packed).unwrap(),
            T81Directory::open(dense).unwrap(),
        );
        let matrices = matrices(&packed);
        assert_eq!(matrices.len(), 14);
        for (name, matrix) in &matrices {
            let T81Tensor::Ternary(expected) = quantized.get(name).unwrap() else {
                panic!("{name} is ternary")
            };
            assert_eq!(*matrix, expected, "{name}");
            let T81Tensor::Ternary(from_dense) = dense.get(name).unwrap() else {
                panic!("{name} is ternary")
            };
            assert_eq!(from_dense.dequantize(), expected.dequantize(), "{name}");
            assert_eq!(from_dense.codes(), expected.codes(), "{name}");
        }
        for directory in [&packed, &dense] {
            assert_eq!(directory.metadata().quantizer, quantizer);
            let T81Tensor::Dense(norm) = directory.get("model.norm.weight").unwrap() else {
                panic!("a norm is dense")
            };
            assert_eq!(
                (norm.dtype, norm.to_f32()),
                (Dtype::BF16, values("model.norm.weight", 20))
            );
            assert_eq!(
                directory.names().collect::<Vec<_>>(),
                checkpoint.names().collect::<Vec<_>>(),
                "the float checkpoint's names"
            );
        }
    }
}

#[test]
fn the_dense_format_is_an_ordinary_checkpoint() {
    let source = tempfile::tempdir().unwrap();
    write_single(source.path(), Dtype::F32);
    let target = source.path().join("out");
    let granularity = Granularity::group(16).unwrap();
    write_t81(source.path(), &target, granularity, OutputFormat::Dense);
    let checkpoint = Checkpoint::open(&target).unwrap();
    checkpoint.config().check(&checkpoint).unwrap();
    assert_eq!(checkpoint.config().raw["torch_dtype"], "float16");
    let directory = T81Directory::open(&target).unwrap();
    for (name, matrix) in matrices(&directory) {
        let tensor = checkpoint.tensor(&name).unwrap();
        assert_eq!(
            (tensor.dtype, tensor.to_f32()),
            (Dtype::F16, matrix.dequantize())
        );
    }
    let header = std::fs::read(target.join("model.safetensors")).unwrap();
    let header = safetensors::SafeTensors::read_metadata(&header).unwrap().1;
    assert_eq!(header.metadata().as_ref().unwrap()["format"], "pt");
}

#[test]
fn the_packed_format_is_laid_out_as_documented() {
    let source = tempfile::tempdir().unwrap();
    write_single(source.path(), Dtype::F32);
    let target = source.path().join("out");
    write_t81(
        source.path(),
        &target,
        Granularity::group(16).unwrap(),
        OutputFormat::Packed,
    );
    let bytes = std::fs::read(target.join("model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let name = "model.layers.0.mlp.down_proj.weight";
    let codes = file.tensor(&format!("{name}.codes")).unwrap();
    let scales = file.tensor(&format!("{name}.scales")).unwrap();
    assert_eq!(
        (codes.dtype(), codes.shape()),
        (safetensors::Dtype::U8, &[20, 9][..])
    );
    assert_eq!(
        (scales.dtype(), scales.shape()),
        (safetensors::Dtype::F16, &[20, 3][..])
    );
    assert!(file.tensor(name).is_err());
    // Decoded by hand, against the formula of the quantizer on the first group of row 3.
    let weights = &values(name, 20 * 36)[3 * 36..][..16];
    let reference = weights.iter().map(|weight| weight.abs()).sum::<f32>() / 16.0;
    let kept: Vec<f32> = weights
        .iter()
        .map(|weight| weight.abs())
        .filter(|weight| *weight >= 0.45 * reference)
        .collect();
    let scale = half::f16::from_f32(kept.iter().sum::<f32>() / kept.len() as f32);
    assert_eq!(scales.data()[3 * 3 * 2..][..2], scale.to_le_bytes());
    for (column, weight) in weights.iter().enumerate() {
        let code = (codes.data()[3 * 9 + column / 4] >> (2 * (column % 4)) & 3) as i32 - 1;
        let expected = if weight.abs() >= 0.45 * reference {
            weight.signum() as i32
        } else {
            0
        };
        assert_eq!(code, expected, "column {column}");
    }
    let config: Value =
        serde_json::from_slice(&std::fs::read(target.join("config.json")).unwrap()).unwrap();
    assert_eq!(config, config_json(), "untouched");
    assert!(matches!(
        Checkpoint::open(&target),
        Err(HubError::AlreadyPacked(_))
    ));
}

#[test]
fn metadata_describes_the_model() {
    let source = tempfile::tempdir().unwrap();
    write_single(source.path(), Dtype::F32);
    let target = source.path().join("out/t81");
    write_t81(
        source.path(),
        &target,
        Granularity::Row,
        OutputFormat::Packed,
    );
    let directory = T81Directory::open(source.path().join("out")).unwrap();
    assert_eq!(directory.directory(), target);
    let metadata = directory.metadata();
    assert_eq!(
        (metadata.format_version, metadata.format),
        (1, OutputFormat::Packed)
    );
    assert_eq!(
        (metadata.tool.as_str(), metadata.source.as_str()),
        ("test", "tiny")
    );
    let matrices = matrices(&directory);
    assert!(metadata.tensors.keys().eq(matrices.keys()));
    let (mut weights, mut zeros, mut bytes) = (0.0, 0.0, 0.0);
    for (name, matrix) in &matrices {
        let info = &metadata.tensors[name];
        assert_eq!(info.shape, [matrix.rows(), matrix.columns()]);
        assert_eq!(info.granularity, Granularity::Row);
        assert!((info.sparsity - matrix.sparsity()).abs() < 1e-15);
        assert!((info.bits_per_weight - matrix.bits_per_weight()).abs() < 1e-14);
        let count = (matrix.rows() * matrix.columns()) as f64;
        weights += count;
        zeros += count * matrix.sparsity();
        bytes += matrix.size_bytes() as f64;
    }
    let statistics = &metadata.statistics;
    assert_eq!(statistics.ternary_weights, weights as u64);
    assert_eq!(
        statistics.dense_weights,
        2 * 11 * 20 + 20 + 2 * (2 * 20 + 12 + 6 + 6 + 20)
    );
    assert!((statistics.sparsity - zeros / weights).abs() < 1e-12);
    assert!((statistics.bits_per_weight - 8.0 * bytes / weights).abs() < 1e-12);
    assert_eq!(
        statistics.stored_bytes,
        std::fs::metadata(target.join("model.safetensors"))
            .unwrap()
            .len()
    );
}

#[test]
fn a_source_lists_its_plan_without_reading_values() {
    let source = tempfile::tempdir().unwrap();
    write_single(source.path(), Dtype::F32);
    let target = source.path().join("out");
    let granularity = Granularity::group(16).unwrap();
    write_t81(source.path(), &target, granularity, OutputFormat::Packed);
    let checkpoint = Checkpoint::open(source.path()).unwrap();
    let quantized =
        QuantizedCheckpoint::new(&checkpoint, Quantizer::new(granularity, 0.45).unwrap()).unwrap();
    let directory = T81Directory::open(&target).unwrap();
    let sorted = |source: &dyn TernarySource| {
        let mut plan = source.plan();
        plan.sort_by(|a, b| a.name.cmp(&b.name));
        plan
    };
    assert_eq!(sorted(&quantized), sorted(&directory));
    let down = sorted(&directory)
        .into_iter()
        .find(|tensor| tensor.name.ends_with("0.mlp.down_proj.weight"))
        .unwrap();
    assert_eq!(
        (down.shape, down.storage),
        (
            vec![20, 36],
            Storage::Ternary {
                granularity,
                transposed: false
            }
        )
    );
}

#[test]
fn tensors_that_no_loader_needs_are_left_out() {
    let source = tempfile::tempdir().unwrap();
    let mut config = config_json();
    let mut tensors = crate::model::tensors(&crate::model::llama(&config), Dtype::F32);
    config["tie_word_embeddings"] = json!(true);
    std::fs::write(source.path().join("config.json"), config.to_string()).unwrap();
    let frequencies = "model.layers.0.self_attn.rotary_emb.inv_freq";
    tensors.push((
        frequencies.into(),
        safetensors::Dtype::F32,
        vec![1],
        vec![0; 4],
    ));
    crate::model::write_safetensors(&source.path().join("model.safetensors"), &tensors);
    let checkpoint = Checkpoint::open(source.path()).unwrap();
    let quantized = QuantizedCheckpoint::new(&checkpoint, Quantizer::bitnet()).unwrap();
    let planned: Vec<String> = quantized
        .plan()
        .into_iter()
        .map(|tensor| tensor.name)
        .collect();
    assert_eq!(planned.len(), tensors.len() - 2);
    assert!(
        !planned
            .iter()
            .any(|name| name == "lm_head.weight" || name == frequencies)
    );
}

#[test]
fn a_nan_weight_names_its_tensor() {
    let source = tempfile::tempdir().unwrap();
    let config = config_json();
    std::fs::write(source.path().join("config.json"), config.to_string()).unwrap();
    let mut tensors = crate::model::tensors(&crate::model::llama(&config), Dtype::F32);
    let name = "model.layers.1.mlp.up_proj.weight";
    let broken = tensors
        .iter_mut()
        .find(|(other, ..)| other == name)
        .unwrap();
    broken.3[40..44].copy_from_slice(&f32::NAN.to_le_bytes());
    crate::model::write_safetensors(&source.path().join("model.safetensors"), &tensors);
    let checkpoint = Checkpoint::open(source.path()).unwrap();
    let quantized = QuantizedCheckpoint::new(&checkpoint, Quantizer::bitnet()).unwrap();
    let error = quantized.get(name).unwrap_err();
    assert!(matches!(&error, HubError::Quantize { .. }), "{error:?}");
    assert!(error.to_string().contains(name), "{error}");
    assert!(ModelConfig::from_json(config).is_ok());
}
