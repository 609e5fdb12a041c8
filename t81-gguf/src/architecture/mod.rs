//! What llama.cpp calls the tensors and hyper-parameters of a model.

mod hyper_parameters;
mod rotary;

use t81_hub::{ModelConfig, TensorRole, TensorSpec};

pub(crate) use hyper_parameters::describe;

/// A tensor of the GGUF file and where its values come from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MappedTensor {
    /// The GGUF name.
    pub(crate) name: String,
    /// The shape with the fastest dimension last: `[out, in]` for a matrix.
    pub(crate) shape: Vec<usize>,
    pub(crate) role: TensorRole,
    pub(crate) source: Source,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source {
    /// A tensor of the checkpoint.
    Checkpoint(TensorSpec),
    /// Values that follow from the configuration.
    Computed(Vec<f32>),
}

/// Every tensor of the file, in file order.
pub(crate) fn tensors(config: &ModelConfig) -> Vec<MappedTensor> {
    let mut tensors: Vec<MappedTensor> = config
        .tensors()
        .into_iter()
        .map(|spec| MappedTensor {
            name: spec.gguf.clone(),
            shape: spec.shape.clone(),
            role: spec.role,
            source: Source::Checkpoint(spec),
        })
        .collect();
    let computed = rotary::factors(config)
        .into_iter()
        .map(|(name, factors)| MappedTensor {
            name: name.to_owned(),
            shape: vec![factors.len()],
            role: TensorRole::Vector,
            source: Source::Computed(factors),
        });
    // After the token embedding, where llama.cpp's own converter has them.
    tensors.splice(1..1, computed);
    tensors
}
