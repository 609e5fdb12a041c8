//! Hyper-parameters and tokenizer.

use serde_json::json;
use t81_gguf::{
    ExportOptions, GgufError, MetadataArray, MetadataValue, TensorType, TokenizerError,
};

use crate::exported::{Exported, exported, refused};
use crate::tiny_model::TinyModel;

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
fn yarn_is_keys_where_llama_cpp_has_them_and_a_tensor_elsewhere() {
    let export = |rope_scaling: serde_json::Value| {
        let model = TinyModel {
            rope_scaling,
            ..TinyModel::default()
        };
        exported(&model, &ExportOptions::default())
    };
    let key = |exported: &Exported, name: &str| {
        let metadata = exported.file.metadata();
        metadata.get(&format!("llama.rope.scaling.{name}")).cloned()
    };
    let usual = json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32});
    let usual_file = export(usual.clone());
    assert_eq!(key(&usual_file, "type"), Some("yarn".into()));
    assert_eq!(key(&usual_file, "factor"), Some(MetadataValue::F32(4.0)));
    assert_eq!(
        key(&usual_file, "original_context_length"),
        Some(MetadataValue::U32(32))
    );
    // llama.cpp's own factor is the paper's.
    assert_eq!(key(&usual_file, "attn_factor"), None);
    assert!(usual_file.file.tensor("rope_freqs.weight").is_none());

    let mut scaled = usual;
    scaled["attention_factor"] = json!(1.0);
    let Some(MetadataValue::F32(factor)) = key(&export(scaled), "attn_factor") else {
        panic!("no attn_factor")
    };
    assert!((factor * (0.1 * 4f32.ln() + 1.0) - 1.0).abs() < 1e-6);

    let tuned = export(json!({
        "rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 32, "beta_fast": 4, "beta_slow": 0.5,
        "attention_factor": 1.3, "truncate": false,
    }));
    assert_eq!(key(&tuned, "type"), None);
    assert_eq!(key(&tuned, "attn_factor"), Some(MetadataValue::F32(1.3)));
    let factors = tuned.file.tensor("rope_freqs.weight").unwrap();
    let factors = factors.to_f32().unwrap();
    // 10000^(-i / 32) over the frequencies of transformers' `_compute_yarn_parameters`.
    let expected = [
        1.0, 1.01985, 1.16357, 1.35444, 1.62022, 2.01577, 2.66684, 3.93913, 7.53288,
    ];
    for (factor, expected) in factors.iter().zip(expected) {
        assert!((factor - expected).abs() < 2e-5 * expected, "{factors:?}");
    }
    assert_eq!(factors[9..], [8.0; 23]);
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
        tokenizer_pre: Some("olmo".parse().unwrap()),
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
fn every_row_has_a_text_of_its_own() {
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
    let added = |id: usize, content: &str| json!({"id": id, "content": content, "special": false});
    let tokens = model.tokenizer["added_tokens"].as_array_mut().unwrap();
    tokens.push(added(261, "[PAD262]"));
    model.spare_rows = 1;
    let exported = exported(&model, &ExportOptions::default());
    let Some(MetadataValue::Array(MetadataArray::String(tokens))) =
        exported.file.metadata().get("tokenizer.ggml.tokens")
    else {
        panic!()
    };
    assert_eq!(tokens[261..], ["[PAD262]", "[PAD_262]"]);

    let tokens = model.tokenizer["added_tokens"].as_array_mut().unwrap();
    tokens.extend([added(262, " y"), added(263, "▁y")]);
    let error = refused(&model, &ExportOptions::default());
    assert!(
        matches!(
            error,
            GgufError::Tokenizer {
                source: TokenizerError::DuplicateToken {
                    first: 262,
                    second: 263,
                    ..
                },
                ..
            }
        ),
        "{error:?}"
    );
}
