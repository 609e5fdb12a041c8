//! A model for inference from one of Burn.

use burn::module::Param;
use burn::nn::{Linear, RmsNorm};
use burn::tensor::{DType, Tensor};
use t81_core::ActivationPrecision;

use super::model::LlamaInference;
use super::weights::{FloatRows, InferenceWeight};
use crate::models::llama::{Llama, LlamaConfig, LlamaLayer};
use crate::models::transposed;
use crate::packed::PackedWeight;

impl LlamaInference {
    /// The inference of `model`, which `config` made: packed weights as they are, all others as the floats that its forward
    /// pass uses. A model whose weights are packed for int8 activations takes them here, too.
    ///
    /// # Panics
    /// If `config` describes another model.
    pub fn from_model(config: &LlamaConfig, model: &Llama) -> Self {
        let packed = model.layers.iter().flat_map(linears).find_map(|layer| {
            let weight = layer.weight.reparameterization::<PackedWeight>()?;
            Some(weight.precision())
        });
        let precision = packed.unwrap_or(ActivationPrecision::Float32);
        Self::load(config, precision, |name| {
            weight(model, name).ok_or_else(|| format!("the model has no `{name}`"))
        })
        .unwrap_or_else(|error| panic!("the model of another configuration: {error}"))
    }
}

fn linears(layer: &LlamaLayer) -> [&Linear; 7] {
    let (attention, mlp) = (&layer.self_attn, &layer.mlp);
    [
        &attention.q_proj,
        &attention.k_proj,
        &attention.v_proj,
        &attention.o_proj,
        &mlp.gate_proj,
        &mlp.up_proj,
        &mlp.down_proj,
    ]
}

/// The weight of a Hugging Face name.
fn weight(model: &Llama, name: &str) -> Option<InferenceWeight<'static>> {
    match name {
        "model.embed_tokens.weight" => return Some(floats(&model.embed_tokens.weight)),
        "model.norm.weight" => return Some(gain(&model.norm)),
        "lm_head.weight" => return model.lm_head.as_ref().map(matrix),
        _ => {}
    }
    let (index, path) = name.strip_prefix("model.layers.")?.split_once('.')?;
    let layer = model.layers.get(index.parse::<usize>().ok()?)?;
    let (module, parameter) = path.rsplit_once('.')?;
    let attention = &layer.self_attn;
    match module {
        "input_layernorm" => return Some(gain(&layer.input_layernorm)),
        "post_attention_layernorm" => return Some(gain(&layer.post_attention_layernorm)),
        "self_attn.q_norm" => return attention.q_norm.as_ref().map(gain),
        "self_attn.k_norm" => return attention.k_norm.as_ref().map(gain),
        _ => {}
    }
    let names = [
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.o_proj",
        "mlp.gate_proj",
        "mlp.up_proj",
        "mlp.down_proj",
    ];
    let linear = linears(layer)[names.iter().position(|name| *name == module)?];
    match parameter {
        "bias" => linear.bias.as_ref().map(floats),
        _ => Some(matrix(linear)),
    }
}

fn gain(norm: &RmsNorm) -> InferenceWeight<'static> {
    floats(&norm.gamma)
}

fn matrix(linear: &Linear) -> InferenceWeight<'static> {
    if let Some(weight) = linear.weight.reparameterization::<PackedWeight>() {
        return InferenceWeight::Ternary(weight.matrix().to_matrix());
    }
    let weight = linear.weight.val();
    let [inputs, outputs] = weight.dims();
    let values = transposed(&values(weight), inputs, outputs);
    InferenceWeight::Floats(FloatRows::from_values(vec![outputs, inputs], values))
}

fn floats<const D: usize>(param: &Param<Tensor<D>>) -> InferenceWeight<'static> {
    let tensor = param.val();
    let shape = tensor.dims().to_vec();
    InferenceWeight::Floats(FloatRows::from_values(shape, values(tensor)))
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let data = tensor.inner().cast(DType::F32).into_data();
    data.try_into_vec().expect("a tensor cast to f32 holds f32")
}
