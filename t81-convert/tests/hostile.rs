//! Damaged and hostile checkpoints through the whole conversion: an error that names the file or the tensor, no panic, no
//! memory that a number in a file decides, and nothing under the destination's name.

mod allocation;
#[allow(dead_code)]
#[path = "suite/model.rs"]
mod model;

use std::fs;
use std::path::{Path, PathBuf};

use allocation::Peak;
use serde_json::{Value, json};
use t81_convert::{ConvertOptions, convert};
use t81_hub::{T81Directory, Tokenizer};

use model::{config, names, write_with};

/// The whole model has less than 1 MB.
const MEMORY_LIMIT: usize = 32 << 20;

const NORM: &str = "model.norm.weight";
const WEIGHT: &str = "model.layers.0.mlp.up_proj.weight";

/// Converts, and loads the tokenizer as a GGUF export would.
fn try_all(place: &Path) -> Result<(), String> {
    let (source, out) = (place.join("source"), place.join("out"));
    let peak = Peak::start();
    let converted = Tokenizer::open(&source)
        .map_err(|error| chain(&error))
        .and_then(|_| {
            convert(&source, &out, &ConvertOptions::default()).map_err(|error| chain(&error))
        });
    let grown = peak.grown();
    assert!(grown < MEMORY_LIMIT, "{grown} bytes of memory");
    match converted {
        Ok(_) => {
            T81Directory::open(&out).unwrap();
            fs::remove_dir_all(&out).unwrap();
            Ok(())
        }
        Err(message) => {
            assert_eq!(names(place), ["source"], "{message}");
            Err(message)
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    message
}

fn place() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    write_with(&place.path().join("source"), &config(1), |_, _| ());
    place
}

/// The same model in two shards with an index.
fn sharded() -> tempfile::TempDir {
    let place = place();
    let source = place.path().join("source");
    let single = source.join("model.safetensors");
    let bytes = fs::read(&single).unwrap();
    fs::remove_file(single).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut weight_map = serde_json::Map::new();
    let mut shards = [Vec::new(), Vec::new()];
    for (index, (name, view)) in tensors.tensors().into_iter().enumerate() {
        weight_map.insert(name.clone(), json!(SHARDS[index % 2]));
        shards[index % 2].push((name, view));
    }
    for (name, tensors) in SHARDS.iter().zip(shards) {
        let bytes = safetensors::serialize(tensors, None).unwrap();
        fs::write(source.join(name), bytes).unwrap();
    }
    fs::write(
        source.join("model.safetensors.index.json"),
        json!({"metadata": {}, "weight_map": weight_map}).to_string(),
    )
    .unwrap();
    place
}

const SHARDS: [&str; 2] = [
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
];

fn edit_json(path: &Path, edit: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    edit(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

/// Changes the header of a safetensors file, whose data stay.
fn edit_header(path: &Path, edit: impl FnOnce(&mut Value)) {
    let bytes = fs::read(path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    edit(&mut header);
    let header = header.to_string();
    let mut changed = (header.len() as u64).to_le_bytes().to_vec();
    changed.extend_from_slice(header.as_bytes());
    changed.extend_from_slice(&bytes[8 + length..]);
    fs::write(path, changed).unwrap();
}

/// Changes the stored bytes of one tensor.
fn edit_tensor(path: &Path, name: &str, edit: impl FnOnce(&mut [u8])) {
    let mut bytes = fs::read(path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let offset =
        |at: usize| 8 + length + header[name]["data_offsets"][at].as_u64().unwrap() as usize;
    let range = offset(0)..offset(1);
    edit(&mut bytes[range]);
    fs::write(path, bytes).unwrap();
}

fn expect(place: &tempfile::TempDir, title: &str, expected: &[&str]) {
    let message = match try_all(place.path()) {
        Ok(()) => panic!("{title}: accepted"),
        Err(message) => message,
    };
    for expected in expected {
        assert!(
            message.contains(expected),
            "{title}: `{message}` lacks `{expected}`"
        );
    }
}

#[test]
fn the_models_are_good_as_they_are() {
    assert_eq!(try_all(place().path()), Ok(()));
    assert_eq!(try_all(sharded().path()), Ok(()));
}

#[test]
fn element_types_that_are_no_floats_are_refused_by_name() {
    for (dtype, bits) in [
        ("F64", 64),
        ("I64", 64),
        ("U64", 64),
        ("I32", 32),
        ("U32", 32),
        ("I16", 16),
        ("U16", 16),
        ("I8", 8),
        ("U8", 8),
        ("BOOL", 8),
        ("F8_E4M3", 8),
        ("F8_E5M2", 8),
    ] {
        let place = place();
        let file = place.path().join("source/model.safetensors");
        edit_header(&file, |header| {
            // The same number of bytes.
            header[NORM]["dtype"] = json!(dtype);
            header[NORM]["shape"] = json!([64 * 16 / bits]);
        });
        expect(&place, dtype, &[NORM, dtype, "model.safetensors"]);
    }
}

#[test]
fn values_that_are_no_numbers_are_refused_by_tensor() {
    for (bytes, shown) in [
        ([0xc0, 0x7f], "NaN"),
        ([0x80, 0x7f], "inf"),
        ([0x80, 0xff], "-inf"),
    ] {
        for (name, expected) in [
            (
                WEIGHT,
                &["cannot be made ternary", "row 3, column 5", shown][..],
            ),
            (NORM, &["holds a NaN or an infinity"]),
        ] {
            let place = place();
            let file = place.path().join("source/model.safetensors");
            edit_tensor(&file, name, |values| {
                let at = if name == WEIGHT { 3 * 64 + 5 } else { 5 };
                values[2 * at..2 * at + 2].copy_from_slice(&bytes);
            });
            expect(&place, shown, &[&[name], expected].concat());
        }
    }
    let place = place();
    edit_tensor(
        &place.path().join("source/model.safetensors"),
        WEIGHT,
        |values| values.as_chunks_mut::<2>().0.fill([0x7f, 0x7f]),
    );
    expect(&place, "beyond f16", &[WEIGHT, "exceeds 65504"]);
}

type Edit = fn(&mut Value);

#[test]
fn headers_that_lie() {
    let table: &[(&str, Edit, &[&str])] = &[
        ("no rows", |h| h[NORM]["shape"] = json!([0]), &[NORM]),
        (
            "negative rows",
            |h| h[NORM]["shape"] = json!([-64]),
            &[NORM],
        ),
        (
            "fractional rows",
            |h| h[NORM]["shape"] = json!([64.5]),
            &[NORM],
        ),
        (
            "rows as text",
            |h| h[NORM]["shape"] = json!(["64"]),
            &[NORM],
        ),
        ("no shape", |h| h[NORM]["shape"] = json!(null), &[NORM]),
        ("a scalar", |h| h[NORM]["shape"] = json!([]), &[NORM]),
        (
            "more dimensions",
            |h| h[NORM]["shape"] = json!([1, 64, 1]),
            &[NORM, "[64]"],
        ),
        (
            "a thousand dimensions",
            |h| h[NORM]["shape"] = json!(vec![2; 1000]),
            &["overflow"],
        ),
        (
            "one offset",
            |h| h[NORM]["data_offsets"] = json!([0]),
            &[NORM],
        ),
        (
            "offsets the other way round",
            |h| {
                let offsets = h[NORM]["data_offsets"].as_array_mut().unwrap();
                offsets.reverse();
            },
            &[NORM],
        ),
        (
            "the place of another tensor",
            |h| {
                h[NORM]["data_offsets"] =
                    h["model.layers.0.input_layernorm.weight"]["data_offsets"].clone()
            },
            &["overlaps its predecessor or leaves a gap"],
        ),
        (
            "offsets beyond 2^64",
            |h| h[NORM]["data_offsets"] = json!([0, 1e30]),
            &[NORM],
        ),
        (
            "an empty tensor",
            |h| h["extra"] = json!({"dtype": "BF16", "shape": [0, 7], "data_offsets": [0, 0]}),
            &[],
        ),
        (
            "no dtype",
            |h| h[NORM] = json!({"shape": [64], "data_offsets": [0, 128]}),
            &[NORM],
        ),
        ("a number for a tensor", |h| h[NORM] = json!(7), &[NORM]),
        (
            "an empty name",
            |h| h[""] = json!({"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}),
            &["model.safetensors"],
        ),
    ];
    for (title, edit, expected) in table {
        let place = place();
        edit_header(&place.path().join("source/model.safetensors"), edit);
        match (try_all(place.path()), expected) {
            // A tensor without elements is odd, but harms nobody.
            (Ok(()), []) => {}
            (Ok(()), _) => panic!("{title}: accepted"),
            (Err(message), expected) => {
                for expected in *expected {
                    assert!(message.contains(expected), "{title}: `{message}`");
                }
            }
        }
    }
}

#[test]
fn deep_and_odd_json() {
    let deep = "[".repeat(200_000);
    let objects = r#"{"a":"#.repeat(100_000);
    let broken: [(&str, Vec<u8>); 10] = [
        ("deep arrays", deep.into_bytes()),
        ("deep objects", objects.into_bytes()),
        ("empty", Vec::new()),
        ("nothing but space", b" \n".to_vec()),
        ("null", b"null".to_vec()),
        ("a number", b"1e999".to_vec()),
        (
            "no UTF-8",
            vec![b'{', b'"', 0xff, 0xfe, b'"', b':', b'1', b'}'],
        ),
        (
            "UTF-16",
            "{}".encode_utf16().flat_map(u16::to_le_bytes).collect(),
        ),
        ("a lone surrogate", br#"{"\ud800": 1}"#.to_vec()),
        ("zeros", vec![0; 100]),
    ];
    for (title, contents) in &broken {
        for file in [
            "config.json",
            "tokenizer.json",
            "model.safetensors.index.json",
        ] {
            let place = sharded();
            fs::write(place.path().join("source").join(file), contents).unwrap();
            expect(&place, &format!("{file}: {title}"), &[file]);
        }
        let place = place();
        let mut bytes = (contents.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(contents);
        fs::write(place.path().join("source/model.safetensors"), bytes).unwrap();
        expect(&place, &format!("header: {title}"), &["model.safetensors"]);
    }
}

#[test]
fn shards_that_are_not_what_the_index_says() {
    type Damage = fn(&Path);
    let table: &[(&str, Damage, &[&str])] = &[
        (
            "missing",
            |d| fs::remove_file(d.join(SHARDS[1])).unwrap(),
            &[SHARDS[1], "does not exist"],
        ),
        (
            "empty",
            |d| fs::write(d.join(SHARDS[1]), b"").unwrap(),
            &[SHARDS[1], "too few"],
        ),
        (
            "a directory",
            |d| {
                fs::remove_file(d.join(SHARDS[1])).unwrap();
                fs::create_dir(d.join(SHARDS[1])).unwrap();
            },
            &[SHARDS[1], "not a regular file"],
        ),
        (
            "shorter than its header says",
            |d| {
                let bytes = fs::read(d.join(SHARDS[0])).unwrap();
                fs::write(d.join(SHARDS[0]), &bytes[..bytes.len() - 2]).unwrap();
            },
            &[SHARDS[0], "truncated"],
        ),
        (
            "longer than its header says",
            |d| {
                let mut bytes = fs::read(d.join(SHARDS[0])).unwrap();
                bytes.extend([0; 3]);
                fs::write(d.join(SHARDS[0]), bytes).unwrap();
            },
            &[SHARDS[0], "3 bytes follow"],
        ),
        (
            "twice the same",
            |d| {
                fs::copy(d.join(SHARDS[0]), d.join(SHARDS[1])).unwrap();
            },
            &["is in both", SHARDS[0], SHARDS[1]],
        ),
        (
            "an HTML page in its place",
            |d| {
                fs::write(d.join(SHARDS[0]), "<!DOCTYPE html><html>not found</html>").unwrap();
            },
            &[SHARDS[0]],
        ),
        (
            "a pointer of git-lfs in its place",
            |d| {
                fs::write(
                    d.join(SHARDS[0]),
                    "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
                )
                .unwrap();
            },
            &[SHARDS[0]],
        ),
    ];
    for (title, damage, expected) in table {
        let place = sharded();
        damage(&place.path().join("source"));
        expect(&place, title, expected);
    }
}

#[test]
fn configurations_that_make_no_sense() {
    let table: &[(&str, Value)] = &[
        ("hidden_size", json!(0)),
        ("hidden_size", json!(-64)),
        ("hidden_size", json!(64.5)),
        ("hidden_size", json!("64")),
        ("hidden_size", json!(1e18)),
        ("hidden_size", json!(null)),
        ("hidden_size", json!(63)),
        ("intermediate_size", json!(0)),
        ("intermediate_size", json!(18_446_744_073_709_551_615_u64)),
        ("num_hidden_layers", json!(1_000_000_000)),
        ("num_hidden_layers", json!(0)),
        ("num_attention_heads", json!(0)),
        ("num_attention_heads", json!(3)),
        ("num_key_value_heads", json!(3)),
        ("vocab_size", json!(0)),
        ("vocab_size", json!(4_000_000_000_u64)),
        ("max_position_embeddings", json!(0)),
        ("rms_norm_eps", json!(-1)),
        ("rope_theta", json!("fast")),
        ("rope_scaling", json!({"rope_type": "spiral"})),
        ("hidden_act", json!("tanh")),
        ("model_type", json!("mamba")),
        ("model_type", json!(null)),
        ("model_type", json!(["llama"])),
        ("tie_word_embeddings", json!("yes")),
    ];
    for (field, value) in table {
        let place = place();
        edit_json(&place.path().join("source/config.json"), |config| {
            config[field] = value.clone();
        });
        expect(&place, &format!("{field} = {value}"), &["config.json"]);
    }
}

/// A small generator, so that every mutation is its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % limit.max(1) as u64) as usize
    }
}

/// Damages bytes the way disks, networks and enemies do.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    let length = bytes.len();
    let at = random.below(length);
    match random.below(8) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes.truncate(at),
        2 => drop(bytes.drain(at..(at + 1 + random.below(40)).min(length))),
        3 => {
            let piece = bytes[at..(at + 1 + random.below(40)).min(length)].to_vec();
            bytes.splice(at..at, piece);
        }
        4 => {
            let other = random.below(length);
            bytes.swap(at, other);
        }
        // A digit becomes a long number.
        5 => {
            let digit = (at..length).find(|&at| bytes[at].is_ascii_digit());
            let number = *[
                &b"99999999999999999999"[..],
                b"-1",
                b"0",
                b"1e400",
                b"18446744073709551615",
            ]
            .get(random.below(5))
            .unwrap();
            if let Some(digit) = digit {
                bytes.splice(digit..=digit, number.iter().copied());
            }
        }
        // A value becomes another kind of value.
        6 => {
            if let Some(colon) = (at..length).find(|&at| bytes[at] == b':') {
                let value = *[&b"null,"[..], b"[],", b"{},", b"\"\",", b"true,"]
                    .get(random.below(5))
                    .unwrap();
                bytes.splice(colon + 1..colon + 1, value.iter().copied());
            }
        }
        _ => bytes[at..(at + 8).min(length)].fill(0xff),
    }
}

type Make = fn() -> tempfile::TempDir;

/// 40 mutations of each file; they hit no more than its first bytes.
#[test]
fn two_hundred_mutations() {
    let files: [(&str, Make, usize); 5] = [
        ("model.safetensors", place, 1500),
        ("model.safetensors.index.json", sharded, usize::MAX),
        ("config.json", place, usize::MAX),
        ("tokenizer.json", place, usize::MAX),
        ("tokenizer_config.json", place, usize::MAX),
    ];
    let (mut refused, mut accepted) = (0, 0);
    for (file, make, prefix) in files {
        let place = make();
        let path: PathBuf = place.path().join("source").join(file);
        let good = fs::read(&path).unwrap();
        for seed in 0..40 {
            let mut random = Random(seed << 8 | file.len() as u64);
            let mut head = good[..prefix.min(good.len())].to_vec();
            mutate(&mut head, &mut random);
            head.extend_from_slice(&good[prefix.min(good.len())..]);
            fs::write(&path, &head).unwrap();
            match try_all(place.path()) {
                Ok(()) => accepted += 1,
                Err(message) => {
                    refused += 1;
                    let named = ["tensor `", ".safetensors", ".json", "directory `"];
                    assert!(
                        named.iter().any(|name| message.contains(name)),
                        "{file}, seed {seed}: `{message}` names neither file nor tensor"
                    );
                }
            }
        }
    }
    assert_eq!(refused + accepted, 200);
    assert!(refused > 100, "only {refused} of 200 were refused");
}
