//! Damaged and hostile t81 directories.

use std::fs;
use std::path::Path;

use serde_json::json;
use t81_core::Granularity;
use t81_hub::{Dtype, HubError, OutputFormat, T81Directory};

use crate::model::{chain, edit_header, edit_json, write_single};
use crate::t81_directory::write_t81;

const NAME: &str = "model.layers.0.mlp.down_proj.weight";

fn metadata(directory: &Path) -> std::path::PathBuf {
    directory.join("t81_metadata.json")
}

fn weights(directory: &Path) -> std::path::PathBuf {
    directory.join("model.safetensors")
}

/// Changes the stored bytes of one tensor.
fn edit_tensor(directory: &Path, name: &str, edit: impl FnOnce(&mut [u8])) {
    let path = weights(directory);
    let mut bytes = fs::read(&path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let offset =
        |index: usize| 8 + length + header[name]["data_offsets"][index].as_u64().unwrap() as usize;
    let range = offset(0)..offset(1);
    edit(&mut bytes[range]);
    fs::write(path, bytes).unwrap();
}

/// Opens the directory and reads every tensor.
fn read_all(directory: &Path) -> Result<(), HubError> {
    let directory = T81Directory::open(directory)?;
    directory
        .names()
        .try_for_each(|name| directory.get(name).map(drop))
}

type Mutation = (&'static str, fn(&Path), &'static [&'static str]);

fn expect_errors(format: OutputFormat, table: &[Mutation]) {
    let source = tempfile::tempdir().unwrap();
    write_single(source.path(), Dtype::BF16);
    for (title, mutate, expected) in table {
        let directory = source.path().join("out");
        write_t81(
            source.path(),
            &directory,
            Granularity::group(10).unwrap(),
            format,
        );
        read_all(&directory).unwrap();
        mutate(&directory);
        let message = match read_all(&directory) {
            Ok(()) => panic!("{title}: accepted"),
            Err(error) => chain(&error),
        };
        for expected in *expected {
            assert!(
                message.contains(expected),
                "{title}: `{message}` lacks `{expected}`"
            );
        }
        fs::remove_dir_all(&directory).unwrap();
    }
}

#[test]
fn damaged_packed_directories() {
    let table: &[Mutation] = &[
        (
            "code 3",
            |d| edit_tensor(d, &format!("{NAME}.codes"), |bytes| bytes[100] |= 0b1100),
            &["down_proj.weight.codes", "code of value 3"],
        ),
        (
            "padding",
            |d| {
                let name = "model.layers.0.self_attn.o_proj.weight.codes";
                edit_tensor(d, name, |bytes| assert_eq!(bytes.len(), 20 * 3));
                let name = "model.layers.0.self_attn.q_proj.weight";
                // Rows of 20 fill their bytes; the metadata claims 19, the rest is then padding.
                edit_json(&metadata(d), |m| {
                    m["tensors"][name]["shape"] = json!([12, 19])
                });
            },
            &["q_proj.weight", "[12, 19]"],
        ),
        (
            "infinite scale",
            |d| {
                edit_tensor(d, &format!("{NAME}.scales"), |bytes| {
                    bytes[2..4].copy_from_slice(&[0, 0x7c])
                })
            },
            &["down_proj.weight.scales", "impossible scale inf at index 1"],
        ),
        (
            "NaN scale",
            |d| {
                edit_tensor(d, &format!("{NAME}.scales"), |bytes| {
                    bytes[..2].copy_from_slice(&[1, 0x7c])
                })
            },
            &["impossible scale NaN at index 0"],
        ),
        (
            "negative scale",
            |d| edit_tensor(d, &format!("{NAME}.scales"), |bytes| bytes[1] |= 0x80),
            &["impossible scale -"],
        ),
        (
            "codes of another dtype",
            |d| {
                edit_header(&weights(d), |h| {
                    h[format!("{NAME}.codes")]["dtype"] = json!("I8")
                })
            },
            &["down_proj.weight.codes", "I8", "implies U8"],
        ),
        (
            "codes of another shape",
            |d| {
                edit_header(&weights(d), |h| {
                    h[format!("{NAME}.codes")]["shape"] = json!([9, 20])
                })
            },
            &["[9, 20]", "implies U8 [20, 9]"],
        ),
        (
            "scales renamed",
            |d| {
                edit_header(&weights(d), |h| {
                    let info = h
                        .as_object_mut()
                        .unwrap()
                        .shift_remove(&format!("{NAME}.scales"))
                        .unwrap();
                    h["x"] = info;
                });
            },
            &["down_proj.weight.scales` is missing"],
        ),
        (
            "codes that the metadata does not know",
            |d| {
                edit_json(&metadata(d), |m| {
                    drop(m["tensors"].as_object_mut().unwrap().remove(NAME))
                })
            },
            &["down_proj.weight.codes", "dtype U8"],
        ),
        (
            "another granularity",
            |d| {
                edit_json(&metadata(d), |m| {
                    m["tensors"][NAME]["granularity"] = json!("row")
                })
            },
            &["down_proj.weight.scales", "implies F16 [20, 1]"],
        ),
        (
            "impossible granularity",
            |d| {
                edit_json(&metadata(d), |m| {
                    m["tensors"][NAME]["granularity"] = json!("group:0")
                })
            },
            &["t81_metadata.json", "group:0"],
        ),
        (
            "shape of three dimensions",
            |d| {
                edit_json(&metadata(d), |m| {
                    m["tensors"][NAME]["shape"] = json!([1, 2, 3])
                })
            },
            &["impossible shape [1, 2, 3]"],
        ),
        (
            "empty shape",
            |d| {
                edit_json(&metadata(d), |m| {
                    m["tensors"][NAME]["shape"] = json!([0, 36])
                })
            },
            &["impossible shape [0, 36]"],
        ),
        (
            "enormous shape",
            |d| {
                edit_json(&metadata(d), |m| {
                    m["tensors"][NAME]["shape"] = json!([u64::MAX, u64::MAX])
                })
            },
            &[NAME, "18446744073709551615"],
        ),
        (
            "impossible sparsity",
            |d| {
                edit_json(&metadata(d), |m| {
                    m["tensors"][NAME]["sparsity"] = json!(1.5)
                })
            },
            &["impossible sparsity 1.5"],
        ),
        (
            "impossible threshold",
            |d| edit_json(&metadata(d), |m| m["quantizer"]["threshold"] = json!(7)),
            &["t81_metadata.json", "7"],
        ),
        (
            "a later version",
            |d| edit_json(&metadata(d), |m| m["format_version"] = json!(2)),
            &["format version 2 is not supported (supported: 1)"],
        ),
        (
            "no version",
            |d| edit_json(&metadata(d), |m| m["format_version"] = json!("1")),
            &["format_version is missing or no integer"],
        ),
        (
            "another format",
            |d| edit_json(&metadata(d), |m| m["format"] = json!("zip")),
            &["t81_metadata.json", "zip"],
        ),
        (
            "another architecture",
            |d| edit_json(&metadata(d), |m| m["architecture"] = json!("gpt2")),
            &["architecture `gpt2` contradicts config.json's `llama`"],
        ),
        (
            "metadata no JSON",
            |d| fs::write(metadata(d), b"x").unwrap(),
            &["t81_metadata.json"],
        ),
        (
            "no metadata",
            |d| fs::remove_file(metadata(d)).unwrap(),
            &["convert it with t81-convert"],
        ),
        (
            "another width in the configuration",
            |d| {
                edit_json(&d.join("config.json"), |c| {
                    c["intermediate_size"] = json!(32)
                })
            },
            &["gate_proj.weight", "[36, 20]", "[32, 20]"],
        ),
        (
            "one more layer in the configuration",
            |d| {
                edit_json(&d.join("config.json"), |c| {
                    c["num_hidden_layers"] = json!(3)
                })
            },
            &["`model.layers.2.", "is missing"],
        ),
        (
            "truncated weights",
            |d| {
                let bytes = fs::read(weights(d)).unwrap();
                fs::write(weights(d), &bytes[..bytes.len() - 10]).unwrap();
            },
            &["truncated"],
        ),
        (
            "the metadata calls packed weights dense",
            |d| edit_json(&metadata(d), |m| m["format"] = json!("dense")),
            &["is missing"],
        ),
    ];
    expect_errors(OutputFormat::Packed, table);
}

#[test]
fn damaged_dense_directories() {
    let table: &[Mutation] = &[
        (
            "two magnitudes in a group",
            |d| {
                edit_tensor(d, NAME, |bytes| {
                    bytes[5 * 72..][..4].copy_from_slice(&[0, 0x3c, 0, 0x40])
                })
            },
            &[NAME, "not ternary with scales per group:10: see row 5"],
        ),
        (
            "an infinite weight",
            |d| {
                edit_tensor(d, NAME, |bytes| {
                    bytes[..20].fill(0);
                    bytes[..2].copy_from_slice(&[0, 0x7c]);
                });
            },
            &[NAME, "not a valid ternary tensor", "inf"],
        ),
        (
            "another dtype",
            |d| edit_header(&weights(d), |h| h[NAME]["dtype"] = json!("BF16")),
            &[NAME, "BF16", "implies F16"],
        ),
    ];
    expect_errors(OutputFormat::Dense, table);
}

#[test]
fn wrong_padding_is_found() {
    let source = tempfile::tempdir().unwrap();
    write_single(source.path(), Dtype::BF16);
    edit_json(&source.path().join("config.json"), |config| {
        config["intermediate_size"] = json!(35)
    });
    let config =
        serde_json::from_slice(&fs::read(source.path().join("config.json")).unwrap()).unwrap();
    let tensors = crate::model::tensors(&crate::model::llama(&config), Dtype::BF16);
    crate::model::write_safetensors(&weights(source.path()), &tensors);
    let directory = source.path().join("out");
    write_t81(
        source.path(),
        &directory,
        Granularity::Row,
        OutputFormat::Packed,
    );
    read_all(&directory).unwrap();
    edit_tensor(&directory, &format!("{NAME}.codes"), |bytes| {
        bytes[9 * 7 - 1] ^= 0b1100_0000
    });
    let message = chain(&read_all(&directory).unwrap_err());
    assert!(
        message.contains("value 3") || message.contains("padding at the end of row 6"),
        "{message}"
    );
    edit_tensor(&directory, &format!("{NAME}.codes"), |bytes| {
        bytes[9 * 7 - 1] ^= 0b1000_0000
    });
    let message = chain(&read_all(&directory).unwrap_err());
    assert!(message.contains("padding at the end of row 6"), "{message}");
}
