//! Ternary models as a library saves and loads them.

use std::path::Path;

use t81_hub::{Checkpoint, ResolveOptions, T81Directory, model_name, resolve};

use crate::convert::convert_checkpoint;
use crate::{ConversionReport, ConvertError, ConvertOptions, Silent};

/// Makes a model of floats ternary and saves it as the t81 directory `directory`: [`convert`](crate::convert) for a checkpoint
/// that is open already, or that was never on disk.
///
/// The tokenizer and its companions go along from the checkpoint's directory; one in memory has none, so that whoever
/// wants to export the result copies a tokenizer beside it.
///
/// ```
/// use serde_json::json;
/// use t81_convert::{ConvertOptions, from_pretrained_t81, save_pretrained_t81};
/// use t81_hub::{Checkpoint, MemoryTensor, ModelConfig, T81Tensor};
///
/// let config = ModelConfig::from_json(json!({
///     "model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 2,
///     "vocab_size": 10, "max_position_embeddings": 32, "rms_norm_eps": 1e-5, "tie_word_embeddings": true,
/// }))?;
/// let tensors: Vec<MemoryTensor> = config
///     .expected_tensors()
///     .into_iter()
///     .map(|(name, shape)| {
///         let values: Vec<f32> = (0..shape.iter().product()).map(|i: usize| (i as f32).sin()).collect();
///         MemoryTensor::from_f32(name, &shape, &values)
///     })
///     .collect();
///
/// let place = tempfile::tempdir()?;
/// let directory = place.path().join("ternary");
/// save_pretrained_t81(&Checkpoint::in_memory(config, tensors)?, &directory, &ConvertOptions::default())?;
///
/// let model = from_pretrained_t81(&directory)?;
/// let weight = model.get("model.layers.0.mlp.down_proj.weight")?;
/// assert!(matches!(weight, T81Tensor::Ternary(matrix) if matrix.rows() == 64 && matrix.columns() == 128));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As [`convert`](crate::convert).
pub fn save_pretrained_t81(
    checkpoint: &Checkpoint,
    directory: impl AsRef<Path>,
    options: &ConvertOptions,
) -> Result<ConversionReport, ConvertError> {
    let source = checkpoint.directory();
    let label = if source.as_os_str().is_empty() {
        "memory".to_owned()
    } else {
        model_name(source, None, source)
    };
    convert_checkpoint(checkpoint, label, directory.as_ref(), options, &mut Silent)
}

/// Opens a t81 directory (or a training output that holds one, or a repository of the Hugging Face Hub) and validates it.
///
/// [`T81Directory::get`] gives its tensors one at a time: ternary weights as codes and scales, which
/// [`dequantize`](t81_core::TernaryMatrix::dequantize) to exact floats, everything else as views of the files. For a Burn model
/// there is a function of the same name in `t81-qat`, which loads them into a decoder.
///
/// # Errors
/// If the directory is none, or damaged; the error names file and tensor.
pub fn from_pretrained_t81(directory: impl AsRef<Path>) -> Result<T81Directory, ConvertError> {
    let directory = resolve(directory, &ResolveOptions::default())?;
    Ok(T81Directory::open(directory)?)
}
