//! Memory does not grow with the model: a conversion takes what the ternary form of one tensor takes, and buffers.

mod allocation;
#[allow(dead_code)]
#[path = "suite/model.rs"]
mod model;

use allocation::Peak;
use serde_json::json;
use t81_convert::{ConvertOptions, convert};
use t81_core::Granularity;
use t81_hub::{Dtype, OutputFormat};

use model::{config, write_with};

/// Buffers of the threads (there may be many), of one chunk, of JSON.
const FIXED: usize = 24 << 20;

#[test]
fn a_weight_is_never_in_memory_as_floats() {
    let place = tempfile::tempdir().unwrap();
    let mut config = config(1);
    config["hidden_size"] = json!(1024);
    config["intermediate_size"] = json!(16 << 10);
    // In each matrix of the MLP: 32 MB as BF16, 64 MB as floats, 4 MB as codes.
    let weights = 16 << 20;
    let source = place.path().join("source");
    write_with(&source, &config, |_, _| ());
    let out = place.path().join("out");
    for (granularity, format) in [
        (Granularity::group(64).unwrap(), OutputFormat::Packed),
        (Granularity::Tensor, OutputFormat::Dense),
    ] {
        let options = ConvertOptions {
            granularity: Some(granularity),
            format,
            dtype: Some(Dtype::F32),
            exclude: vec!["layers.0.mlp.up_proj".parse().unwrap()],
            overwrite: true,
            validate: true,
            ..Default::default()
        };
        let peak = Peak::start();
        convert(&source, &out, &options).unwrap();
        let grown = peak.grown();
        // Validation holds the codes twice.
        let ternary = 2 * weights / 4 + 2 * 2 * weights / 64;
        assert!(
            grown < ternary + FIXED,
            "{granularity} {format}: {grown} bytes"
        );
    }
}
