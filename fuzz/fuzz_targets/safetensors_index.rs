//! Any bytes as an index and a shard: errors are fine, panics and huge allocations are not.
//!
//! The input is a length in two bytes, the index of that length, then the shard that indexes usually name. With a length
//! of 0 the shard is the whole model.

#![no_main]

mod tiny;

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use t81_hub::{Checkpoint, HubError};

static PLACE: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let place = tempfile::tempdir().expect("a temporary directory");
    fs::write(place.path().join("config.json"), tiny::config().to_string()).expect("a file");
    place
});

fuzz_target!(|bytes: &[u8]| {
    let Some((length, rest)) = bytes.split_first_chunk::<2>() else {
        return;
    };
    let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
    let (index, shard) = rest.split_at(length);
    let place = PLACE.path();
    let (single, index_file) = (
        place.join("model.safetensors"),
        place.join("model.safetensors.index.json"),
    );
    for file in [&single, &index_file] {
        let _ = fs::remove_file(file);
    }
    if index.is_empty() {
        fs::write(single, shard).expect("a file");
    } else {
        fs::write(index_file, index).expect("a file");
        fs::write(place.join("model-00001-of-00001.safetensors"), shard).expect("a file");
    }
    let _ = read(place);
});

fn read(place: &Path) -> Result<(), HubError> {
    let checkpoint = Checkpoint::open(place)?;
    for tensor in checkpoint.tensors() {
        let elements: usize = tensor.shape.iter().product();
        assert_eq!(elements * tensor.dtype.size_bytes(), tensor.bytes.len());
        let _ = tensor.check_finite();
    }
    checkpoint.config().check(&checkpoint)
}
