//! Parsing of tokenizers.

use std::path::Path;

use serde_json::{Value, json};
use t81_hub::{
    AddedTokenSource, HubError, ModelConfig, SpecialTokens, Tokenizer, TokenizerKind,
    companion_files,
};

use crate::model::{chain, config_json};

fn byte_level() -> Value {
    json!({
        "version": "1.0",
        "added_tokens": [
            {"id": 4, "content": "<|im_end|>", "special": true, "normalized": false,
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
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, contents).unwrap();
    }
    Tokenizer::open(directory.path())
}

/// The special tokens in a configuration of 11 embeddings that has no others than `ids`.
fn special(tokenizer: &Tokenizer, ids: Value) -> SpecialTokens {
    let mut config = config_json();
    for key in ["bos_token_id", "eos_token_id", "pad_token_id"] {
        config[key] = ids[key].clone();
    }
    SpecialTokens::new(tokenizer, &ModelConfig::from_json(config).unwrap())
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
    assert_eq!(tokenizer.id_count(), 5);
    assert_eq!(
        (tokenizer.token_id("<|im_end|>"), tokenizer.token_id("t")),
        (Some(4), Some(1))
    );
    assert_eq!(tokenizer.token_id("x"), None);
    let special = special(&tokenizer, json!({}));
    assert!(!special.adds_begin && !tokenizer.model.ignore_merges);
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
    let special = special(&tokenizer, json!({}));
    assert!(special.adds_begin, "the template decides");
    assert_eq!(
        (special.begin, special.end, special.unknown),
        (Some(1), None, Some(0))
    );
    let notes = special.notes.join("\n");
    assert!(notes.contains("add_bos_token is false"), "{notes}");
    assert!(notes.contains(r#"eos_token is "</s>""#), "{notes}");
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
    let special = special(&tokenizer, json!({}));
    assert_eq!((special.begin, special.adds_begin), (Some(0), true));
    assert_eq!(tokenizer.settings.add_prefix_space, Some(false));
}

type Templates = (Option<String>, Vec<(String, String)>, usize);

/// The default template, the others, and the number of notes.
fn templates(others: &[(&str, &str)]) -> Templates {
    let templates = open(&byte_level(), others).unwrap().settings.chat_templates;
    let named = templates.named.into_iter().collect();
    (templates.default, named, templates.notes.len())
}

fn expected(default: Option<&str>, named: &[(&str, &str)], notes: usize) -> Templates {
    let named = named.iter();
    let named = named.map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    (default.map(str::to_owned), named.collect(), notes)
}

#[test]
fn chat_templates_by_precedence() {
    let string = ("tokenizer_config.json", r#"{"chat_template": "string"}"#);
    let list = (
        "tokenizer_config.json",
        r#"{"chat_template": [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "list"}]}"#,
    );
    let jinja = ("chat_template.jinja", "jinja");
    let processor = ("chat_template.json", r#"{"chat_template": "json"}"#);
    let tools = ("additional_chat_templates/tool_use.jinja", "tools");
    for (files, result) in [
        (&[][..], expected(None, &[], 0)),
        (&[string], expected(Some("string"), &[], 0)),
        (&[list], expected(Some("list"), &[("tool_use", "tools")], 0)),
        (&[processor], expected(Some("json"), &[], 0)),
        (&[string, processor], expected(Some("string"), &[], 1)),
        (&[string, jinja], expected(Some("jinja"), &[], 1)),
        (
            &[jinja, tools],
            expected(Some("jinja"), &[("tool_use", "tools")], 0),
        ),
        (&[tools], expected(None, &[("tool_use", "tools")], 0)),
        (&[list, tools], expected(None, &[("tool_use", "tools")], 1)),
    ] {
        assert_eq!(templates(files), result, "{files:?}");
    }
}

#[test]
fn chat_templates_of_any_shape() {
    for (value, result) in [
        (json!(null), expected(None, &[], 0)),
        (json!(""), expected(None, &[], 0)),
        (json!(3), expected(None, &[], 1)),
        (
            json!({"default": "a", "rag": "b"}),
            expected(Some("a"), &[("rag", "b")], 0),
        ),
        (
            json!([{"name": "rag", "template": "b"}, {"name": "x"}]),
            expected(None, &[("rag", "b")], 1),
        ),
    ] {
        let settings = json!({"chat_template": value}).to_string();
        let found = templates(&[("tokenizer_config.json", &settings)]);
        assert_eq!(found, result, "{settings}");
    }
}

#[test]
fn companions_are_those_that_exist() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::create_dir(path("additional_chat_templates")).unwrap();
    for name in [
        "config.json",
        "tokenizer.json",
        "chat_template.json",
        "additional_chat_templates/tool_use.jinja",
        "additional_chat_templates/readme.md",
        "model.safetensors",
        "NOTICE",
    ] {
        std::fs::write(path(name), b"").unwrap();
    }
    std::fs::create_dir(path("LICENSE")).unwrap();
    assert_eq!(
        companion_files(directory.path()).unwrap(),
        [
            "tokenizer.json",
            "chat_template.json",
            "NOTICE",
            "additional_chat_templates/tool_use.jinja"
        ]
    );
}

fn added(id: u32, content: &str) -> Value {
    json!({"id": id, "content": content, "special": false, "normalized": false, "single_word": false,
        "lstrip": false, "rstrip": false})
}

/// Content, id and written id of each added token.
fn ids(tokenizer: &Tokenizer) -> Vec<(&str, u32, u32)> {
    tokenizer
        .added_tokens
        .iter()
        .map(|token| (token.content.as_str(), token.id, token.written_id))
        .collect()
}

/// Expected ids: those of the Python library `tokenizers` 0.23.3 for the same files.
#[test]
fn added_tokens_have_the_ids_of_the_tokenizers_library() {
    let end = ("<|endoftext|>", 0, 0);
    let cases = [
        (vec![added(9, "<a>")], vec![("<a>", 4, 9)]),
        (
            vec![added(8, "<a>"), added(7, "<b>")],
            vec![("<a>", 4, 8), ("<b>", 5, 7)],
        ),
        (
            vec![added(4, "<a>"), added(4, "<b>")],
            vec![("<a>", 4, 4), ("<b>", 5, 4)],
        ),
        (vec![added(1, "<a>")], vec![("<a>", 4, 1)]),
        (vec![added(9, "t")], vec![("t", 1, 9)]),
        (
            vec![added(4, "<a>"), added(5, "<a>"), added(6, "<b>")],
            vec![("<a>", 4, 4), ("<b>", 5, 6)],
        ),
    ];
    for (entries, expected) in cases {
        let mut tokenizer = byte_level();
        tokenizer["added_tokens"] = json!([added(0, "<|endoftext|>")]);
        let tokens = tokenizer["added_tokens"].as_array_mut().unwrap();
        tokens.extend(entries);
        let mut all = vec![end];
        all.extend(expected);
        assert_eq!(ids(&open(&tokenizer, &[]).unwrap()), all);
    }
    let mut gap = byte_level();
    gap["model"]["vocab"]["zz"] = json!(9);
    gap["added_tokens"] = json!([added(10, "<a>")]);
    assert_eq!(ids(&open(&gap, &[]).unwrap()), [("<a>", 5, 10)]);
    gap["added_tokens"] = json!([
        added(10, "<a>"),
        added(11, "<b>"),
        added(12, "<c>"),
        added(13, "<d>"),
        added(14, "<e>")
    ]);
    let message = open(&gap, &[]).unwrap_err().to_string();
    assert!(
        message.contains("`<e>` has the id 9 of `zz`") && message.contains("from 5 on"),
        "{message}"
    );
}

/// Expected ids and flags: those of `AutoTokenizer` of transformers 4.57 and 5.24 for the same files.
#[test]
fn tokens_of_the_settings_follow_those_of_the_tokenizer() {
    let settings = json!({"added_tokens_decoder": {
        "12": {"content": "<a>", "special": false, "normalized": false},
        "11": {"content": "<b>", "special": true, "lstrip": true},
        "0": {"content": "<|endoftext|>", "special": false, "rstrip": true, "normalized": false},
        "x": {"content": "<c>"}, "13": {}, "14": {"content": ""},
    }});
    let legacy = (
        "added_tokens.json",
        r#"{"<d>": 20, "<|im_end|>": 21, "<b>": 19}"#,
    );
    let settings = settings.to_string();
    let tokenizer = open(
        &byte_level(),
        &[("tokenizer_config.json", &settings), legacy],
    )
    .unwrap();
    assert_eq!(
        ids(&tokenizer),
        [
            ("<|endoftext|>", 0, 0),
            ("<|im_end|>", 4, 4),
            ("<b>", 5, 11),
            ("<a>", 6, 12)
        ]
    );
    let [end, _, b, a] = &tokenizer.added_tokens[..] else {
        panic!()
    };
    assert!(end.rstrip && !end.special && end.source == AddedTokenSource::TokenizerJson);
    assert!(b.special && b.lstrip && !b.normalized && !a.special);
    assert_eq!(b.source, AddedTokenSource::TokenizerConfig);
    assert_eq!(tokenizer.id_count(), 7);

    let tokenizer = open(
        &byte_level(),
        &[
            legacy,
            (
                "special_tokens_map.json",
                r#"{"additional_special_tokens": ["<d>"]}"#,
            ),
        ],
    )
    .unwrap();
    assert_eq!(
        ids(&tokenizer)[2..],
        [("<b>", 5, 19), ("<d>", 6, 20)],
        "of added_tokens.json"
    );
    let flags: Vec<_> = tokenizer
        .added_tokens
        .iter()
        .map(|token| token.special)
        .collect();
    assert_eq!(flags, [true, true, false, true]);
}

#[test]
fn special_tokens_that_are_missing_are_noted() {
    let settings = r#"{"bos_token": "<s>", "eos_token": "<|im_end|>", "pad_token": "[PAD]"}"#;
    let tokenizer = open(&byte_level(), &[("tokenizer_config.json", settings)]).unwrap();
    let ids = json!({"bos_token_id": 50256, "eos_token_id": [3, 50256], "pad_token_id": -1});
    let found = special(&tokenizer, ids);
    assert_eq!(
        (found.begin, found.end, found.padding),
        (None, Some(4), None)
    );
    let notes = found.notes.join("\n");
    for part in [
        "bos_token_id in config.json is 50256",
        "eos_token_id in config.json is 50256",
        "pad_token_id in config.json is -1",
        r#"bos_token is "<s>", which is not in the vocabulary"#,
        r#"pad_token is "[PAD]""#,
    ] {
        assert!(notes.contains(part), "`{notes}` lacks `{part}`");
    }
    assert_eq!(found.notes.len(), 5);
    let found = special(&tokenizer, json!({"bos_token_id": 2, "pad_token_id": 3}));
    assert_eq!((found.begin, found.padding), (Some(2), Some(3)));
    assert_eq!(found.notes.len(), 2);
}

/// Whether tokens are put around a text, for post-processors (rows) and flags of the settings (columns): as transformers 5.24
/// does wherever there is a post-processor.
#[test]
fn the_post_processor_decides_before_the_flags() {
    let piece = |id: &str| json!({"SpecialToken": {"id": id, "type_id": 0}});
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    let template = |single: Value| json!({"type": "TemplateProcessing", "single": single});
    let bytes = json!({"type": "ByteLevel"});
    let begin = template(json!([piece("<|endoftext|>"), text]));
    let both = json!({"type": "Sequence", "processors": [
        bytes, template(json!([piece("<|endoftext|>"), text, piece("<|im_end|>")]))]});
    for (processor, none, on, off) in [
        (Value::Null, (false, false), (true, true), (false, false)),
        (bytes, (false, false), (false, false), (false, false)),
        (begin, (true, false), (true, false), (true, false)),
        (both, (true, true), (true, true), (true, true)),
        (
            template(json!([text])),
            (false, false),
            (false, false),
            (false, false),
        ),
    ] {
        for (flag, expected) in [(Value::Null, none), (json!(true), on), (json!(false), off)] {
            let mut tokenizer = byte_level();
            tokenizer["post_processor"] = processor.clone();
            let settings = json!({"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>",
                "add_bos_token": flag, "add_eos_token": flag})
            .to_string();
            let tokenizer = open(&tokenizer, &[("tokenizer_config.json", &settings)]).unwrap();
            let found = special(&tokenizer, json!({}));
            assert_eq!((found.adds_begin, found.adds_end), expected, "{processor}");
            let disagreements = [found.adds_begin, found.adds_end]
                .into_iter()
                .filter(|&adds| flag.as_bool().is_some_and(|flag| flag != adds))
                .count();
            assert_eq!(found.notes.len(), disagreements, "{:?}", found.notes);
        }
    }
    let mut tokenizer = byte_level();
    tokenizer["post_processor"] = template(json!([piece("t"), text]));
    let tokenizer = open(
        &tokenizer,
        &[("tokenizer_config.json", r#"{"bos_token": "<|endoftext|>"}"#)],
    )
    .unwrap();
    let found = special(&tokenizer, json!({}));
    assert!(!found.adds_begin && found.notes[0].contains(r#"puts "t" before a text"#));
    // Only the template names a token.
    let mut tokenizer = byte_level();
    tokenizer["post_processor"] = template(json!([piece("t"), text, piece("<|im_end|>")]));
    let found = special(&open(&tokenizer, &[]).unwrap(), json!({"bos_token_id": 2}));
    assert_eq!((found.begin, found.end), (Some(1), Some(4)));
    assert!(found.adds_begin && found.adds_end && found.notes.is_empty());
    let llama = r#"{"bos_token": "<|endoftext|>", "tokenizer_class": "LlamaTokenizerFast"}"#;
    let tokenizer = open(&byte_level(), &[("tokenizer_config.json", llama)]).unwrap();
    assert!(special(&tokenizer, json!({})).adds_begin);
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

#[test]
fn what_lies_in_place_of_a_tokenizer_is_named() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:9f2\nsize 499723\n";
    for (name, content, expected) in [
        ("tokenizer.json", pointer, "Git LFS pointer"),
        ("tokenizer.json", "<!DOCTYPE html><html>", "a web page"),
        ("tokenizer_config.json", pointer, "Git LFS pointer"),
        ("chat_template.jinja", "Entry not found", "Entry not found"),
    ] {
        let message = open(&byte_level(), &[(name, content)]).unwrap_err();
        let message = message.to_string();
        assert!(
            message.contains(expected) && message.contains(name),
            "{message}"
        );
    }
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("tokenizer.model"), pointer).unwrap();
    let message = Tokenizer::open(directory.path()).unwrap_err().to_string();
    assert!(
        message.contains("tokenizer.model` is a Git LFS pointer"),
        "{message}"
    );
}
