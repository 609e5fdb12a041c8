//! Sources, progress and the end of an export.

use std::ops::ControlFlow;
use std::path::Path;

use serde_json::{Value, json};
use t81_core::Quantizer;
use t81_gguf::{
    ExportOptions, GgufError, GgufFile, Origin, export, export_t81, export_t81_with_progress,
};
use t81_hub::{Checkpoint, OutputFormat, QuantizedCheckpoint, T81Directory};

use crate::tiny_model::TinyModel;

#[test]
fn a_checkpoint_is_exported_without_a_directory_between() {
    let directory = tempfile::tempdir().unwrap();
    // The dense format is an ordinary checkpoint of floats.
    let model = TinyModel {
        format: OutputFormat::Dense,
        ..TinyModel::default()
    };
    let (path, _) = model.write(directory.path());
    let checkpoint = Checkpoint::open(&path).unwrap();
    let quantizer = Quantizer::new(model.granularity, 0.7).unwrap();
    let source = QuantizedCheckpoint::new(&checkpoint, quantizer.clone()).unwrap();
    let origin = Origin {
        source: "hub/name".into(),
        tool: "test 1".into(),
        quantizer,
    };
    let output = directory.path().join("model.gguf");
    export(
        &source,
        &origin,
        &output,
        &ExportOptions::default(),
        &mut |_| ControlFlow::Continue(()),
    )
    .unwrap();
    let file = GgufFile::open(&output).unwrap();
    assert_eq!(file.metadata().string("general.name"), Some("name"));
    assert_eq!(file.metadata().string("t81.source"), Some("hub/name"));
    // Values that are ternary already keep their codes and scales: the mean of equal magnitudes is that magnitude.
    let other = directory.path().join("other.gguf");
    export_t81(
        &T81Directory::open(&path).unwrap(),
        &other,
        &ExportOptions::default(),
    )
    .unwrap();
    let comparison = t81_gguf::Comparison::of(&file, &GgufFile::open(&other).unwrap());
    assert!(comparison.is_equal(), "{comparison}");
}

#[test]
fn progress_is_told_and_can_stop_the_export() {
    let directory = tempfile::tempdir().unwrap();
    let (path, _) = TinyModel::default().write(directory.path());
    let source = T81Directory::open(path).unwrap();
    let output = directory.path().join("model.gguf");
    let mut seen = Vec::new();
    let summary = export_t81_with_progress(
        &source,
        &output,
        &ExportOptions::default(),
        &mut |progress| {
            seen.push((
                progress.tensor.to_owned(),
                progress.tensors_done,
                progress.bytes_done,
                progress.bytes_total,
            ));
            ControlFlow::Continue(())
        },
    )
    .unwrap();
    assert_eq!(seen.len(), summary.tensors.len());
    assert_eq!(
        seen[0],
        ("token_embd.weight".to_owned(), 0, 0, summary.bytes())
    );
    assert_eq!(seen[1].2, summary.tensors[0].bytes);

    let before = std::fs::read(&output).unwrap();
    let entries = |path: &Path| std::fs::read_dir(path).unwrap().count();
    let count = entries(directory.path());
    let overwrite = ExportOptions {
        overwrite: true,
        ..ExportOptions::default()
    };
    let error =
        export_t81_with_progress(&source, &output, &overwrite, &mut |progress| match progress
            .tensors_done
        {
            5 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
    assert!(matches!(error, Err(GgufError::Interrupted)));
    assert_eq!(std::fs::read(&output).unwrap(), before);
    assert_eq!(entries(directory.path()), count);
    assert!(matches!(
        export_t81(&source, &output, &ExportOptions::default()),
        Err(GgufError::OutputExists { .. })
    ));
}

#[test]
fn a_tensor_without_a_place_in_llama_cpp_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (path, _) = TinyModel::default().write(directory.path());
    let config_path = path.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&config_path).unwrap()).unwrap();
    config["num_hidden_layers"] = json!(1);
    std::fs::write(&config_path, config.to_string()).unwrap();
    let source = T81Directory::open(path).unwrap();
    let error = export_t81(
        &source,
        &directory.path().join("out.gguf"),
        &ExportOptions::default(),
    )
    .unwrap_err();
    assert!(
        matches!(&error, GgufError::UnmappedTensor { tensor, .. } if tensor.starts_with("model.layers.1.")),
        "{error}"
    );
}
