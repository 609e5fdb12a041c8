//! Any bytes as `t81_metadata.json` of an otherwise good directory: errors are fine, panics and huge allocations are not.

#![no_main]

mod tiny;

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use t81_convert::{ConvertOptions, save_pretrained_t81};
use t81_hub::{Checkpoint, HubError, MemoryTensor, ModelConfig, T81Directory, T81Tensor};

static PLACE: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let place = tempfile::tempdir().expect("a temporary directory");
    let config = ModelConfig::from_json(tiny::config()).expect("a good configuration");
    let tensors: Vec<MemoryTensor> = config
        .expected_tensors()
        .into_iter()
        .map(|(name, shape)| {
            let values: Vec<f32> = (0..shape.iter().product()).map(|i: usize| (i as f32).sin()).collect();
            MemoryTensor::from_f32(name, &shape, &values)
        })
        .collect();
    let checkpoint = Checkpoint::in_memory(config, tensors).expect("a good checkpoint");
    save_pretrained_t81(&checkpoint, place.path(), &ConvertOptions::default()).expect("a good directory");
    place
});

fuzz_target!(|bytes: &[u8]| {
    fs::write(PLACE.path().join("t81_metadata.json"), bytes).expect("a file");
    let _ = read(PLACE.path());
});

fn read(place: &Path) -> Result<(), HubError> {
    let directory = T81Directory::open(place)?;
    for name in directory.names() {
        if let T81Tensor::Ternary(matrix) = directory.get(name)? {
            assert_eq!(matrix.dequantize().len(), matrix.rows() * matrix.columns());
        }
    }
    Ok(())
}
