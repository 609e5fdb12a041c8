//! From dataset names to token streams.

use std::fs;
use std::path::Path;

use t81_datasets::{
    DataError, DatasetSource, LoadOptions, Split, StoryCorpus, TokenBlocks, Tokens,
    story_tokenizer, tokenize_text,
};
use tokenizers::Tokenizer;

fn small() -> LoadOptions {
    LoadOptions {
        train_stories: 40,
        validation_stories: 5,
        ..LoadOptions::default()
    }
}

fn lines(count: usize) -> String {
    (0..count)
        .map(|line| format!("This is line {line} of a text.\n"))
        .collect()
}

fn decoded(tokenizer: &Tokenizer, tokens: &Tokens) -> String {
    tokenizer.decode(&tokens.to_vec(), false).unwrap()
}

#[test]
fn names_are_parsed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("text.txt");
    let name = path.to_str().unwrap();
    assert_eq!(
        "stories".parse::<DatasetSource>().unwrap(),
        DatasetSource::Stories
    );
    let error = name.parse::<DatasetSource>().unwrap_err();
    assert!(matches!(error, DataError::MissingFile { path: p } if p == path));
    fs::write(&path, "text").unwrap();
    let source: DatasetSource = name.parse().unwrap();
    assert_eq!(source, DatasetSource::Files(vec![path.clone()]));
    assert_eq!(source.to_string(), name);
    assert_eq!(DatasetSource::Stories.to_string(), "stories");
    let name = directory.path().to_str().unwrap();
    let source: DatasetSource = name.parse().unwrap();
    assert_eq!(source, DatasetSource::Directory(directory.path().into()));
    assert_eq!(source.to_string(), name);

    for missing in [
        "no-such-file.txt",
        "no-such-file.jsonl.gz",
        "./no-such-file",
        "../no/such",
        "/no/such",
    ] {
        let error = missing.parse::<DatasetSource>().unwrap_err();
        assert!(matches!(&error, DataError::MissingFile { path } if path == Path::new(missing)));
    }
    for hub in [
        "wikitext",
        "wikitext-2-raw-v1",
        "Salesforce/wikitext",
        "roneneldan/TinyStories",
    ] {
        let source: DatasetSource = hub.parse().unwrap();
        assert_eq!(source, DatasetSource::Hub(hub.to_owned()));
        assert_eq!(source.to_string(), hub);
    }
    for nonsense in ["", "a/b/c", "a/", "two words", "caf\u{e9}", "-x/y"] {
        let error = nonsense.parse::<DatasetSource>().unwrap_err();
        assert!(
            matches!(&error, DataError::UnknownDataset { name } if name == nonsense),
            "{error}"
        );
    }
}

#[test]
fn story_streams_are_the_separated_stories_of_their_splits() {
    let tokenizer = story_tokenizer(600).unwrap();
    let options = LoadOptions {
        story_seed: 3,
        ..small()
    };
    let streams = DatasetSource::Stories.load(&tokenizer, &options).unwrap();
    for (tokens, split, count) in [
        (&streams.train, Split::Train, 40),
        (&streams.validation, Split::Validation, 5),
    ] {
        let mut text = String::from("<|endoftext|>");
        for story in StoryCorpus::new(3).stories(split).take(count) {
            text = text + &story + "<|endoftext|>";
        }
        assert_eq!(decoded(&tokenizer, tokens), text);
        assert_eq!(tokens.to_vec(), tokenize_text(&tokenizer, &text).unwrap());
    }
}

#[test]
fn a_given_or_found_separator_is_used() {
    let mut tokenizer = story_tokenizer(300).unwrap();
    let options = LoadOptions {
        separator: Some(250),
        ..small()
    };
    let streams = DatasetSource::Stories.load(&tokenizer, &options).unwrap();
    assert_eq!(
        streams.train.iter().filter(|&token| token == 250).count(),
        41
    );

    let named = tokenizer
        .to_string(false)
        .unwrap()
        .replace("<|endoftext|>", "</s>");
    tokenizer = Tokenizer::from_bytes(named).unwrap();
    let streams = DatasetSource::Stories.load(&tokenizer, &small()).unwrap();
    assert_eq!(
        streams
            .validation
            .iter()
            .filter(|&token| token == 0)
            .count(),
        6
    );

    let unnamed = tokenizer
        .to_string(false)
        .unwrap()
        .replace("</s>", "<nothing>");
    tokenizer = Tokenizer::from_bytes(unnamed).unwrap();
    let streams = DatasetSource::Stories.load(&tokenizer, &small()).unwrap();
    assert_eq!(
        decoded(&tokenizer, &streams.validation)
            .matches("\n\n")
            .count(),
        6
    );
}

#[test]
fn samples_are_blocks() {
    let tokenizer = story_tokenizer(300).unwrap();
    let options = LoadOptions {
        block_size: 32,
        max_train_samples: Some(7),
        max_validation_samples: Some(2),
        ..small()
    };
    let all = DatasetSource::Stories.load(&tokenizer, &small()).unwrap();
    let streams = DatasetSource::Stories.load(&tokenizer, &options).unwrap();
    assert_eq!(streams.train, all.train.slice(0..7 * 32 + 1));
    assert_eq!(streams.validation, all.validation.slice(0..2 * 32 + 1));
    let blocks = TokenBlocks::new(streams.train, 32).unwrap();
    assert_eq!(burn::data::dataset::Dataset::len(&blocks), 7);
    let more = LoadOptions {
        max_train_samples: Some(usize::MAX),
        ..small()
    };
    assert_eq!(DatasetSource::Stories.load(&tokenizer, &more).unwrap(), all);
}

#[test]
fn the_last_tenth_of_the_lines_is_for_validation() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("text");
    let text = lines(1000);
    fs::write(&path, &text).unwrap();
    let tokenizer = story_tokenizer(300).unwrap();
    let streams = DatasetSource::Files(vec![path])
        .load(&tokenizer, &LoadOptions::default())
        .unwrap();
    let (train, validation) = (
        decoded(&tokenizer, &streams.train),
        decoded(&tokenizer, &streams.validation),
    );
    assert!(train.ends_with("of a text.\n") && validation.starts_with("This is line 90"));
    assert!(
        (99..=101).contains(&validation.lines().count()),
        "{}",
        validation.lines().count()
    );
    assert_eq!(train + &validation, text);
}

#[test]
fn a_validation_file_leaves_all_of_the_text_for_training() {
    let directory = tempfile::tempdir().unwrap();
    let [text, validation] = ["text", "validation"].map(|name| directory.path().join(name));
    fs::write(&text, lines(100)).unwrap();
    fs::write(&validation, "Another text.").unwrap();
    let tokenizer = story_tokenizer(300).unwrap();
    let options = LoadOptions {
        validation_file: Some(validation),
        ..small()
    };
    let streams = DatasetSource::Files(vec![text])
        .load(&tokenizer, &options)
        .unwrap();
    assert_eq!(decoded(&tokenizer, &streams.train), lines(100));
    assert_eq!(decoded(&tokenizer, &streams.validation), "Another text.");
    let streams = DatasetSource::Stories.load(&tokenizer, &options).unwrap();
    assert_eq!(decoded(&tokenizer, &streams.validation), "Another text.");
    assert_eq!(streams.train.iter().filter(|&token| token == 0).count(), 41);
}

#[test]
fn requests_that_cannot_be_met_are_errors() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("text");
    fs::write(&path, lines(100)).unwrap();
    let tokenizer = story_tokenizer(300).unwrap();
    let load =
        |options: LoadOptions| DatasetSource::Files(vec![path.clone()]).load(&tokenizer, &options);
    let all = LoadOptions::default;

    assert!(matches!(
        load(LoadOptions {
            block_size: 0,
            ..all()
        }),
        Err(DataError::ZeroBlockSize)
    ));
    for fraction in [0.0, 1.0, -0.1, 1.5, f64::NAN] {
        let error = load(LoadOptions {
            validation_fraction: fraction,
            ..all()
        })
        .unwrap_err();
        assert!(
            matches!(error, DataError::ValidationFraction { .. }),
            "{error}"
        );
    }
    let error = load(LoadOptions {
        vocabulary_size: Some(50),
        ..all()
    })
    .unwrap_err();
    let first = tokenize_text(&tokenizer, &lines(1)).unwrap();
    let position = first.iter().position(|&token| token >= 50).unwrap();
    assert!(matches!(
        error,
        DataError::VocabularyMismatch { token, position: p, vocabulary_size: 50 }
            if p == position && token == first[position]
    ));
    load(LoadOptions {
        vocabulary_size: Some(300),
        ..all()
    })
    .unwrap();
    assert!(matches!(
        load(LoadOptions {
            max_train_samples: Some(0),
            ..all()
        }),
        Err(DataError::TooFewTokens {
            found: 1,
            needed: 2
        })
    ));
    assert!(matches!(
        load(LoadOptions {
            validation_file: Some(directory.path().join("none")),
            ..all()
        }),
        Err(DataError::MissingFile { .. })
    ));
    fs::write(&path, "word").unwrap();
    let error = load(all()).unwrap_err();
    assert!(matches!(&error, DataError::NoValidationSplit { path: p } if *p == path));
    fs::remove_file(&path).unwrap();
    assert!(matches!(load(all()), Err(DataError::MissingFile { .. })));
    let none = LoadOptions {
        train_stories: 0,
        ..all()
    };
    assert!(matches!(
        DatasetSource::Stories.load(&tokenizer, &none),
        Err(DataError::TooFewTokens {
            found: 1,
            needed: 2
        })
    ));
}
