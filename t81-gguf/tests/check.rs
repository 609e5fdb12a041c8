//! Every rule of `check`: files that follow it, files that break it.

mod rewrite;
mod tiny_model;

use std::path::Path;

use half::f16;
use rewrite::{Contents, exported};
use t81_gguf::{
    GgufError, GgufFile, MetadataArray, MetadataValue, Problem, Rule, TensorPlan, TensorType, check,
};
use tiny_model::TinyModel;

/// Changes the default model's file and returns what is wrong with it.
fn problems_with(directory: &Path, change: impl FnOnce(Contents) -> Contents) -> Vec<Problem> {
    let path = directory.join("TQ2_0.gguf");
    let source = if path.exists() {
        GgufFile::open(&path).unwrap()
    } else {
        exported(&TinyModel::default(), directory, "TQ2_0.gguf", "TQ2_0")
    };
    let changed = directory.join("changed.gguf");
    change(Contents::of(&source)).write(&changed);
    check(changed).unwrap().problems
}

/// Asserts that there is one problem, with this rule and subject, whose message has the text.
#[track_caller]
fn assert_one(problems: &[Problem], rule: Rule, subject: &str, text: &str) {
    let [problem] = problems else {
        panic!("one problem expected: {problems:#?}");
    };
    assert_eq!(
        (problem.rule, problem.subject.as_str()),
        (rule, subject),
        "{problem}"
    );
    assert!(problem.message.contains(text), "{problem}");
}

#[test]
fn exported_files_are_clean_in_every_type() {
    let directory = rewrite::directory();
    for name in ["TQ1_0", "TQ2_0", "Q2_0", "F16", "F32"] {
        let file = exported(&TinyModel::default(), directory.path(), "model.gguf", name);
        let report = check(file.path()).unwrap();
        assert_eq!(report.problems, [], "{name}");
        assert!(report.is_clean() && report.known);
        assert_eq!(report.architecture.as_deref(), Some("llama"));
        assert_eq!(report.tensors, 20);
    }
    let directory = rewrite::directory();
    let model = TinyModel {
        bias: true,
        tied: false,
        rope_scaling: serde_json::json!({
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        }),
        ..TinyModel::narrow()
    };
    let file = exported(&model, directory.path(), "model.gguf", "Q2_0");
    assert_eq!(check(file.path()).unwrap().problems, []);
}

#[test]
fn a_file_that_is_no_gguf_has_one_problem_and_a_missing_one_is_an_error() {
    let directory = rewrite::directory();
    let path = directory.path().join("bad.gguf");
    std::fs::write(&path, "GGUF").unwrap();
    let report = check(&path).unwrap();
    assert_one(&report.problems, Rule::Header, "", "ends inside");
    assert!(!report.known);
    assert!(matches!(
        check(directory.path().join("absent")),
        Err(GgufError::Io { .. })
    ));
    assert!(matches!(
        check(directory.path()),
        Err(GgufError::NotAFile { .. })
    ));
}

#[test]
fn hyper_parameters_are_required_and_typed() {
    let directory = rewrite::directory();
    for key in [
        "llama.context_length",
        "llama.attention.layer_norm_rms_epsilon",
        "llama.attention.head_count",
        "llama.feed_forward_length",
        "llama.block_count",
        "llama.embedding_length",
    ] {
        let problems = problems_with(directory.path(), |contents| contents.without(key));
        assert_one(&problems, Rule::Metadata, key, "is missing");
        let problems = problems_with(directory.path(), |mut contents| {
            contents.metadata.set(key, "text");
            contents
        });
        assert_one(&problems, Rule::Metadata, key, "belongs");
    }
    let problems = problems_with(directory.path(), |contents| {
        contents.without("general.architecture")
    });
    assert_one(
        &problems,
        Rule::Metadata,
        "general.architecture",
        "is missing",
    );
    for (key, value, text) in [
        ("llama.block_count", MetadataValue::U32(0), "is 0"),
        (
            "llama.block_count",
            MetadataValue::U32(1 << 30),
            "more than 512",
        ),
        (
            "llama.block_count",
            MetadataValue::U64(2),
            "32-bit unsigned",
        ),
        ("llama.rope.freq_base", MetadataValue::F32(f32::NAN), "NaN"),
        (
            "llama.attention.layer_norm_rms_epsilon",
            MetadataValue::F32(0.0),
            "is 0",
        ),
        (
            "llama.attention.head_count_kv",
            MetadataValue::from(vec![2u32]),
            "1 numbers for 2 layers",
        ),
        (
            "llama.attention.key_length",
            MetadataValue::F32(64.0),
            "32-bit unsigned",
        ),
    ] {
        let problems = problems_with(directory.path(), |mut contents| {
            contents.metadata.set(key, value);
            contents
        });
        let problem = problems
            .iter()
            .find(|problem| problem.subject == key)
            .unwrap_or_else(|| panic!("{key}: {problems:#?}"));
        assert_eq!(problem.rule, Rule::Metadata);
        assert!(problem.message.contains(text), "{problem}");
    }
    // Heads for each layer are as good as heads for all.
    let problems = problems_with(directory.path(), |mut contents| {
        contents
            .metadata
            .set("llama.attention.head_count_kv", vec![2u32, 2]);
        contents
    });
    assert_eq!(problems, []);
}

#[test]
fn tensors_are_those_of_the_architecture_in_their_shapes() {
    let directory = rewrite::directory();
    let name = "blk.1.ffn_down.weight";
    let problems = problems_with(directory.path(), |mut contents| {
        contents.tensors.retain(|(plan, _)| plan.name != name);
        contents
    });
    assert_one(&problems, Rule::Tensors, name, "is missing");
    let problems = problems_with(directory.path(), |mut contents| {
        let plan = TensorPlan {
            name: "blk.2.ffn_norm.weight".into(),
            tensor_type: TensorType::F32,
            dimensions: vec![1],
        };
        contents.tensors.push((plan, vec![0; 4]));
        contents
    });
    assert_one(
        &problems,
        Rule::Tensors,
        "blk.2.ffn_norm.weight",
        "not consumed",
    );
    let problems = problems_with(directory.path(), |mut contents| {
        contents.tensor(name).0.dimensions.swap(0, 1);
        contents
    });
    assert_one(&problems, Rule::Shape, name, "[512, 256]");
    let problems = problems_with(directory.path(), |mut contents| {
        contents.metadata.set("llama.feed_forward_length", 1024u32);
        contents
    });
    assert_eq!(problems.len(), 6, "{problems:#?}");
    let norm = "blk.0.attn_norm.weight";
    let problems = problems_with(directory.path(), |mut contents| {
        contents.replace(norm, TensorType::F16, vec![0; 512]);
        contents
    });
    assert_one(&problems, Rule::Type, norm, "F32");
    let report = {
        let path = directory.path().join("changed.gguf");
        problems_with(directory.path(), |mut contents| {
            contents.metadata.set("general.architecture", "mamba");
            contents
        });
        check(path).unwrap()
    };
    assert!(!report.known);
}

#[test]
fn scales_beside_matrices_are_read_and_no_others() {
    let directory = rewrite::directory();
    let with = |name: &str, dimensions: &[u64]| {
        problems_with(directory.path(), |mut contents| {
            let plan = TensorPlan {
                name: name.into(),
                tensor_type: TensorType::F32,
                dimensions: dimensions.to_vec(),
            };
            let one: Vec<u8> = 1.0f32.to_le_bytes().into();
            let data = one.repeat(dimensions.iter().product::<u64>() as usize);
            contents.tensors.push((plan, data));
            contents
        })
    };
    for matrix in [
        "attn_q",
        "attn_k",
        "attn_v",
        "attn_output",
        "ffn_gate",
        "ffn_up",
        "ffn_down",
    ] {
        for kind in ["scale", "input_scale"] {
            let name = format!("blk.1.{matrix}.{kind}");
            assert_eq!(with(&name, &[1]), [], "{name}");
        }
    }
    let name = "blk.0.attn_q.scale";
    assert_one(&with(name, &[2]), Rule::Shape, name, "make it [1]");
    for name in [
        "blk.0.attn_qkv.scale",
        "blk.0.attn_norm.scale",
        "blk.2.attn_q.scale",
        "output.scale",
        "token_embd.scale",
    ] {
        assert_one(&with(name, &[1]), Rule::Tensors, name, "not consumed");
    }
}

#[test]
fn rotation_and_widths_of_heads_are_those_that_llama_cpp_computes_with() {
    let directory = rewrite::directory();
    let with = |key: &str, value: MetadataValue| {
        problems_with(directory.path(), |mut contents| {
            contents.metadata.set(key, value);
            contents
        })
    };
    let key = "llama.rope.scaling.type";
    for kind in ["none", "linear", "yarn"] {
        assert_eq!(with(key, kind.into()), []);
    }
    assert_one(
        &with(key, "dynamic".into()),
        Rule::Metadata,
        key,
        "expected none, linear, yarn",
    );
    let key = "llama.attention.value_length";
    let problems = with(key, MetadataValue::U32(32));
    assert!(
        problems
            .iter()
            .any(|problem| problem.subject == key && problem.message.contains("keys are 64 wide")),
        "{problems:#?}"
    );
    let key = "llama.rope.dimension_count";
    assert_one(
        &with(key, MetadataValue::U32(32)),
        Rule::Metadata,
        key,
        "64 wide",
    );
}

#[test]
fn every_value_is_looked_at() {
    let directory = rewrite::directory();
    for (name, offset, bytes) in [
        ("output_norm.weight", 4 * 255, &f32::NAN.to_le_bytes()[..]),
        ("blk.0.ffn_norm.weight", 0, &f32::INFINITY.to_le_bytes()),
        (
            "token_embd.weight",
            2 * 1000,
            &f16::NEG_INFINITY.to_le_bytes(),
        ),
    ] {
        let problems = problems_with(directory.path(), |mut contents| {
            contents.tensor(name).1[offset..offset + bytes.len()].copy_from_slice(bytes);
            contents
        });
        assert_one(
            &problems,
            Rule::Values,
            name,
            "1 values that are not finite",
        );
    }
}

#[test]
fn ternary_blocks_are_canonical() {
    let directory = rewrite::directory();
    let name = "blk.0.ffn_up.weight";
    for (quant, block_bytes, scale_at, code_at) in [
        ("TQ1_0", 54, 52, 3),
        ("TQ2_0", 66, 64, 3),
        ("Q2_0", 18, 0, 5),
    ] {
        let source = exported(&TinyModel::default(), directory.path(), "model.gguf", quant);
        let faults = |change: &dyn Fn(&mut [u8])| {
            let mut contents = Contents::of(&source);
            change(&mut contents.tensor(name).1[7 * block_bytes..8 * block_bytes]);
            let path = directory.path().join("changed.gguf");
            contents.write(&path);
            check(path).unwrap().problems
        };
        let scale = |block: &mut [u8], value: f32| {
            block[scale_at..scale_at + 2].copy_from_slice(&f16::from_f32(value).to_le_bytes());
        };
        // 0xff is four times the value 3, and none of the 243 stored bytes is 0x28.
        let wrong = if quant == "TQ1_0" { 0x28 } else { 0xff };
        let problems = faults(&|block| block[code_at] = wrong);
        assert_one(
            &problems,
            Rule::Values,
            name,
            "1 blocks with a code that is not ternary, the first at 7",
        );
        for value in [f32::NAN, f32::INFINITY] {
            let problems = faults(&|block| scale(block, value));
            assert_one(
                &problems,
                Rule::Values,
                name,
                "1 blocks with a scale that is not finite",
            );
        }
        let problems = faults(&|block| scale(block, -0.5));
        assert_one(&problems, Rule::Values, name, "negative scale");
        let zeros = if quant == "TQ1_0" { 0x80 } else { 0x55 };
        let problems = faults(&|block| {
            block.fill(zeros);
            if quant == "TQ1_0" {
                // Four digits of 1 and a 0.
                block[48..52].fill(0x7f);
            }
            scale(block, 1.0);
        });
        assert_one(
            &problems,
            Rule::Values,
            name,
            "blocks of zeros with a scale that is not 0",
        );
    }
}

#[test]
fn the_tokenizer_is_what_llama_cpp_reads() {
    let directory = rewrite::directory();
    let with = |key: &str, value: MetadataValue| {
        problems_with(directory.path(), |mut contents| {
            contents.metadata.set(key, value);
            contents
        })
    };
    let without = |key: &str| problems_with(directory.path(), |contents| contents.without(key));
    let key = |name: &str| format!("tokenizer.ggml.{name}");

    for name in ["model", "pre", "tokens", "merges", "eos_token_id"] {
        assert_one(
            &without(&key(name)),
            Rule::Tokenizer,
            &key(name),
            "is missing",
        );
        let problems = with(&key(name), MetadataValue::F32(1.0));
        assert_eq!(problems.len(), 1, "{name}: {problems:#?}");
        assert_eq!(problems[0].subject, key(name));
    }
    assert_one(
        &with(&key("pre"), "no-such".into()),
        Rule::Tokenizer,
        &key("pre"),
        "no-such",
    );
    assert_eq!(with(&key("pre"), "tekken".into()), []);
    assert_one(
        &with(&key("model"), "no-such".into()),
        Rule::Tokenizer,
        &key("model"),
        "no-such",
    );
    assert_one(
        &with(&key("eos_token_id"), MetadataValue::U32(264)),
        Rule::Tokenizer,
        &key("eos_token_id"),
        "264 tokens",
    );
    assert_one(
        &with(&key("token_type"), vec![1i32; 263].into()),
        Rule::Tokenizer,
        &key("token_type"),
        "263 entries for 264 tokens",
    );
    assert_one(
        &with(&key("token_type"), vec![9i32; 264].into()),
        Rule::Tokenizer,
        &key("token_type"),
        "no token type",
    );
    assert_one(
        &with(&key("scores"), vec![0.0f32; 2].into()),
        Rule::Tokenizer,
        &key("scores"),
        "2 entries",
    );
    assert_one(
        &with(&key("add_bos_token"), MetadataValue::U32(1)),
        Rule::Tokenizer,
        &key("add_bos_token"),
        "true or false",
    );

    let tokens = |change: &dyn Fn(&mut Vec<String>)| {
        problems_with(directory.path(), |mut contents| {
            let Some(MetadataValue::Array(MetadataArray::String(tokens))) =
                contents.metadata.get("tokenizer.ggml.tokens")
            else {
                panic!("no tokens");
            };
            let mut tokens = tokens.clone();
            change(&mut tokens);
            contents.metadata.set("tokenizer.ggml.tokens", tokens);
            contents
        })
    };
    // Tokens need not be UTF-8.
    let bytes = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        problems_with(directory.path(), |mut contents| {
            let Some(MetadataValue::Array(MetadataArray::String(tokens))) =
                contents.metadata.get("tokenizer.ggml.tokens")
            else {
                panic!("no tokens");
            };
            let mut tokens = tokens
                .iter()
                .map(|text| text.clone().into_bytes())
                .collect();
            change(&mut tokens);
            let tokens = MetadataValue::Array(MetadataArray::Bytes(tokens));
            contents.metadata.set("tokenizer.ggml.tokens", tokens);
            contents
        })
    };
    assert_eq!(bytes(&|tokens| tokens[263] = vec![0xff]), []);
    assert_one(
        &bytes(&|tokens| (tokens[262], tokens[263]) = (vec![0xff], vec![0xff])),
        Rule::Tokenizer,
        "tokenizer.ggml.tokens",
        "at 262 and again at 263",
    );

    let problems = tokens(&|tokens| tokens[263] = tokens[7].clone());
    assert_one(
        &problems,
        Rule::Tokenizer,
        &key("tokens"),
        "at 7 and again at 263",
    );
    let problems = tokens(&|tokens| tokens.push("one more".into()));
    let messages: Vec<&str> = problems
        .iter()
        .map(|problem| problem.message.as_str())
        .collect();
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(
        messages[0].contains("265 texts, but the embedding has 264 rows"),
        "{messages:?}"
    );
    assert!(messages[1].contains("264 entries for 265"), "{messages:?}");

    for (merges, text) in [
        (&["t h", "th"][..], "no pair"),
        (&["t h", "h "], "no pair"),
        (&["t h", "t h"], "appears twice"),
        (&["t h", "no-such h"], "no token"),
        (&["h t"], "no token"),
    ] {
        let merges: Vec<String> = merges.iter().map(|&merge| merge.to_owned()).collect();
        assert_one(
            &with(&key("merges"), merges.into()),
            Rule::Tokenizer,
            &key("merges"),
            text,
        );
    }
}

#[test]
fn data_lies_in_order_and_the_file_ends_with_it() {
    let directory = rewrite::directory();
    let file = exported(
        &TinyModel::default(),
        directory.path(),
        "model.gguf",
        "TQ2_0",
    );
    let bytes = std::fs::read(file.path()).unwrap();
    let path = directory.path().join("changed.gguf");
    let problems = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        check(&path).unwrap().problems
    };
    let longer = [&bytes[..], &[0; 32]].concat();
    assert_one(
        &problems(&longer),
        Rule::Layout,
        "",
        "bytes, but its tensors end at",
    );

    // The padding after the token embedding's rows, if any, else after a matrix.
    let padded = file
        .header()
        .tensors
        .iter()
        .find(|info| !info.bytes.is_multiple_of(32))
        .map(|info| {
            (
                info.name.clone(),
                file.header().data_start + info.offset + info.bytes,
            )
        });
    if let Some((name, at)) = padded {
        let mut dirty = bytes.clone();
        dirty[at as usize] = 1;
        assert_one(
            &problems(&dirty),
            Rule::Layout,
            &name,
            "padding that is not zero",
        );
    }

    // Two tensors of one size, listed in the order in which their data does not lie.
    let first = file.tensor("blk.0.attn_norm.weight").unwrap().info.offset;
    let second = file.tensor("blk.1.attn_norm.weight").unwrap().info.offset;
    let mut swapped = bytes;
    let mut replace = |old: u64, new: u64, name: &str| {
        let at = swapped
            .windows(name.len())
            .position(|window| window == name.as_bytes())
            .unwrap()
            + name.len()
            + 4
            + 8
            + 4;
        assert_eq!(swapped[at..at + 8], old.to_le_bytes());
        swapped[at..at + 8].copy_from_slice(&new.to_le_bytes());
    };
    replace(first, second, "blk.0.attn_norm.weight");
    replace(second, first, "blk.1.attn_norm.weight");
    assert_one(
        &problems(&swapped),
        Rule::Layout,
        "blk.0.attn_norm.weight",
        "expects",
    );
}
