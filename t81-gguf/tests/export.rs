//! Exporting t81 directories: what the file holds against what the directory holds.

mod tiny_model;

use std::ops::ControlFlow;
use std::path::Path;

use half::f16;
use serde_json::{Value, json};
use t81_core::{BlockFormat, Granularity, Quantizer, TernaryMatrix};
use t81_gguf::{
    EmbeddingType, ExportOptions, ExportSummary, ExportType, GgufError, GgufFile, MetadataArray,
    MetadataValue, Origin, TensorType, TokenizerError, export, export_t81,
    export_t81_with_progress,
};
use t81_hub::{Checkpoint, OutputFormat, QuantizedCheckpoint, T81Directory};
use tiny_model::{LAYERS, TinyModel, Weights};

fn options(quant: ExportType) -> ExportOptions {
    ExportOptions {
        quant: Some(quant),
        ..ExportOptions::default()
    }
}

fn ternary(format: BlockFormat) -> ExportType {
    ExportType::Ternary(format)
}

struct Exported {
    _directory: tempfile::TempDir,
    weights: Weights,
    summary: ExportSummary,
    file: GgufFile,
}

fn try_export(model: &TinyModel, options: &ExportOptions) -> Result<Exported, GgufError> {
    let directory = tempfile::tempdir().unwrap();
    let (path, weights) = model.write(directory.path());
    let output = directory.path().join("model.gguf");
    let summary = export_t81(&T81Directory::open(path).unwrap(), &output, options)?;
    let file = GgufFile::open(&output).unwrap();
    Ok(Exported {
        _directory: directory,
        weights,
        summary,
        file,
    })
}

fn exported(model: &TinyModel, options: &ExportOptions) -> Exported {
    try_export(model, options).unwrap()
}

fn refused(model: &TinyModel, options: &ExportOptions) -> GgufError {
    match try_export(model, options) {
        Ok(exported) => panic!("exported: {}", exported.summary),
        Err(error) => error,
    }
}

/// GGUF names of the linear layers with their checkpoint names and, for queries and keys, the number of heads.
fn linear_layers(model: &TinyModel) -> Vec<(String, String, Option<usize>)> {
    let names = [
        ("attn_q", "self_attn.q_proj", Some(model.heads)),
        ("attn_k", "self_attn.k_proj", Some(model.key_value_heads)),
        ("attn_v", "self_attn.v_proj", None),
        ("attn_output", "self_attn.o_proj", None),
        ("ffn_gate", "mlp.gate_proj", None),
        ("ffn_up", "mlp.up_proj", None),
        ("ffn_down", "mlp.down_proj", None),
    ];
    (0..LAYERS)
        .flat_map(|layer| {
            names.map(|(gguf, checkpoint, heads)| {
                (
                    format!("blk.{layer}.{gguf}"),
                    format!("model.layers.{layer}.{checkpoint}"),
                    heads,
                )
            })
        })
        .collect()
}

/// `[rows, columns]` with each head's rows reordered as `reshape(heads, 2, dim / 2, columns).swapaxes(1, 2)`.
fn permuted(values: &[f32], rows: usize, heads: Option<usize>) -> Vec<f32> {
    let Some(heads) = heads else {
        return values.to_vec();
    };
    let columns = values.len() / rows;
    let half = rows / heads / 2;
    let mut out = Vec::with_capacity(values.len());
    for head in 0..heads {
        for pair in 0..half {
            for side in 0..2 {
                let row = (head * 2 + side) * half + pair;
                out.extend_from_slice(&values[row * columns..][..columns]);
            }
        }
    }
    out
}

fn check_linear_values(model: &TinyModel, exported: &Exported, expected_type: TensorType) {
    for (gguf, checkpoint, heads) in linear_layers(model) {
        let matrix: &TernaryMatrix = &exported.weights.ternary[&format!("{checkpoint}.weight")];
        let tensor = exported.file.tensor(&format!("{gguf}.weight")).unwrap();
        assert_eq!(tensor.info.tensor_type, expected_type, "{gguf}");
        assert_eq!(
            tensor.info.dimensions,
            [matrix.columns() as u64, matrix.rows() as u64],
            "{gguf}"
        );
        let expected = permuted(&matrix.dequantize(), matrix.rows(), heads);
        assert!(
            tensor.to_f32().unwrap() == expected,
            "{gguf} holds other values"
        );
    }
}

fn rounded_to_f16(values: &[f32]) -> Vec<f32> {
    values
        .iter()
        .map(|&value| f16::from_f32(value).to_f32())
        .collect()
}

#[test]
fn every_type_holds_the_exact_ternary_values() {
    let model = TinyModel::default();
    for (quant, file_type) in ExportType::ALL.into_iter().zip([36, 37, 41, 1, 0]) {
        let exported = exported(&model, &options(quant));
        check_linear_values(&model, &exported, quant.tensor_type());
        assert_eq!(
            exported.file.metadata().u32("general.file_type"),
            Some(file_type)
        );
        assert_eq!(exported.summary.fallbacks, []);
        assert_eq!(exported.summary.notes, Vec::<String>::new());
        let embedding = exported.file.tensor("token_embd.weight").unwrap();
        let expected = if quant == ExportType::F32 {
            TensorType::F32
        } else {
            TensorType::F16
        };
        assert_eq!(embedding.info.tensor_type, expected);
    }
}

#[test]
fn blocks_without_a_nonzero_code_have_scale_zero() {
    let model = TinyModel::narrow();
    let exported = exported(&model, &options(ternary(BlockFormat::Q2_0)));
    let tensor = exported.file.tensor("blk.0.attn_v.weight").unwrap();
    assert_eq!(tensor.bytes[..2], [0, 0]);
    assert_ne!(tensor.bytes[18..20], [0, 0]);
}

#[test]
fn the_dense_format_exports_the_same_bytes() {
    let packed = exported(&TinyModel::default(), &ExportOptions::default());
    let dense = exported(
        &TinyModel {
            format: OutputFormat::Dense,
            ..TinyModel::default()
        },
        &ExportOptions::default(),
    );
    assert!(
        std::fs::read(packed.file.path()).unwrap() == std::fs::read(dense.file.path()).unwrap()
    );
}

#[test]
fn without_a_type_the_best_lossless_one_is_taken() {
    assert_eq!(
        exported(&TinyModel::default(), &ExportOptions::default())
            .summary
            .quant,
        ternary(BlockFormat::Tq2_0)
    );
    assert_eq!(
        exported(&TinyModel::narrow(), &ExportOptions::default())
            .summary
            .quant,
        ternary(BlockFormat::Q2_0)
    );
}

#[test]
fn rows_that_a_format_cannot_hold_fall_to_q2_0_and_are_reported() {
    let model = TinyModel::narrow();
    let exported = exported(&model, &options(ternary(BlockFormat::Tq1_0)));
    check_linear_values(&model, &exported, TensorType::Q2_0);
    assert_eq!(exported.file.metadata().u32("general.file_type"), Some(41));
    assert_eq!(exported.summary.fallbacks.len(), 7 * LAYERS);
    let text = exported.summary.to_string();
    assert!(
        text.contains(
            "Q2_0 instead of TQ1_0: blk.0.attn_q.weight and 11 more (rows of 192 weights"
        ),
        "{text}"
    );
    assert!(
        text.contains(
            "Q2_0 instead of TQ1_0: blk.0.ffn_down.weight and 1 more (rows of 320 weights"
        ),
        "{text}"
    );
}

#[test]
fn scales_that_no_block_format_holds_fall_to_f16() {
    let model = TinyModel {
        granularity: Granularity::group(32).unwrap(),
        ..TinyModel::default()
    };
    let exported = exported(&model, &options(ternary(BlockFormat::Tq2_0)));
    check_linear_values(&model, &exported, TensorType::F16);
    assert_eq!(exported.file.metadata().u32("general.file_type"), Some(1));
    assert!(
        exported
            .summary
            .fallbacks
            .iter()
            .all(|fallback| fallback.reason.contains("one for each 32"))
    );
    for granularity in [Granularity::Row, Granularity::Tensor] {
        let model = TinyModel {
            granularity,
            ..TinyModel::default()
        };
        let exported = self::exported(&model, &options(ternary(BlockFormat::Tq1_0)));
        check_linear_values(&model, &exported, TensorType::TQ1_0);
    }
}

#[test]
fn linear_weights_that_are_floats_stay_floats() {
    let name = "model.layers.1.mlp.up_proj.weight".to_owned();
    let model = TinyModel {
        dense: vec![name.clone()],
        ..TinyModel::default()
    };
    let exported = exported(&model, &ExportOptions::default());
    let tensor = exported.file.tensor("blk.1.ffn_up.weight").unwrap();
    assert_eq!(tensor.info.tensor_type, TensorType::F16);
    assert!(tensor.to_f32().unwrap() == rounded_to_f16(&exported.weights.dense[&name].1));
    assert_eq!(
        exported.summary.fallbacks[0].reason,
        "it is not ternary in the model"
    );

    // Permuted as ternary ones are.
    let name = "model.layers.0.self_attn.k_proj.weight".to_owned();
    let model = TinyModel {
        dense: vec![name.clone()],
        ..TinyModel::default()
    };
    let exported = self::exported(&model, &options(ExportType::F32));
    let (shape, values) = &exported.weights.dense[&name];
    let expected = permuted(values, shape[0], Some(model.key_value_heads));
    assert!(
        exported
            .file
            .tensor("blk.0.attn_k.weight")
            .unwrap()
            .to_f32()
            .unwrap()
            == expected
    );
}

#[test]
fn norms_and_biases_are_f32_and_biases_move_with_their_rows() {
    let model = TinyModel {
        bias: true,
        ..TinyModel::default()
    };
    let exported = exported(&model, &ExportOptions::default());
    for (gguf, checkpoint, heads) in linear_layers(&model) {
        let (shape, values) = &exported.weights.dense[&format!("{checkpoint}.bias")];
        let tensor = exported.file.tensor(&format!("{gguf}.bias")).unwrap();
        assert_eq!(tensor.info.tensor_type, TensorType::F32);
        assert_eq!(
            tensor.to_f32().unwrap(),
            permuted(values, shape[0], heads),
            "{gguf}"
        );
    }
    for (gguf, checkpoint) in [
        ("output_norm.weight", "model.norm.weight"),
        (
            "blk.1.attn_norm.weight",
            "model.layers.1.input_layernorm.weight",
        ),
        (
            "blk.1.ffn_norm.weight",
            "model.layers.1.post_attention_layernorm.weight",
        ),
    ] {
        let tensor = exported.file.tensor(gguf).unwrap();
        assert_eq!(tensor.info.tensor_type, TensorType::F32);
        assert_eq!(
            tensor.to_f32().unwrap(),
            exported.weights.dense[checkpoint].1
        );
    }
}

#[test]
fn tied_embeddings_have_no_output_matrix() {
    let tied = exported(&TinyModel::default(), &ExportOptions::default());
    assert!(tied.file.tensor("output.weight").is_none());
    assert_eq!(tied.file.tensors().len(), 2 + LAYERS * 9);
    let untied = exported(
        &TinyModel {
            tied: false,
            ..TinyModel::default()
        },
        &ExportOptions::default(),
    );
    for (gguf, checkpoint) in [
        ("output.weight", "lm_head.weight"),
        ("token_embd.weight", "model.embed_tokens.weight"),
    ] {
        let tensor = untied.file.tensor(gguf).unwrap();
        let expected = rounded_to_f16(&untied.weights.dense[checkpoint].1);
        assert!(tensor.to_f32().unwrap() == expected);
    }
    let wide = ExportOptions {
        embedding_type: Some(EmbeddingType::F32),
        ..ExportOptions::default()
    };
    let wide = exported(&TinyModel::default(), &wide);
    let embedding = wide.file.tensor("token_embd.weight").unwrap();
    assert_eq!(embedding.info.tensor_type, TensorType::F32);
    assert!(embedding.to_f32().unwrap() == wide.weights.dense["model.embed_tokens.weight"].1);
}

#[test]
fn values_beyond_f16_keep_their_tensor_in_f32() {
    let mut model = TinyModel::default();
    model
        .planted
        .insert("model.embed_tokens.weight".to_owned(), 1e6);
    let exported = exported(&model, &ExportOptions::default());
    let embedding = exported.file.tensor("token_embd.weight").unwrap();
    assert_eq!(embedding.info.tensor_type, TensorType::F32);
    assert!(embedding.to_f32().unwrap() == exported.weights.dense["model.embed_tokens.weight"].1);
    assert!(
        exported.summary.fallbacks[0].reason.contains("65504"),
        "{}",
        exported.summary
    );
}

#[test]
fn undefined_values_are_refused_by_name() {
    for (value, name) in [
        (f32::NAN, "model.norm.weight"),
        (f32::INFINITY, "model.embed_tokens.weight"),
    ] {
        let mut model = TinyModel::default();
        model.planted.insert(name.to_owned(), value);
        let error = refused(&model, &ExportOptions::default());
        assert!(
            matches!(&error, GgufError::NonFinite { tensor, .. } if tensor == name),
            "{error}"
        );
    }
}

#[test]
fn hyper_parameters_are_those_of_the_configuration() {
    let exported = exported(&TinyModel::narrow(), &ExportOptions::default());
    let metadata = exported.file.metadata();
    for (key, value) in [
        ("llama.block_count", 2),
        ("llama.context_length", 128),
        ("llama.embedding_length", 192),
        ("llama.feed_forward_length", 320),
        ("llama.attention.head_count", 6),
        ("llama.attention.head_count_kv", 3),
        ("llama.attention.key_length", 32),
        ("llama.attention.value_length", 32),
        ("llama.rope.dimension_count", 32),
        ("llama.vocab_size", 264),
        ("general.quantization_version", 2),
    ] {
        assert_eq!(metadata.u32(key), Some(value), "{key}");
    }
    assert_eq!(
        metadata.get("llama.attention.layer_norm_rms_epsilon"),
        Some(&MetadataValue::F32(1e-5))
    );
    assert_eq!(
        metadata.get("llama.rope.freq_base"),
        Some(&MetadataValue::F32(10000.0))
    );
    assert_eq!(metadata.get("llama.rope.scaling.type"), None);
    assert_eq!(metadata.iter().next().unwrap().0, "general.architecture");
    assert_eq!(metadata.string("general.architecture"), Some("llama"));
    assert_eq!(metadata.string("general.name"), Some("tiny-model"));
    assert_eq!(metadata.string("t81.source"), Some("someone/tiny-model"));
    assert_eq!(metadata.string("t81.tool"), Some("t81-convert 0.1.0"));
    assert_eq!(
        metadata.string("t81.quantizer.granularity"),
        Some("group:64")
    );
    assert_eq!(
        metadata.get("t81.quantizer.threshold"),
        Some(&MetadataValue::F32(0.7))
    );
}

#[test]
fn linear_rotary_scaling_is_a_key_and_llama_3_scaling_a_tensor() {
    let linear = TinyModel {
        rope_scaling: json!({"rope_type": "linear", "factor": 4.0}),
        ..TinyModel::default()
    };
    let linear = exported(&linear, &ExportOptions::default());
    assert_eq!(
        linear.file.metadata().string("llama.rope.scaling.type"),
        Some("linear")
    );
    assert_eq!(
        linear.file.metadata().get("llama.rope.scaling.factor"),
        Some(&MetadataValue::F32(4.0))
    );
    assert!(linear.file.tensor("rope_freqs.weight").is_none());

    let scaling = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64});
    let llama_3 = exported(
        &TinyModel {
            rope_scaling: scaling,
            ..TinyModel::default()
        },
        &ExportOptions::default(),
    );
    assert_eq!(llama_3.file.metadata().get("llama.rope.scaling.type"), None);
    let tensor = llama_3.file.tensor("rope_freqs.weight").unwrap();
    assert_eq!(
        (tensor.info.tensor_type, &tensor.info.dimensions[..]),
        (TensorType::F32, &[32][..])
    );
    let factors = tensor.to_f32().unwrap();
    // Wavelengths 2 pi 10000^(i / 32): below 16 unscaled, above 64 scaled in full, i = 4 to 8 blended.
    assert_eq!(factors[..4], [1.0; 4]);
    assert_eq!(factors[9..], [8.0; 23]);
    // By convert_hf_to_gguf.py's formula, evaluated in float32 with numpy.
    for (factor, expected) in factors[4..9].iter().zip([
        1.293_975_8,
        1.859_278_9,
        2.765_173_7,
        4.357_143_4,
        7.667_385f32,
    ]) {
        assert!((factor - expected).abs() < 1e-5 * expected, "{factors:?}");
    }
}

#[test]
fn the_vocabulary_covers_every_embedding_row() {
    let exported = exported(&TinyModel::default(), &ExportOptions::default());
    let metadata = exported.file.metadata();
    assert_eq!(metadata.string("tokenizer.ggml.model"), Some("gpt2"));
    assert_eq!(metadata.string("tokenizer.ggml.pre"), Some("gpt-2"));
    let Some(MetadataValue::Array(MetadataArray::String(tokens))) =
        metadata.get("tokenizer.ggml.tokens")
    else {
        panic!()
    };
    let Some(MetadataValue::Array(MetadataArray::I32(types))) =
        metadata.get("tokenizer.ggml.token_type")
    else {
        panic!()
    };
    let Some(MetadataValue::Array(MetadataArray::String(merges))) =
        metadata.get("tokenizer.ggml.merges")
    else {
        panic!()
    };
    assert_eq!(tokens.len(), 264);
    assert_eq!(types.len(), 264);
    assert_eq!(merges, &["t h", "Ġ th", "th e"]);
    assert_eq!(tokens[0], "<|endoftext|>");
    assert_eq!(
        tokens[257..],
        [
            "th", "Ġth", "the", "<word>", "[PAD261]", "[PAD262]", "[PAD263]"
        ]
    );
    assert_eq!(types[0], 3);
    assert_eq!(types[1..260], [1; 259]);
    assert_eq!(types[260..], [4, 5, 5, 5]);
    assert_eq!(metadata.u32("tokenizer.ggml.bos_token_id"), Some(0));
    assert_eq!(metadata.u32("tokenizer.ggml.eos_token_id"), Some(0));
    assert_eq!(
        metadata.get("tokenizer.ggml.add_bos_token"),
        Some(&MetadataValue::Bool(false))
    );
    assert_eq!(metadata.get("tokenizer.chat_template"), None);
}

#[test]
fn a_pre_tokenizer_that_is_not_recognised_can_be_named() {
    let mut model = TinyModel::default();
    model.tokenizer["pre_tokenizer"] = json!({"type": "Whitespace"});
    let error = refused(&model, &ExportOptions::default());
    let GgufError::Tokenizer {
        source: TokenizerError::UnknownPreTokenizer { description },
        ..
    } = &error
    else {
        panic!("{error:?}")
    };
    assert!(description.contains("Whitespace"), "{description}");
    let named = ExportOptions {
        tokenizer_pre: Some("olmo".to_owned()),
        ..ExportOptions::default()
    };
    assert_eq!(
        exported(&model, &named)
            .file
            .metadata()
            .string("tokenizer.ggml.pre"),
        Some("olmo")
    );
}

#[test]
fn a_tokenizer_larger_than_the_embedding_is_refused() {
    let mut model = TinyModel {
        spare_rows: 0,
        ..TinyModel::default()
    };
    let vocabulary = model.vocabulary_size();
    assert_eq!(
        exported(&model, &ExportOptions::default())
            .file
            .metadata()
            .u32("llama.vocab_size"),
        Some(vocabulary as u32)
    );
    model.tokenizer["added_tokens"]
        .as_array_mut()
        .unwrap()
        .push(json!({"id": 261, "content": "[PAD262]", "special": true}));
    model.spare_rows = 1;
    let error = refused(&model, &ExportOptions::default());
    assert!(
        matches!(
            error,
            GgufError::Tokenizer {
                source: TokenizerError::DuplicateToken {
                    first: 261,
                    second: 262,
                    ..
                },
                ..
            }
        ),
        "{error:?}"
    );
}

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
    let (path, _) = TinyModel {
        bias: true,
        ..TinyModel::default()
    }
    .write(directory.path());
    let config_path = path.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&config_path).unwrap()).unwrap();
    config["attention_bias"] = json!(false);
    std::fs::write(&config_path, config.to_string()).unwrap();
    let source = T81Directory::open(path).unwrap();
    let error = export_t81(
        &source,
        &directory.path().join("out.gguf"),
        &ExportOptions::default(),
    )
    .unwrap_err();
    assert!(
        matches!(&error, GgufError::UnmappedTensor { tensor, .. } if tensor.ends_with("self_attn.k_proj.bias")),
        "{error}"
    );
}
