//! Files in whose place something else lies: pointers of Git LFS, web pages, messages of servers.

use std::path::Path;

use t81_hub::{Checkpoint, Dtype, ForeignContent, HubError, Tokenizer};

use crate::model::{SHARDS, chain, write_sharded, write_single};

const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/v1\n\
    oid sha256:8b4c2a51c7b0d1e8\nsize 538090408\n";
const PAGE: &[u8] = b"<!doctype html>\n<html class=\"\"><head><title>model.safetensors</title>";
const MESSAGE: &[u8] = b"{\"error\":\"Access to model x/y is restricted\"}";
const GZIP: &[u8] = b"\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\x03";

/// Puts each substitute in the place of `file` and checks what `open` says.
fn substitute(file: &Path, open: impl Fn() -> Option<HubError>) {
    for (contents, words) in [
        (
            POINTER,
            &["Git LFS pointer", "538090408 bytes", "git lfs pull"][..],
        ),
        (PAGE, &["a web page", "/resolve/"]),
        (
            MESSAGE,
            &["server's message", "Access to model x/y is restricted"],
        ),
        (GZIP, &["gzip", "gunzip"]),
    ] {
        std::fs::write(file, contents).unwrap();
        let error = open().unwrap_or_else(|| panic!("{} was accepted", file.display()));
        let message = chain(&error);
        for word in words
            .iter()
            .copied()
            .chain(file.file_name().unwrap().to_str())
        {
            assert!(message.contains(word), "`{message}` lacks `{word}`");
        }
        assert!(matches!(error, HubError::Foreign { .. }), "{error:?}");
    }
}

#[test]
fn the_files_of_a_model_say_what_lies_in_their_place() {
    let directory = tempfile::tempdir().unwrap();
    let open = || Checkpoint::open(directory.path()).err();
    for name in ["model.safetensors", "config.json"] {
        write_single(directory.path(), Dtype::F32);
        substitute(&directory.path().join(name), open);
    }
    std::fs::remove_file(directory.path().join("model.safetensors")).unwrap();
    for name in ["model.safetensors.index.json", SHARDS[1]] {
        write_sharded(directory.path());
        substitute(&directory.path().join(name), open);
    }
    substitute(&directory.path().join("tokenizer.json"), || {
        Tokenizer::open(directory.path()).err()
    });
}

/// A header's length may begin like compressed data.
#[test]
fn weights_that_begin_like_another_format_are_read() {
    let directory = tempfile::tempdir().unwrap();
    write_single(directory.path(), Dtype::F32);
    let path = directory.path().join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let padded = 0x8b1f;
    let mut longer = (padded as u64).to_le_bytes().to_vec();
    longer.extend_from_slice(&bytes[8..8 + length]);
    longer.resize(8 + padded, b' ');
    longer.extend_from_slice(&bytes[8 + length..]);
    assert!(ForeignContent::recognize(&longer).is_some());
    std::fs::write(&path, longer).unwrap();
    Checkpoint::open(directory.path()).unwrap();
}
