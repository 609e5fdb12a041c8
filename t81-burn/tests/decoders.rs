//! Mistral, Qwen2, Qwen3 and GPT-2 against Hugging Face transformers, and their weights in and out.

mod fixtures;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use fixtures::{configuration, largest_difference, read_tensors};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use t81_burn::models::gpt2::Gpt2Config;
use t81_burn::models::{Decoder, DecoderConfig, LoadWeightsError, Weight, WeightLayout};
use t81_burn::{QuantizeWeightError, Ternary};
use t81_core::{Granularity, Layout, Quantizer};

type Weights = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Path of a committed fixture.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// A model of the fixtures.
struct Variant {
    name: String,
    config: DecoderConfig,
    weights: Weights,
}

impl Variant {
    fn load(&self, device: &Device) -> Decoder {
        self.config
            .init(device)
            .load_weights(give(&self.weights))
            .unwrap()
    }
}

fn variants() -> Vec<Variant> {
    let text = std::fs::read_to_string(fixture("decoder_variants.json")).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    let all = read_tensors(&fixture("decoder_weights.safetensors"));
    let variants = json.as_object().unwrap().iter().map(|(name, config)| {
        let prefix = format!("{}/", config["like"].as_str().unwrap_or(name));
        let weights = all
            .iter()
            .filter_map(|(key, value)| Some((key.strip_prefix(&prefix)?.to_owned(), value.clone())))
            .collect();
        Variant {
            name: name.clone(),
            config: decoder_configuration(config),
            weights,
        }
    });
    variants.collect()
}

fn variant(name: &str) -> Variant {
    let mut all = variants().into_iter();
    all.find(|variant| variant.name == name).unwrap()
}

fn decoder_configuration(json: &Value) -> DecoderConfig {
    if json["model_type"] != "gpt2" {
        return DecoderConfig::Llama(configuration(json));
    }
    let size = |name: &str| json[name].as_u64().map(|size| size as usize);
    DecoderConfig::Gpt2(
        Gpt2Config::new(
            size("vocab_size").unwrap(),
            size("n_embd").unwrap(),
            size("n_layer").unwrap(),
            size("n_head").unwrap(),
        )
        .with_n_inner(size("n_inner"))
        .with_n_positions(size("n_positions").unwrap())
        .with_layer_norm_epsilon(json["layer_norm_epsilon"].as_f64().unwrap())
        .with_tie_word_embeddings(json["tie_word_embeddings"].as_bool().unwrap()),
    )
}

fn give(weights: &Weights) -> impl FnMut(&str) -> Result<(Vec<usize>, Vec<f32>), String> {
    move |name| {
        weights
            .get(name)
            .cloned()
            .ok_or_else(|| "no such tensor".to_owned())
    }
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
    let expected = read_tensors(&fixture("decoder_logits.safetensors"));
    let (shape, tokens) = &expected["tokens"];
    for variant in variants() {
        let name = &variant.name;
        for device in [Device::default(), Device::default().autodiff()] {
            let model = variant.load(&device);
            let logits = model.forward(int_tensor(shape, tokens, &device));
            assert_eq!(logits.dims().as_slice(), expected[name].0);
            let difference = largest_difference(&floats(logits), &expected[name].1);
            println!("{name}, autodiff {}: {difference:e}", device.is_autodiff());
            assert!(difference < 2e-5, "{name}: {difference}");
        }
    }
    let difference = largest_difference(&expected["mistral"].1, &expected["mistral_window"].1);
    assert!(difference > 0.1, "the window hides something: {difference}");
}

#[test]
fn training_validation_and_records_keep_the_model() {
    let expected = read_tensors(&fixture("decoder_logits.safetensors"));
    let (shape, tokens) = &expected["tokens"];
    for name in ["mistral_window", "qwen3", "gpt2"] {
        let plain = Device::default();
        let autodiff = plain.clone().autodiff();
        let variant = variant(name);
        let model = variant.load(&plain).train();
        let check = |model: &Decoder, device: &Device| {
            let logits = floats(model.forward(int_tensor(shape, tokens, device)));
            assert!(largest_difference(&logits, &expected[name].1) < 1e-4);
        };
        check(&model, &autodiff);
        check(&model.valid(), &plain);
        check(&model.clone().to_device(&autodiff), &autodiff);
        check(&model.clone().fork(&autodiff), &autodiff);

        // The record of the model inside is the record of the decoder.
        let record = match model.valid() {
            Decoder::Llama(model) => model.into_record(),
            Decoder::Gpt2(model) => model.into_record(),
        };
        check(&variant.config.init(&plain).load_record(record), &plain);
        let sizes = model.weight_specs().into_iter();
        assert_eq!(
            model.num_params(),
            sizes
                .map(|spec| spec.shape.iter().product::<usize>())
                .sum::<usize>()
        );
    }
}

#[test]
fn weights_come_out_as_they_went_in() {
    for variant in variants() {
        let Variant {
            name,
            config,
            weights,
        } = &variant;
        let model = variant.load(&Device::default().autodiff());
        let mut found = Weights::new();
        model
            .visit_weights(|weight: Weight| {
                let spec = weight.spec.clone();
                let linear = ["_proj.weight", "c_attn.weight", "c_fc.weight"];
                let expected = match config {
                    _ if spec.name == "lm_head.weight" => WeightLayout::Transposed,
                    _ if !linear.iter().any(|end| spec.name.ends_with(end)) => {
                        WeightLayout::HuggingFace
                    }
                    DecoderConfig::Llama(_) => WeightLayout::Transposed,
                    DecoderConfig::Gpt2(_) => WeightLayout::Conv1d,
                };
                assert_eq!(spec.layout, expected, "{name} {}", spec.name);
                found.insert(spec.name, (spec.shape, weight.into_hugging_face_order()));
                Ok::<(), String>(())
            })
            .unwrap();
        let mut expected = weights.clone();
        if !found.contains_key("lm_head.weight") {
            expected.remove("lm_head.weight");
        }
        assert_eq!(found, expected, "{name}");
        let mut specs: Vec<String> = model
            .weight_specs()
            .into_iter()
            .map(|spec| spec.name)
            .collect();
        specs.sort();
        assert_eq!(specs, found.into_keys().collect::<Vec<_>>());
    }
}

#[test]
fn only_the_matrices_of_the_layers_become_ternary() {
    let llama = [
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.o_proj",
        "mlp.gate_proj",
        "mlp.up_proj",
        "mlp.down_proj",
    ];
    let gpt2 = ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"];
    for variant in variants() {
        let (model, report) = Ternary::default().apply(variant.load(&Device::default()));
        let (layers, parts, count) = match &variant.config {
            DecoderConfig::Llama(config) => {
                ("model.layers", llama.as_slice(), config.num_hidden_layers)
            }
            DecoderConfig::Gpt2(config) => ("transformer.h", gpt2.as_slice(), config.n_layer),
        };
        let expected: Vec<String> = (0..count)
            .flat_map(|layer| {
                parts
                    .iter()
                    .map(move |part| format!("{layers}.{layer}.{part}.weight"))
            })
            .collect();
        let found: Vec<String> = report
            .ternary
            .iter()
            .map(|parameter| model.hugging_face_name(&parameter.path))
            .collect();
        assert_eq!(found, expected, "{}", variant.name);
    }
}

#[test]
fn gpt2_matrices_are_quantized_along_their_inputs() {
    let variant = variant("gpt2");
    let quantizer = Quantizer::twn(Granularity::group(16).unwrap());
    let ternary = Ternary::new(quantizer.clone());
    let (model, report) = ternary.apply(variant.load(&Device::default()));
    let mut seen = HashMap::new();
    ternary
        .quantize_weights(&model, &report, |path, matrix| {
            seen.insert(model.hugging_face_name(path), matrix);
            Ok::<_, QuantizeWeightError>(())
        })
        .unwrap();
    assert_eq!(seen.len(), 2 * 4);
    for (name, matrix) in seen {
        let (shape, values) = &variant.weights[&name];
        let &[inputs, outputs] = shape.as_slice() else {
            panic!("{name} has shape {shape:?}")
        };
        // Row-major [out, in], as a checkpoint of torch.nn.Linear would hold it.
        let rows: Vec<f32> = (0..outputs * inputs)
            .map(|index| values[index % inputs * outputs + index / inputs])
            .collect();
        let expected = quantizer
            .quantize(&rows, outputs, inputs, Layout::OutIn)
            .unwrap();
        assert_eq!(matrix, expected, "{name}");
    }
}

#[test]
fn what_cannot_be_loaded_is_named() {
    let mut gpt2 = variant("gpt2");
    gpt2.weights
        .get_mut("transformer.h.1.attn.c_attn.weight")
        .unwrap()
        .0 = vec![96, 32];
    let error = gpt2
        .config
        .init(&Device::default())
        .load_weights(give(&gpt2.weights))
        .unwrap_err();
    let LoadWeightsError::Shape {
        name,
        expected,
        found,
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!(name, "transformer.h.1.attn.c_attn.weight");
    assert_eq!((expected, found), (vec![32, 96], vec![96, 32]));

    let mut qwen3 = variant("qwen3");
    qwen3
        .weights
        .remove("model.layers.0.self_attn.k_norm.weight");
    let error = qwen3
        .config
        .init(&Device::default())
        .load_weights(give(&qwen3.weights))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot load `model.layers.0.self_attn.k_norm.weight`: no such tensor"
    );
}
