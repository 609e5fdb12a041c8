//! Directories in the layout of dataset repositories.

use std::fs;

use t81_datasets::{DataError, DatasetSource, LoadEvent, LoadOptions, tokenize_text};

use crate::fixtures::{TEST, TRAIN, VALIDATION, configuration, decoded, load, path, tokenizer};

fn wikitext() -> DatasetSource {
    DatasetSource::Directory(path("wikitext"))
}

#[test]
fn wikitext_is_the_text_of_its_rows() {
    let streams = load(&wikitext(), &configuration("wikitext-2-raw-v1")).unwrap();
    for (tokens, text) in [(&streams.train, TRAIN), (&streams.validation, VALIDATION)] {
        assert_eq!(tokens.to_vec(), tokenize_text(&tokenizer(), text).unwrap());
    }
    let streams = load(&wikitext(), &configuration("wikitext-103-raw-v1")).unwrap();
    assert_eq!(
        decoded(&streams.train),
        format!("{TRAIN} One line more . \n")
    );
}

#[test]
fn splits_and_slices_are_chosen_by_name() {
    let choose = |train: &str, validation: Option<&str>| {
        let options = LoadOptions {
            train_split: Some(train.to_owned()),
            validation_split: validation.map(str::to_owned),
            ..configuration("wikitext-103-raw-v1")
        };
        load(&wikitext(), &options)
            .map(|streams| (decoded(&streams.train), decoded(&streams.validation)))
    };
    let lines = |text: &str, range: std::ops::Range<usize>| -> String {
        text.split_inclusive('\n')
            .skip(range.start)
            .take(range.len())
            .collect()
    };
    let all = format!("{TRAIN} One line more . \n");
    assert_eq!(
        choose("test", Some("train")).unwrap(),
        (TEST.to_owned(), all.clone())
    );
    assert_eq!(
        choose("validation", None).unwrap(),
        (VALIDATION.to_owned(), TEST.to_owned())
    );
    // The rows are "", title, "", paragraph, paragraph, "" and so on, in two files of 7 and 11 rows.
    for (slice, expected) in [
        ("train[:2]", lines(&all, 0..1)),
        ("train[3:9]", lines(&all, 1..4)),
        ("train[-1:]", lines(&all, 8..9)),
        ("train[:50%]", lines(&all, 0..4)),
        ("train[50%:]", lines(&all, 4..9)),
        ("train[:1000]", all.clone()),
    ] {
        assert_eq!(choose(slice, None).unwrap().0, expected, "{slice}");
    }
    for (train, validation) in [("train[:x]", None), ("train", Some("a+b"))] {
        assert!(matches!(
            choose(train, validation),
            Err(DataError::SplitSyntax { .. })
        ));
    }
    for (train, validation) in [("trai", None), ("train", Some("dev"))] {
        let error = choose(train, validation).unwrap_err();
        assert!(
            matches!(&error, DataError::UnknownSplit { known, .. } if *known == ["test", "train", "validation"]),
            "{error}"
        );
    }
    assert!(matches!(
        choose("train[200:]", None),
        Err(DataError::TooFewTokens { found: 0, .. })
    ));
}

#[test]
fn a_configuration_must_be_chosen_and_must_exist() {
    let error = load(&wikitext(), &LoadOptions::default()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("choose one: `wikitext-103-raw-v1`, `wikitext-2-raw-v1`")
    );
    let error = load(&wikitext(), &configuration("wikitext-2")).unwrap_err();
    assert!(
        error.to_string().contains("no configuration `wikitext-2`"),
        "{error}"
    );
    let revision = LoadOptions {
        revision: Some("main".to_owned()),
        ..configuration("wikitext-2-raw-v1")
    };
    assert!(matches!(
        load(&wikitext(), &revision),
        Err(DataError::NoSuchChoice {
            what: "revision",
            ..
        })
    ));
    assert!(matches!(
        load(&DatasetSource::Stories, &configuration("x")),
        Err(DataError::NoSuchChoice {
            what: "configuration",
            ..
        })
    ));
}

#[test]
fn later_files_are_left_alone_when_there_are_enough_tokens() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["train-0.jsonl", "valid.jsonl"] {
        fs::write(
            directory.path().join(name),
            "{\"text\": \"one two three four\"}\n",
        )
        .unwrap();
    }
    fs::write(directory.path().join("train-1.jsonl"), "no JSON").unwrap();
    let source = DatasetSource::Directory(directory.path().to_owned());
    let options = |samples| LoadOptions {
        block_size: 4,
        max_train_samples: samples,
        ..LoadOptions::default()
    };
    assert_eq!(load(&source, &options(Some(1))).unwrap().train.len(), 5);
    let error = load(&source, &options(None)).unwrap_err();
    assert!(matches!(&error, DataError::JsonRow { path, .. } if path.ends_with("train-1.jsonl")));
}

#[test]
fn a_training_split_alone_is_parted() {
    let directory = tempfile::tempdir().unwrap();
    let row = "{\"text\": \"one two three four five six seven eight\"}\n";
    fs::write(directory.path().join("data.jsonl"), row.repeat(100)).unwrap();
    let source = DatasetSource::Directory(directory.path().to_owned());
    let options = |train, validation| LoadOptions {
        block_size: 4,
        max_train_samples: train,
        max_validation_samples: validation,
        ..LoadOptions::default()
    };
    let all = load(&source, &options(None, None)).unwrap();
    let total = all.train.len() + all.validation.len();
    assert_eq!(all.validation.len(), total / 10);
    let joined = [all.validation.to_vec(), all.train.to_vec()].concat();

    let some = load(&source, &options(Some(3), Some(2))).unwrap();
    assert_eq!(some.validation.to_vec(), joined[..9]);
    assert_eq!(some.train.to_vec(), joined[9..9 + 13]);
    let few = load(&source, &options(None, Some(2))).unwrap();
    assert_eq!((few.validation.len(), few.train.len()), (9, total - 9));
}

#[test]
fn a_card_that_cannot_be_read_is_told_and_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("README.md"), "---\nconfigs: 3\n---\n").unwrap();
    for name in ["train.txt", "test.txt"] {
        fs::write(directory.path().join(name), format!("text of {name}")).unwrap();
    }
    let mut notes = Vec::new();
    let streams = DatasetSource::Directory(directory.path().to_owned())
        .load_with(&tokenizer(), &LoadOptions::default(), None, &mut |event| {
            if let LoadEvent::Note(note) = event {
                notes.push(note.to_owned());
            }
        })
        .unwrap();
    assert_eq!(decoded(&streams.train), "text of train.txt");
    assert_eq!(decoded(&streams.validation), "text of test.txt");
    assert_eq!(notes.len(), 1);
    assert!(notes[0].contains("front matter"), "{notes:?}");
}
