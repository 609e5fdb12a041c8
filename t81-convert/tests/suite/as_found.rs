//! Checkpoints as frameworks and careless copies leave them, from the directory to the GGUF file.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use t81_convert::{ConversionReport, ConvertOptions, convert};
use t81_gguf::{ExportOptions, GgufFile, export_t81};
use t81_hub::{AttentionBias, T81Directory};

use crate::model::{config, write, write_with};

/// Writes the tensors of a checkpoint under other names, or leaves them out.
fn rename(directory: &Path, new_name: impl Fn(&str) -> Option<String>) {
    let path = directory.join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
    let renamed: BTreeMap<String, TensorView<'_>> = tensors
        .into_iter()
        .filter_map(|(name, view)| Some((new_name(&name)?, view)))
        .collect();
    std::fs::write(&path, safetensors::serialize(renamed, None).unwrap()).unwrap();
}

/// Converts the checkpoint and exports the result, which must be one that llama.cpp loads.
fn converted(source: &Path) -> (ConversionReport, T81Directory, GgufFile) {
    let target = source.with_extension("t81");
    let report = convert(source, &target, &ConvertOptions::default()).unwrap();
    let directory = T81Directory::open(&target).unwrap();
    let output = source.with_extension("gguf");
    let options = ExportOptions {
        validate: true,
        ..ExportOptions::default()
    };
    export_t81(&directory, &output, &options).unwrap();
    let file = GgufFile::open(&output).unwrap();
    (report, directory, file)
}

#[test]
fn prefixes_and_a_leftover_quantization_do_not_reach_the_result() {
    let place = tempfile::tempdir().unwrap();
    let (plain, found) = (place.path().join("plain"), place.path().join("found"));
    write(&plain);
    let mut json = config(2);
    json["quantization_config"] = json!({"quant_method": "bitsandbytes"});
    write_with(&found, &json, |_, _| ());
    rename(&found, |name| Some(format!("module._orig_mod.{name}")));
    let (_, _, expected) = converted(&plain);
    let (report, directory, file) = converted(&found);
    let text = report.to_string();
    for words in [
        "note: tensor names have `_orig_mod.`",
        "`module.model.`",
        "quantization_config",
    ] {
        assert!(text.contains(words), "{text}");
    }
    assert!(report.unexpected.is_empty());
    let names = |file: &GgufFile| -> Vec<String> {
        file.tensors()
            .map(|tensor| tensor.info.name.clone())
            .collect()
    };
    assert_eq!(names(&file), names(&expected));
    let written = std::fs::read(directory.directory().join("config.json")).unwrap();
    let written: Value = serde_json::from_slice(&written).unwrap();
    assert_eq!(written, config(2));
    // What is as it should be is copied as it is.
    let copied = std::fs::read_to_string(plain.with_extension("t81").join("config.json"));
    assert_eq!(copied.unwrap(), config(2).to_string());
}

#[test]
fn biases_without_the_flag_reach_the_result() {
    let place = tempfile::tempdir().unwrap();
    let source = place.path().join("qkv");
    write(&source);
    rename(&source, |name| {
        (!name.ends_with("o_proj.bias")).then(|| name.to_owned())
    });
    let mut json = config(2);
    json["attention_bias"] = json!(false);
    std::fs::write(source.join("config.json"), json.to_string()).unwrap();
    let (report, directory, file) = converted(&source);
    assert!(report.unexpected.is_empty() && report.notes[0].contains("attention_bias"));
    let biases = AttentionBias {
        output: false,
        ..AttentionBias::ALL
    };
    assert_eq!(directory.config().attention_bias, biases);
    for (part, present) in [("q", true), ("k", true), ("v", true), ("output", false)] {
        let name = format!("blk.1.attn_{part}.bias");
        assert_eq!(file.tensor(&name).is_some(), present, "{name}");
    }
}
