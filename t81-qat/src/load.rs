//! From a t81 directory to a decoder.

use std::path::Path;

use burn::tensor::Device;
use t81_burn::PackedWeights;
use t81_burn::inference::LlamaInference;
use t81_burn::models::{Decoder, DecoderConfig};
use t81_core::{ActivationPrecision, Layout};
use t81_hub::{HubError, T81Directory, T81Tensor};

use crate::architecture::decoder_config;
use crate::error::QatError;
use crate::inference::{Floats, load_llama};

/// Opens a t81 directory, or the output directory of a run, as a Burn model on `device`. Its weights are the exact ternary
/// values (`scale * code`) as floats, so it computes what the exported file says.
///
/// To train it further make it ternary again: with least-squares scales and the directory's granularity
/// [`t81_burn::Ternary`] finds the same codes and scales in these weights.
///
/// ```no_run
/// use burn::tensor::{Device, Int, Tensor};
///
/// let device = Device::flex();
/// let model = t81_qat::from_pretrained_t81("ternary-stories", &device)?;
/// let tokens = Tensor::<2, Int>::from_data([[0, 17, 42]], &device);
/// // [1, 3, vocabulary]: logits of the token after each position.
/// let logits = model.forward(tokens);
/// println!("{}", logits.argmax(2));
/// # Ok::<(), t81_qat::QatError>(())
/// ```
///
/// # Errors
/// [`QatError::Hub`] if the directory is none of T81's or is damaged, [`QatError::Untrainable`] for an architecture without
/// a Burn model.
pub fn from_pretrained_t81(
    directory: impl AsRef<Path>,
    device: &Device,
) -> Result<Decoder, QatError> {
    load_decoder(&T81Directory::open(directory)?, device)
}

/// The decoder with the exact ternary weights of `directory`.
pub(crate) fn load_decoder(directory: &T81Directory, device: &Device) -> Result<Decoder, QatError> {
    let config = decoder_config(directory.config(), directory.directory())?;
    config
        .init(device)
        .load_weights(|name| weight(directory, name))
        .map_err(|source| QatError::LoadWeights {
            directory: directory.directory().to_path_buf(),
            source,
        })
}

/// [`from_pretrained_t81`] with the ternary weights in two bits, for inference; see [`t81_burn::Ternary::pack`].
/// `precision` says how activations enter the products.
///
/// # Errors
/// As [`from_pretrained_t81`].
pub fn from_pretrained_t81_packed(
    directory: impl AsRef<Path>,
    precision: ActivationPrecision,
    device: &Device,
) -> Result<Decoder, QatError> {
    load_packed(&T81Directory::open(directory)?, precision, device)
}

/// Opens a t81 directory, or the output directory of a run, of the LLaMA family for inference on a CPU: the quickest way to
/// text, and the one with the least memory. `precision` says how activations enter the products with ternary weights.
///
/// ```no_run
/// use t81_burn::inference::LlamaCache;
/// use t81_core::ActivationPrecision;
///
/// let model = t81_qat::from_pretrained_t81_inference("ternary-stories", ActivationPrecision::Int8)?;
/// let mut cache = LlamaCache::new(256);
/// // [vocabulary]: logits of the token after these, then of the token after one more.
/// let logits = model.forward_cached(&[0, 17, 42], &mut cache)?;
/// let best = (0..logits.len()).max_by(|&left, &right| logits[left].total_cmp(&logits[right]));
/// let logits = model.forward_cached(&[best.unwrap_or(0) as u32], &mut cache)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As [`from_pretrained_t81`], and [`QatError::NotLlama`] for GPT-2.
pub fn from_pretrained_t81_inference(
    directory: impl AsRef<Path>,
    precision: ActivationPrecision,
) -> Result<LlamaInference, QatError> {
    let directory = T81Directory::open(directory)?;
    match decoder_config(directory.config(), directory.directory())? {
        DecoderConfig::Llama(config) => load_llama(&directory, &config, precision, Floats::Quick),
        DecoderConfig::Gpt2(_) => Err(QatError::NotLlama {
            directory: directory.directory().to_path_buf(),
        }),
    }
}

/// The decoder with the ternary weights of `directory` as they are there.
pub(crate) fn load_packed(
    directory: &T81Directory,
    precision: ActivationPrecision,
    device: &Device,
) -> Result<Decoder, QatError> {
    let decoder = load_decoder(directory, device)?;
    let mut packed = PackedWeights::new(precision);
    for spec in decoder.weight_specs() {
        if let T81Tensor::Ternary(matrix) = directory.get(&spec.name)? {
            packed.insert(spec.name, &matrix);
        }
    }
    Ok(decoder.attach_packed(packed))
}

/// Shape and values of a weight as its float checkpoint stores them.
fn weight(directory: &T81Directory, name: &str) -> Result<(Vec<usize>, Vec<f32>), HubError> {
    let matrix = match directory.get(name)? {
        T81Tensor::Ternary(matrix) => matrix,
        T81Tensor::Dense(tensor) => return Ok((tensor.shape.clone(), tensor.to_f32())),
    };
    let shape = vec![matrix.rows(), matrix.columns()];
    let stored_transposed = directory
        .metadata()
        .tensors
        .get(name)
        .is_some_and(|info| info.transposed);
    if !stored_transposed {
        return Ok((shape, matrix.dequantize()));
    }
    let mut values = vec![0.0; matrix.rows() * matrix.columns()];
    matrix
        .dequantize_into(Layout::InOut, &mut values)
        .map_err(|source| HubError::Ternary {
            name: name.to_string(),
            source,
        })?;
    Ok((shape.into_iter().rev().collect(), values))
}
