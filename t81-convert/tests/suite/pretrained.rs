//! Ternary models saved from memory and loaded again.

use std::fs;
use std::path::Path;

use t81_convert::{
    ConvertError, ConvertOptions, convert, from_pretrained_t81, save_pretrained_t81,
};
use t81_hub::{Checkpoint, MemoryTensor};

use crate::model::{names, write};

#[test]
fn a_model_in_memory_becomes_the_directory_of_the_one_on_disk() {
    let place = tempfile::tempdir().unwrap();
    let (source, out) = (place.path().join("source"), place.path().join("out"));
    write(&source);
    let options = ConvertOptions::default();
    convert(&source, &out, &options).unwrap();
    let on_disk = Checkpoint::open(&source).unwrap();
    let tensors: Vec<MemoryTensor> = on_disk
        .tensors()
        .map(|tensor| MemoryTensor {
            name: tensor.name.to_owned(),
            dtype: tensor.dtype,
            shape: tensor.shape.clone(),
            bytes: tensor.bytes.to_vec(),
        })
        .collect();
    let in_memory = Checkpoint::in_memory(on_disk.config().clone(), tensors.clone()).unwrap();
    let saved = place.path().join("saved");
    let report = save_pretrained_t81(&in_memory, &saved, &options).unwrap();
    assert_eq!(report.ternary.len(), 14);
    let weights = |directory: &Path| fs::read(directory.join("model.safetensors")).unwrap();
    assert!(weights(&saved) == weights(&out));
    let loaded = from_pretrained_t81(&saved).unwrap();
    assert_eq!(loaded.metadata().source, "memory");
    assert_eq!(loaded.config(), on_disk.config());
    assert_eq!(
        names(&saved),
        ["config.json", "model.safetensors", "t81_metadata.json"]
    );

    let again = save_pretrained_t81(&on_disk, place.path().join("again"), &options).unwrap();
    assert_eq!(again.relative_error(), report.relative_error());
    assert!(from_pretrained_t81(&source).is_err());
    let mut short = tensors.clone();
    short[3].bytes.pop();
    let mut twice = tensors.clone();
    twice.push(tensors[0].clone());
    for (tensors, expected) in [
        (short, "bytes"),
        (twice, "is in both"),
        (tensors[1..].to_vec(), "is missing"),
    ] {
        let message = Checkpoint::in_memory(on_disk.config().clone(), tensors)
            .map_err(ConvertError::from)
            .and_then(|checkpoint| {
                save_pretrained_t81(&checkpoint, place.path().join("bad"), &options)
            })
            .unwrap_err()
            .to_string();
        assert!(message.contains(expected), "`{message}` lacks `{expected}`");
    }
    assert!(!place.path().join("bad").exists());
}
