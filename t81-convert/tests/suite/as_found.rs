//! Checkpoints as frameworks and careless copies leave them, from the directory to the GGUF file.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use t81_convert::{ConversionReport, ConvertOptions, convert};
use t81_core::Granularity;
use t81_gguf::{ExportOptions, GgufFile, TensorType, export_t81};
use t81_hub::{AttentionBias, Checkpoint, T81Directory, T81Tensor};

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

/// Values that are ternary in groups of this size.
fn ternary(name: &str, values: &mut [f32], group: usize) {
    if name.ends_with("_proj.weight") {
        for (at, value) in values.iter_mut().enumerate() {
            let code = (at * 7919 % 13) as f32 % 3.0 - 1.0;
            *value = code * (1.0 + (at / group % 50) as f32) / 64.0;
        }
    }
}

#[test]
fn weights_that_are_ternary_already_keep_their_codes() {
    let place = tempfile::tempdir().unwrap();
    let mut json = config(2);
    json["hidden_size"] = json!(256);
    for group in [64, 128, 256] {
        let source = place.path().join(group.to_string());
        write_with(&source, &json, |name, values| ternary(name, values, group));
        let (report, directory, file) = converted(&source);
        let checkpoint = Checkpoint::open(&source).unwrap();
        for tensor in &report.ternary {
            let T81Tensor::Ternary(matrix) = directory.get(&tensor.name).unwrap() else {
                panic!("{}", tensor.name);
            };
            let floats = checkpoint.tensor(&tensor.name).unwrap().to_f32();
            assert!(
                matrix.dequantize() == floats,
                "{} in groups of {group}",
                tensor.name
            );
        }
        let noted = report.to_string().contains("are ternary already");
        assert_eq!(noted, group < 256, "{report}");
        let expected = if group < 256 {
            TensorType::Q2_0
        } else {
            TensorType::TQ2_0
        };
        let gate = file.tensor("blk.1.ffn_gate.weight").unwrap();
        assert_eq!(gate.info.tensor_type, expected);
        let rows: Vec<f32> = checkpoint
            .tensor("model.layers.1.mlp.gate_proj.weight")
            .unwrap()
            .to_f32();
        assert!(gate.to_f32().unwrap() == rows);

        if group == 256 {
            // Those rows have one group.
            continue;
        }
        // A granularity of the user's own is taken, with a word about what it costs.
        let options = ConvertOptions {
            granularity: Some(Granularity::Row),
            ..ConvertOptions::default()
        };
        let report = convert(
            &source,
            place.path().join("rows"),
            &ConvertOptions {
                overwrite: true,
                ..options
            },
        )
        .unwrap();
        assert!(
            report.to_string().contains("row does not keep their codes"),
            "{report}"
        );
        assert!(report.relative_error() > 0.01);
    }
}

#[test]
fn weights_too_small_for_a_scale_are_named() {
    let place = tempfile::tempdir().unwrap();
    let source = place.path().join("small");
    let tiny = "model.layers.1.mlp.up_proj.weight";
    write_with(&source, &config(2), |name, values| match name {
        _ if name == tiny => values.iter_mut().for_each(|value| *value *= 1e-9),
        "model.layers.0.mlp.up_proj.weight" => values.fill(0.0),
        _ => {}
    });
    let (report, _, _) = converted(&source);
    assert_eq!(report.vanished(), [tiny]);
    let text = report.to_string();
    assert!(
        text.contains(&format!(
            "too small for the 16-bit scales of ternary weights (below 3e-8): {tiny}\n"
        )),
        "{text}"
    );
}
