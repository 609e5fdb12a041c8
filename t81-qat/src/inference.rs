//! A model that is only asked, never trained: how it is opened, and the sequences that it continues.

use burn::tensor::{Device, Int, Tensor, TensorData};
use t81_burn::inference::{FloatRows, InferenceWeight, LlamaCache, LlamaInference};
use t81_burn::models::llama::LlamaConfig;
use t81_burn::models::{CacheError, Decoder, DecoderCache, DecoderConfig};
use t81_core::ActivationPrecision;
use t81_core::dense::FloatFormat;
use t81_hub::{Dtype, HubError, T81Directory, T81Tensor, TensorView};

use crate::cli::ActivationChoice;
use crate::error::QatError;
use crate::load::{load_decoder, load_packed};

/// What becomes of matrices of floats beside int8 activations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Floats {
    /// They stay as they are, so that perplexities are those of the training run.
    Exact,
    /// 16 bits, as in an exported file: there is less to read for each token.
    Quick,
}

/// A model for inference.
#[allow(
    clippy::large_enum_variant,
    reason = "a program holds one, far larger in its weights than in itself"
)]
pub(crate) enum InferenceModel {
    /// Without tensors, for the LLaMA family on a CPU.
    Llama(LlamaInference),
    /// By Burn, on a device.
    Decoder(Decoder, Device),
}

impl InferenceModel {
    /// The model of `directory`, which `config` describes. On a CPU its ternary weights stay packed and `precision` says how
    /// activations enter the products; a GPU, which has no packed kernels, computes with floats. `floats` is for the matrices
    /// that are not ternary.
    pub(crate) fn open(
        directory: &T81Directory,
        config: &DecoderConfig,
        precision: ActivationPrecision,
        floats: Floats,
        device: &Device,
    ) -> Result<Self, QatError> {
        let on_cpu = *device == Device::flex();
        Ok(match config {
            DecoderConfig::Llama(config) if on_cpu => {
                Self::Llama(load_llama(directory, config, precision, floats)?)
            }
            _ if on_cpu => {
                Self::Decoder(load_packed(directory, precision, device)?, device.clone())
            }
            _ => Self::Decoder(load_decoder(directory, device)?, device.clone()),
        })
    }

    /// An empty sequence of at most `context_length` tokens.
    pub(crate) fn sequence(&self, context_length: usize) -> Sequence<'_> {
        match self {
            Self::Llama(model) => Sequence::Llama(model, Box::new(LlamaCache::new(context_length))),
            Self::Decoder(decoder, device) => Sequence::of_decoder(decoder, device, context_length),
        }
    }
}

/// How activations are to enter the products with the ternary weights of `directory`: as `choice` says, else as in training.
pub(crate) fn activation_precision(
    choice: Option<ActivationChoice>,
    directory: &T81Directory,
) -> ActivationPrecision {
    let trained = directory.metadata().activations.unwrap_or_default();
    choice.map_or(trained, Into::into)
}

/// Tokens that a model has seen.
pub(crate) enum Sequence<'a> {
    /// By a model without tensors.
    Llama(&'a LlamaInference, Box<LlamaCache>),
    /// By one of Burn on a device.
    Decoder(&'a Decoder, &'a Device, DecoderCache),
}

impl<'a> Sequence<'a> {
    /// An empty sequence of at most `context_length` tokens for a decoder on `device`.
    pub(crate) fn of_decoder(
        decoder: &'a Decoder,
        device: &'a Device,
        context_length: usize,
    ) -> Self {
        Self::Decoder(decoder, device, DecoderCache::new(context_length))
    }

    /// Tokens seen.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Llama(_, cache) => cache.len(),
            Self::Decoder(_, _, cache) => cache.len(),
        }
    }

    /// Adds tokens; the logits of the one that follows.
    pub(crate) fn advance(&mut self, tokens: &[u32]) -> Result<Vec<f32>, CacheError> {
        match self {
            Self::Llama(model, cache) => Ok(model.forward_cached(tokens, cache)?.to_vec()),
            Self::Decoder(decoder, device, cache) => {
                let ids: Vec<i32> = tokens.iter().map(|&id| id as i32).collect();
                let shape = [1, ids.len()];
                let tokens = Tensor::<2, Int>::from_data(TensorData::new(ids, shape), *device);
                let logits = decoder.forward_cached(tokens, cache)?;
                Ok(logits.into_data().iter::<f32>().collect())
            }
        }
    }
}

/// The model of `directory`, its weights straight from the files: no float copy of the model is made.
pub(crate) fn load_llama(
    directory: &T81Directory,
    config: &LlamaConfig,
    precision: ActivationPrecision,
    floats: Floats,
) -> Result<LlamaInference, QatError> {
    LlamaInference::load(config, precision, |name| {
        Ok::<_, HubError>(match directory.get(name)? {
            T81Tensor::Ternary(matrix) => InferenceWeight::Ternary(matrix),
            T81Tensor::Dense(tensor) => {
                let rows = float_rows(tensor);
                InferenceWeight::Floats(match floats {
                    Floats::Exact => rows.exact(),
                    Floats::Quick => rows,
                })
            }
        })
    })
    .map_err(|source| QatError::LoadWeights {
        directory: directory.directory().to_path_buf(),
        source,
    })
}

/// The rows of a tensor, decoded when they are asked for.
fn float_rows(tensor: TensorView<'_>) -> FloatRows<'_> {
    let format = match tensor.dtype {
        Dtype::F32 => FloatFormat::F32,
        Dtype::F16 => FloatFormat::F16,
        Dtype::BF16 => FloatFormat::Bf16,
    };
    FloatRows::new(tensor.shape.clone(), format, move |row, values| {
        let bytes = values.len() * tensor.dtype.size_bytes();
        let part = &tensor.bytes[row * bytes..][..bytes];
        TensorView::new(tensor.name, tensor.dtype, &[values.len()], part)
            .and_then(|part| part.to_f32_into(values))
            .expect("a row of the tensor has the bytes of its values");
    })
}
