//! Rows of data files in every format.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use t81_datasets::{DataError, DatasetSource, LoadOptions, RowKind};

use crate::fixtures::{DOCUMENTS, TRAIN, decoded, load, path, train_text, train_text_of};

const SEPARATOR: &str = "<|endoftext|>";

fn documents(texts: &[&str]) -> String {
    let mut joined = SEPARATOR.to_owned();
    for text in texts {
        joined += text;
        joined += SEPARATOR;
    }
    joined
}

fn column(name: &str) -> LoadOptions {
    LoadOptions {
        text_column: Some(name.to_owned()),
        ..LoadOptions::default()
    }
}

/// A file of the given contents, and its training text.
fn written(name: &str, contents: &[u8], options: LoadOptions) -> Result<String, DataError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    fs::write(&path, contents).unwrap();
    train_text_of(DatasetSource::Files(vec![path]), options)
}

#[test]
fn every_compression_of_parquet_is_read() {
    for name in [
        "none",
        "snappy",
        "zstd",
        "gzip",
        "lz4",
        "page_v2",
        "large_string",
    ] {
        let name = format!("codecs/{name}.parquet");
        let text = train_text(&name, LoadOptions::default()).unwrap();
        assert_eq!(text, TRAIN, "{name}");
    }
    let error = train_text("delta.parquet", LoadOptions::default()).unwrap_err();
    assert!(error.to_string().contains("delta-encoded"), "{error}");
}

#[test]
fn documents_are_separated_and_nulls_left_out() {
    let text = |options| train_text("documents.parquet", options).unwrap();
    assert_eq!(text(LoadOptions::default()), documents(&DOCUMENTS));
    assert_eq!(text(column("translation.en")), documents(&DOCUMENTS));
    assert_eq!(text(column("id")), documents(&["1", "2", "3", "4", "5"]));
    let rows = |rows| LoadOptions {
        rows,
        ..LoadOptions::default()
    };
    assert_eq!(text(rows(RowKind::Lines)), DOCUMENTS.concat());
    assert_eq!(text(rows(RowKind::Documents)), documents(&DOCUMENTS));
    let lines = train_text("codecs/none.parquet", rows(RowKind::Documents)).unwrap();
    let expected: Vec<&str> = TRAIN.split_inclusive('\n').collect();
    assert_eq!(lines, documents(&expected));
}

#[test]
fn a_column_that_is_none_is_answered_with_those_there_are() {
    let error = train_text("documents.parquet", column("body")).unwrap_err();
    let known = [
        "id",
        "score",
        "text",
        "tags.list.element",
        "translation.en",
        "translation.n",
    ];
    assert!(
        matches!(&error, DataError::UnknownColumn { columns, .. } if *columns == known),
        "{error}"
    );
    for name in ["score", "tags.list.element"] {
        let error = train_text("documents.parquet", column(name)).unwrap_err();
        assert!(matches!(error, DataError::NotText { .. }), "{error}");
    }
    let several = b"{\"title\": \"a\", \"n\": 1, \"body\": \"b\"}\n";
    let error = written("x.jsonl", several, LoadOptions::default()).unwrap_err();
    assert!(
        matches!(&error, DataError::SeveralTextColumns { columns, .. } if *columns == ["title", "body"])
    );
    assert!(
        error.to_string().contains("--text-column: `title`, `body`"),
        "{error}"
    );
    let none = b"{\"n\": 1}\n";
    let error = written("x.jsonl", none, LoadOptions::default()).unwrap_err();
    assert!(matches!(error, DataError::NoTextColumn { .. }), "{error}");
    for (contents, expected) in [
        ("{\"n\": 1, \"story\": \"once\"}", "once"),
        ("{\"title\": \"a\", \"content\": \"b\"}", "b"),
        ("{\"content\": \"a\", \"text\": \"b\"}", "b"),
    ] {
        let text = written("x.jsonl", contents.as_bytes(), LoadOptions::default()).unwrap();
        assert_eq!(text, documents(&[expected]));
    }
}

#[test]
fn json_is_read_by_lines_or_as_an_array_compressed_or_not() {
    let lines = "\u{feff}{\"text\": \"one\\n\\u00e9\", \"x\": {\"text\": 1}}\r\n\n  {\"x\": null, \"text\": null}\n{\"text\": \
        \"three\"}";
    let expected = documents(&["one\n\u{e9}", "three"]);
    let array = "[ {\"text\": \"one\\n\\u00e9\"},\n {\"text\": null, \"y\": [1]}, {\n\"text\": \"three\"}\n]\n";
    for (name, contents) in [("x.jsonl", lines), ("x.json", array), ("x.json", lines)] {
        let text = written(name, contents.as_bytes(), LoadOptions::default()).unwrap();
        assert_eq!(text, expected, "{name}");
        // Two members, as pigz and concatenation make them.
        let mut gzip = Vec::new();
        for half in [&contents[..20], &contents[20..]] {
            let mut encoder = flate2::write::GzEncoder::new(&mut gzip, flate2::Compression::fast());
            encoder.write_all(half.as_bytes()).unwrap();
            encoder.finish().unwrap();
        }
        let text = written(&format!("{name}.gz"), &gzip, LoadOptions::default()).unwrap();
        assert_eq!(text, expected);
        let zstd = zstd::encode_all(contents.as_bytes(), 1).unwrap();
        let text = written(&format!("{name}.zst"), &zstd, LoadOptions::default()).unwrap();
        assert_eq!(text, expected);
    }
}

#[test]
fn what_is_wrong_with_json_is_said_with_its_place() {
    let good = "{\"text\": \"x\"}\n";
    for (contents, place, reason) in [
        (
            format!("{good}{{\"text\": 3}}"),
            "line 2",
            "invalid type: integer `3`",
        ),
        (format!("{good}[1]"), "line 2", "expected an object"),
        (
            format!("{good}{{\"text\": \"x\"}} 3"),
            "line 2",
            "trailing characters",
        ),
        (
            format!("{good}{{\"text\": \"\\ud800\"}}"),
            "line 2",
            "hex escape",
        ),
        (
            format!("[{good},{{\"text\": 3}}]"),
            "line 2",
            "invalid type: integer `3`",
        ),
        (format!("[{good},"), "line 2", "EOF"),
        (format!("[{good}] x"), "line 2", "trailing characters"),
        ("{\n\"data\": []}".to_owned(), "line 1", "EOF"),
    ] {
        let error = written("x.json", contents.as_bytes(), LoadOptions::default()).unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, DataError::JsonRow { .. }), "{message}");
        assert!(message.contains(&format!("x.json, {place}: ")), "{message}");
        assert!(message.contains(reason), "{message}");
    }
    let error = written("x.jsonl", b"\n\n", LoadOptions::default()).unwrap_err();
    assert!(matches!(error, DataError::EmptyFile { .. }), "{error}");
    let endless = [b"{\"text\": \"", &vec![b'a'; (64 << 20) + 10][..]].concat();
    for (name, open) in [("x.jsonl", ""), ("x.json", "[")] {
        let contents = [open.as_bytes(), &endless].concat();
        let error = written(name, &contents, LoadOptions::default()).unwrap_err();
        assert!(
            error.to_string().contains("longer than 67108864 bytes"),
            "{error}"
        );
    }
}

#[test]
fn several_texts_are_documents() {
    let directory = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = (0..3)
        .map(|index| {
            let path = directory.path().join(format!("{index}.txt"));
            fs::write(&path, format!("Text {index}.\n")).unwrap();
            path
        })
        .collect();
    let text = train_text_of(DatasetSource::Files(paths.clone()), LoadOptions::default()).unwrap();
    assert_eq!(
        text,
        format!("Text 0.\n{SEPARATOR}Text 1.\n{SEPARATOR}Text 2.\n")
    );
    let mixed = DatasetSource::Files(vec![paths[0].clone(), path("documents.parquet")]);
    let error = train_text_of(mixed, LoadOptions::default()).unwrap_err();
    assert!(
        matches!(&error, DataError::MixedFormats { path } if path.ends_with("documents.parquet"))
    );
    let slice = LoadOptions {
        train_split: Some("train[:10]".to_owned()),
        ..LoadOptions::default()
    };
    let error = train_text_of(DatasetSource::Files(paths), slice).unwrap_err();
    assert!(matches!(error, DataError::SliceOfText { .. }), "{error}");
}

#[test]
fn a_long_text_is_split_and_read_as_a_short_one() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("text");
    // Characters of one to four bytes across every boundary of chunks and windows.
    let line = "a\u{e9}\u{4f60}\u{1F600} line of text, and of some length.\n";
    let text = line.repeat((5 << 20) / line.len());
    fs::write(&file, &text).unwrap();
    let streams = load(
        &DatasetSource::Files(vec![file.clone()]),
        &LoadOptions::default(),
    )
    .unwrap();
    let [train, validation] = [&streams.train, &streams.validation].map(decoded);
    let share = validation.len() as f64 / text.len() as f64;
    assert!((share - 0.1).abs() < 0.001, "{share}");
    assert!(validation.starts_with("a\u{e9}") && train.ends_with(".\n"));
    assert!(train + &validation == text);

    let mut bytes = text.into_bytes();
    let at = (3 << 20) + 7;
    bytes[at] = 0xFF;
    fs::write(&file, &bytes).unwrap();
    let error = load(&DatasetSource::Files(vec![file]), &LoadOptions::default()).unwrap_err();
    assert!(
        matches!(&error, DataError::InvalidUtf8 { offset, .. } if offset.abs_diff(at) < 4),
        "{error}"
    );
}

#[test]
fn a_compressed_text_is_a_text() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(TRAIN.as_bytes()).unwrap();
    let text = written(
        "x.txt.gz",
        &encoder.finish().unwrap(),
        LoadOptions::default(),
    )
    .unwrap();
    assert_eq!(text, TRAIN);
}
