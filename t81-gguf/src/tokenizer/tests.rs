use std::fs;

use serde_json::{Value, json};
use t81_hub::{ModelConfig, Tokenizer};

use super::*;
use crate::metadata::{MetadataArray, MetadataValue};

fn config(vocabulary: usize, extra: Value) -> ModelConfig {
    let mut config = json!({
        "model_type": "llama", "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1,
        "num_attention_heads": 2, "vocab_size": vocabulary,
    });
    config
        .as_object_mut()
        .unwrap()
        .extend(extra.as_object().unwrap().clone());
    ModelConfig::from_json(config).unwrap()
}

fn describe_files(
    tokenizer: &Value,
    settings: &Value,
    rows: usize,
    extra: Value,
) -> Result<(Metadata, Vec<String>), TokenizerError> {
    let directory = tempfile::tempdir().unwrap();
    fs::write(
        directory.path().join("tokenizer.json"),
        tokenizer.to_string(),
    )
    .unwrap();
    fs::write(
        directory.path().join("tokenizer_config.json"),
        settings.to_string(),
    )
    .unwrap();
    let tokenizer = Tokenizer::open(directory.path()).unwrap();
    let mut metadata = Metadata::new();
    let notes = describe(&tokenizer, &config(rows, extra), rows, None, &mut metadata)?;
    Ok((metadata, notes))
}

fn strings<'a>(metadata: &'a Metadata, key: &str) -> &'a [String] {
    match metadata.get(key) {
        Some(MetadataValue::Array(MetadataArray::String(values))) => values,
        other => panic!("{key}: {other:?}"),
    }
}

fn numbers<'a>(metadata: &'a Metadata, key: &str) -> &'a [i32] {
    match metadata.get(key) {
        Some(MetadataValue::Array(MetadataArray::I32(values))) => values,
        other => panic!("{key}: {other:?}"),
    }
}

fn flag(metadata: &Metadata, key: &str) -> Option<bool> {
    match metadata.get(key) {
        Some(&MetadataValue::Bool(value)) => Some(value),
        _ => None,
    }
}

/// A Llama 2 style tokenizer: `<unk> <s> </s>`, 256 byte tokens, then pieces.
fn sentence_piece() -> Value {
    let mut vocabulary = serde_json::Map::new();
    let mut texts: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_owned).to_vec();
    texts.extend((0..=255).map(|byte| format!("<0x{byte:02X}>")));
    texts.extend(["▁t", "he", "▁the", "▁", "t", "h", "e"].map(str::to_owned));
    for (id, text) in texts.into_iter().enumerate() {
        vocabulary.insert(text, json!(id));
    }
    let special = |id: u32, content: &str| json!({"id": id, "content": content, "special": true, "normalized": false});
    json!({
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": null,
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [], "special_tokens": {}},
        "decoder": null,
        "added_tokens": [special(0, "<unk>"), special(1, "<s>"), special(2, "</s>"),
            {"id": 266, "content": "▁<tool>", "special": false, "normalized": false}],
        "model": {"type": "BPE", "unk_token": "<unk>", "byte_fallback": true,
            "vocab": vocabulary, "merges": ["▁ t", "h e", "▁t he"]},
    })
}

#[test]
fn sentence_piece_vocabularies_have_scores_bytes_and_a_space_prefix() {
    let settings = json!({"bos_token": "<s>", "eos_token": {"content": "</s>"}, "unk_token": "<unk>", "pad_token": null});
    let (metadata, notes) = describe_files(&sentence_piece(), &settings, 268, json!({})).unwrap();
    assert_eq!(metadata.string("tokenizer.ggml.model"), Some("llama"));
    assert_eq!(metadata.string("tokenizer.ggml.pre"), Some("default"));
    assert_eq!(
        flag(&metadata, "tokenizer.ggml.add_space_prefix"),
        Some(true)
    );
    assert_eq!(flag(&metadata, "tokenizer.ggml.add_bos_token"), Some(true));
    assert_eq!(flag(&metadata, "tokenizer.ggml.add_eos_token"), Some(false));
    assert_eq!(metadata.u32("tokenizer.ggml.bos_token_id"), Some(1));
    assert_eq!(metadata.u32("tokenizer.ggml.eos_token_id"), Some(2));
    assert_eq!(metadata.u32("tokenizer.ggml.unknown_token_id"), Some(0));
    assert_eq!(metadata.get("tokenizer.ggml.padding_token_id"), None);
    assert_eq!(metadata.get("tokenizer.ggml.merges"), None);
    let tokens = strings(&metadata, "tokenizer.ggml.tokens");
    assert_eq!(tokens[266..], [" <tool>", "[PAD267]"]);
    let types = numbers(&metadata, "tokenizer.ggml.token_type");
    assert_eq!(types[..4], [2, 3, 3, 6]);
    assert_eq!(types[258..], [6, 1, 1, 1, 1, 1, 1, 1, 4, 5]);
    let Some(MetadataValue::Array(MetadataArray::F32(scores))) =
        metadata.get("tokenizer.ggml.scores")
    else {
        panic!()
    };
    assert_eq!(scores[258..263], [0.0, 0.0, -1.0, -2.0, -1e6]);
    assert_eq!(notes, Vec::<String>::new());
}

#[test]
fn metaspace_tells_the_space_prefix() {
    let settings = json!({"bos_token": "<s>", "eos_token": "</s>"});
    for (scheme, prefix) in [("always", true), ("first", true), ("never", false)] {
        let mut tokenizer = sentence_piece();
        tokenizer["normalizer"] = Value::Null;
        tokenizer["pre_tokenizer"] = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": false});
        let (metadata, _) = describe_files(&tokenizer, &settings, 267, json!({})).unwrap();
        assert_eq!(
            flag(&metadata, "tokenizer.ggml.add_space_prefix"),
            Some(prefix),
            "{scheme}"
        );
    }
}

#[test]
fn a_split_at_spaces_that_are_gone_is_none() {
    let settings = json!({"bos_token": "<s>", "eos_token": "</s>"});
    let mut tokenizer = sentence_piece();
    tokenizer["normalizer"] =
        json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
    tokenizer["pre_tokenizer"] = json!({"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false});
    let (metadata, _) = describe_files(&tokenizer, &settings, 267, json!({})).unwrap();
    assert_eq!(
        flag(&metadata, "tokenizer.ggml.add_space_prefix"),
        Some(false)
    );
    tokenizer["normalizer"] = Value::Null;
    let error = describe_files(&tokenizer, &settings, 267, json!({})).unwrap_err();
    assert!(error.to_string().contains("Split"), "{error}");
}

#[test]
fn merges_that_llama_cpp_would_make_on_its_own_are_remarked_on() {
    let mut tokenizer = sentence_piece();
    tokenizer["model"]["vocab"]["▁th"] = json!(266);
    tokenizer["added_tokens"][3]["id"] = json!(267);
    let settings = json!({"bos_token": "<s>", "eos_token": "</s>"});
    let (_, notes) = describe_files(&tokenizer, &settings, 268, json!({})).unwrap();
    // "▁t" + "h" and "▁th" + "e".
    assert!(notes[0].contains("lacks 2 merges"), "{notes:?}");
}

fn byte_level() -> Value {
    json!({
        "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
        "post_processor": null, "decoder": {"type": "ByteLevel"},
        "added_tokens": [{"id": 0, "content": "<|end|>", "special": false}, {"id": 4, "content": "<pad>", "special": false}],
        "model": {"type": "BPE", "vocab": {"<|end|>": 0, "a": 1, "b": 2, "ab": 3}, "merges": ["a b"]},
    })
}

#[test]
fn special_ids_come_from_the_settings_then_from_the_configuration() {
    let (metadata, _) = describe_files(
        &byte_level(),
        &json!({"eos_token": "<|end|>"}),
        6,
        json!({"bos_token_id": 2, "pad_token_id": 4}),
    )
    .unwrap();
    assert_eq!(metadata.u32("tokenizer.ggml.eos_token_id"), Some(0));
    assert_eq!(metadata.u32("tokenizer.ggml.bos_token_id"), Some(2));
    assert_eq!(metadata.u32("tokenizer.ggml.padding_token_id"), Some(4));
    // Some models mark control tokens as ordinary added ones.
    assert_eq!(
        numbers(&metadata, "tokenizer.ggml.token_type"),
        [3, 1, 1, 1, 3, 5]
    );

    let (metadata, _) = describe_files(
        &byte_level(),
        &json!({}),
        6,
        json!({"eos_token_id": [1, 2]}),
    )
    .unwrap();
    assert_eq!(metadata.u32("tokenizer.ggml.eos_token_id"), Some(1));
    assert_eq!(metadata.u32("tokenizer.ggml.bos_token_id"), Some(1));
    assert_eq!(
        describe_files(&byte_level(), &json!({}), 6, json!({})).unwrap_err(),
        TokenizerError::NoEndOfText
    );
    let missing = describe_files(&byte_level(), &json!({"eos_token": "</s>"}), 6, json!({}));
    assert_eq!(missing.unwrap_err(), TokenizerError::NoEndOfText);
}

#[test]
fn special_tokens_that_do_not_exist_are_left_out() {
    let settings = json!({"eos_token": "<|end|>", "pad_token": "[PAD]", "bos_token": "<s>"});
    let ids = json!({"bos_token_id": 50256, "eos_token_id": 50256, "pad_token_id": -1});
    let (metadata, notes) = describe_files(&byte_level(), &settings, 6, ids).unwrap();
    assert_eq!(metadata.u32("tokenizer.ggml.eos_token_id"), Some(0));
    assert_eq!(metadata.u32("tokenizer.ggml.bos_token_id"), Some(0));
    assert_eq!(metadata.get("tokenizer.ggml.padding_token_id"), None);
    assert_eq!(flag(&metadata, "tokenizer.ggml.add_bos_token"), Some(false));
    assert_eq!(notes.len(), 5, "{notes:?}");
    // A token beyond the embedding is none either.
    let settings = json!({"eos_token": "<|end|>", "pad_token": "<pad>"});
    let mut tokenizer = byte_level();
    tokenizer["added_tokens"] = json!([]);
    let decoder = json!({"4": {"content": "<pad>", "special": true}});
    let settings = with(settings, json!({"added_tokens_decoder": decoder}));
    let (metadata, notes) = describe_files(&tokenizer, &settings, 4, json!({})).unwrap();
    assert_eq!(metadata.get("tokenizer.ggml.padding_token_id"), None);
    assert!(
        notes
            .iter()
            .any(|note| note.contains("embedding of 4 rows"))
    );
    let (metadata, notes) = describe_files(&tokenizer, &settings, 5, json!({})).unwrap();
    assert_eq!(metadata.u32("tokenizer.ggml.padding_token_id"), Some(4));
    assert_eq!(notes, Vec::<String>::new());
}

/// `object` with the keys of `more`.
fn with(mut object: Value, more: Value) -> Value {
    let keys = more.as_object().unwrap().clone();
    object.as_object_mut().unwrap().extend(keys);
    object
}

#[test]
fn added_tokens_have_the_ids_that_training_gives_them() {
    let mut tokenizer = byte_level();
    tokenizer["added_tokens"]
        .as_array_mut()
        .unwrap()
        .push(json!({"id": 7, "content": "<tool>"}));
    let settings = json!({"eos_token": "<|end|>"});
    let (metadata, notes) = describe_files(&tokenizer, &settings, 8, json!({})).unwrap();
    assert_eq!(
        strings(&metadata, "tokenizer.ggml.tokens")[4..],
        ["<pad>", "<tool>", "[PAD6]", "[PAD7]"]
    );
    assert_eq!(
        numbers(&metadata, "tokenizer.ggml.token_type")[4..],
        [3, 4, 5, 5]
    );
    assert_eq!(notes.len(), 1);
    assert!(
        notes[0].contains(r#""<tool>" has the id 5, not 7"#),
        "{notes:?}"
    );
}

#[test]
fn tokens_of_the_settings_are_written_and_fillers_give_way_to_tokens() {
    let mut tokenizer = byte_level();
    tokenizer["model"]["vocab"]["[PAD7]"] = json!(4);
    tokenizer["model"]["vocab"]["[_PAD7]"] = json!(5);
    tokenizer["added_tokens"] = json!([]);
    let decoder = json!({"6": {"content": "<tool>", "special": true}, "9": {"content": "[PAD8]"}});
    let settings = json!({"eos_token": "<|end|>", "added_tokens_decoder": decoder});
    let (metadata, notes) = describe_files(&tokenizer, &settings, 10, json!({})).unwrap();
    assert_eq!(
        strings(&metadata, "tokenizer.ggml.tokens")[4..],
        ["[PAD7]", "[_PAD7]", "<tool>", "[PAD8]", "[PAD_8]", "[PAD9]"]
    );
    assert_eq!(
        numbers(&metadata, "tokenizer.ggml.token_type")[4..],
        [1, 1, 3, 4, 5, 5]
    );
    assert!(
        notes.len() == 1 && notes[0].contains("tokenizer_config.json numbers"),
        "{notes:?}"
    );
    let (metadata, _) =
        describe_files(&tokenizer, &json!({"eos_token": "<|end|>"}), 8, json!({})).unwrap();
    assert_eq!(
        strings(&metadata, "tokenizer.ggml.tokens")[4..],
        ["[PAD7]", "[_PAD7]", "[PAD6]", "[PAD_7]"]
    );
}

#[test]
fn beginnings_follow_the_post_processor_then_the_settings() {
    let added = |post_processor: Value, settings: Value| {
        let mut tokenizer = byte_level();
        tokenizer["post_processor"] = post_processor;
        let mut all = json!({"bos_token": "<|end|>", "eos_token": "<|end|>"});
        all.as_object_mut()
            .unwrap()
            .extend(settings.as_object().unwrap().clone());
        let (metadata, _) = describe_files(&tokenizer, &all, 6, json!({})).unwrap();
        (
            flag(&metadata, "tokenizer.ggml.add_bos_token").unwrap(),
            flag(&metadata, "tokenizer.ggml.add_eos_token").unwrap(),
        )
    };
    let special = json!({"SpecialToken": {"id": "<|end|>", "type_id": 0}});
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    let template = |pieces: Value| {
        json!({"type": "Sequence", "processors": [
        {"type": "ByteLevel"}, {"type": "TemplateProcessing", "single": pieces, "pair": []}]})
    };
    assert_eq!(
        added(
            template(json!([special, text])),
            json!({"add_bos_token": false})
        ),
        (true, false)
    );
    assert_eq!(
        added(template(json!([text, special])), json!({})),
        (false, true)
    );
    assert_eq!(
        added(template(json!([text])), json!({"add_bos_token": true})),
        (false, false)
    );
    assert_eq!(
        added(json!({"type": "ByteLevel"}), json!({"add_bos_token": true})),
        (false, false)
    );
    assert_eq!(
        added(
            Value::Null,
            json!({"add_bos_token": true, "add_eos_token": true})
        ),
        (true, true)
    );
    assert_eq!(added(Value::Null, json!({})), (false, false));
    assert_eq!(
        added(
            Value::Null,
            json!({"tokenizer_class": "LlamaTokenizerFast"})
        ),
        (true, false)
    );
}

#[test]
fn normalizers_without_a_counterpart_are_refused_and_nfc_is_remarked_on() {
    let settings = json!({"eos_token": "<|end|>"});
    let mut tokenizer = byte_level();
    tokenizer["normalizer"] = json!({"type": "NFC"});
    let (_, notes) = describe_files(&tokenizer, &settings, 6, json!({})).unwrap();
    assert!(notes[0].contains("NFC"), "{notes:?}");
    tokenizer["normalizer"] =
        json!({"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]});
    let error = describe_files(&tokenizer, &settings, 6, json!({})).unwrap_err();
    assert_eq!(
        error,
        TokenizerError::Normalizer {
            normalizer: r#"{"type":"Lowercase"}"#.into()
        }
    );
    let mut tokenizer = sentence_piece();
    tokenizer["normalizer"] = json!({"type": "Lowercase"});
    assert!(matches!(
        describe_files(&tokenizer, &settings, 267, json!({})),
        Err(TokenizerError::Normalizer { .. })
    ));
}

#[test]
fn ids_beyond_the_embedding_are_refused() {
    let error = describe_files(
        &byte_level(),
        &json!({"eos_token": "<|end|>"}),
        3,
        json!({}),
    )
    .unwrap_err();
    assert_eq!(
        error,
        TokenizerError::TokenOutOfRange {
            text: "ab".into(),
            id: 3,
            rows: 3
        }
    );
}

#[test]
fn chat_templates_are_passed_on() {
    let key = "tokenizer.chat_template";
    let templates = |value: Value| {
        let settings = json!({"eos_token": "<|end|>", "chat_template": value});
        describe_files(&byte_level(), &settings, 6, json!({})).unwrap()
    };
    let (metadata, notes) = templates(json!("{{ messages }}"));
    assert_eq!(metadata.string(key), Some("{{ messages }}"));
    assert_eq!(metadata.get("tokenizer.chat_templates"), None);
    assert_eq!(notes, Vec::<String>::new());

    let entry = |name: &str| json!({"name": name, "template": format!("of {name}")});
    let (metadata, notes) = templates(json!([entry("default"), entry("tool_use"), entry("a-b")]));
    assert_eq!(metadata.string(key), Some("of default"));
    assert_eq!(
        metadata.string("tokenizer.chat_template.tool_use"),
        Some("of tool_use")
    );
    assert_eq!(
        metadata.string("tokenizer.chat_template.a_b"),
        Some("of a-b")
    );
    assert_eq!(
        strings(&metadata, "tokenizer.chat_templates"),
        ["a_b", "tool_use"]
    );
    assert_eq!(notes, Vec::<String>::new());

    let (metadata, notes) = templates(json!([entry("rag"), entry("a_b"), entry("a-b")]));
    assert_eq!(metadata.get(key), None);
    assert_eq!(
        metadata.string("tokenizer.chat_template.a_b"),
        Some("of a-b")
    );
    assert!(notes[0].contains(r#""a_b" is left out"#), "{notes:?}");
    assert!(notes[1].contains("takes ChatML"), "{notes:?}");
    let (_, notes) = templates(json!([entry("tool_use")]));
    assert!(notes[0].contains("takes tool_use"), "{notes:?}");
}

/// Differences that llama.cpp shows; each was seen in token ids of its own tokenizer.
#[test]
fn differences_of_llama_cpp_are_noted_and_only_they() {
    let settings = json!({"bos_token": "<s>", "eos_token": "</s>"});
    let notes = |tokenizer: &Value| {
        let rows = 267;
        describe_files(tokenizer, &settings, rows, json!({}))
            .unwrap()
            .1
    };
    let metaspace = |scheme: &str, split: bool| {
        let mut tokenizer = sentence_piece();
        tokenizer["normalizer"] = Value::Null;
        tokenizer["pre_tokenizer"] = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split});
        tokenizer
    };
    assert_eq!(notes(&sentence_piece()), Vec::<String>::new());
    assert_eq!(notes(&metaspace("never", false)), Vec::<String>::new());
    assert_eq!(notes(&metaspace("never", true)), Vec::<String>::new());
    for (scheme, part) in [
        ("first", "prepend_scheme first"),
        ("always", "prepend_scheme always"),
    ] {
        let found = notes(&metaspace(scheme, false));
        assert!(found.len() == 1 && found[0].contains(part), "{found:?}");
        // Text that has its space already gets no other.
        let mut tokenizer = metaspace(scheme, false);
        tokenizer["normalizer"] = json!({"type": "Prepend", "prepend": "▁"});
        assert_eq!(notes(&tokenizer), Vec::<String>::new());
    }
    let mut crossing = metaspace("never", true);
    let vocabulary = crossing["model"]["vocab"].as_object_mut().unwrap();
    let place = vocabulary.remove("▁the").unwrap();
    vocabulary.insert("▁▁".to_owned(), place);
    crossing["model"]["merges"] = json!(["▁ t", "h e", "▁ ▁"]);
    let found = notes(&crossing);
    assert!(
        found.len() == 1 && found[0].contains("merges across spaces"),
        "{found:?}"
    );
    crossing["pre_tokenizer"]["split"] = json!(false);
    assert_eq!(notes(&crossing), Vec::<String>::new());

    for (flag, part) in [
        ("single_word", "whole words"),
        ("lstrip", "white space"),
        ("rstrip", "white space"),
        ("normalized", "normalized text"),
    ] {
        let mut tokenizer = sentence_piece();
        tokenizer["added_tokens"][3][flag] = json!(true);
        let found = notes(&tokenizer);
        assert!(found.len() == 1 && found[0].contains(part), "{found:?}");
        assert!(found[0].contains("<tool>"), "{found:?}");
    }
    let mut tokenizer = metaspace("never", false);
    tokenizer["added_tokens"][3]["normalized"] = json!(true);
    assert_eq!(notes(&tokenizer), Vec::<String>::new());
}

#[test]
fn phi_3_strips_white_space_by_its_name() {
    let mut tokenizer = sentence_piece();
    let vocabulary = tokenizer["model"]["vocab"].as_object_mut().unwrap();
    vocabulary.insert("<|endoftext|>".to_owned(), json!(266));
    tokenizer["added_tokens"][3] = json!({"id": 266, "content": "<|endoftext|>", "special": true});
    tokenizer["added_tokens"]
        .as_array_mut()
        .unwrap()
        .push(json!({"id": 267, "content": "<|user|>", "special": true, "rstrip": true}));
    tokenizer["added_tokens"][2]["rstrip"] = json!(true);
    let notes = |name: &str| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokenizer.json");
        fs::write(path, tokenizer.to_string()).unwrap();
        let tokenizer = Tokenizer::open(directory.path()).unwrap();
        let mut metadata = Metadata::new();
        metadata.set("general.name", name);
        let config = config(268, json!({"eos_token_id": 2}));
        describe(&tokenizer, &config, 268, None, &mut metadata).unwrap()
    };
    assert_eq!(notes("Phi-3-mini"), Vec::<String>::new());
    let other = notes("my-model");
    assert!(other.len() == 1 && other[0].contains("rstrip"), "{other:?}");
}

#[test]
fn spaces_in_merges_take_their_byte_level_form() {
    assert_eq!(merge_text(&("a b".to_owned(), " ".to_owned())), "aĠb Ġ");
}

#[test]
fn known_deviations_of_llama_cpp_are_remarked_on() {
    assert!(pre_tokenizer::remark("tekken").is_some_and(|text| text.contains("combining marks")));
    assert_eq!(pre_tokenizer::remark("llama-bpe"), None);
}
