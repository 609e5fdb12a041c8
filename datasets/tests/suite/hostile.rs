//! Damaged files: an error each time, or text, but nothing worse.

use std::fs;
use std::path::Path;

use t81_datasets::{DataError, DatasetSource, LoadOptions};

use crate::fixtures::{path, tokenizer};

/// Loads the file at `path` from `bytes`; any outcome is right as long as there is one.
fn survive(path: &Path, bytes: &[u8]) -> Result<usize, DataError> {
    fs::write(path, bytes).unwrap();
    let options = LoadOptions {
        validation_file: Some(crate::fixtures::path("wikitext/README.md")),
        ..LoadOptions::default()
    };
    thread_local!(static TOKENIZER: tokenizers::Tokenizer = tokenizer());
    TOKENIZER.with(|tokenizer| {
        DatasetSource::Files(vec![path.to_owned()])
            .load(tokenizer, &options)
            .map(|streams| streams.train.len())
    })
}

/// A generator of pseudo-random numbers (SplitMix64) that needs no seed from outside.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

#[test]
fn cut_off_parquet_is_an_error_at_every_length() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("x.parquet");
    for name in ["codecs/zstd.parquet", "codecs/page_v2.parquet"] {
        let bytes = fs::read(path(name)).unwrap();
        survive(&file, &bytes).unwrap();
        for length in (4..bytes.len()).step_by(3) {
            let error = survive(&file, &bytes[..length]).unwrap_err();
            assert!(matches!(error, DataError::Parquet { .. }), "{error}");
        }
    }
}

#[test]
fn changed_parquet_is_an_error_or_text() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("x.parquet");
    let mut numbers = Numbers(1);
    let (mut errors, mut texts) = (0, 0);
    for name in [
        "codecs/none.parquet",
        "codecs/snappy.parquet",
        "codecs/zstd.parquet",
        "codecs/gzip.parquet",
        "codecs/lz4.parquet",
        "codecs/page_v2.parquet",
        "documents.parquet",
        "delta.parquet",
    ] {
        let original = fs::read(path(name)).unwrap();
        for _ in 0..80 {
            let mut bytes = original.clone();
            for _ in 0..=numbers.below(3) {
                let at = numbers.below(bytes.len() - 8) + 4;
                bytes[at] = match numbers.below(3) {
                    0 => bytes[at] ^ (1 << numbers.below(8)),
                    1 => [0, 0x7F, 0x80, 0xFF][numbers.below(4)],
                    _ => numbers.next() as u8,
                };
            }
            match survive(&file, &bytes) {
                Ok(_) => texts += 1,
                Err(error) => {
                    errors += 1;
                    assert!(error.to_string().contains("x.parquet"), "{error}");
                }
            }
        }
    }
    assert!(errors > 150 && texts > 30, "{errors} errors, {texts} texts");
}

/// A page header in Thrift's compact protocol: type, sizes, then what follows.
fn page(kind: u8, uncompressed: u64, compressed: u64, rest: &[u8]) -> Vec<u8> {
    let number = |value: u64| {
        let mut value = value << 1;
        let mut bytes = Vec::new();
        while value >= 0x80 {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    };
    [
        &[0x15][..],
        &number(u64::from(kind)),
        &[0x15],
        &number(uncompressed),
        &[0x15],
        &number(compressed),
        rest,
        &[0],
    ]
    .concat()
}

#[test]
fn page_headers_that_claim_too_much_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("x.parquet");
    let original = fs::read(path("codecs/none.parquet")).unwrap();
    let huge = u64::from(u32::MAX >> 1);
    for (header, reason) in [
        (page(0, huge, 10, &[]), "more than 256 MiB"),
        (page(0, 10, huge, &[]), "more than 256 MiB"),
        (page(0, 10, 1 << 20, &[]), "longer than its column"),
        // A dictionary of 2^20 values in 10 bytes.
        (
            page(2, 10, 10, &[0x4C, 0x15, 0x80, 0x80, 0x80, 0x01, 0]),
            "more values than bytes",
        ),
        // Statistics with a value of 2^40 bytes.
        (
            page(
                0,
                10,
                10,
                &[0x2C, 0x5C, 0x18, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20],
            ),
            "more than 64 MiB",
        ),
        (page(0, 10, 10, &[0x2C; 20]), "nested too deeply"),
        (page(0, 10, 10, &[0x2D]), "none"),
    ] {
        let mut bytes = original.clone();
        bytes[4..4 + header.len()].copy_from_slice(&header);
        let error = survive(&file, &bytes).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}, not {reason}");
    }
    let mut bytes = original.clone();
    let footer = bytes.len() - 8;
    bytes[footer..footer + 4].copy_from_slice(&(64_u32 << 20).to_le_bytes());
    let error = survive(&file, &bytes).unwrap_err().to_string();
    assert!(error.contains("longer than 32 MiB"), "{error}");
}

#[test]
fn changed_json_and_compressed_files_are_errors_or_text() {
    let directory = tempfile::tempdir().unwrap();
    let rows = "{\"text\": \"Tom gave Mia the red ball.\", \"n\": [1, {\"a\": null}]}\n".repeat(8);
    let gzip = {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(rows.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = zstd::encode_all(rows.as_bytes(), 3).unwrap();
    let array = format!("[{}]", rows.trim_end().replace('\n', ","));
    let mut numbers = Numbers(2);
    let mut errors = 0;
    for (name, original) in [
        ("x.jsonl", rows.as_bytes()),
        ("x.json", array.as_bytes()),
        ("x.jsonl.gz", &gzip),
        ("x.jsonl.zst", &zstd),
    ] {
        let file = directory.path().join(name);
        assert_eq!(
            survive(&file, original).unwrap(),
            survive(&file, original).unwrap()
        );
        for _ in 0..60 {
            let mut bytes = original.to_vec();
            if numbers.below(4) == 0 {
                bytes.truncate(numbers.below(bytes.len()));
            } else {
                let at = numbers.below(bytes.len());
                bytes[at] ^= 1 << numbers.below(8);
            }
            if let Err(error) = survive(&file, &bytes) {
                errors += 1;
                assert!(error.to_string().contains(name), "{error}");
            }
        }
    }
    assert!(errors > 60, "{errors}");
}
