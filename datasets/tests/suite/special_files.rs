//! What is not a regular file, or not text.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use t81_datasets::{DataError, DatasetSource, LoadOptions, read_text};
use t81_hub::HubError;

use crate::fixtures::{TRAIN, decoded, load, train_text_of};

fn refused(path: &Path) -> String {
    let source: DatasetSource = path.to_str().unwrap().parse().unwrap();
    let error = load(&source, &LoadOptions::default()).unwrap_err();
    let is_right =
        matches!(&error, DataError::Hub(HubError::NotAFile { path: named, .. }) if named == path);
    assert!(is_right, "{error}");
    let validation = LoadOptions {
        validation_file: Some(path.to_owned()),
        ..LoadOptions::default()
    };
    let again = load(&DatasetSource::Stories, &validation).unwrap_err();
    assert_eq!(again.to_string(), error.to_string());
    error.to_string()
}

fn pipe(directory: &Path) -> PathBuf {
    let path = directory.join("pipe.txt");
    assert!(
        Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap()
            .success()
    );
    path
}

#[test]
fn what_is_not_a_regular_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let error = refused(&pipe(directory.path()));
    assert!(
        error.ends_with("pipe.txt` is a pipe, not a regular file; write what it delivers to a file first and pass that file"),
        "{error}"
    );
    let socket = directory.path().join("socket.jsonl");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let error = refused(&socket);
    assert!(
        error.ends_with("is a socket, not a regular file"),
        "{error}"
    );
    let error = refused(Path::new("/dev/zero"));
    assert_eq!(
        error,
        "`/dev/zero` is a character device, not a regular file"
    );
    let error = read_text(Path::new("/dev/zero")).unwrap_err().to_string();
    assert_eq!(
        error,
        "`/dev/zero` is a character device, not a regular file"
    );
    let error = read_text(directory.path()).unwrap_err().to_string();
    assert!(
        error.ends_with("is a directory, not a regular file"),
        "{error}"
    );
}

#[test]
fn a_pipe_is_read_where_one_reading_is_enough() {
    let directory = tempfile::tempdir().unwrap();
    let path = pipe(directory.path());
    let text = "Tom gave Mia the red ball.\n".repeat(10_000);
    std::thread::scope(|scope| {
        scope.spawn(|| fs::write(&path, &text).unwrap());
        assert!(read_text(&path).unwrap() == text);
    });
}

fn utf16(text: &str) -> Vec<u8> {
    let units = text.encode_utf16().flat_map(u16::to_le_bytes);
    [0xFF, 0xFE].into_iter().chain(units).collect()
}

#[test]
fn utf16_is_read_in_every_format() {
    let directory = tempfile::tempdir().unwrap();
    let written = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let read = |path: PathBuf| {
        train_text_of(DatasetSource::Files(vec![path]), LoadOptions::default()).unwrap()
    };
    let path = written("x.txt", &utf16(TRAIN));
    assert_eq!(read_text(&path).unwrap(), TRAIN);
    assert_eq!(read(path), TRAIN);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&utf16(TRAIN)).unwrap();
    assert_eq!(read(written("x.txt.gz", &encoder.finish().unwrap())), TRAIN);
    let documents = "<|endoftext|>one\u{e9}<|endoftext|>two<|endoftext|>";
    let json = "{\"text\": \"one\u{e9}\"}\r\n{\"text\": \"two\"}\r\n";
    assert_eq!(read(written("x.jsonl", &utf16(json))), documents);
    let table = "id\ttext\r\n1\tone\u{e9}\r\n2\ttwo\r\n";
    assert_eq!(read(written("x.tsv", &utf16(table))), documents);

    // Without a part for validation, the last tenth cannot be found by its bytes: it is held out of the tokens.
    let text = "A caf\u{e9} on the quay.\n".repeat(500);
    let source = DatasetSource::Files(vec![written("long.txt", &utf16(&text))]);
    let streams = load(&source, &LoadOptions::default()).unwrap();
    let [train, validation] = [&streams.train, &streams.validation].map(decoded);
    assert!(validation + &train == text);
}

#[test]
fn other_encodings_and_other_files_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let refused = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        let source = DatasetSource::Files(vec![path.clone()]);
        let error = load(&source, &LoadOptions::default())
            .unwrap_err()
            .to_string();
        if name.ends_with(".txt") {
            assert_eq!(read_text(&path).unwrap_err().to_string(), error);
        }
        assert!(error.contains(name), "{error}");
        error
    };
    for name in ["x.txt", "x.jsonl", "x.csv"] {
        // UTF-16 without its mark is UTF-8 with NUL characters.
        let error = refused(name, &utf16(TRAIN)[2..]);
        assert!(
            error.contains("is UTF-16LE text; convert it: `iconv -f UTF-16LE -t UTF-8"),
            "{error}"
        );
        let wide: Vec<u8> = TRAIN
            .chars()
            .flat_map(|one| u32::from(one).to_be_bytes())
            .collect();
        let error = refused(name, &wide);
        assert!(error.contains("iconv -f UTF-32BE"), "{error}");
    }
    let error = refused("x.txt", b"PK\x03\x04\x14\0");
    assert!(error.contains("zip archive"), "{error}");
    let error = refused("x.txt", b"caf\xE9 au lait");
    assert!(error.contains("iconv -f latin1"), "{error}");
    let error = refused("x.txt", &utf16(TRAIN)[..101]);
    assert!(
        error.contains("not valid UTF-16: half a character at byte 100"),
        "{error}"
    );
}

#[test]
fn what_a_download_left_in_place_of_the_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:9f2\nsize 1200\n";
    let page = "<!DOCTYPE html>\n<html><body>Sign in</body></html>\n";
    let message = "{\"error\": \"Access to this dataset is restricted.\"}";
    let written = |name: &str, contents: &str| {
        let path = directory.path().join(name);
        fs::write(&path, contents).unwrap();
        path
    };
    for name in [
        "x.parquet",
        "x.jsonl",
        "x.json",
        "x.csv",
        "x.txt",
        "x.txt.gz",
    ] {
        for (contents, said) in [
            (pointer, "git lfs pull"),
            (page, "a web page"),
            (message, "a server's message"),
        ] {
            if contents == message && name.contains("txt") {
                continue;
            }
            let source = DatasetSource::Files(vec![written(name, contents)]);
            let error = load(&source, &LoadOptions::default())
                .unwrap_err()
                .to_string();
            assert!(error.contains(name) && error.contains(said), "{error}");
        }
    }
    assert!(
        read_text(&written("x.txt", pointer))
            .unwrap_err()
            .to_string()
            .contains("git lfs pull")
    );
    // Who names a page may want it.
    assert_eq!(read_text(&written("x.html", page)).unwrap(), page);
}

#[test]
fn links_and_patterns_that_lead_nowhere_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("link.txt");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    let parsed = |path: &Path| {
        let error = path.to_str().unwrap().parse::<DatasetSource>().unwrap_err();
        error.to_string()
    };
    assert!(parsed(&link).ends_with("link.txt is a link to nowhere, where there is no file"));
    assert!(parsed(&directory.path().join("*.txt")).contains("patterns are not expanded"));
    let error = read_text(&link).unwrap_err();
    assert!(matches!(error, DataError::BrokenLink { .. }), "{error}");
}
