//! Reading whole checkpoints.

use t81_hub::{Checkpoint, Dtype, HubError};

use crate::model::{
    SHARDS, chain, config_json, encode, llama, tensors, values, write_sharded, write_single,
};

#[test]
fn every_dtype_reads_back_its_values() {
    for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16] {
        let directory = tempfile::tempdir().unwrap();
        write_single(directory.path(), dtype);
        let checkpoint = Checkpoint::open(directory.path()).unwrap();
        checkpoint.config().check(&checkpoint).unwrap();
        for (name, shape) in llama(&config_json()).expected_tensors() {
            let tensor = checkpoint.tensor(&name).unwrap();
            let expected = values(&name, shape.iter().product());
            assert_eq!(
                (tensor.dtype, &tensor.shape, tensor.len()),
                (dtype, &shape, expected.len())
            );
            let rounded: Vec<f32> = match dtype {
                Dtype::F16 => expected
                    .iter()
                    .map(|value| half::f16::from_f32(*value).to_f32())
                    .collect(),
                _ => expected,
            };
            assert_eq!(tensor.to_f32(), rounded, "{name}");
            let mut buffer = vec![0.0; rounded.len()];
            tensor.to_f32_into(&mut buffer).unwrap();
            assert_eq!(buffer, rounded);
            assert!(tensor.to_f32_into(&mut buffer[1..]).is_err());
            for other in [Dtype::F32, Dtype::F16, Dtype::BF16] {
                assert_eq!(tensor.to_bytes(other).unwrap(), encode(&rounded, other));
            }
        }
    }
}

#[test]
fn shards_are_one_model() {
    let directory = tempfile::tempdir().unwrap();
    write_sharded(directory.path());
    let checkpoint = Checkpoint::open(directory.path()).unwrap();
    checkpoint.config().check(&checkpoint).unwrap();
    let mut expected: Vec<String> = tensors(&llama(&config_json()), Dtype::BF16)
        .into_iter()
        .map(|(name, ..)| name)
        .collect();
    assert_eq!(checkpoint.tensors().count(), expected.len());
    expected.sort();
    assert_eq!(checkpoint.names().collect::<Vec<_>>(), expected);
    let files: Vec<_> = checkpoint
        .tensors()
        .map(|tensor| tensor.file.file_name().unwrap())
        .collect();
    assert!(files.is_sorted() && files[0] == SHARDS[0] && files[files.len() - 1] == SHARDS[1]);
    assert!(checkpoint.contains("lm_head.weight") && !checkpoint.contains("lm_head"));
    assert!(
        matches!(checkpoint.tensor("x"), Err(HubError::MissingTensor { name, .. }) if name == "x")
    );
}

#[test]
fn pickled_weights_say_how_to_convert_them() {
    let directory = tempfile::tempdir().unwrap();
    write_single(directory.path(), Dtype::F32);
    std::fs::rename(
        directory.path().join("model.safetensors"),
        directory.path().join("pytorch_model.bin"),
    )
    .unwrap();
    let message = chain(&Checkpoint::open(directory.path()).unwrap_err());
    assert!(
        message.contains("python -c \"from transformers import"),
        "{message}"
    );
    assert!(
        message.contains(&format!("save_pretrained('{}'", directory.path().display())),
        "{message}"
    );
}

#[test]
fn overflow_and_non_finite_values_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let config = config_json();
    std::fs::write(directory.path().join("config.json"), config.to_string()).unwrap();
    let mut tensors = tensors(&llama(&config), Dtype::F32);
    tensors[0].3[..4].copy_from_slice(&1e6f32.to_le_bytes());
    tensors[1].3[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    crate::model::write_safetensors(&directory.path().join("model.safetensors"), &tensors);
    let checkpoint = Checkpoint::open(directory.path()).unwrap();
    let large = checkpoint.tensor(&tensors[0].0).unwrap();
    large.check_finite().unwrap();
    assert!(matches!(
        large.to_bytes(Dtype::F16),
        Err(HubError::Overflow {
            dtype: Dtype::F16,
            ..
        })
    ));
    assert!(large.to_bytes(Dtype::BF16).is_ok());
    let error = checkpoint
        .tensor(&tensors[1].0)
        .unwrap()
        .check_finite()
        .unwrap_err();
    assert!(error.to_string().contains(&tensors[1].0), "{error}");
}
