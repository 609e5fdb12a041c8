//! Checkpoints as training frameworks, older versions and careless copies leave them.

use std::path::Path;

use serde_json::{Value, json};
use t81_hub::{AttentionBias, Checkpoint, Dtype, HubError, QuantizedCheckpoint, TernarySource};
use tempfile::TempDir;

use crate::model::{
    SHARDS, Stored, chain, config_json, encode, llama, tensors, values, write_safetensors,
    write_sharded,
};

/// A checkpoint with the names, tensors and fields that the closures make of the usual ones.
fn written(
    edit_config: impl FnOnce(&mut Value),
    edit_tensors: impl FnOnce(&mut Vec<Stored>),
) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config_json();
    let mut stored = tensors(&llama(&config), Dtype::F32);
    edit_config(&mut config);
    edit_tensors(&mut stored);
    std::fs::write(directory.path().join("config.json"), config.to_string()).unwrap();
    write_safetensors(&directory.path().join("model.safetensors"), &stored);
    directory
}

fn renamed(rename: impl Fn(&str) -> String) -> TempDir {
    written(
        |_| {},
        |stored| {
            stored
                .iter_mut()
                .for_each(|tensor| tensor.0 = rename(&tensor.0))
        },
    )
}

fn open(directory: &TempDir) -> Checkpoint {
    let checkpoint = Checkpoint::open(directory.path()).unwrap();
    checkpoint.config().check(&checkpoint).unwrap();
    checkpoint
}

fn refused(directory: &TempDir) -> String {
    let opened = Checkpoint::open(directory.path());
    let checked = opened.and_then(|checkpoint| checkpoint.config().check(&checkpoint));
    chain(&checked.unwrap_err())
}

fn float(name: &str, shape: &[usize]) -> Stored {
    let bytes = encode(&values(name, shape.iter().product()), Dtype::F32);
    (
        name.to_owned(),
        safetensors::Dtype::F32,
        shape.to_vec(),
        bytes,
    )
}

#[test]
fn what_frameworks_put_around_a_model_is_taken_off() {
    type Rename = fn(&str) -> String;
    let table: [(Rename, &str); 10] = [
        (|name| format!("_orig_mod.{name}"), "`_orig_mod.`"),
        (|name| format!("module.{name}"), "`module.model.`"),
        (|name| format!("module._orig_mod.{name}"), "`module.model.`"),
        (|name| format!("_orig_mod.module.{name}"), "`_orig_mod.`"),
        (
            |name| format!("base_model.model.{name}"),
            "`base_model.model.model.`",
        ),
        (
            |name| format!("language_model.{name}"),
            "`language_model.model.`",
        ),
        (
            |name| name.replace("model.", "model.language_model."),
            "`model.language_model.`",
        ),
        (|name| format!("model.{name}"), "`model.model.`"),
        (
            |name| name.replace(".self_attn.", "._orig_mod.self_attn."),
            "`_orig_mod.`",
        ),
        (
            |name| name.replace("layers.1.", "layers.1._fsdp_wrapped_module."),
            "`_fsdp_wrapped_module.`",
        ),
    ];
    for (rename, found) in table {
        let directory = renamed(rename);
        let checkpoint = open(&directory);
        assert!(checkpoint.unexpected().is_empty(), "{found}");
        let name = "model.layers.1.self_attn.q_proj.weight";
        assert_eq!(
            checkpoint.tensor(name).unwrap().to_f32(),
            values(name, 12 * 20)
        );
        let notes = checkpoint.notes().join("\n");
        assert!(notes.contains(found), "`{notes}` lacks {found}");
        // Whoever exports it says so.
        let quantizer = t81_core::Quantizer::bitnet();
        let source = QuantizedCheckpoint::new(&checkpoint, quantizer).unwrap();
        assert_eq!(source.notes(), checkpoint.notes());
    }
    let bare = renamed(|name| name.strip_prefix("model.").unwrap_or(name).to_owned());
    assert!(open(&bare).notes().is_empty());
}

#[test]
fn a_prefix_of_unknown_origin_is_named() {
    let message = refused(&renamed(|name| format!("student.{name}")));
    assert!(
        message.contains("`student.model.embed_tokens.weight`")
            && message.contains("`model.embed_tokens.weight`"),
        "{message}"
    );
}

#[test]
fn an_adapter_that_is_not_merged_is_refused() {
    for name in [
        "base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight",
        "model.layers.0.self_attn.q_proj.base_layer.weight",
    ] {
        let message = refused(&written(
            |_| {},
            |stored| stored.push(float(name, &[4, 20])),
        ));
        assert!(
            message.contains(name) && message.contains("merge_and_unload"),
            "{message}"
        );
    }
}

#[test]
fn a_quantization_that_is_not_there_any_more_is_passed_over() {
    let leftover = json!({"quant_method": "bitsandbytes", "load_in_4bit": true});
    let directory = written(
        |config| config["quantization_config"] = leftover.clone(),
        |_| {},
    );
    let checkpoint = open(&directory);
    assert!(checkpoint.notes()[0].contains("quantization_config"));
    assert!(checkpoint.has_changed_config());
    assert_eq!(checkpoint.config().raw.get("quantization_config"), None);

    let packed = written(
        |config| config["quantization_config"] = leftover.clone(),
        |stored| {
            let weight = stored
                .iter_mut()
                .find(|tensor| tensor.0.ends_with("1.mlp.up_proj.weight"));
            let weight = weight.unwrap();
            (weight.1, weight.2, weight.3) = (safetensors::Dtype::U8, vec![360, 1], vec![0; 360]);
        },
    );
    let message = refused(&packed);
    assert!(
        message.contains("quantization_config says that the weights are quantized already"),
        "{message}"
    );

    assert!(!open(&written(|_| {}, |_| {})).has_changed_config());
}

#[test]
fn a_tied_head_is_compared_with_the_embedding() {
    let tie = |config: &mut Value| config["tie_word_embeddings"] = json!(true);
    let head_as = |dtype: Dtype, change: bool| {
        move |stored: &mut Vec<Stored>| {
            let mut copy = values("model.embed_tokens.weight", 11 * 20);
            if change {
                copy[219] += 1.0;
            }
            let head = stored
                .iter_mut()
                .find(|tensor| tensor.0 == "lm_head.weight");
            let head = head.unwrap();
            head.3 = encode(&copy, dtype);
            head.1 = match dtype {
                Dtype::BF16 => safetensors::Dtype::BF16,
                _ => safetensors::Dtype::F32,
            };
        }
    };
    for dtype in [Dtype::F32, Dtype::BF16] {
        assert!(
            open(&written(tie, head_as(dtype, false)))
                .notes()
                .is_empty()
        );
        let notes = open(&written(tie, head_as(dtype, true))).notes();
        assert!(
            notes[0].contains("lm_head.weight differs from the embedding"),
            "{notes:?}"
        );
    }
    assert!(
        open(&written(|_| {}, head_as(Dtype::F32, true)))
            .notes()
            .is_empty()
    );
}

#[test]
fn an_output_matrix_that_is_missing_may_be_the_embedding() {
    let directory = written(
        |_| {},
        |stored| stored.retain(|tensor| tensor.0 != "lm_head.weight"),
    );
    let message = refused(&directory);
    assert!(
        message.contains("lm_head.weight") && message.contains("\"tie_word_embeddings\": true"),
        "{message}"
    );
}

#[test]
fn shards_without_an_index_are_one_model_if_none_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    write_sharded(directory.path());
    std::fs::remove_file(directory.path().join("model.safetensors.index.json")).unwrap();
    assert_eq!(open(&directory).tensors().count(), 3 + 2 * 13);

    std::fs::rename(
        directory.path().join(SHARDS[1]),
        directory.path().join("rest.safetensors"),
    )
    .unwrap();
    let message = refused(&directory);
    for word in [SHARDS[0], "rest.safetensors", "none is missing"] {
        assert!(message.contains(word), "{message}");
    }
    std::fs::remove_file(directory.path().join("rest.safetensors")).unwrap();
    assert!(refused(&directory).contains(SHARDS[0]));

    let single = written(|_| {}, |_| {});
    rename(single.path(), "model.safetensors", "model.fp16.safetensors");
    open(&single);
    rename(
        single.path(),
        "model.fp16.safetensors",
        "adapter_model.safetensors",
    );
    assert!(refused(&single).contains("adapter"));
}

fn rename(directory: &Path, from: &str, to: &str) {
    std::fs::rename(directory.join(from), directory.join(to)).unwrap();
}

#[test]
fn each_bias_may_be_there_or_not() {
    let without = |parts: &'static [&str]| {
        move |stored: &mut Vec<Stored>| {
            stored.retain(|tensor| {
                let is_bias = tensor.0.ends_with("_proj.bias");
                !is_bias || !parts.iter().any(|part| tensor.0.contains(part))
            });
        }
    };
    let flag = |value: bool| move |config: &mut Value| config["attention_bias"] = json!(value);
    let queries_and_keys = AttentionBias {
        query: true,
        key: true,
        ..AttentionBias::NONE
    };
    for value in [false, true] {
        let checkpoint = open(&written(flag(value), without(&["v_proj", "o_proj"])));
        assert_eq!(checkpoint.config().attention_bias, queries_and_keys);
        assert!(
            checkpoint.notes()[0].contains("attention_bias"),
            "{:?}",
            checkpoint.notes()
        );
        assert!(checkpoint.unexpected().is_empty());
    }
    let all = open(&written(flag(true), |_| {}));
    assert_eq!(
        (all.config().attention_bias, all.notes()),
        (AttentionBias::ALL, vec![])
    );
    let none = open(&written(flag(false), without(&["_proj"])));
    assert_eq!(
        (none.config().attention_bias, none.notes()),
        (AttentionBias::NONE, vec![])
    );
    // Nothing says that they were forgotten on purpose.
    let message = refused(&written(flag(true), without(&["_proj"])));
    assert!(message.contains("_proj.bias` is missing"), "{message}");

    let mlp = written(flag(true), |stored| {
        for block in 0..2 {
            for (part, width) in [("gate", 36), ("up", 36), ("down", 20)] {
                stored.push(float(
                    &format!("model.layers.{block}.mlp.{part}_proj.bias"),
                    &[width],
                ));
            }
        }
    });
    let checkpoint = open(&mlp);
    assert!(checkpoint.config().mlp_bias && checkpoint.notes()[0].contains("mlp_bias"));
}

#[test]
fn redundant_tensors_may_have_any_dtype() {
    let directory = written(
        |config| config["tie_word_embeddings"] = json!(true),
        |stored| {
            stored.push((
                "model.layers.0.self_attn.rotary_emb.cos_cached".into(),
                safetensors::Dtype::I64,
                vec![1],
                vec![0; 8],
            ));
            let head = stored
                .iter_mut()
                .find(|tensor| tensor.0 == "lm_head.weight");
            let head = head.unwrap();
            (head.1, head.3) = (safetensors::Dtype::I8, vec![0; 220]);
        },
    );
    let checkpoint = open(&directory);
    assert!(checkpoint.unexpected().is_empty());
    assert!(checkpoint.notes()[0].contains("lm_head.weight differs"));
    let needed = written(
        |_| {},
        |stored| (stored[0].1, stored[0].3) = (safetensors::Dtype::I8, vec![0; 220]),
    );
    let error = Checkpoint::open(needed.path()).unwrap_err();
    assert!(
        matches!(error, HubError::UnsupportedDtype { .. }),
        "{error}"
    );
}
