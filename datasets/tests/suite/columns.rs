//! Which column of a file is read.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use t81_datasets::{DataError, DatasetSource, LoadEvent, LoadOptions};

use crate::fixtures::{decoded, path, tokenizer};

/// What a load of a file read, and said.
struct Outcome {
    text: String,
    column: Option<String>,
    notes: Vec<String>,
}

fn load(name: &str, contents: &str, asked: Option<&str>) -> Result<Outcome, DataError> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(name);
    fs::write(&file, contents).unwrap();
    let options = LoadOptions {
        text_column: asked.map(str::to_owned),
        validation_file: Some(path("wikitext/README.md")),
        ..LoadOptions::default()
    };
    let (mut column, mut notes) = (None, Vec::new());
    let streams =
        DatasetSource::Files(vec![file]).load_with(&tokenizer(), &options, None, &mut |event| {
            match event {
                LoadEvent::TextColumn { column: taken, .. } => column = Some(taken.to_owned()),
                LoadEvent::Note(note) => notes.push(note.to_owned()),
                _ => {}
            }
        })?;
    Ok(Outcome {
        text: decoded(&streams.train).replace("<|endoftext|>", "|"),
        column,
        notes,
    })
}

#[test]
fn a_first_row_without_the_text_does_not_decide() {
    let rows = "{\"id\": \"a1\"}\n{\"id\": \"a2\", \"text\": \"Once upon a time\"}\n{\"id\": \"a3\", \"text\": null}\n";
    let outcome = load("x.jsonl", rows, None).unwrap();
    assert_eq!(outcome.text, "|Once upon a time|");
    assert_eq!(outcome.column.as_deref(), Some("text"));
    let [note] = outcome.notes.as_slice() else {
        panic!("{:?}", outcome.notes)
    };
    assert!(
        note.ends_with("x.jsonl: 2 of 3 rows have no text in the column `text` and are left out"),
        "{note}"
    );
    // The same in an array, and in a table.
    let array = format!("[{}]", rows.trim().replace('\n', ","));
    assert_eq!(load("x.json", &array, None).unwrap().text, outcome.text);
    let table = "id,text\na1,\na2,Once upon a time\na3,\n";
    let outcome = load("x.csv", table, None).unwrap();
    assert_eq!(outcome.text, "|Once upon a time|");
    assert!(
        outcome.notes[0].contains("2 of 3 rows"),
        "{:?}",
        outcome.notes
    );
}

#[test]
fn numbers_and_identifiers_are_not_taken_for_text() {
    for (name, contents) in [
        ("x.jsonl", "{\"id\": \"abc\"}\n{\"id\": \"def\"}\n"),
        ("x.jsonl", "{\"score\": \"17\"}\n{\"score\": \"-1.5e3\"}\n"),
        ("x.jsonl", "{\"day\": \"2024-01-01\", \"n\": 1}\n"),
        (
            "x.csv",
            "id,score,link\n1,17,https://a.b/c\n2,18,https://a.b/d\n",
        ),
        (
            "x.tsv",
            "page_id\tsha\nalpha\td41d8cd98f00b204e9800998ecf8427e\n",
        ),
    ] {
        let error = load(name, contents, None).err().unwrap();
        assert!(matches!(error, DataError::NoTextColumn { .. }), "{error}");
        assert!(error.to_string().contains("--text-column"), "{error}");
    }
    let chat = "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}]}\n";
    let error = load("x.jsonl", chat, None).err().unwrap().to_string();
    assert!(
        error.contains("chat messages") && !error.contains("--text-column"),
        "{error}"
    );
    let rows = "{\"id\": \"abc\"}\n";
    assert_eq!(load("x.jsonl", rows, Some("id")).unwrap().text, "|abc|");
    for (name, contents) in [
        (
            "x.jsonl",
            "{\"id\": \"a\", \"score\": \"17\", \"story\": \"once\"}\n",
        ),
        ("x.csv", "id,score,story\na,17,once\n"),
    ] {
        let outcome = load(name, contents, None).unwrap();
        assert_eq!(outcome.text, "|once|");
        assert_eq!(outcome.column.as_deref(), Some("story"));
    }
}

#[test]
fn an_ambiguous_choice_names_the_columns() {
    for (name, contents) in [
        (
            "x.jsonl",
            "{\"id\": \"1\"}\n{\"question\": \"Why not?\"}\n{\"answer\": \"So be it.\"}\n",
        ),
        ("x.csv", "id,question,answer\n1,Why not?,So be it.\n"),
    ] {
        let error = load(name, contents, None).err().unwrap();
        assert!(
            error
                .to_string()
                .ends_with("choose one with --text-column: `question`, `answer`"),
            "{error}"
        );
        let outcome = load(name, contents, Some("answer")).unwrap();
        assert_eq!(outcome.text, "|So be it.|");
    }
    // What is called text and is none decides nothing.
    let rows = "{\"text\": [\"a\"], \"title\": \"A title\"}\n";
    let error = load("x.jsonl", rows, None).err().unwrap();
    assert!(
        error
            .to_string()
            .ends_with("does not hold a text in each row; choose one with --text-column: `title`"),
        "{error}"
    );
}

#[test]
fn a_column_may_begin_after_the_first_rows() {
    let mut rows = "{\"id\": 1}\n".repeat(200);
    rows += "{\"story\": \"Once\"}\n";
    assert_eq!(
        load("x.jsonl", &rows, Some("story")).unwrap().text,
        "|Once|"
    );
    let error = load("x.jsonl", &rows, Some("stories")).err().unwrap();
    assert!(
        matches!(&error, DataError::UnknownColumn { columns, .. } if *columns == ["id"]),
        "{error}"
    );
}

#[test]
fn nothing_but_empty_texts_is_said() {
    for (name, contents) in [
        ("x.jsonl", "{\"text\": \"\"}\n{\"text\": null}\n"),
        ("x.csv", "text,n\n,1\n,2\n"),
        ("x.csv", "text,n\n"),
    ] {
        let error = load(name, contents, None).err().unwrap();
        assert!(
            error
                .to_string()
                .ends_with(&format!("{name} has no text in the column `text`")),
            "{error}"
        );
    }
}

/// A parquet file of columns of strings.
fn parquet(file: &Path, columns: &[(&str, &[&str])]) {
    let fields: String = columns
        .iter()
        .map(|(name, _)| format!("required binary {name} (UTF8); "))
        .collect();
    let schema = parse_message_type(&format!("message rows {{ {fields} }}")).unwrap();
    let target = fs::File::create(file).unwrap();
    let mut writer = SerializedFileWriter::new(target, Arc::new(schema), Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for (_, texts) in columns {
        let values: Vec<ByteArray> = texts.iter().map(|text| ByteArray::from(*text)).collect();
        let mut column = group.next_column().unwrap().unwrap();
        let typed = column.typed::<ByteArrayType>();
        typed.write_batch(&values, None, None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
}

#[test]
fn parquet_columns_are_judged_by_their_rows() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("x.parquet");
    let load = |asked: Option<&str>| {
        let options = LoadOptions {
            text_column: asked.map(str::to_owned),
            validation_file: Some(path("wikitext/README.md")),
            ..LoadOptions::default()
        };
        let streams = DatasetSource::Files(vec![file.clone()]).load(&tokenizer(), &options)?;
        Ok::<_, DataError>(decoded(&streams.train).replace("<|endoftext|>", "|"))
    };
    let scores: (&str, &[&str]) = ("score", &["17", "18"]);
    parquet(&file, &[scores, ("story", &["once", "upon a time"])]);
    assert_eq!(load(None).unwrap(), "|once|upon a time|");
    assert_eq!(load(Some("score")).unwrap(), "|17|18|");
    parquet(&file, &[scores, ("doc_id", &["a", "b"])]);
    let error = load(None).unwrap_err();
    assert!(matches!(error, DataError::NoTextColumn { .. }), "{error}");
    parquet(&file, &[("title", &["A", "B"]), ("body", &["one", "two"])]);
    let error = load(None).unwrap_err().to_string();
    assert!(error.ends_with("--text-column: `title`, `body`"), "{error}");
}
