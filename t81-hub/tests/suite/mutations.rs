//! Damaged and hostile checkpoints: each mutation of a good one gives an error that names what is wrong.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use t81_hub::{Checkpoint, Dtype};

use crate::model::{SHARDS, chain, edit_header, edit_json, write_sharded, write_single};

fn open_and_check(directory: &Path) -> Result<(), t81_hub::HubError> {
    let checkpoint = Checkpoint::open(directory)?;
    checkpoint.config().check(&checkpoint)
}

type Mutation = (&'static str, fn(&Path), &'static [&'static str]);

fn expect_errors(write: fn(&Path), table: &[Mutation]) {
    for (title, mutate, expected) in table {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path());
        open_and_check(directory.path()).unwrap();
        mutate(directory.path());
        let message = match open_and_check(directory.path()) {
            Ok(()) => panic!("{title}: accepted"),
            Err(error) => chain(&error),
        };
        for expected in *expected {
            assert!(
                message.contains(expected),
                "{title}: `{message}` lacks `{expected}`"
            );
        }
    }
}

fn file(directory: &Path) -> std::path::PathBuf {
    directory.join("model.safetensors")
}

fn rewrite(path: &Path, edit: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    edit(&mut bytes);
    fs::write(path, bytes).unwrap();
}

const NORM: &str = "model.norm.weight";

#[test]
fn damaged_single_files() {
    let table: &[Mutation] = &[
        (
            "empty file",
            |d| fs::write(file(d), b"").unwrap(),
            &["model.safetensors", "too few"],
        ),
        (
            "seven bytes",
            |d| fs::write(file(d), [0; 7]).unwrap(),
            &["7 bytes"],
        ),
        (
            "header cut",
            |d| rewrite(&file(d), |b| b.truncate(100)),
            &["ends within the header"],
        ),
        (
            "data cut",
            |d| rewrite(&file(d), |b| b.truncate(b.len() - 1)),
            &["truncated"],
        ),
        (
            "data appended",
            |d| rewrite(&file(d), |b| b.push(0)),
            &["1 bytes follow"],
        ),
        (
            "header length u64::MAX",
            |d| rewrite(&file(d), |b| b[..8].fill(0xff)),
            &["18446744073709551615 bytes"],
        ),
        (
            "header length above the file",
            |d| {
                rewrite(&file(d), |b| {
                    b[..8].copy_from_slice(&90_000_000u64.to_le_bytes())
                })
            },
            &["90000000 bytes announced"],
        ),
        (
            "header is no UTF-8",
            |d| rewrite(&file(d), |b| b[20] = 0xff),
            &["header"],
        ),
        (
            "header is no JSON",
            |d| rewrite(&file(d), |b| b[8] = b'!'),
            &["header"],
        ),
        (
            "offsets overlap",
            |d| {
                edit_header(&file(d), |h| {
                    let end = h[NORM]["data_offsets"][1].as_u64().unwrap();
                    h[NORM]["data_offsets"] = json!([end - 44, end - 4]);
                });
            },
            &["overlaps its predecessor or leaves a gap"],
        ),
        (
            "offsets beyond the file",
            |d| edit_header(&file(d), |h| h[NORM]["data_offsets"] = json!([0, u64::MAX])),
            &[NORM, "truncated"],
        ),
        (
            "negative offset",
            |d| edit_header(&file(d), |h| h[NORM]["data_offsets"] = json!([-1, 4])),
            &[NORM],
        ),
        (
            "shape overflows",
            |d| {
                edit_header(&file(d), |h| {
                    h[NORM]["shape"] = json!([1u64 << 33, 1u64 << 33])
                })
            },
            &["overflow"],
        ),
        (
            "shape contradicts size",
            |d| edit_header(&file(d), |h| h[NORM]["shape"] = json!([21])),
            &[NORM, "does not fit its 40 bytes"],
        ),
        (
            "shape contradicts the configuration",
            |d| edit_header(&file(d), |h| h[NORM]["shape"] = json!([2, 10])),
            &[NORM, "[2, 10]", "[20]"],
        ),
        (
            "transposed projection",
            |d| {
                edit_header(&file(d), |h| {
                    h["model.layers.1.mlp.down_proj.weight"]["shape"] = json!([36, 20]);
                });
            },
            &[
                "model.layers.1.mlp.down_proj.weight",
                "[36, 20]",
                "[20, 36]",
            ],
        ),
        (
            "unknown dtype",
            |d| edit_header(&file(d), |h| h[NORM]["dtype"] = json!("Q9")),
            &[NORM, "Q9"],
        ),
        (
            "integer dtype",
            |d| edit_header(&file(d), |h| h[NORM]["dtype"] = json!("I16")),
            &[NORM, "I16", "only F32, F16 and BF16"],
        ),
        (
            "missing tensor",
            |d| {
                edit_header(&file(d), |h| {
                    let info = h.as_object_mut().unwrap().shift_remove(NORM).unwrap();
                    h["model.other.weight"] = info;
                });
            },
            &["`model.norm.weight` is missing"],
        ),
        (
            "tensor named twice",
            |d| {
                rewrite(&file(d), |b| {
                    let length = u64::from_le_bytes(b[..8].try_into().unwrap()) as usize;
                    let header: Value = serde_json::from_slice(&b[8..8 + length]).unwrap();
                    let again = format!(",{}:{}}}", json!(NORM), header[NORM]);
                    let end = b[..8 + length]
                        .iter()
                        .rposition(|byte| *byte == b'}')
                        .unwrap();
                    b.splice(end..=end, again.bytes());
                    let longer = (length + again.len() - 1) as u64;
                    b[..8].copy_from_slice(&longer.to_le_bytes());
                });
            },
            &["`model.norm.weight` occurs twice"],
        ),
        (
            "metadata of another type",
            |d| edit_header(&file(d), |h| h["__metadata__"] = json!(3)),
            &["__metadata__"],
        ),
        (
            "a directory in place of the file",
            |d| {
                fs::remove_file(file(d)).unwrap();
                fs::create_dir(file(d)).unwrap();
            },
            &["not a regular file"],
        ),
        (
            "no weights",
            |d| fs::remove_file(file(d)).unwrap(),
            &["neither model.safetensors nor"],
        ),
        (
            "no config",
            |d| fs::remove_file(d.join("config.json")).unwrap(),
            &["config.json"],
        ),
        (
            "config no JSON",
            |d| fs::write(d.join("config.json"), b"{").unwrap(),
            &["config.json", "EOF"],
        ),
        (
            "config no object",
            |d| fs::write(d.join("config.json"), b"[]").unwrap(),
            &["is not an object"],
        ),
        (
            "deeply nested config",
            |d| fs::write(d.join("config.json"), "[".repeat(100_000)).unwrap(),
            &["recursion limit"],
        ),
    ];
    expect_errors(|directory| write_single(directory, Dtype::BF16), table);
}

fn index(directory: &Path) -> std::path::PathBuf {
    directory.join("model.safetensors.index.json")
}

#[test]
fn damaged_shards() {
    let table: &[Mutation] = &[
        (
            "missing shard",
            |d| fs::remove_file(d.join(SHARDS[1])).unwrap(),
            &[SHARDS[1], "does not exist", "incomplete"],
        ),
        (
            "truncated shard",
            |d| rewrite(&d.join(SHARDS[1]), |b| b.truncate(b.len() / 2)),
            &[SHARDS[1], "truncated"],
        ),
        (
            "swapped shards",
            |d| {
                fs::rename(d.join(SHARDS[0]), d.join("x")).unwrap();
                fs::rename(d.join(SHARDS[1]), d.join(SHARDS[0])).unwrap();
                fs::rename(d.join("x"), d.join(SHARDS[1])).unwrap();
            },
            &["is missing from", SHARDS[0]],
        ),
        (
            "the same tensors in both shards",
            |d| {
                fs::copy(d.join(SHARDS[0]), d.join(SHARDS[1])).unwrap();
            },
            &["is in both", SHARDS[0], SHARDS[1]],
        ),
        (
            "path traversal",
            |d| {
                edit_json(&index(d), |i| {
                    i["weight_map"][NORM] = json!("../../etc/passwd.safetensors")
                })
            },
            &[
                "../../etc/passwd.safetensors",
                "plain .safetensors file name",
            ],
        ),
        (
            "absolute path",
            |d| {
                edit_json(&index(d), |i| {
                    i["weight_map"][NORM] = json!("/etc/hosts.safetensors")
                })
            },
            &["/etc/hosts.safetensors", "plain"],
        ),
        (
            "another kind of file",
            |d| edit_json(&index(d), |i| i["weight_map"][NORM] = json!("config.json")),
            &["config.json", "plain .safetensors"],
        ),
        (
            "index lists a tensor that its shard lacks",
            |d| edit_json(&index(d), |i| i["weight_map"]["ghost"] = json!(SHARDS[0])),
            &["`ghost` is missing from", SHARDS[0]],
        ),
        (
            "index lists a name twice",
            |d| {
                let text = fs::read_to_string(index(d)).unwrap();
                let again = format!("\"weight_map\":{{\"{NORM}\":\"{}\",", SHARDS[0]);
                fs::write(index(d), text.replace("\"weight_map\":{", &again)).unwrap();
            },
            &["`model.norm.weight` occurs twice"],
        ),
        (
            "index without a map",
            |d| fs::write(index(d), b"{}").unwrap(),
            &["weight_map"],
        ),
        (
            "empty map",
            |d| fs::write(index(d), br#"{"weight_map":{}}"#).unwrap(),
            &["is empty"],
        ),
        (
            "index no JSON",
            |d| fs::write(index(d), b"\0").unwrap(),
            &["index.json"],
        ),
        (
            "shard number instead of a name",
            |d| edit_json(&index(d), |i| i["weight_map"][NORM] = json!(1)),
            &["index.json", NORM],
        ),
    ];
    expect_errors(write_sharded, table);
}

#[test]
fn a_source_that_is_no_directory() {
    let message = open_and_check(Path::new("HuggingFaceTB/SmolLM2-135M"))
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("`HuggingFaceTB/SmolLM2-135M` was not found"),
        "{message}"
    );
}
