//! Parsing of tokenizers.

use std::path::Path;

use serde_json::{Value, json};
use t81_hub::{HubError, Tokenizer, TokenizerKind};

use crate::model::chain;

fn byte_level() -> Value {
    json!({
        "version": "1.0",
        "added_tokens": [
            {"id": 5, "content": "<|im_end|>", "special": true, "normalized": false,
             "single_word": false, "lstrip": false, "rstrip": true},
            {"id": 0, "content": "<|endoftext|>", "special": true},
        ],
        "normalizer": null,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits"}, {"type": "ByteLevel"}]},
        "decoder": {"type": "ByteLevel"},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "byte_fallback": false,
            "vocab": {"Ġ": 2, "<|endoftext|>": 0, "t": 1, "Ġt": 3},
            "merges": [["Ġ", "t"]],
        },
    })
}

fn sentence_piece() -> Value {
    json!({
        "added_tokens": [{"id": 0, "content": "<unk>", "special": true}, {"id": 1, "content": "<s>", "special": true}],
        "normalizer": {"type": "Sequence", "normalizers": []},
        "pre_tokenizer": null,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        },
        "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {
            "type": "BPE", "unk_token": "<unk>", "byte_fallback": true, "fuse_unk": true,
            "vocab": {"<unk>": 0, "<s>": 1, "<0x0A>": 2, "▁": 3, "a": 4, "▁a": 5},
            "merges": ["▁ a"],
        },
    })
}

fn open(tokenizer: &Value, others: &[(&str, &str)]) -> Result<Tokenizer, HubError> {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(
        directory.path().join("tokenizer.json"),
        tokenizer.to_string(),
    )
    .unwrap();
    for (name, contents) in others {
        std::fs::write(directory.path().join(name), contents).unwrap();
    }
    Tokenizer::open(directory.path())
}

#[test]
fn byte_level_with_pairs() {
    let tokenizer = open(&byte_level(), &[]).unwrap();
    assert_eq!(tokenizer.kind(), TokenizerKind::ByteLevel);
    let vocab: Vec<_> = tokenizer
        .model
        .vocab
        .iter()
        .map(|(text, id)| (text.as_str(), *id))
        .collect();
    assert_eq!(vocab, [("<|endoftext|>", 0), ("t", 1), ("Ġ", 2), ("Ġt", 3)]);
    assert_eq!(tokenizer.model.merges, [("Ġ".to_owned(), "t".to_owned())]);
    assert_eq!(tokenizer.model.token(3), Some("Ġt"));
    assert_eq!(tokenizer.model.token(4), None);
    assert_eq!(tokenizer.added_tokens[1].content, "<|im_end|>");
    assert!(tokenizer.added_tokens[1].rstrip && !tokenizer.added_tokens[0].rstrip);
    assert_eq!(tokenizer.id_count(), 6);
    assert_eq!(
        (tokenizer.token_id("<|im_end|>"), tokenizer.token_id("t")),
        (Some(5), Some(1))
    );
    assert_eq!(tokenizer.token_id("x"), None);
    assert!(!tokenizer.adds_bos() && !tokenizer.model.ignore_merges);
    assert_eq!(tokenizer.settings.raw, None);
}

#[test]
fn sentence_piece_with_joined_merges() {
    let settings = r#"{"bos_token": {"content": "<s>"}, "eos_token": "</s>", "pad_token": null, "add_bos_token": false}"#;
    let tokenizer = open(&sentence_piece(), &[("tokenizer_config.json", settings)]).unwrap();
    assert_eq!(tokenizer.kind(), TokenizerKind::SentencePiece);
    assert_eq!(tokenizer.model.merges, [("▁".to_owned(), "a".to_owned())]);
    assert!(tokenizer.model.byte_fallback);
    assert_eq!(tokenizer.model.unk_token.as_deref(), Some("<unk>"));
    assert_eq!(tokenizer.settings.bos_token.as_deref(), Some("<s>"));
    assert_eq!(tokenizer.settings.eos_token.as_deref(), Some("</s>"));
    assert_eq!(
        (
            &tokenizer.settings.pad_token,
            tokenizer.settings.add_bos_token
        ),
        (&None, Some(false))
    );
    assert!(tokenizer.adds_bos(), "the template decides");
}

#[test]
fn special_tokens_map_fills_in_and_the_flag_decides_without_a_template() {
    let tokenizer = open(
        &byte_level(),
        &[
            (
                "tokenizer_config.json",
                r#"{"add_bos_token": true, "add_prefix_space": false}"#,
            ),
            (
                "special_tokens_map.json",
                r#"{"bos_token": "<|endoftext|>"}"#,
            ),
        ],
    )
    .unwrap();
    assert_eq!(
        tokenizer.settings.bos_token.as_deref(),
        Some("<|endoftext|>")
    );
    assert!(tokenizer.adds_bos());
    assert_eq!(tokenizer.settings.add_prefix_space, Some(false));
}

#[test]
fn chat_templates_by_precedence() {
    let template =
        |others: &[(&str, &str)]| open(&byte_level(), others).unwrap().settings.chat_template;
    let string = ("tokenizer_config.json", r#"{"chat_template": "string"}"#);
    let list = (
        "tokenizer_config.json",
        r#"{"chat_template": [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "list"}]}"#,
    );
    let jinja = ("chat_template.jinja", "jinja");
    assert_eq!(template(&[]), None);
    assert_eq!(template(&[string]).as_deref(), Some("string"));
    assert_eq!(template(&[list]).as_deref(), Some("list"));
    assert_eq!(template(&[string, jinja]).as_deref(), Some("jinja"));
}

#[test]
fn damage_is_described() {
    type Mutation = (fn(&mut Value), &'static str);
    let table: &[Mutation] = &[
        (
            |t| t["model"]["type"] = json!("Unigram"),
            "type Unigram; only BPE",
        ),
        (
            |t| t["model"]["type"] = json!("WordPiece"),
            "type WordPiece",
        ),
        (
            |t| t["model"] = json!({"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0]]}),
            "type Unigram; only BPE",
        ),
        (|t| t["model"] = json!({}), "no type"),
        (
            |t| t["model"]["vocab"] = json!("x"),
            "an object of tokens and ids",
        ),
        (
            |t| drop(t.as_object_mut().unwrap().remove("model")),
            "missing field `model`",
        ),
        (|t| t["model"]["vocab"] = json!({}), "vocabulary is empty"),
        (
            |t| t["model"]["vocab"]["t"] = json!(2),
            "have the same id 2",
        ),
        (|t| t["model"]["vocab"]["t"] = json!(-1), "`t`"),
        (
            |t| t["model"]["vocab"]["t"] = json!(u32::MAX),
            "id 4294967295, too large",
        ),
        (
            |t| t["model"]["merges"] = json!([["t", "x"]]),
            "merge 0 uses `x`",
        ),
        (
            |t| t["model"]["merges"] = json!([["t", "t"]]),
            "merge 0 uses `tt`",
        ),
        (
            |t| t["model"]["merges"] = json!(["t"]),
            "merge 0 (`t`) is not two tokens",
        ),
        (
            |t| t["model"]["merges"] = json!(["a b c"]),
            "merge 0 (`a b c`) is not two tokens",
        ),
        (
            |t| t["model"]["merges"] = json!([["t"]]),
            "did not match any variant",
        ),
        (
            |t| t["model"]["end_of_word_suffix"] = json!("</w>"),
            "end_of_word_suffix is not supported",
        ),
        (
            |t| t["added_tokens"][0]["id"] = json!(0),
            "two added tokens have the id 0",
        ),
        (
            |t| t["added_tokens"][0]["id"] = json!(1),
            "id 1 is both `t` and the added `<|im_end|>`",
        ),
        (
            |t| t["added_tokens"][0]["id"] = json!(1u64 << 24),
            "too large",
        ),
        (|t| t["added_tokens"][0]["content"] = json!(""), "is empty"),
    ];
    for (mutate, expected) in table {
        let mut tokenizer = byte_level();
        mutate(&mut tokenizer);
        let message = chain(&open(&tokenizer, &[]).unwrap_err());
        assert!(message.contains(expected), "`{message}` lacks `{expected}`");
        assert!(message.contains("tokenizer.json"), "{message}");
    }
    let repeated = byte_level()
        .to_string()
        .replace("\"t\":1", "\"t\":1,\"t\":7");
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("tokenizer.json"), repeated).unwrap();
    let message = chain(&Tokenizer::open(directory.path()).unwrap_err());
    assert!(message.contains("`t` occurs twice"), "{message}");
    assert!(open(&byte_level(), &[("tokenizer_config.json", "{")]).is_err());
}

#[test]
fn older_formats_say_how_to_convert_them() {
    let directory = tempfile::tempdir().unwrap();
    let message = |directory: &Path| Tokenizer::open(directory).unwrap_err().to_string();
    assert!(message(directory.path()).contains("tokenizer.json`: does not exist"));
    std::fs::write(directory.path().join("tokenizer.model"), b"").unwrap();
    assert!(message(directory.path()).contains("use_fast=True"));
}
