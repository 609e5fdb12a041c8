//! `config.json`: what is read, what is refused.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use t81_hub::{AttentionBias, HubError, ModelConfig, RopeScaling};

use crate::model::{chain, config_json, llama};

fn parse_with(field: &str, value: Value) -> Result<ModelConfig, HubError> {
    let mut config = config_json();
    config[field] = value;
    ModelConfig::from_json(config)
}

#[test]
fn fields_are_read_and_defaults_filled_in() {
    let config = llama(&config_json());
    assert_eq!(
        (
            config.hidden_size,
            config.intermediate_size,
            config.num_hidden_layers
        ),
        (20, 36, 2)
    );
    assert_eq!(
        (
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim
        ),
        (2, 1, 6)
    );
    assert_eq!((config.bos_token_id, config.pad_token_id), (Some(1), None));
    assert_eq!(config.eos_token_ids, [2, 3]);
    assert_eq!(config.attention_bias, AttentionBias::ALL);
    assert!(!config.mlp_bias && !config.tie_word_embeddings);
    let minimal = json!({
        "model_type": "llama", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
        "num_attention_heads": 4, "vocab_size": 8,
    });
    let minimal = llama(&minimal);
    assert_eq!(
        (
            minimal.num_key_value_heads,
            minimal.head_dim,
            minimal.max_position_embeddings
        ),
        (4, 4, 2048)
    );
    let rope = minimal.rope.unwrap();
    assert_eq!(
        (rope.theta, rope.dimensions, minimal.norm_eps),
        (10_000.0, 4, 1e-6)
    );
    assert_eq!((rope.scaling, minimal.bos_token_id), (None, None));
    assert!(minimal.eos_token_ids.is_empty());
}

#[test]
fn names_and_shapes_of_tensors() {
    let config = llama(&config_json());
    let expected = config.expected_tensors();
    // Embedding, final norm, output; per block 2 norms, 7 weights, 4 biases of the attention.
    assert_eq!(expected.len(), 3 + 2 * 13);
    let shape = |name: &str| {
        expected
            .iter()
            .find(|(other, _)| other == name)
            .unwrap()
            .1
            .clone()
    };
    assert_eq!(shape("model.layers.1.self_attn.q_proj.weight"), [12, 20]);
    assert_eq!(shape("model.layers.1.self_attn.k_proj.weight"), [6, 20]);
    assert_eq!(shape("model.layers.1.self_attn.v_proj.bias"), [6]);
    assert_eq!(shape("model.layers.1.self_attn.o_proj.weight"), [20, 12]);
    assert_eq!(shape("model.layers.0.mlp.down_proj.weight"), [20, 36]);
    assert_eq!(shape("lm_head.weight"), [11, 20]);
    let ternary = config.ternary_weight_names();
    assert_eq!(ternary.len(), 14);
    assert_eq!(ternary[0], "model.layers.0.self_attn.q_proj.weight");
    assert_eq!(ternary[13], "model.layers.1.mlp.down_proj.weight");
    assert!(
        ternary
            .iter()
            .all(|name| expected.iter().any(|(other, _)| other == name))
    );
}

#[test]
fn redundant_tensors() {
    let untied = ModelConfig::from_json(config_json()).unwrap();
    let tied = parse_with("tie_word_embeddings", json!(true)).unwrap();
    assert!(tied.is_redundant("lm_head.weight") && !untied.is_redundant("lm_head.weight"));
    assert!(untied.is_redundant("model.layers.3.self_attn.rotary_emb.inv_freq"));
    assert!(!tied.is_redundant("model.norm.weight"));
    assert!(
        !tied
            .expected_tensors()
            .iter()
            .any(|(name, _)| name == "lm_head.weight")
    );
}

#[test]
fn yarn_is_read_as_transformers_does() {
    // Factors of cosine and sine from transformers' `_compute_yarn_parameters`.
    for (scaling, factor, original, attention) in [
        (
            json!({"factor": 4.0, "original_max_position_embeddings": 1024}),
            4.0,
            1024,
            1.138_629_436_111_989,
        ),
        (
            json!({"factor": 40.0, "original_max_position_embeddings": 1024, "mscale": 1.0, "mscale_all_dim": 0.5}),
            40.0,
            1024,
            1.155_721_990_196_260_8,
        ),
        // One of the two alone, or 0, counts for nothing.
        (
            json!({"factor": 40.0, "original_max_position_embeddings": 1024, "mscale": 0.707, "mscale_all_dim": 0}),
            40.0,
            1024,
            1.368_887_945_411_393_6,
        ),
        (
            json!({"original_max_position_embeddings": 512}),
            8.0,
            512,
            1.207_944_154_167_983_6,
        ),
        (json!({"factor": 4.0}), 4.0, 4096, 1.138_629_436_111_989),
        (
            json!({"factor": 4.0, "attention_factor": 1.0}),
            4.0,
            4096,
            1.0,
        ),
    ] {
        let mut file = config_json();
        file["max_position_embeddings"] = json!(4096);
        file["rope_scaling"] = scaling.clone();
        file["rope_scaling"]["rope_type"] = json!("yarn");
        let Some(RopeScaling::Yarn {
            factor: found,
            original_max_position_embeddings,
            beta_fast,
            beta_slow,
            attention_factor,
            truncate,
        }) = llama(&file).rope.unwrap().scaling
        else {
            panic!("{scaling}")
        };
        assert_eq!(
            (found, original_max_position_embeddings),
            (factor, original)
        );
        assert_eq!((beta_fast, beta_slow, truncate), (32.0, 1.0, true));
        assert!(
            (attention_factor - attention).abs() < 1e-12,
            "{scaling}: {attention_factor}"
        );
    }
    let tuned =
        json!({"type": "yarn", "factor": 2, "beta_fast": 4, "beta_slow": 0.5, "truncate": false});
    let tuned = parse_with("rope_scaling", tuned).unwrap().rope.unwrap();
    assert!(matches!(
        tuned.scaling,
        Some(RopeScaling::Yarn {
            beta_fast: 4.0,
            beta_slow: 0.5,
            truncate: false,
            ..
        })
    ));
}

#[test]
fn both_forms_of_rope_settings() {
    let scaling = json!({
        "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    });
    let expected = Some(RopeScaling::Llama3 {
        factor: 32.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 8192,
    });
    let old = parse_with("rope_scaling", scaling.clone())
        .unwrap()
        .rope
        .unwrap();
    assert_eq!((old.theta, &old.scaling), (10_000.0, &expected));
    let mut parameters = scaling;
    parameters["rope_theta"] = json!(500_000.0);
    let new = parse_with("rope_parameters", parameters)
        .unwrap()
        .rope
        .unwrap();
    assert_eq!((new.theta, new.scaling), (500_000.0, expected));
    let mut kind_by_old_key = config_json();
    kind_by_old_key["rope_scaling"] = json!({"type": "linear", "factor": 2});
    assert_eq!(
        llama(&kind_by_old_key).rope.unwrap().scaling,
        Some(RopeScaling::Linear { factor: 2.0 })
    );
    kind_by_old_key["rope_scaling"] = json!({"rope_type": "default"});
    assert_eq!(llama(&kind_by_old_key).rope.unwrap().scaling, None);
}

#[test]
fn values_out_of_range_are_refused_by_name() {
    let table = [
        ("num_attention_heads", json!(0), "num_attention_heads is 0"),
        (
            "num_attention_heads",
            json!(-1),
            "num_attention_heads is -1",
        ),
        (
            "num_attention_heads",
            json!(2.5),
            "num_attention_heads is 2.5",
        ),
        (
            "num_attention_heads",
            json!("2"),
            "num_attention_heads is \"2\"",
        ),
        ("num_key_value_heads", json!(0), "num_key_value_heads is 0"),
        (
            "num_key_value_heads",
            json!(3),
            "no multiple of num_key_value_heads",
        ),
        ("num_hidden_layers", json!(0), "num_hidden_layers is 0"),
        (
            "num_hidden_layers",
            json!(u64::MAX),
            "num_hidden_layers is 18446744073709551615",
        ),
        ("num_hidden_layers", json!(1_000_000), "from 1 to 1024"),
        (
            "num_hidden_layers",
            Value::Null,
            "num_hidden_layers is missing",
        ),
        ("hidden_size", json!(0), "hidden_size is 0"),
        (
            "hidden_size",
            json!(1u64 << 40),
            "hidden_size is 1099511627776",
        ),
        ("intermediate_size", json!([1]), "intermediate_size is [1]"),
        ("vocab_size", json!(0), "vocab_size is 0"),
        ("vocab_size", json!(1u64 << 32), "vocab_size is 4294967296"),
        ("head_dim", json!(5), "head_dim is 5"),
        ("head_dim", json!(1u64 << 20), "head_dim is 1048576"),
        (
            "max_position_embeddings",
            json!(0),
            "max_position_embeddings is 0",
        ),
        ("rope_theta", json!(0.0), "rope_theta is 0"),
        ("rope_theta", json!(-1e4), "rope_theta is -10000"),
        ("rope_theta", json!("1e4"), "rope_theta is"),
        ("rms_norm_eps", json!(-1e-5), "rms_norm_eps is -"),
        ("rms_norm_eps", json!(2), "rms_norm_eps is 2"),
        ("hidden_act", json!("gelu"), "hidden_act is `gelu`"),
        (
            "tie_word_embeddings",
            json!("yes"),
            "tie_word_embeddings is \"yes\"",
        ),
        ("attention_bias", json!(1), "attention_bias is 1"),
        (
            "model_type",
            json!("mamba"),
            "`mamba` is not supported (supported: llama, mistral, qwen2, qwen3, gemma3_text, phi3, gpt2)",
        ),
        ("model_type", Value::Null, "model_type is missing"),
        (
            "rope_scaling",
            json!({"rope_type": "yarn", "factor": 0.5}),
            "rope_scaling.factor is 0.5",
        ),
        (
            "rope_scaling",
            json!({"rope_type": "yarn", "original_max_position_embeddings": 100_000}),
            "rope_scaling.factor is missing",
        ),
        (
            "rope_scaling",
            json!({"rope_type": "yarn", "factor": 2.0, "beta_fast": 1, "beta_slow": 2}),
            "rope_scaling.beta_fast is 1, less than beta_slow = 2",
        ),
        (
            "rope_scaling",
            json!({"rope_type": "yarn", "factor": 2.0, "rope_theta": 1}),
            "rope_theta is 1, with which YaRN",
        ),
        (
            "rope_scaling",
            json!({"rope_type": "proportional"}),
            "`proportional` is not supported",
        ),
        (
            "rope_scaling",
            json!({"type": "dynamic", "factor": 2.0}),
            "rope_scaling.rope_type is `dynamic`: its frequencies depend on the length",
        ),
        (
            "rope_scaling",
            json!({"type": "linear"}),
            "rope_scaling.factor is missing",
        ),
        (
            "rope_scaling",
            json!({"type": "linear", "factor": 0.5}),
            "rope_scaling.factor is 0.5",
        ),
        ("rope_scaling", json!(3), "rope_scaling is not an object"),
        (
            "rope_parameters",
            json!({"rope_type": "longrope"}),
            "rope_parameters.short_factor is no list",
        ),
        (
            "rope_parameters",
            json!({"rope_theta": -1}),
            "rope_parameters.rope_theta is -1",
        ),
        (
            "rope_parameters",
            json!({"full_attention": {"rope_theta": -1}}),
            "rope_parameters.full_attention.rope_theta is -1",
        ),
        (
            "rope_parameters",
            json!({"full_attention": {"rope_theta": 1e6}, "sliding_attention": {"rope_theta": 1e4}}),
            "rope_parameters differs between the kinds of blocks",
        ),
        (
            "rope_parameters",
            json!({"partial_rotary_factor": 0.5}),
            "partial_rotary_factor is not 1",
        ),
        (
            "rope_scaling",
            json!({"rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 1,
                   "original_max_position_embeddings": 8192}),
            "high_freq_factor must be larger",
        ),
    ];
    for (field, value, expected) in table {
        let message = chain(&parse_with(field, value.clone()).unwrap_err());
        assert!(
            message.contains(expected),
            "{field} = {value}: `{message}` lacks `{expected}`"
        );
        assert!(message.contains("config.json"), "{message}");
    }
}

#[test]
fn heads_must_divide_the_width_unless_their_size_is_given() {
    let mut config = config_json();
    config["head_dim"] = Value::Null;
    config["num_attention_heads"] = json!(3);
    let message = ModelConfig::from_json(config).unwrap_err().to_string();
    assert!(
        message.contains("hidden_size is 20, no multiple of num_attention_heads = 3"),
        "{message}"
    );
}

/// Every file of `fixtures/make_configurations.py` with what transformers reads from it.
fn configurations() -> Vec<(String, ModelConfig, Value)> {
    let fixture: BTreeMap<String, Value> =
        serde_json::from_str(include_str!("../fixtures/configurations.json")).unwrap();
    let read = |(name, case): (String, Value)| {
        let config = ModelConfig::from_json(case["file"].clone());
        let config = config.unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, config, case["values"].clone())
    };
    fixture.into_iter().map(read).collect()
}

#[test]
fn absent_fields_mean_what_they_mean_to_transformers() {
    for (name, config, expected) in configurations() {
        let windows: Vec<Option<usize>> = (0..config.num_hidden_layers)
            .map(|block| {
                let window = config.sliding_window.as_ref();
                window
                    .filter(|window| window.blocks[block])
                    .map(|window| window.width)
            })
            .collect();
        let found = json!({
            "num_key_value_heads": config.num_key_value_heads,
            "head_dim": config.head_dim,
            "intermediate_size": config.intermediate_size,
            "max_position_embeddings": config.max_position_embeddings,
            "norm_eps": config.norm_eps,
            "tie_word_embeddings": config.tie_word_embeddings,
            "hidden_act": config.hidden_act,
            "query_scalar": config.query_scale.powi(-2).round() as u64,
            "windows": windows,
        });
        for (field, value) in found.as_object().unwrap() {
            assert_eq!(*value, expected[field], "{name}: {field}");
        }
    }
}

#[test]
fn rotary_settings_are_where_transformers_reads_them() {
    for (name, config, expected) in configurations() {
        let Some(rope) = config.rope else {
            assert_eq!(expected["rope"], Value::Null, "{name}");
            continue;
        };
        let (kind, factor, original) = match rope.scaling {
            None => ("default", None, None),
            Some(RopeScaling::Linear { factor }) => ("linear", Some(factor), None),
            Some(RopeScaling::Llama3 {
                factor,
                original_max_position_embeddings,
                ..
            }) => (
                "llama3",
                Some(factor),
                Some(original_max_position_embeddings),
            ),
            Some(RopeScaling::LongRope {
                original_max_position_embeddings,
                ..
            }) => ("longrope", None, Some(original_max_position_embeddings)),
            Some(other) => panic!("{name}: {other:?}"),
        };
        let found = json!({
            "rope_type": kind,
            "rope_theta": rope.theta,
            "factor": factor,
            "original_max_position_embeddings": original,
            "dimensions": rope.dimensions,
            "local_theta": rope.local_theta,
        });
        assert_eq!(found, expected["rope"], "{name}");
    }
}

#[test]
fn what_gemma_3_does_not_do_in_blocks_with_a_window_is_refused() {
    for (field, value, expected) in [
        (
            "rope_type",
            json!("linear"),
            "sliding_attention.rope_type is `linear`",
        ),
        (
            "partial_rotary_factor",
            json!(0.5),
            "sliding_attention.partial_rotary_factor is not 1",
        ),
    ] {
        let (_, config, _) = configurations()
            .into_iter()
            .find(|(name, ..)| name == "gemma3, transformers 5")
            .unwrap();
        let mut file = config.raw;
        file["rope_parameters"]["sliding_attention"][field] = value;
        let message = ModelConfig::from_json(file).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn settings_of_other_architectures_are_refused_unless_they_do_nothing() {
    let table = [
        (
            "embedding_multiplier",
            json!(12.0),
            vec![json!(1.0), json!(1), Value::Null],
        ),
        ("residual_multiplier", json!(0.22), vec![json!(1.0)]),
        (
            "attention_multiplier",
            json!(0.015),
            vec![json!(1.0), json!(6f64.powf(-0.5))],
        ),
        ("logits_scaling", json!(8), vec![json!(1)]),
        ("logit_scale", json!(0.0625), vec![json!(1.0)]),
        ("scale_emb", json!(12), vec![json!(1)]),
        (
            "mlp_multipliers",
            json!([1.0, 0.5]),
            vec![json!([1.0, 1.0])],
        ),
        (
            "attn_logit_softcapping",
            json!(50.0),
            vec![Value::Null, json!(false), json!(0.0)],
        ),
        ("final_logit_softcapping", json!(30.0), vec![Value::Null]),
        (
            "no_rope_layers",
            json!([1, 0]),
            vec![json!([1, 1]), json!([]), Value::Null],
        ),
        (
            "no_rope_layer_interval",
            json!(4),
            vec![Value::Null, json!(0)],
        ),
        ("use_qk_norm", json!(true), vec![json!(false)]),
        ("clip_qkv", json!(8), vec![Value::Null]),
        ("num_local_experts", json!(8), vec![json!(1), json!(0)]),
        ("is_causal", json!(false), vec![json!(true)]),
        ("query_pre_attn_scalar", json!(256), vec![json!(6)]),
        ("use_sliding_window", json!(true), vec![json!(false)]),
        (
            "layer_types",
            json!(["full_attention", "linear_attention"]),
            vec![json!(["full_attention", "full_attention"])],
        ),
        (
            "partial_rotary_factor",
            json!(0.5),
            vec![json!(1.0), json!(1)],
        ),
        ("alibi", json!(true), vec![json!(false)]),
    ];
    for (field, value, neutral) in table {
        let message = parse_with(field, value.clone()).unwrap_err().to_string();
        assert!(message.contains(&format!("{field} is ")), "{message}");
        if field != "partial_rotary_factor" {
            assert!(message.contains(&value.to_string()), "{message}");
        }
        for value in neutral {
            parse_with(field, value.clone())
                .unwrap_or_else(|error| panic!("{field} = {value}: {error}"));
        }
    }
}

#[test]
fn special_tokens_that_are_not_in_the_vocabulary_are_none() {
    for value in [
        json!(11),
        json!(-1),
        json!("x"),
        json!(2.5),
        json!(u64::MAX),
    ] {
        let mut raw = config_json();
        for key in ["bos_token_id", "eos_token_id", "pad_token_id"] {
            raw[key] = value.clone();
        }
        let config = ModelConfig::from_json(raw).unwrap();
        assert_eq!((config.bos_token_id, config.pad_token_id), (None, None));
        assert!(config.eos_token_ids.is_empty(), "{value}");
    }
    let mut raw = config_json();
    raw["eos_token_id"] = json!([2, 50256, -1]);
    raw["bos_token_id"] = json!([1]);
    let config = ModelConfig::from_json(raw).unwrap();
    assert_eq!((config.eos_token_ids, config.bos_token_id), (vec![2], None));
}
