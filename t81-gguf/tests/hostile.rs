//! The reader against files that lie: every lie has its error, and no lie makes it panic or allocate.

use proptest::prelude::*;
use t81_gguf::{FormatError, GgufError, GgufFile, GgufHeader, MetadataValue};

const GOLDEN: &[u8] = include_bytes!("fixtures/golden.gguf");

/// Bytes of a GGUF file, field by field.
#[derive(Clone, Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn header(tensors: u64, entries: u64) -> Self {
        Self(b"GGUF".to_vec()).u32(3).u64(tensors).u64(entries)
    }

    fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    fn text(self, text: &str) -> Self {
        self.u64(text.len() as u64).raw(text.as_bytes())
    }

    fn tensor(self, name: &str, dimensions: &[u64], kind: u32, offset: u64) -> Self {
        let mut bytes = self.text(name).u32(dimensions.len() as u32);
        for &dimension in dimensions {
            bytes = bytes.u64(dimension);
        }
        bytes.u32(kind).u64(offset)
    }

    /// Pads to the alignment and appends `data` bytes.
    fn data(mut self, data: usize) -> Self {
        self.0.resize(self.0.len().next_multiple_of(32) + data, 0);
        self
    }

    fn error(&self) -> FormatError {
        GgufHeader::parse(&self.0).unwrap_err()
    }
}

fn one_tensor(dimensions: &[u64], kind: u32, offset: u64, data: usize) -> Bytes {
    Bytes::header(1, 0)
        .tensor("t", dimensions, kind, offset)
        .data(data)
}

fn one_entry(type_id: u32) -> Bytes {
    Bytes::header(0, 1).text("key").u32(type_id)
}

#[test]
fn the_header_is_checked() {
    use FormatError::*;
    assert!(matches!(Bytes::default().error(), Magic { .. }));
    assert!(matches!(Bytes(b"GGU".to_vec()).error(), Magic { .. }));
    assert!(matches!(
        Bytes(b"PK\x03\x04....".to_vec()).error(),
        Magic { .. }
    ));
    assert!(matches!(
        Bytes(b"GGUF".to_vec()).error(),
        Truncated {
            needed: 4,
            remaining: 0,
            ..
        }
    ));
    for version in [0, 1, 4] {
        assert_eq!(
            Bytes(b"GGUF".to_vec()).u32(version).error(),
            Version(version)
        );
    }
    assert_eq!(Bytes(b"GGUF".to_vec()).u32(3 << 24).error(), BigEndian);
    assert!(
        matches!(Bytes::header(0, 0).0[..20].to_vec(), short if GgufHeader::parse(&short).is_err())
    );
    assert!(GgufHeader::parse(&Bytes::header(0, 0).0).is_ok());
}

#[test]
fn counts_are_checked_before_anything_is_allocated() {
    use FormatError::*;
    for count in [1, 1 << 40, u64::MAX] {
        assert!(
            matches!(Bytes::header(count, 0).error(), Count { .. }),
            "{count} tensors"
        );
        assert!(
            matches!(Bytes::header(0, count).error(), Count { .. }),
            "{count} entries"
        );
        for (element, least) in [(0, 1), (4, 4), (7, 1), (8, 8), (9, 12), (12, 8)] {
            let bytes = one_entry(9)
                .u32(element)
                .u64(count)
                .raw(&vec![0; least - 1]);
            assert!(
                matches!(bytes.error(), Count { .. }),
                "{count} elements of type {element}"
            );
        }
        assert!(
            matches!(one_entry(8).u64(count).error(), Truncated { .. }),
            "string of {count} bytes"
        );
        // The key's length claims all that is left and more.
        let key = Bytes::header(0, 1).u64(count.max(7)).raw(&[0; 6]);
        assert!(
            matches!(key.error(), Truncated { .. }),
            "key of {count} bytes"
        );
    }
}

#[test]
fn metadata_is_checked() {
    use FormatError::*;
    assert_eq!(
        one_entry(13).raw(&[0; 8]).error(),
        ValueType {
            key: "key".into(),
            type_id: 13
        }
    );
    assert_eq!(
        one_entry(9).u32(99).u64(0).error(),
        ValueType {
            key: "key".into(),
            type_id: 99
        }
    );
    assert_eq!(
        one_entry(7).raw(&[2]).error(),
        Boolean {
            key: "key".into(),
            value: 2
        }
    );
    assert_eq!(
        one_entry(9).u32(7).u64(2).raw(&[1, 7]).error(),
        Boolean {
            key: "key".into(),
            value: 7
        }
    );
    // Other programs write such texts; names are another matter.
    let text = GgufHeader::parse(&one_entry(8).u64(2).raw(&[0xff, 0xfe]).0).unwrap();
    assert_eq!(
        text.metadata.get("key"),
        Some(&MetadataValue::Bytes(vec![0xff, 0xfe]))
    );
    assert!(matches!(
        Bytes::header(0, 1)
            .u64(2)
            .raw(&[0xff, 0xfe])
            .u32(0)
            .raw(&[0])
            .error(),
        Utf8 { .. }
    ));
    assert!(matches!(
        Bytes::header(0, 1).text("").u32(0).raw(&[0, 0]).error(),
        EmptyName { .. }
    ));
    let twice = Bytes::header(0, 2)
        .text("key")
        .u32(0)
        .raw(&[1])
        .text("key")
        .u32(0)
        .raw(&[1]);
    assert_eq!(twice.error(), DuplicateKey { key: "key".into() });
    assert!(matches!(
        one_entry(10).raw(&[0; 7]).error(),
        Truncated {
            needed: 8,
            remaining: 7,
            ..
        }
    ));
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| {
        let mut bytes = one_entry(9);
        for _ in 1..depth {
            bytes = bytes.u32(9).u64(1);
        }
        bytes.u32(0).u64(0)
    };
    assert!(GgufHeader::parse(&nested(4).0).is_ok());
    assert_eq!(
        nested(5).error(),
        FormatError::Nesting {
            key: "key".into(),
            limit: 4
        }
    );
    assert_eq!(
        nested(100_000).error(),
        FormatError::Nesting {
            key: "key".into(),
            limit: 4
        }
    );
}

#[test]
fn alignment_is_checked() {
    let with = |type_id: u32, value: &[u8]| {
        Bytes::header(0, 1)
            .text("general.alignment")
            .u32(type_id)
            .raw(value)
    };
    for value in [0u32, 1, 4, 24, 33, u32::MAX] {
        assert!(
            matches!(
                with(4, &value.to_le_bytes()).error(),
                FormatError::Alignment { .. }
            ),
            "{value}"
        );
    }
    assert!(matches!(
        with(10, &32u64.to_le_bytes()).error(),
        FormatError::Alignment { .. }
    ));
    assert_eq!(
        GgufHeader::parse(&with(4, &(1u32 << 31).to_le_bytes()).0)
            .unwrap()
            .alignment,
        1 << 31
    );
}

#[test]
fn tensors_are_checked() {
    use FormatError::*;
    assert!(GgufHeader::parse(&one_tensor(&[8], 0, 0, 32).0).is_ok());
    assert!(matches!(
        one_tensor(&[8; 5], 0, 0, 32).error(),
        Dimensions { dimensions: 5, .. }
    ));
    assert!(matches!(
        Bytes::header(1, 0)
            .text("t")
            .u32(u32::MAX)
            .raw(&[0; 64])
            .error(),
        Dimensions { .. }
    ));
    assert!(matches!(
        one_tensor(&[8, 0], 0, 0, 32).error(),
        Shape { .. }
    ));
    for dimensions in [
        &[u64::MAX][..],
        &[1 << 32, 1 << 32],
        &[1 << 62, 2],
        &[1 << 61, 1],
        &[8, 1 << 63],
    ] {
        assert!(
            matches!(one_tensor(dimensions, 0, 0, 32).error(), Shape { .. }),
            "{dimensions:?}"
        );
    }
    for (kind, text) in [
        (4, "Q4_2, which ggml has retired"),
        (31, "Q4_0_4_4"),
        (36, "I2_S of BitNet"),
        (137, "IQ2_K of ik_llama.cpp"),
        (142, "PQ2_0 of PrismML's llama.cpp"),
        (143, "PTQ1_0 of PrismML's llama.cpp"),
        (339, "row-interleaved type of ik_llama.cpp"),
        (43, "a fork of llama.cpp or of a later version"),
        (u32::MAX, "a fork of llama.cpp or of a later version"),
    ] {
        let error = one_tensor(&[8], kind, 0, 32).error();
        assert!(matches!(error, TensorType { type_id, .. } if type_id == kind));
        let message = error.to_string();
        assert!(message.contains(text), "{message}");
        assert!(message.contains(&format!("type {kind}")), "{message}");
    }
    assert!(matches!(
        one_tensor(&[200], 35, 0, 512).error(),
        BlockLength {
            columns: 200,
            block_len: 256,
            ..
        }
    ));
    assert!(matches!(
        one_tensor(&[8], 0, 8, 64).error(),
        Misaligned {
            offset: 8,
            alignment: 32,
            ..
        }
    ));
    assert!(matches!(
        one_tensor(&[8], 0, 0, 31).error(),
        OutOfRange {
            bytes: 32,
            available: 31,
            ..
        }
    ));
    assert!(matches!(
        one_tensor(&[8], 0, u64::MAX - 31, 64).error(),
        OutOfRange { .. }
    ));
    assert!(matches!(
        one_tensor(&[1 << 40], 0, 0, 64).error(),
        OutOfRange { .. }
    ));
    assert!(matches!(
        Bytes::header(1, 0).tensor("", &[8], 0, 0).data(32).error(),
        EmptyName { .. }
    ));
    let long = "x".repeat(64);
    assert!(matches!(
        Bytes::header(1, 0)
            .tensor(&long, &[8], 0, 0)
            .data(32)
            .error(),
        NameLength { length: 64, .. }
    ));
    let twice = Bytes::header(2, 0)
        .tensor("t", &[8], 0, 0)
        .tensor("t", &[8], 0, 32)
        .data(64);
    assert_eq!(twice.error(), DuplicateTensor { name: "t".into() });
    let overlap = Bytes::header(2, 0)
        .tensor("b", &[16], 0, 32)
        .tensor("a", &[16], 0, 0)
        .data(96);
    assert_eq!(
        overlap.error(),
        Overlap {
            first: "a".into(),
            second: "b".into()
        }
    );
    // 32 blocks of 64 weights are 576 bytes, 16 of 128 are 544.
    let blocks_of_128 = |second_kind: u32, second: u64, data: usize| {
        Bytes::header(2, 0)
            .tensor("a", &[128, 16], 42, 0)
            .tensor("b", &[128, 16], second_kind, second)
            .data(data)
            .error()
    };
    for error in [
        blocks_of_128(42, 544, 2 * 544),
        blocks_of_128(0, 544, 544 + 4 * 128 * 16),
    ] {
        assert_eq!(error, BlocksOf128 { name: "a".into() });
        assert!(error.to_string().contains("PrismML"), "{error}");
    }
    let last = one_tensor(&[128, 16], 42, 0, 544).error();
    assert_eq!(last, BlocksOf128 { name: "t".into() });
    assert!(matches!(blocks_of_128(42, 512, 2 * 544), Overlap { .. }));
    assert!(matches!(blocks_of_128(42, 576, 2 * 544), OutOfRange { .. }));
    // No padding is needed after the last tensor, and tensors may lie in any order.
    let reordered = Bytes::header(2, 0)
        .tensor("b", &[1], 0, 32)
        .tensor("a", &[8], 0, 0)
        .data(36);
    assert!(GgufHeader::parse(&reordered.0).is_ok());
}

#[test]
fn every_truncation_is_an_error_or_drops_padding_only() {
    let whole = GgufHeader::parse(GOLDEN).unwrap();
    let data_end = whole
        .tensors
        .iter()
        .map(|info| info.offset + info.bytes)
        .max()
        .unwrap()
        + whole.data_start;
    for length in 0..GOLDEN.len() {
        let parsed = GgufHeader::parse(&GOLDEN[..length]);
        assert_eq!(parsed.is_ok(), length as u64 >= data_end, "{length} bytes");
    }
}

#[test]
fn errors_name_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bad.gguf");
    for content in [&b""[..], b"not a model", &GOLDEN[..100]] {
        std::fs::write(&path, content).unwrap();
        let error = GgufFile::open(&path).unwrap_err();
        assert!(matches!(error, GgufError::Malformed { .. }), "{error:?}");
        assert!(error.to_string().contains("bad.gguf"), "{error}");
    }
    assert!(matches!(
        GgufFile::open(directory.path()),
        Err(GgufError::NotAFile { .. })
    ));
    // The device has no end, and a pipe without a writer would keep the reader waiting.
    #[cfg(unix)]
    for (special, kind) in [("/dev/zero", "a character device"), ("pipe", "a pipe")] {
        let path = directory.path().join(special);
        if special == "pipe" {
            assert!(
                std::process::Command::new("mkfifo")
                    .arg(&path)
                    .status()
                    .unwrap()
                    .success()
            );
        }
        let error = GgufFile::open(&path).unwrap_err().to_string();
        assert!(
            error.ends_with(&format!("is {kind}, not a regular file")),
            "{error}"
        );
    }
    assert!(matches!(
        GgufFile::open(directory.path().join("absent")),
        Err(GgufError::NotFound { .. })
    ));
}

/// Reads everything that an accepted file offers.
fn exercise(bytes: &[u8]) {
    let Ok(header) = GgufHeader::parse(bytes) else {
        return;
    };
    let text: usize = header
        .metadata
        .iter()
        .map(|(key, value)| key.len() + value.to_string().len())
        .sum();
    assert!(text < 100 * bytes.len() + 1000);
    for info in &header.tensors {
        assert!(header.data_start + info.offset + info.bytes <= bytes.len() as u64);
        assert!(info.elements() > 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn flipped_bits_never_panic(flips in prop::collection::vec((0..GOLDEN.len(), 0u8..8), 1..6), length in 0..=GOLDEN.len()) {
        let mut bytes = GOLDEN.to_vec();
        for (position, bit) in flips {
            bytes[position] ^= 1 << bit;
        }
        exercise(&bytes);
        exercise(&bytes[..length]);
    }

    #[test]
    fn replaced_words_never_panic(position in 0..GOLDEN.len() - 8, word in prop_oneof![
        Just(0u64), Just(u64::MAX), Just(1 << 63), Just(i64::MAX as u64), any::<u64>(), 0u64..100
    ]) {
        let mut bytes = GOLDEN.to_vec();
        bytes[position..position + 8].copy_from_slice(&word.to_le_bytes());
        exercise(&bytes);
    }

    #[test]
    fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend(noise);
        exercise(&bytes);
    }
}

#[test]
fn what_lies_in_place_of_a_gguf_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("m.gguf");
    for (contents, expected) in [
        (
            &b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 99\n"[..],
            "`git lfs pull`",
        ),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"Entry not found", "\"Entry not found\""),
    ] {
        std::fs::write(&path, contents).unwrap();
        let message = GgufFile::open(&path).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
        assert!(message.contains("m.gguf"), "{message}");
    }
}
