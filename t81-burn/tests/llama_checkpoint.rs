//! The LLaMA decoder on a real checkpoint against transformers, which takes a checkpoint and its reference logits:
//!
//! ```text
//! python tests/fixtures/make_llama_fixtures.py CHECKPOINT reference.safetensors
//! T81_LLAMA_CHECKPOINT=CHECKPOINT T81_LLAMA_REFERENCE=reference.safetensors \
//!     cargo test -p t81-burn --test llama_checkpoint -- --nocapture
//! ```
//!
//! Passes without looking at anything where the two variables are not set.

mod fixtures;

use burn::tensor::{Device, Int, Tensor, TensorData};
use fixtures::{configuration, largest_difference, read_tensors};
use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use t81_burn::models::llama::Llama;

#[test]
fn a_real_checkpoint_has_the_logits_of_transformers() {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let (Some(checkpoint), Some(reference)) = (
        variable("T81_LLAMA_CHECKPOINT"),
        variable("T81_LLAMA_REFERENCE"),
    ) else {
        println!("T81_LLAMA_CHECKPOINT and T81_LLAMA_REFERENCE are not set: nothing compared");
        return;
    };
    let json = fs::read_to_string(checkpoint.join("config.json")).unwrap();
    let config = configuration(&serde_json::from_str(&json).unwrap());
    let mut weights = HashMap::new();
    for entry in fs::read_dir(&checkpoint).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "safetensors")
        {
            weights.extend(read_tensors(&path));
        }
    }
    let device = Device::default();
    let model: Llama = config
        .init(&device)
        .load_weights(|name| weights.remove(name).ok_or("no such tensor"))
        .unwrap();

    let reference = read_tensors(&reference);
    let (shape, tokens) = &reference["tokens"];
    let tokens: Vec<i64> = tokens.iter().map(|token| *token as i64).collect();
    let tokens = Tensor::<2, Int>::from_data(TensorData::new(tokens, shape.clone()), &device);
    let (expected_shape, expected) = &reference["logits"];
    for model in [model.clone(), burn::module::Module::train(model)] {
        let logits = model.forward(tokens.clone());
        assert_eq!(logits.dims().as_slice(), expected_shape);
        let difference =
            largest_difference(&logits.into_data().try_into_vec::<f32>().unwrap(), expected);
        println!(
            "largest difference of {} logits: {difference:e}",
            expected.len()
        );
        assert!(difference < 1e-3, "{difference}");
    }
}
