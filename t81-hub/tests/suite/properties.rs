//! What must hold whatever the input: no damage makes a reader panic, and what is written comes back.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use t81_core::{Granularity, Layout, Quantizer};
use t81_hub::{
    Checkpoint, Dtype, HubError, OutputFormat, Storage, T81Directory, T81Metadata, T81Tensor,
    T81Writer, TensorPlan, Tokenizer,
};

use crate::model::{config_json, llama, write_sharded, write_single};
use crate::t81_directory::write_t81;

/// A change to a file: at a position (a fraction of the length), drop some bytes and put others there.
#[derive(Clone, Debug)]
struct Damage {
    file: prop::sample::Index,
    at: prop::sample::Index,
    removed: usize,
    inserted: Vec<u8>,
}

fn damage() -> impl Strategy<Value = Damage> {
    // Positions near the start hit headers; JSON's own characters and digits give files that still parse.
    let byte = prop_oneof![
        any::<u8>(),
        prop::sample::select(b"0123456789[]{}\",:-.eE".to_vec())
    ];
    let fields = (
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
        0..5usize,
    );
    (fields, prop::collection::vec(byte, 0..5)).prop_map(|((file, at, removed), inserted)| Damage {
        file,
        at,
        removed,
        inserted,
    })
}

impl Damage {
    fn apply(&self, directory: &Path) -> PathBuf {
        let mut files: Vec<PathBuf> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .collect();
        files.sort();
        let path = self.file.get(&files).clone();
        let mut bytes = fs::read(&path).unwrap();
        // Data regions dwarf the headers: half of all positions fall into the first 2 kB.
        let end = if self.removed.is_multiple_of(2) {
            bytes.len()
        } else {
            bytes.len().min(2048)
        };
        let start = self.at.index(end + 1);
        let stop = bytes.len().min(start + self.removed);
        bytes.splice(start..stop, self.inserted.iter().copied());
        fs::write(&path, bytes).unwrap();
        path
    }
}

fn read_checkpoint(directory: &Path) -> Result<(), HubError> {
    let checkpoint = Checkpoint::open(directory)?;
    checkpoint.config().check(&checkpoint)?;
    for tensor in checkpoint.tensors() {
        let _ = (
            tensor.to_f32(),
            tensor.check_finite(),
            tensor.to_bytes(Dtype::F16),
        );
    }
    Tokenizer::open(directory).map(drop)
}

fn read_t81(directory: &Path) -> Result<(), HubError> {
    let directory = T81Directory::open(directory)?;
    for name in directory.names() {
        if let T81Tensor::Ternary(matrix) = directory.get(name)? {
            let _ = matrix.dequantize();
        }
    }
    Ok(())
}

const TOKENIZER: &str = r#"{"added_tokens":[{"id":0,"content":"<s>","special":true}],"decoder":{"type":"ByteLevel"},
    "model":{"type":"BPE","vocab":{"<s>":0,"a":1,"b":2,"ab":3},"merges":[["a","b"]]}}"#;

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_damage_makes_a_checkpoint_panic(damages in prop::collection::vec(damage(), 1..4), sharded: bool) {
        let directory = tempfile::tempdir().unwrap();
        if sharded { write_sharded(directory.path()) } else { write_single(directory.path(), Dtype::F16) }
        fs::write(directory.path().join("tokenizer.json"), TOKENIZER).unwrap();
        fs::write(directory.path().join("tokenizer_config.json"), r#"{"bos_token":"<s>"}"#).unwrap();
        prop_assert!(read_checkpoint(directory.path()).is_ok());
        for damage in &damages {
            damage.apply(directory.path());
        }
        let _ = read_checkpoint(directory.path());
    }

    #[test]
    fn no_damage_makes_a_t81_directory_panic(damages in prop::collection::vec(damage(), 1..4), dense: bool) {
        let source = tempfile::tempdir().unwrap();
        write_single(source.path(), Dtype::BF16);
        let format = if dense { OutputFormat::Dense } else { OutputFormat::Packed };
        let directory = source.path().join("out");
        write_t81(source.path(), &directory, Granularity::group(16).unwrap(), format);
        prop_assert!(read_t81(&directory).is_ok());
        for damage in &damages {
            damage.apply(&directory);
        }
        let _ = read_t81(&directory);
    }

    #[test]
    fn any_matrix_comes_back_from_either_format(
        inner in 1..70usize,
        granularity in prop_oneof![
            Just(Granularity::Tensor),
            Just(Granularity::Row),
            (1..80usize).prop_map(|size| Granularity::group(size).unwrap()),
        ],
        threshold in 0.0..=1.0f32,
        seed: u64,
        dense: bool,
    ) {
        let mut config = config_json();
        config["intermediate_size"] = inner.into();
        let format = if dense { OutputFormat::Dense } else { OutputFormat::Packed };
        let quantizer = Quantizer::new(granularity, threshold).unwrap();
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / (1 << 23) as f32 - 1.0) * (state >> 60) as f32
        };
        let llama = llama(&config);
        let ternary = llama.ternary_weight_names();
        let expected = llama.expected_tensors();
        let plan = expected.iter().map(|(name, shape)| TensorPlan {
            name: name.clone(),
            shape: shape.clone(),
            storage: match ternary.contains(name) {
                true => Storage::Ternary { granularity, transposed: false },
                false => Storage::Dense(Dtype::F32),
            },
        });
        let parent = tempfile::tempdir().unwrap();
        let mut writer = T81Writer::create(parent.path().join("out"), plan.collect(), false, format).unwrap();
        let mut matrices = Vec::new();
        for (name, shape) in &expected {
            let values: Vec<f32> = (0..shape.iter().product()).map(|_| next()).collect();
            if ternary.contains(name) {
                let matrix = quantizer.quantize(&values, shape[0], shape[1], Layout::OutIn).unwrap();
                writer.write_ternary(name, &matrix).unwrap();
                matrices.push((name, matrix));
            } else {
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                writer.write_dense(name, &bytes).unwrap();
            }
        }
        writer.write_file("config.json", config.to_string().as_bytes()).unwrap();
        let out = writer.finish(T81Metadata::new("test", "1", "random", quantizer, "llama")).unwrap();
        let directory = T81Directory::open(out).unwrap();
        for (name, matrix) in &matrices {
            let T81Tensor::Ternary(read) = directory.get(name).unwrap() else { panic!("{name} is ternary") };
            prop_assert_eq!(read.codes(), matrix.codes());
            prop_assert_eq!(read.granularity(), granularity);
            // A zero may lose its sign, and a group of zeros its scale, in the dense format: the values are equal.
            prop_assert_eq!(read.dequantize(), matrix.dequantize());
            if !dense {
                prop_assert_eq!(&read, matrix);
            }
        }
    }
}
