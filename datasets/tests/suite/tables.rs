//! Comma- and tab-separated values.

use std::fs;
use std::io::Write;

use t81_datasets::{DataError, DatasetSource, LoadEvent, LoadOptions};

use crate::fixtures::{VALIDATION, decoded, tokenizer, train_text_of};

fn written(name: &str, contents: &[u8], options: LoadOptions) -> Result<String, DataError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    fs::write(&path, contents).unwrap();
    let text = train_text_of(DatasetSource::Files(vec![path]), options)?;
    Ok(text.replace("<|endoftext|>", "|"))
}

fn plain(name: &str, contents: &str) -> Result<String, DataError> {
    written(name, contents.as_bytes(), LoadOptions::default())
}

#[test]
fn quotes_line_ends_and_marks_are_read_as_pandas_does() {
    let expected = "|one|two, \"with\" commas|three\nlines\r\nin one|caf\u{e9}|";
    let table = "\u{feff}id,text,n\n1,one,1\n2,\"two, \"\"with\"\" commas\",2\n\n3,\"three\nlines\r\nin one\",3\n4,,4\n5,caf\u{e9},5";
    assert_eq!(plain("x.csv", table).unwrap(), expected);
    assert_eq!(plain("x.csv", &format!("{table}\n")).unwrap(), expected);
    let windows = "id,text,n\r\n1,one,1\r\n5,caf\u{e9},5\r\n";
    assert_eq!(plain("x.csv", windows).unwrap(), "|one|caf\u{e9}|");
    let tabs = "id\t text \n1\tone, two\n2\t\"three\tfour\"\n";
    assert_eq!(plain("x.tsv", tabs).unwrap(), "|one, two|three\tfour|");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(table.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    assert_eq!(
        written("x.csv.gz", &gzip, LoadOptions::default()).unwrap(),
        expected
    );
    let zstd = zstd::encode_all(table.as_bytes(), 1).unwrap();
    assert_eq!(
        written("x.csv.zst", &zstd, LoadOptions::default()).unwrap(),
        expected
    );
}

#[test]
fn rows_are_sliced() {
    let mut table = "text\n".to_owned();
    for row in 0..10 {
        table += &format!("\"row\n{row}\"\n");
    }
    let slice = LoadOptions {
        train_split: Some("train[20%:50%]".to_owned()),
        ..LoadOptions::default()
    };
    let text = written("x.csv", table.as_bytes(), slice).unwrap();
    assert_eq!(text, "|row\n2|row\n3|row\n4|");
}

#[test]
fn what_is_wrong_with_a_row_is_said_with_its_line() {
    for (contents, line, reason) in [
        (
            "text,n\none,1\ntwo,2,3\n",
            3,
            "3 values, but the header names 2 columns",
        ),
        (
            "text,n\none,1\ntwo\n",
            3,
            "1 values, but the header names 2 columns",
        ),
        // Lines, not rows, also after empty and Windows lines.
        ("text,n\r\n\r\n\"a\r\nb\",1\r\n\r\ntwo\r\n", 6, "1 values"),
        ("text,n\none,1\n\"two,2\nthree,3\n", 3, "never closed"),
        ("text,n\none,1\n\"two,2\nthree,3", 3, "never closed"),
    ] {
        let error = plain("x.csv", contents).unwrap_err();
        assert!(
            matches!(error, DataError::TableRow { line: found, .. } if found == line),
            "{error}"
        );
        let message = error.to_string();
        assert!(
            message.contains(&format!("x.csv, line {line}: ")),
            "{message}"
        );
        assert!(message.contains(reason), "{message}");
    }
    let error = written(
        "x.csv",
        b"text,n\none,1\ncaf\xE9,2\n",
        LoadOptions::default(),
    )
    .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("x.csv, line 3: the text is not UTF-8"),
        "{error}"
    );
    let error = plain("x.csv", "").unwrap_err();
    assert!(matches!(error, DataError::EmptyFile { .. }), "{error}");
    let error = plain("x.csv", "text,n,text\na,1,b\n").unwrap_err();
    assert!(
        error
            .to_string()
            .contains("several columns are called `text`"),
        "{error}"
    );
    let endless = [b"text\n\"", &vec![b'a'; (64 << 20) + (1 << 16)][..]].concat();
    let error = written("x.csv", &endless, LoadOptions::default()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("line 2: longer than 67108864 bytes"),
        "{error}"
    );
}

#[test]
fn another_separator_is_noticed() {
    for contents in ["id;text\n1;one\n", "id\ttext\n1\tone\n", "id|text\n1|one\n"] {
        let error = plain("x.csv", contents).unwrap_err().to_string();
        assert!(error.contains("line 1: the only column is `id"), "{error}");
        assert!(error.contains("--text-column"), "{error}");
    }
    let asked = LoadOptions {
        text_column: Some("a; b".to_owned()),
        ..LoadOptions::default()
    };
    assert_eq!(written("x.csv", b"a; b\none\n", asked).unwrap(), "|one|");
}

#[test]
fn a_directory_of_tables_has_splits() {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("train", "Tom gave Mia the red ball."),
        ("test", VALIDATION),
    ] {
        let table = format!("id,text\n1,\"{}\"\n", text.replace('"', "\"\""));
        fs::write(directory.path().join(format!("{name}.csv")), table).unwrap();
    }
    fs::write(directory.path().join("train_notes.txt"), "text").unwrap();
    let source = DatasetSource::Directory(directory.path().to_owned());
    let mut notes = Vec::new();
    let streams = source.load_with(&tokenizer(), &LoadOptions::default(), None, &mut |event| {
        if let LoadEvent::Note(note) = event {
            notes.push(note.to_owned());
        }
    });
    let streams = streams.unwrap();
    let [note] = notes.as_slice() else {
        panic!("{notes:?}")
    };
    assert!(
        note.ends_with("left out, as most files have another format: `train_notes.txt`"),
        "{note}"
    );
    let text = |tokens| decoded(tokens).replace("<|endoftext|>", "|");
    assert_eq!(text(&streams.train), "|Tom gave Mia the red ball.|");
    assert_eq!(text(&streams.validation), format!("|{VALIDATION}|"));
    assert_eq!(
        "no.csv".parse::<DatasetSource>().unwrap_err().to_string(),
        "no.csv does not exist"
    );
}
