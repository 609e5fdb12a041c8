//! The LLaMA decoder against Hugging Face transformers, and its weights in and out.

mod fixtures;

use burn::module::{Module, Param, Reparameterization, Reparameterizer};
use burn::tensor::{Device, Int, Tensor, TensorData};
use fixtures::{configuration, largest_difference, read_tensors};
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use t81_burn::models::llama::{Llama, LlamaConfig, LoadWeightsError, WeightLayout};

type Weights = HashMap<String, (Vec<usize>, Vec<f32>)>;

/// Path of a committed fixture.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn variants() -> Value {
    let text = std::fs::read_to_string(fixture("llama_variants.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn variant(name: &str) -> LlamaConfig {
    configuration(&variants()[name])
}

fn weights() -> Weights {
    read_tensors(&fixture("llama_weights.safetensors"))
}

fn give(weights: &Weights) -> impl FnMut(&str) -> Result<(Vec<usize>, Vec<f32>), String> {
    move |name| {
        weights
            .get(name)
            .cloned()
            .ok_or_else(|| "no such tensor".to_owned())
    }
}

fn load(config: &LlamaConfig, device: &Device) -> Llama {
    config.init(device).load_weights(give(&weights())).unwrap()
}

fn int_tensor(shape: &[usize], values: &[f32], device: &Device) -> Tensor<2, Int> {
    let values: Vec<i64> = values.iter().map(|value| *value as i64).collect();
    Tensor::from_data(TensorData::new(values, shape.to_vec()), device)
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

#[test]
fn logits_equal_transformers() {
    let expected = read_tensors(&fixture("llama_logits.safetensors"));
    let (shape, tokens) = &expected["tokens"];
    for (name, config) in variants().as_object().unwrap() {
        for device in [Device::default(), Device::default().autodiff()] {
            let model = load(&configuration(config), &device);
            let logits = model.forward(int_tensor(shape, tokens, &device));
            assert_eq!(logits.dims().as_slice(), expected[name].0);
            let difference = largest_difference(&floats(logits), &expected[name].1);
            println!("{name}, autodiff {}: {difference:e}", device.is_autodiff());
            assert!(difference < 1e-4, "{name}: {difference}");
        }
    }
}

#[test]
fn training_and_validation_keep_the_model() {
    let plain = Device::default();
    let expected = read_tensors(&fixture("llama_logits.safetensors"));
    let (shape, tokens) = &expected["tokens"];
    let model = load(&variant("llama3"), &plain).train();
    assert!(model.embed_tokens.weight.val().is_autodiff());
    let check = |model: &Llama, device: &Device| {
        let logits = floats(model.forward(int_tensor(shape, tokens, device)));
        assert!(largest_difference(&logits, &expected["llama3"].1) < 1e-4);
    };
    check(&model, &plain.clone().autodiff());
    check(&model.valid(), &plain);
    check(
        &model.clone().to_device(&plain.clone().autodiff()),
        &plain.clone().autodiff(),
    );
    check(
        &model.clone().fork(&plain.clone().autodiff()),
        &plain.clone().autodiff(),
    );

    // A record holds the parameters and not the rotary tables.
    let record = model.valid().into_record();
    let restored = variant("llama3").init(&plain).load_record(record);
    check(&restored, &plain);
    assert_eq!(
        model.num_params(),
        model
            .weight_specs()
            .iter()
            .map(|spec| spec.shape.iter().product::<usize>())
            .sum::<usize>()
    );
}

#[test]
fn weights_come_out_as_they_went_in() {
    let weights = weights();
    let config = variant("biased").with_tie_word_embeddings(true);
    let model = load(&config, &Device::default().autodiff());
    let mut names = Vec::new();
    model
        .visit_weights(|weight| {
            let spec = weight.spec.clone();
            let projection = spec.name.ends_with("proj.weight");
            assert_eq!(
                spec.layout == WeightLayout::Transposed,
                projection,
                "{}",
                spec.name
            );
            let (shape, values) = &weights[&spec.name];
            assert_eq!(&spec.shape, shape);
            assert_eq!(&weight.into_hugging_face_order(), values, "{}", spec.name);
            names.push(spec.name);
            Ok::<(), String>(())
        })
        .unwrap();
    let specs: Vec<String> = model
        .weight_specs()
        .into_iter()
        .map(|spec| spec.name)
        .collect();
    assert_eq!(names, specs);
    names.sort();
    let mut expected: Vec<&String> = weights
        .keys()
        .filter(|name| *name != "lm_head.weight")
        .collect();
    expected.sort();
    assert_eq!(names.iter().collect::<Vec<_>>(), expected);
}

#[test]
fn a_visit_ends_at_the_first_error() {
    let model = variant("untied").init(&Device::default());
    let mut calls = 0;
    let outcome = model.visit_weights(|weight| {
        calls += 1;
        Err(weight.spec.name)
    });
    assert_eq!(outcome, Err("model.embed_tokens.weight".to_owned()));
    assert_eq!(calls, 1);
}

#[test]
fn what_cannot_be_loaded_is_named() {
    let load = |config: LlamaConfig, weights: &Weights| {
        config
            .init(&Device::default())
            .load_weights(give(weights))
            .unwrap_err()
    };
    let mut broken = weights();
    broken.remove("model.layers.1.mlp.up_proj.weight");
    let error = load(variant("untied"), &broken);
    assert_eq!(
        error.to_string(),
        "cannot load `model.layers.1.mlp.up_proj.weight`: no such tensor"
    );

    let narrow = variant("untied").with_num_key_value_heads(Some(1));
    let LoadWeightsError::Shape {
        name,
        expected,
        found,
    } = load(narrow, &weights())
    else {
        panic!()
    };
    assert_eq!(name, "model.layers.0.self_attn.k_proj.weight");
    assert_eq!((expected, found), (vec![16, 64], vec![32, 64]));

    let mut short = weights();
    short.get_mut("model.norm.weight").unwrap().1.pop();
    let LoadWeightsError::Length {
        name,
        expected,
        found,
    } = load(variant("untied"), &short)
    else {
        panic!()
    };
    assert_eq!(
        (name.as_str(), expected, found),
        ("model.norm.weight", 64, 63)
    );
}

/// Doubles the weights of the projections and holds a parameter of its own, as a ternary one could.
#[derive(Module, Debug)]
struct Doubled {
    factor: Param<Tensor<1>>,
}

impl Reparameterization for Doubled {
    const NAME: &'static str = "doubled";

    fn apply<const D: usize>(&self, base: Tensor<D>) -> Tensor<D> {
        base * self.factor.val().reshape([1; D])
    }
}

struct DoubleProjections;

impl Reparameterizer for DoubleProjections {
    type Reparam = Doubled;

    fn reparameterize<const D: usize>(
        &mut self,
        path: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<Doubled>) {
        let doubled = path.ends_with("proj.weight").then(|| Doubled {
            factor: Param::from_tensor(Tensor::full([1], 2.0, &param.lazy_device())),
        });
        (param, doubled)
    }
}

#[test]
fn reparameterized_models_load_and_give_their_base_weights() {
    let (weights, device) = (weights(), Device::default().autodiff());
    let name = "model.layers.0.mlp.down_proj.weight";
    let path = |model: &Llama| model.layers[0].mlp.down_proj.weight.clone();
    let model = variant("untied")
        .init(&device)
        .apply_reparameterization(DoubleProjections)
        .load_weights(give(&weights))
        .unwrap();
    assert_eq!(
        path(&model)
            .reparameterization::<Doubled>()
            .map(|state| floats(state.factor.val())),
        Some(vec![2.0])
    );
    assert!(path(&model).base().is_require_grad());

    let read = |model: &Llama| {
        let mut found = None;
        let keep = |weight: t81_burn::models::llama::Weight| {
            if weight.spec.name == name {
                found = Some(weight.into_hugging_face_order());
            }
            Ok::<(), String>(())
        };
        model.visit_weights(keep).unwrap();
        found.unwrap()
    };
    assert_eq!(read(&model), weights[name].1);
    let doubled: Vec<f32> = weights[name].1.iter().map(|value| 2.0 * value).collect();
    assert_eq!(read(&model.valid().materialize()), doubled);
    assert_eq!(
        model.weight_specs(),
        variant("untied").init(&device).weight_specs()
    );
}
