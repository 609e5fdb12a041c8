//! Tokens that are kept for the next time.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use t81_datasets::{
    DataError, DatasetSource, LoadEvent, LoadOptions, TokenCache, TokenStreams, story_tokenizer,
};
use tokenizers::Tokenizer;

use crate::fixtures::{configuration, path, tokenizer};

/// What a load did: files tokenized, files found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Work {
    tokenized: usize,
    cached: usize,
    notes: usize,
}

fn load_with(
    source: &DatasetSource,
    tokenizer: &Tokenizer,
    options: &LoadOptions,
) -> Result<(TokenStreams, Work), DataError> {
    let mut work = Work::default();
    let streams = source.load_with(tokenizer, options, None, &mut |event| match event {
        LoadEvent::Tokenized { .. } => work.tokenized += 1,
        LoadEvent::Cached { .. } => work.cached += 1,
        LoadEvent::Note(_) => work.notes += 1,
        _ => {}
    })?;
    Ok((streams, work))
}

fn wikitext() -> DatasetSource {
    DatasetSource::Directory(path("wikitext"))
}

fn cached(directory: &Path) -> LoadOptions {
    LoadOptions {
        cache: Some(TokenCache::new(directory)),
        ..configuration("wikitext-103-raw-v1")
    }
}

fn kept(directory: &Path) -> Vec<(PathBuf, SystemTime, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let modified = entry.metadata().unwrap().modified().unwrap();
            (entry.path(), modified, fs::read(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

fn work(tokenized: usize, cached: usize) -> Work {
    Work {
        tokenized,
        cached,
        notes: 0,
    }
}

#[test]
fn a_second_load_tokenizes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let options = cached(directory.path());
    let tokenizer = tokenizer();
    let plain = configuration("wikitext-103-raw-v1");
    let (expected, _) = load_with(&wikitext(), &tokenizer, &plain).unwrap();
    let (first, done) = load_with(&wikitext(), &tokenizer, &options).unwrap();
    assert_eq!(done, work(3, 0));
    let files = kept(directory.path());
    assert_eq!(files.len(), 3);
    // A small vocabulary takes two bytes a token.
    let bytes: usize = files.iter().map(|(_, _, bytes)| bytes.len()).sum();
    assert_eq!(
        bytes,
        3 * 64 + 2 * (first.train.len() + first.validation.len())
    );
    let (second, done) = load_with(&wikitext(), &tokenizer, &options).unwrap();
    assert_eq!(done, work(0, 3));
    assert_eq!(kept(directory.path()), files);
    assert_eq!((&first, &second), (&expected, &expected));
}

#[test]
fn what_the_tokens_follow_from_is_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    fs::create_dir(&data).unwrap();
    let row = "{\"text\": \"Tom gave Mia the red ball.\", \"other\": \"The end.\"}\n";
    for name in ["train.jsonl", "valid.jsonl"] {
        fs::write(data.join(name), row.repeat(10)).unwrap();
    }
    let source = DatasetSource::Directory(data.clone());
    let options = LoadOptions {
        cache: Some(TokenCache::new(directory.path().join("cache"))),
        ..LoadOptions::default()
    };
    let tokenizer = tokenizer();
    let load = |options: &LoadOptions| load_with(&source, &tokenizer, options).unwrap();
    // The same contents are tokenized once.
    assert_eq!(load(&options).1, work(1, 1));
    let other = LoadOptions {
        text_column: Some("other".to_owned()),
        ..options.clone()
    };
    assert_eq!(load(&other).1, work(1, 1));
    let separated = LoadOptions {
        separator: Some(7),
        ..options.clone()
    };
    assert_eq!(load(&separated).1, work(1, 1));
    let sliced = LoadOptions {
        train_split: Some("train[:5]".to_owned()),
        ..options.clone()
    };
    assert_eq!(load(&sliced).1, work(1, 1));
    let more = story_tokenizer(401).unwrap();
    assert_eq!(load_with(&source, &more, &options).unwrap().1, work(1, 1));
    fs::write(data.join("train.jsonl"), row.repeat(11)).unwrap();
    assert_eq!(load(&options).1, work(1, 1));
    assert_eq!(load(&options).1, work(0, 2));
}

#[test]
fn a_limited_load_is_served_from_a_whole_one() {
    let directory = tempfile::tempdir().unwrap();
    let tokenizer = tokenizer();
    let limited = |samples| LoadOptions {
        block_size: 8,
        max_train_samples: Some(samples),
        ..cached(directory.path())
    };
    let (five, done) = load_with(&wikitext(), &tokenizer, &limited(5)).unwrap();
    // Five blocks end within the first of two training files.
    assert_eq!(done, work(2, 0));
    assert_eq!(five.train.len(), 41);
    assert_eq!(
        load_with(&wikitext(), &tokenizer, &limited(5)).unwrap().1,
        work(0, 2)
    );
    let (all, done) = load_with(&wikitext(), &tokenizer, &cached(directory.path())).unwrap();
    assert_eq!(done, work(2, 1));
    let (six, done) = load_with(&wikitext(), &tokenizer, &limited(6)).unwrap();
    assert_eq!(done, work(0, 2));
    assert_eq!(six.train, all.train.slice(0..49));
}

#[test]
fn few_tokens_of_a_long_file_are_not_worth_a_look_into_the_cache() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("long.txt");
    fs::write(&file, "Tom gave Mia the red ball.\n".repeat(10_000)).unwrap();
    let options = LoadOptions {
        block_size: 8,
        max_train_samples: Some(2),
        max_validation_samples: Some(2),
        cache: Some(TokenCache::new(directory.path().join("cache"))),
        ..LoadOptions::default()
    };
    let source = DatasetSource::Files(vec![file]);
    for _ in 0..2 {
        let (streams, done) = load_with(&source, &tokenizer(), &options).unwrap();
        assert_eq!(done, work(2, 0));
        assert_eq!(streams.train.len(), 17);
    }
    assert!(!directory.path().join("cache").exists());
}

#[test]
fn a_damaged_stream_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let options = cached(directory.path());
    let tokenizer = tokenizer();
    let (expected, _) = load_with(&wikitext(), &tokenizer, &options).unwrap();
    let files = kept(directory.path());
    let damages: [fn(&mut Vec<u8>); 5] = [
        |bytes| bytes.truncate(bytes.len() - 1),
        |bytes| bytes.clear(),
        |bytes| bytes[70] ^= 4,
        |bytes| bytes[16] ^= 1,
        |bytes| bytes.extend([0; 4]),
    ];
    for damage in damages {
        let (path, _, bytes) = &files[1];
        let mut damaged = bytes.clone();
        damage(&mut damaged);
        fs::write(path, damaged).unwrap();
        let (streams, done) = load_with(&wikitext(), &tokenizer, &options).unwrap();
        assert_eq!(done, work(1, 2));
        assert_eq!(streams, expected);
        assert_eq!(fs::read(path).unwrap(), *bytes);
    }
}

#[test]
fn loads_at_the_same_time_agree() {
    let directory = tempfile::tempdir().unwrap();
    let options = cached(directory.path());
    let tokenizer = tokenizer();
    let streams: Vec<TokenStreams> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| load_with(&wikitext(), &tokenizer, &options).unwrap().0))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(streams.iter().all(|stream| *stream == streams[0]));
    assert_eq!(kept(directory.path()).len(), 3);
}

#[test]
fn a_place_that_cannot_be_written_is_told_and_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "x").unwrap();
    let (streams, done) = load_with(&wikitext(), &tokenizer(), &cached(&file)).unwrap();
    // Once, however many files there are.
    assert_eq!((done.tokenized, done.notes), (3, 1));
    let plain = configuration("wikitext-103-raw-v1");
    assert_eq!(
        streams,
        load_with(&wikitext(), &tokenizer(), &plain).unwrap().0
    );
}

#[test]
fn an_error_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("x.jsonl");
    // The error comes after the rows that the column is chosen by.
    let good = "{\"text\": \"good\"}\n".repeat(200);
    fs::write(&file, good + "bad\n").unwrap();
    let cache = directory.path().join("cache");
    let options = LoadOptions {
        cache: Some(TokenCache::new(&cache)),
        ..LoadOptions::default()
    };
    let error = load_with(&DatasetSource::Files(vec![file]), &tokenizer(), &options).unwrap_err();
    assert!(matches!(error, DataError::JsonRow { .. }), "{error}");
    assert_eq!(fs::read_dir(&cache).unwrap().count(), 0);
}

/// Runs as a process of its own, whose files may have no more than a few kilobytes: writing fails as on a full disk.
#[cfg(unix)]
#[test]
fn a_full_disk_is_told_and_passed_over() {
    const CHILD: &str = "T81_TEST_FULL_DISK";
    if let Some(directory) = std::env::var_os(CHILD) {
        let directory = PathBuf::from(directory);
        let options = LoadOptions {
            cache: Some(TokenCache::new(directory.join("cache"))),
            ..LoadOptions::default()
        };
        let source = DatasetSource::Files(vec![directory.join("long.txt")]);
        let (streams, done) = load_with(&source, &tokenizer(), &options).unwrap();
        assert_eq!((done.tokenized, done.cached, done.notes), (2, 0, 1));
        let plain = LoadOptions::default();
        assert_eq!(streams, load_with(&source, &tokenizer(), &plain).unwrap().0);
        return;
    }
    // The first text fails when its tokens are completed, the second while they are written.
    for lines in [2_000, 60_000] {
        let directory = tempfile::tempdir().unwrap();
        let text = "Tom gave Mia the red ball.\n".repeat(lines);
        fs::write(directory.path().join("long.txt"), text).unwrap();
        let output = std::process::Command::new("sh")
            .args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\""])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "cache::a_full_disk_is_told_and_passed_over"])
            .env(CHILD, directory.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{said}"
        );
        let left = fs::read_dir(directory.path().join("cache")).unwrap();
        assert_eq!(left.count(), 0);
    }
}
