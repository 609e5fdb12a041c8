//! The built command on a checkpoint of every architecture besides llama: what it trains is what it exports.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use burn::module::Module;
use burn::store::ModuleRecord;
use burn::tensor::{Device, Int, Tensor, TensorData};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use t81_burn::models::gpt2::Gpt2Config;
use t81_burn::models::llama::LlamaConfig;
use t81_burn::models::{Decoder, DecoderConfig, Weight};
use t81_datasets::{save_tokenizer, train_tokenizer};
use t81_gguf::GgufFile;
use t81_hub::{T81Directory, T81Tensor};
use t81_qat::{QatModel, from_pretrained_t81};

const VOCABULARY: usize = 270;
const CONTEXT: usize = 48;

fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_t81-qat"))
}

fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn fail(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

fn text() -> String {
    let sentence = |index: usize| {
        let who = ["Tom", "Ann", "The dog", "My friend"][index % 4];
        let place = ["garden", "house", "river"][index % 3];
        format!("{who} went to the {place}. It was day {index}.\n")
    };
    (0..400).map(sentence).collect()
}

/// A model type, its `config.json`, and the same as a decoder.
fn models() -> [(&'static str, Value, DecoderConfig); 3] {
    let qwen = |model_type: &str| {
        json!({
            "model_type": model_type, "vocab_size": VOCABULARY, "hidden_size": 64, "intermediate_size": 128,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-6, "rope_theta": 1e6,
            "tie_word_embeddings": true, "hidden_act": "silu",
        })
    };
    let sized = |config: LlamaConfig| {
        let config = config.with_num_key_value_heads(Some(2));
        let config = config.with_max_position_embeddings(CONTEXT);
        let config = config.with_rope_theta(1e6);
        config.with_tie_word_embeddings(true)
    };
    let mut qwen3 = qwen("qwen3");
    qwen3["head_dim"] = json!(32);
    let qwen3_decoder = LlamaConfig::qwen3(VOCABULARY, 64, 128, 2, 4).with_head_dim(Some(32));
    let gpt2 = json!({
        "model_type": "gpt2", "vocab_size": VOCABULARY, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_inner": null,
        "n_positions": CONTEXT, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5,
    });
    let gpt2_decoder = Gpt2Config::new(VOCABULARY, 64, 2, 4).with_n_positions(CONTEXT);
    [
        (
            "qwen2",
            qwen("qwen2"),
            DecoderConfig::Llama(sized(LlamaConfig::qwen2(VOCABULARY, 64, 128, 2, 4))),
        ),
        ("qwen3", qwen3, DecoderConfig::Llama(sized(qwen3_decoder))),
        ("gpt2", gpt2, DecoderConfig::Gpt2(gpt2_decoder)),
    ]
}

/// A checkpoint of random weights in `directory`, GPT-2's without the prefix of its names, as the Hub's is.
fn write_checkpoint(directory: &Path, config: &Value, decoder: &Decoder) {
    fs::create_dir(directory).unwrap();
    fs::write(directory.join("config.json"), config.to_string()).unwrap();
    let tokenizer = train_tokenizer(std::iter::once(text()), VOCABULARY).unwrap();
    save_tokenizer(&tokenizer, directory, CONTEXT).unwrap();
    let mut tensors = BTreeMap::new();
    decoder
        .visit_weights(|weight: Weight| {
            let name = weight.spec.name.replace("transformer.", "");
            let shape = weight.spec.shape.clone();
            let values = weight.into_hugging_face_order();
            let bytes: Vec<u8> = values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            tensors.insert(name, (shape, bytes));
            Ok::<(), String>(())
        })
        .unwrap();
    let views = tensors.iter().map(|(name, (shape, bytes))| {
        (
            name,
            TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap(),
        )
    });
    safetensors::serialize_to_file(views, None, &directory.join("model.safetensors")).unwrap();
}

/// The float weights of the last checkpoint of a run.
fn last_weights(run: &Path, step: usize, config: &DecoderConfig) -> Decoder {
    let model = run.join(format!("checkpoints/step-{step:08}/model.bpk"));
    let record = ModuleRecord::load(&model).unwrap();
    let model = QatModel::new(config.init(&Device::flex()), 0.0);
    model.try_load_record(record).unwrap().decoder
}

fn training(model: &Path, scratch: &Path, run: &Path) -> Command {
    let mut command = command();
    command
        .arg(model)
        .arg("--train-file")
        .arg(scratch.join("text.txt"))
        .arg("--output-dir")
        .arg(run)
        .args(["--per-device-train-batch-size", "4", "--max-steps", "6"])
        .args(["--max-eval-samples", "4", "--logging-steps", "1"])
        .args(["--learning-rate", "3e-3", "--lambda-warmup-steps", "2"]);
    command
}

/// What a framework, an older training and an earlier quantization leave in a checkpoint is read, and said.
#[test]
fn a_checkpoint_is_trained_as_it_is_found() {
    let scratch = tempfile::tempdir().unwrap();
    let scratch = scratch.path();
    fs::write(scratch.join("text.txt"), text()).unwrap();
    let json = json!({
        "model_type": "llama", "vocab_size": VOCABULARY, "hidden_size": 256, "intermediate_size": 256,
        "num_hidden_layers": 1, "num_attention_heads": 4, "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-6,
        "rope_scaling": {"rope_type": "linear", "factor": 1.0, "rope_theta": 1e6}, "tie_word_embeddings": true,
    });
    let config = LlamaConfig::new(VOCABULARY, 256, 256, 1, 4)
        .with_max_position_embeddings(CONTEXT)
        .with_tie_word_embeddings(true);
    let config = DecoderConfig::Llama(config);
    let (model, run) = (scratch.join("found"), scratch.join("run"));
    write_checkpoint(&model, &json, &config.init(&Device::flex()));
    let path = model.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let mut tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)> = SafeTensors::deserialize(&bytes)
        .unwrap()
        .tensors()
        .into_iter()
        .map(|(name, view)| {
            let values = view.data().as_chunks::<4>().0;
            let mut values: Vec<f32> = values
                .iter()
                .map(|bytes| f32::from_le_bytes(*bytes))
                .collect();
            if name.ends_with("_proj.weight") {
                for (at, value) in values.iter_mut().enumerate() {
                    *value = value.signum() * (1 + at / 64 % 5) as f32 / 256.0;
                }
            }
            (format!("module.{name}"), (view.shape().to_vec(), values))
        })
        .collect();
    tensors.insert("module.score.weight".into(), (vec![2, 256], vec![0.0; 512]));
    let second = "module.model.layers.1.input_layernorm.weight";
    tensors.insert(second.into(), (vec![256], vec![1.0; 256]));
    let bias = "module.model.layers.0.self_attn.v_proj.bias";
    tensors.insert(bias.into(), (vec![256], vec![0.25; 256]));
    let stored: BTreeMap<&String, (Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, (shape, values))| {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes());
            (name, (shape.clone(), bytes.collect()))
        })
        .collect();
    let views = stored.iter().map(|(name, (shape, bytes))| {
        (
            *name,
            TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap(),
        )
    });
    safetensors::serialize_to_file(views, None, &path).unwrap();

    let output = command()
        .arg(&model)
        .arg("--train-file")
        .arg(scratch.join("text.txt"))
        .arg("--output-dir")
        .arg(&run)
        .args(["--per-device-train-batch-size", "1", "--max-steps", "1"])
        .args(["--max-eval-samples", "4", "--learning-rate", "1e-9"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    for words in [
        "note: tensor names have `module.model.`",
        "but the biases that are there are kept",
        "2 tensors of",
        "model.layers.1.input_layernorm.weight, module.score.weight",
        "weights are ternary already (group:64)",
    ] {
        assert!(said.contains(words), "`{said}` lacks `{words}`");
    }
    let settings: Value =
        serde_json::from_slice(&fs::read(run.join("settings.json")).unwrap()).unwrap();
    assert_eq!(settings["quantizer"]["granularity"], "group:64");
    let t81 = T81Directory::open(&run).unwrap();
    assert_eq!(t81.config().rope.as_ref().unwrap().theta, 1e6);
    let value = t81.get("model.layers.0.self_attn.v_proj.bias").unwrap();
    assert!(matches!(value, T81Tensor::Dense(view) if view.len() == 256));
    assert!(t81.get("model.layers.0.self_attn.q_proj.bias").is_err());
    // The codes are those of the checkpoint.
    let name = "model.layers.0.mlp.up_proj.weight";
    let T81Tensor::Ternary(matrix) = t81.get(name).unwrap() else {
        panic!("{name} is not ternary")
    };
    let (_, floats) = &tensors[&format!("module.{name}")];
    let codes = (0..256 * 256).map(|at| f32::from(matrix.code(at / 256, at % 256)));
    assert!(codes.eq(floats.iter().map(|value| value.signum())));
}

#[test]
fn a_run_exports_the_quantized_weights_of_its_last_step() {
    let scratch = tempfile::tempdir().unwrap();
    let scratch = scratch.path();
    fs::write(scratch.join("text.txt"), text()).unwrap();
    for (name, json, config) in models() {
        let device = Device::flex();
        device.seed(7);
        let (model, run) = (scratch.join(name), scratch.join(format!("{name}-run")));
        write_checkpoint(&model, &json, &config.init(&device));
        let gguf = scratch.join(format!("{name}.gguf"));
        let said = succeed(
            training(&model, scratch, &run)
                .arg("--output-gguf")
                .arg(&gguf),
        );
        assert!(said.contains("weights ternary"), "{said}");
        // Blocks are as long as the context, which is shorter than 512.
        assert!(
            said.contains(&format!("blocks of {CONTEXT} tokens")),
            "{said}"
        );

        let t81 = T81Directory::open(&run).unwrap();
        assert_eq!(t81.metadata().architecture, name);
        let float = last_weights(&run, 6, &config);
        let mut ternary = 0;
        float
            .visit_weights(|weight: Weight| {
                let name = weight.spec.name.clone();
                match t81.get(&name).unwrap() {
                    T81Tensor::Ternary(found) => {
                        let info = &t81.metadata().tensors[&name];
                        let quantizer = t81.metadata().quantizer.clone();
                        let [rows, columns] = weight.spec.outputs_and_inputs().unwrap();
                        let layout = weight.spec.layout.of_matrix();
                        let expected = quantizer
                            .with_granularity(info.granularity)
                            .quantize(&weight.values, rows, columns, layout)
                            .unwrap();
                        assert_eq!(found, expected, "{name}");
                        assert_eq!(info.transposed, name.starts_with("transformer."));
                        ternary += 1;
                    }
                    T81Tensor::Dense(found) => {
                        assert_eq!(found.shape, weight.spec.shape, "{name}");
                        assert_eq!(found.to_f32(), weight.into_hugging_face_order(), "{name}");
                    }
                }
                Ok::<(), String>(())
            })
            .unwrap();
        assert_eq!(ternary, if name == "gpt2" { 2 * 4 } else { 2 * 7 });

        // The Burn model of the directory computes with those very weights.
        let exact = from_pretrained_t81(&run, &device).unwrap();
        let tokens = [3i64, 14, 15, 92, 65].repeat(3);
        let tokens = Tensor::<2, Int>::from_data(TensorData::new(tokens, [1, 15]), &device);
        let (expected, _) = t81_burn::Ternary::new(
            t81.metadata()
                .quantizer
                .clone()
                .with_granularity(t81.metadata().tensors.values().next().unwrap().granularity),
        )
        .apply(float);
        assert_eq!(
            exact.forward(tokens.clone()).into_data(),
            expected.forward(tokens).into_data(),
            "{name}"
        );

        let file = GgufFile::open(&gguf).unwrap();
        let count = file
            .tensors()
            .filter(|tensor| tensor.info.tensor_type.to_string() == "Q2_0")
            .count();
        assert_eq!(count, ternary, "{name}");

        let said = succeed(
            command()
                .arg("evaluate")
                .arg(&run)
                .arg("--text")
                .arg(scratch.join("text.txt"))
                .args(["--max-windows", "2"]),
        );
        // Windows of the context's length, of which the second half is scored.
        assert!(said.contains("scored tokens 46"), "{said}");
    }
}

#[test]
fn a_resumed_run_goes_on_from_the_same_weights() {
    let scratch = tempfile::tempdir().unwrap();
    let scratch = scratch.path();
    fs::write(scratch.join("text.txt"), text()).unwrap();
    let (_, json, config) = models().into_iter().next_back().unwrap();
    let model = scratch.join("gpt2");
    write_checkpoint(&model, &json, &config.init(&Device::flex()));
    let losses = |run: &PathBuf| -> Vec<f64> {
        let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
        text.lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).unwrap()["loss"].as_f64())
            .collect()
    };
    let run = scratch.join("run");
    succeed(training(&model, scratch, &run).args(["--save-steps", "3"]));
    let whole = losses(&run);
    assert_eq!(whole.len(), 6);
    // As if it had been stopped right after its third step.
    fs::remove_dir_all(run.join("checkpoints/step-00000006")).unwrap();
    fs::remove_file(run.join("summary.json")).unwrap();
    let said = succeed(training(&model, scratch, &run).args(["--save-steps", "3", "--resume"]));
    assert!(said.contains("resuming after step 3"), "{said}");
    let resumed = losses(&run);
    assert_eq!(resumed.len(), 6);
    for (expected, found) in whole.iter().zip(&resumed) {
        assert!((expected - found).abs() < 1e-4, "{whole:?} {resumed:?}");
    }
}

#[test]
fn what_a_model_cannot_do_is_said_before_the_run() {
    let scratch = tempfile::tempdir().unwrap();
    let scratch = scratch.path();
    fs::write(scratch.join("text.txt"), text()).unwrap();
    let (_, json, config) = models().into_iter().next_back().unwrap();
    let model = scratch.join("gpt2");
    write_checkpoint(&model, &json, &config.init(&Device::flex()));
    let run = scratch.join("run");
    let said = fail(training(&model, scratch, &run).args(["--block-size", "49"]));
    assert!(
        said.contains("48 positions") && said.contains("--block-size 48"),
        "{said}"
    );
    assert!(!run.exists());

    let mut gemma = models()[0].1.clone();
    gemma["model_type"] = json!("gemma3_text");
    fs::write(model.join("config.json"), gemma.to_string()).unwrap();
    let said = fail(&mut training(&model, scratch, &run));
    assert!(
        said.contains("config.json") && said.contains("gemma3_text"),
        "{said}"
    );
    assert!(!run.exists());
}
