//! The trained tokenizers: their ids, their files and that training them is deterministic.

use std::fs;
use std::path::Path;

use t81_datasets::{
    DataError, END_OF_TEXT, Split, StoryCorpus, check_vocabulary, load_tokenizer, save_tokenizer,
    story_tokenizer, tokenize_file, tokenize_text, train_tokenizer,
};
use t81_hub::HubError;
use tokenizers::Tokenizer;
use tokenizers::utils::parallelism::set_parallelism;

fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    tokenize_text(tokenizer, text).unwrap()
}

#[test]
fn ids_never_change() {
    let tokenizer = story_tokenizer(2048).unwrap();
    let text = "Tom gave Mia the red ball.<|endoftext|>Mia put it in the box!";
    let tokens = ids(&tokenizer, text);
    assert_eq!(tokens, GOLDEN_IDS);
    assert_eq!(tokenizer.decode(&tokens, false).unwrap(), text);
    assert_eq!(
        tokenizer.decode(&tokens, true).unwrap(),
        "Tom gave Mia the red ball.Mia put it in the box!"
    );
}

const GOLDEN_IDS: [u32; 17] = [
    52, 413, 397, 691, 259, 648, 570, 14, 0, 45, 423, 388, 298, 291, 259, 685, 1,
];

#[test]
fn training_is_deterministic_on_one_thread_and_on_many() {
    let train = |size| story_tokenizer(size).unwrap().to_string(false).unwrap();
    for size in [300, 2048] {
        let first = train(size);
        for repeat in 0..3 {
            set_parallelism(repeat % 2 == 0);
            assert!(train(size) == first, "{size} tokens, repeat {repeat}");
        }
        set_parallelism(true);
    }
}

#[test]
fn the_vocabulary_is_exactly_as_large_as_asked() {
    for size in [257, 258, 300, 1000, 2048] {
        let tokenizer = story_tokenizer(size).unwrap();
        assert_eq!(tokenizer.get_vocab_size(true), size);
        let mut used: Vec<u32> = tokenizer.get_vocab(true).into_values().collect();
        used.sort_unstable();
        assert!(used.into_iter().eq(0..size as u32));
        assert_eq!(tokenizer.token_to_id(END_OF_TEXT), Some(0));
    }
    assert!(matches!(
        story_tokenizer(256),
        Err(DataError::VocabularyTooSmall {
            asked: 256,
            smallest: 257
        })
    ));
    let Err(DataError::VocabularyTooLarge {
        asked: 50_000,
        largest,
    }) = story_tokenizer(50_000)
    else {
        panic!("a vocabulary of 50000 tokens");
    };
    assert!(largest >= 2048 && story_tokenizer(largest).is_ok());
    let few = train_tokenizer(["aaaa".to_owned()].into_iter(), 300);
    assert!(matches!(
        few,
        Err(DataError::VocabularyTooLarge {
            asked: 300,
            largest: 259
        })
    ));
}

#[test]
fn every_text_can_be_encoded() {
    let tokenizer = story_tokenizer(257).unwrap();
    let every_byte = "caf\u{e9} \u{0} \u{7f} \u{ff} \u{4f60}\u{597d} \u{1F600} \u{10FFFF}\n\t";
    let tokens = ids(&tokenizer, every_byte);
    assert_eq!(
        tokens.len(),
        every_byte.len(),
        "without merges, a token is a byte"
    );
    assert_eq!(tokenizer.decode(&tokens, false).unwrap(), every_byte);
    check_vocabulary(&tokens, 257).unwrap();
}

#[test]
fn stories_are_encoded_compactly() {
    let text = StoryCorpus::new(77).text(Split::Validation, 200_000);
    let tokens = ids(&story_tokenizer(2048).unwrap(), &text).len();
    let bytes_a_token = text.len() as f64 / tokens as f64;
    assert!(bytes_a_token > 3.9, "{bytes_a_token}");
}

#[test]
fn a_saved_tokenizer_is_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let model = directory.path().join("new/model");
    let tokenizer = story_tokenizer(512).unwrap();
    save_tokenizer(&tokenizer, &model, 256).unwrap();
    let read = load_tokenizer(&model, 512).unwrap();
    assert_eq!(
        read.to_string(false).unwrap(),
        tokenizer.to_string(false).unwrap()
    );
    let text = "Where was the ball? It was under the bed.";
    assert_eq!(ids(&read, text), ids(&tokenizer, text));

    let config = fs::read_to_string(model.join("tokenizer_config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["tokenizer_class"], "GPT2Tokenizer");
    assert_eq!(config["bos_token"], END_OF_TEXT);
    assert_eq!(config["eos_token"], END_OF_TEXT);
    assert_eq!(config["model_max_length"], 256);
    let file = fs::read_to_string(model.join("tokenizer.json")).unwrap();
    let file: serde_json::Value = serde_json::from_str(&file).unwrap();
    assert_eq!(
        file["pre_tokenizer"],
        serde_json::json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true})
    );
    assert_eq!(file["decoder"]["type"], "ByteLevel");
    assert_eq!(file["added_tokens"][0]["id"], 0);
    assert_eq!(file["added_tokens"][0]["special"], true);
}

#[test]
fn a_missing_or_corrupt_tokenizer_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let expected = directory.path().join("tokenizer.json");
    let error = load_tokenizer(directory.path(), 512).unwrap_err();
    assert!(matches!(&error, DataError::MissingTokenizer { path } if *path == expected));
    assert!(
        error
            .to_string()
            .contains("copy the tokenizer.json of the model there"),
        "{error}"
    );

    for corrupt in ["", "{", "{\"model\": 3}", "\u{fffd}"] {
        fs::write(&expected, corrupt).unwrap();
        let error = load_tokenizer(directory.path(), 512).unwrap_err();
        assert!(matches!(&error, DataError::CorruptTokenizer { path, .. } if *path == expected));
    }
    fs::write(
        &expected,
        "version https://git-lfs.github.com/spec/v1\noid sha256:9f2\nsize 1200\n",
    )
    .unwrap();
    let error = load_tokenizer(directory.path(), 512)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("tokenizer.json") && error.contains("git lfs pull"),
        "{error}"
    );
    fs::remove_file(&expected).unwrap();
    fs::create_dir(&expected).unwrap();
    assert!(matches!(
        load_tokenizer(directory.path(), 512),
        Err(DataError::Hub(HubError::NotAFile { .. }))
    ));
}

#[test]
fn an_unwritable_directory_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "x").unwrap();
    let error = save_tokenizer(&story_tokenizer(257).unwrap(), &file, 1).unwrap_err();
    assert!(matches!(error, DataError::Io { path, .. } if path == file));
}

#[test]
fn files_are_tokenized_as_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("text");
    let tokenizer = story_tokenizer(400).unwrap();
    let text = format!(
        "\u{feff}{}\r\nend ",
        StoryCorpus::new(2).text(Split::Train, 100_000)
    );
    fs::write(&path, &text).unwrap();
    let tokens = tokenize_file(&tokenizer, &path).unwrap();
    assert_eq!(
        tokens,
        tokenizer.encode(text.as_str(), false).unwrap().get_ids()
    );
    assert_eq!(tokenizer.decode(&tokens, false).unwrap(), text);
}

#[test]
fn unreadable_text_files_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let tokenizer = story_tokenizer(257).unwrap();
    let path = directory.path().join("text");
    let error = |path: &Path| tokenize_file(&tokenizer, path).unwrap_err();
    assert!(matches!(error(&path), DataError::MissingFile { path: p } if p == path));
    fs::write(&path, "").unwrap();
    assert!(matches!(error(&path), DataError::EmptyFile { path: p } if p == path));
    fs::write(&path, b"caf\xe9 latin").unwrap();
    let invalid = error(&path);
    assert!(matches!(&invalid, DataError::InvalidUtf8 { path: p, offset: 3 } if *p == path));
    assert!(invalid.to_string().contains("offset 3"), "{invalid}");
    assert!(matches!(error(directory.path()), DataError::Hub(_)));
}

#[test]
fn a_token_without_an_embedding_is_found() {
    check_vocabulary(&[0, 5, 9], 10).unwrap();
    check_vocabulary(&[], 0).unwrap();
    let error = check_vocabulary(&[0, 5, 10, 11], 10).unwrap_err();
    assert!(matches!(
        error,
        DataError::VocabularyMismatch {
            token: 10,
            position: 2,
            vocabulary_size: 10
        }
    ));
}

/// Expected: what `AutoTokenizer` of transformers does with the same files.
#[test]
fn tokens_of_the_settings_are_added() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let tokenizer = story_tokenizer(300).unwrap();
    save_tokenizer(&tokenizer, directory.path(), 256).unwrap();
    let settings = |more: serde_json::Value| {
        fs::write(path("tokenizer_config.json"), more.to_string()).unwrap();
    };
    let decoder = serde_json::json!({
        "320": {"content": "<tool>", "special": false, "normalized": false},
        "310": {"content": "<b>", "special": true},
        "0": {"content": END_OF_TEXT, "special": true, "rstrip": true},
    });
    settings(serde_json::json!({"added_tokens_decoder": decoder}));
    let read = load_tokenizer(directory.path(), 400).unwrap();
    assert_eq!(read.token_to_id("<b>"), Some(300));
    assert_eq!(read.token_to_id("<tool>"), Some(301));
    let text = format!("<tool>{END_OF_TEXT} <b>");
    assert_eq!(ids(&read, &text), [301, 0, 300]);
    // One row is left, so there is no second token.
    let read = load_tokenizer(directory.path(), 301).unwrap();
    assert_eq!(read.token_to_id("<b>"), Some(300));
    assert_eq!(read.token_to_id("<tool>"), None);

    settings(serde_json::json!({}));
    let legacy = format!("{{\"<tool>\": 310, \"{END_OF_TEXT}\": 0}}");
    fs::write(path("added_tokens.json"), legacy).unwrap();
    let read = load_tokenizer(directory.path(), 400).unwrap();
    assert_eq!(ids(&read, &format!("<tool>{END_OF_TEXT}")), [300, 0]);
}

#[test]
fn the_settings_decide_about_text_bounds_without_a_post_processor() {
    let directory = tempfile::tempdir().unwrap();
    let tokenizer = story_tokenizer(300).unwrap();
    save_tokenizer(&tokenizer, directory.path(), 256).unwrap();
    let encoded = |more: serde_json::Value| {
        let mut settings = serde_json::json!({"bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT});
        let more = more.as_object().unwrap().clone();
        settings.as_object_mut().unwrap().extend(more);
        let path = directory.path().join("tokenizer_config.json");
        fs::write(path, settings.to_string()).unwrap();
        let tokenizer = load_tokenizer(directory.path(), 300).unwrap();
        tokenizer.encode("a", true).unwrap().get_ids().to_vec()
    };
    let plain = encoded(serde_json::json!({}));
    assert_eq!(plain.len(), 1);
    let begin = encoded(serde_json::json!({"add_bos_token": true}));
    assert_eq!(begin, [0, plain[0]]);
    let both = encoded(serde_json::json!({"add_bos_token": true, "add_eos_token": true}));
    assert_eq!(both, [0, plain[0], 0]);
    let llama = encoded(serde_json::json!({"tokenizer_class": "LlamaTokenizerFast"}));
    assert_eq!(llama, begin);
}
