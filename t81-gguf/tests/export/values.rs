//! The values of the tensors, and the type that each is stored in.

use t81_core::{BlockFormat, Granularity};
use t81_gguf::{EmbeddingType, ExportOptions, ExportType, GgufError, TensorType};
use t81_hub::OutputFormat;

use crate::exported::{
    check_linear_values, exported, linear_layers, options, permuted, refused, rounded_to_f16,
    ternary,
};
use crate::tiny_model::{LAYERS, TinyModel};

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
