//! What the library refuses, and what it leaves behind then.

use std::fs;
use std::path::Path;

use serde_json::json;
use t81_convert::{ConvertError, ConvertOptions, convert};
use t81_hub::{Checkpoint, Dtype, HubError, T81Directory};

use crate::model::{config, names, write_with};
use crate::place::Place;

fn fail(source: &Path, out: &Path, options: &ConvertOptions) -> String {
    let error = convert(source, out, options).unwrap_err();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[test]
fn a_failure_leaves_the_previous_result() {
    let place = Place::new();
    place.open(&ConvertOptions::default());
    let old = fs::read(place.out().join("model.safetensors")).unwrap();
    let overwrite = ConvertOptions {
        overwrite: true,
        ..Default::default()
    };
    let broken = place.0.path().join("broken");
    type Edit = fn(&str, &mut [f32]);
    let table: [(Edit, &str); 4] = [
        (
            |name, values| {
                if name == "model.layers.1.mlp.down_proj.weight" {
                    values[700] = f32::NAN;
                }
            },
            "tensor `model.layers.1.mlp.down_proj.weight` cannot be made ternary: ",
        ),
        (
            |name, values| {
                if name == "model.layers.0.self_attn.v_proj.weight" {
                    values[0] = f32::NEG_INFINITY;
                }
            },
            "tensor `model.layers.0.self_attn.v_proj.weight` cannot be made ternary: ",
        ),
        (
            |name, values| {
                if name == "model.layers.0.self_attn.q_proj.weight" {
                    values.fill(1e6);
                }
            },
            "tensor `model.layers.0.self_attn.q_proj.weight` cannot be made ternary: ",
        ),
        (
            |name, values| {
                if name == "model.norm.weight" {
                    values[3] = f32::NAN;
                }
            },
            "tensor `model.norm.weight` holds a NaN or an infinity",
        ),
    ];
    for (edit, expected) in table {
        write_with(&broken, &config(2), edit);
        let message = fail(&broken, &place.out(), &overwrite);
        assert!(message.starts_with(expected), "{message}");
        assert_eq!(
            fs::read(place.out().join("model.safetensors")).unwrap(),
            old
        );
        fs::remove_dir_all(&broken).unwrap();
        assert_eq!(names(place.0.path()), ["out", "source"]);
    }
    let message = fail(&place.source(), &place.out(), &ConvertOptions::default());
    assert!(
        message.contains("exists already; pass --overwrite"),
        "{message}"
    );
    let twice = ConvertOptions {
        threshold: 0.9,
        ..overwrite
    };
    convert(place.source(), place.out(), &twice).unwrap();
    assert_ne!(
        fs::read(place.out().join("model.safetensors")).unwrap(),
        old
    );
    assert_eq!(names(place.0.path()), ["out", "source"]);
}

#[test]
fn values_too_large_for_the_dtype_are_refused() {
    let place = Place::new();
    write_with(&place.source(), &config(2), |name, values| {
        if name == "model.embed_tokens.weight" {
            values[0] = 1e5;
        }
    });
    let message = fail(
        &place.source(),
        &place.out(),
        &ConvertOptions {
            dtype: Some(Dtype::F16),
            ..Default::default()
        },
    );
    assert!(
        message.contains("`model.embed_tokens.weight` holds values that F16 cannot hold"),
        "{message}"
    );
    assert_eq!(names(place.0.path()), ["source"]);
}

#[test]
fn the_source_is_never_replaced() {
    let place = Place::new();
    let overwrite = ConvertOptions {
        overwrite: true,
        ..Default::default()
    };
    for out in [
        place.source(),
        place.0.path().to_path_buf(),
        place.source().join("../source"),
    ] {
        let error = convert(place.source(), out, &overwrite).unwrap_err();
        assert!(
            matches!(error, ConvertError::Hub(HubError::OverInput { .. })),
            "{error}"
        );
    }
    assert!(Checkpoint::open(place.source()).is_ok());
    // A result within the source's directory harms nothing.
    convert(
        place.source(),
        place.source().join("t81"),
        &ConvertOptions::default(),
    )
    .unwrap();
    assert!(T81Directory::open(place.source()).is_ok());
}

#[test]
fn settings_and_sources_that_make_no_sense() {
    let place = Place::new();
    let message = fail(
        &place.source(),
        &place.out(),
        &ConvertOptions {
            threshold: 1.5,
            ..Default::default()
        },
    );
    assert!(message.contains("1.5"), "{message}");
    let error = convert("owner/model", place.out(), &ConvertOptions::default()).unwrap_err();
    assert!(
        matches!(error, ConvertError::Hub(HubError::DirectoryNotFound { .. })),
        "{error}"
    );
    place.open(&ConvertOptions::default());
    let again = place.0.path().join("again");
    let error = convert(place.out(), again, &ConvertOptions::default()).unwrap_err();
    assert!(
        matches!(error, ConvertError::Hub(HubError::AlreadyPacked(_))),
        "{error}"
    );
    let mut untied = config(2);
    untied["tie_word_embeddings"] = json!(false);
    fs::write(place.source().join("config.json"), untied.to_string()).unwrap();
    let message = fail(
        &place.source(),
        &place.0.path().join("x"),
        &ConvertOptions::default(),
    );
    assert!(message.contains("has no lm_head.weight"), "{message}");
}
