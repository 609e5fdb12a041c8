//! The `t81-gguf` program: where it writes, and what it never writes over; names that were mistyped.

mod rewrite;
mod tiny_model;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rewrite::exported;
use t81_gguf::GgufFile;
use t81_hub::OutputFormat;
use tiny_model::TinyModel;

fn run(arguments: &[&str], directory: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_t81-gguf"))
        .args(arguments)
        .current_dir(directory)
        .env("HF_HUB_OFFLINE", "1")
        .env("HF_HUB_CACHE", directory.join("cache"))
        .output()
        .unwrap()
}

#[track_caller]
fn succeeds(arguments: &[&str], directory: &Path) {
    let output = run(arguments, directory);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
}

#[track_caller]
fn fails(arguments: &[&str], directory: &Path) -> String {
    let output = run(arguments, directory);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{arguments:?}");
    assert!(error.starts_with("error: "), "{arguments:?}: {error}");
    error
}

/// `f32.gguf` and the directory `model`, which is a checkpoint and a t81 directory.
fn prepared() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let model = TinyModel {
        format: OutputFormat::Dense,
        ..TinyModel::default()
    };
    exported(&model, directory.path(), "f32.gguf", "F32");
    directory
}

/// Names and contents of all files below a directory.
fn contents(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(contents(&path)),
            false => files.push((path.clone(), fs::read(&path).unwrap())),
        }
    }
    files.sort();
    files
}

#[test]
fn no_file_of_the_source_is_written_over() {
    let directory = prepared();
    let place = directory.path();
    fs::hard_link(place.join("model/tokenizer.json"), place.join("hard.gguf")).unwrap();
    fs::create_dir(place.join("run")).unwrap();
    fs::write(place.join("run/settings.json"), "{}").unwrap();
    let mut outputs = vec![
        "model/config.json",
        "model/../model/model.safetensors",
        "hard.gguf",
    ];
    #[cfg(unix)]
    {
        let link = |to: &str, name: &str| {
            std::os::unix::fs::symlink(place.join(to), place.join(name)).unwrap();
        };
        link("model", "linked");
        link("model/model.safetensors", "soft.gguf");
        link("model", "run/t81");
        outputs.extend(["linked/config.json", "soft.gguf"]);
    }
    let before = contents(&place.join("model"));
    for source in ["--from-hf", "--from-t81"] {
        for output in &outputs {
            let error = fails(&[output, source, "model", "--overwrite"], place);
            assert!(error.contains("choose another path"), "{output}: {error}");
        }
    }
    if cfg!(unix) {
        let arguments = ["run/settings.json", "--from-t81", "run", "--overwrite"];
        let error = fails(&arguments, place);
        assert!(error.contains("choose another path"), "{error}");
        let error = fails(&["soft.gguf", "--from-hf", "linked", "--overwrite"], place);
        assert!(error.contains("choose another path"), "{error}");
    }
    for arguments in [
        &["f32.gguf", "--from-gguf", "./f32.gguf", "--overwrite"][..],
        &["dequant", "f32.gguf", "model/../f32.gguf", "--overwrite"],
    ] {
        let error = fails(arguments, place);
        assert!(error.contains("choose another path"), "{error}");
    }
    assert_eq!(contents(&place.join("model")), before);
    assert!(GgufFile::open(place.join("f32.gguf")).is_ok());
    // An export beside the model's files is no part of it, and may be made again.
    for _ in 0..2 {
        let arguments = ["model/m.gguf", "--from-hf", "model", "--overwrite", "-q"];
        succeeds(&arguments, place);
    }
}

#[test]
fn folders_of_an_output_are_made() {
    let directory = prepared();
    let place = directory.path();
    let absolute = place.join("absolute/x.gguf");
    for output in [
        "new/deep/m.gguf",
        "./new/../new/n.gguf",
        "model/sub/m.gguf",
        absolute.to_str().unwrap(),
    ] {
        succeeds(&[output, "--from-t81", "model", "-q"], place);
        assert!(GgufFile::open(place.join(output)).is_ok(), "{output}");
    }
    succeeds(&["dequant", "f32.gguf", "d/e/f.gguf", "-q"], place);
    // None is left behind by a refusal.
    fs::write(place.join("model/tokenizer.json"), "{}").unwrap();
    fails(&["other/deep/m.gguf", "--from-t81", "model"], place);
    assert!(!place.join("other").exists());
}

#[cfg(unix)]
#[test]
fn a_link_is_followed() {
    let directory = prepared();
    let place = directory.path();
    fs::create_dir(place.join("disk")).unwrap();
    fs::write(place.join("disk/m.gguf"), "old").unwrap();
    std::os::unix::fs::symlink(place.join("disk/m.gguf"), place.join("m.gguf")).unwrap();
    succeeds(
        &["m.gguf", "--from-t81", "model", "-q", "--overwrite"],
        place,
    );
    assert!(place.join("m.gguf").is_symlink());
    assert!(GgufFile::open(place.join("disk/m.gguf")).is_ok());
}

#[test]
fn a_pre_tokenizer_that_llama_cpp_does_not_have_is_refused() {
    let directory = prepared();
    let place = directory.path();
    let named = ["m.gguf", "--from-t81", "model", "--tokenizer-pre"];
    for (name, suggestion) in [("nonsense", ""), ("qwen-2", "did you mean `qwen2`?")] {
        let error = fails(&[&named[..], &[name]].concat(), place);
        assert!(
            error.contains(suggestion) && error.contains("deepseek-llm, deepseek-r1-qwen"),
            "{error}"
        );
        assert!(!place.join("m.gguf").exists());
    }
    succeeds(&[&named[..], &["olmo", "-q"]].concat(), place);
    let file = GgufFile::open(place.join("m.gguf")).unwrap();
    assert_eq!(file.metadata().string("tokenizer.ggml.pre"), Some("olmo"));
}

#[test]
fn a_model_is_named_after_its_directory() {
    let directory = prepared();
    let place = directory.path();
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let snapshot = format!("cache/models--owner--tiny-model/snapshots/{commit}");
    fs::create_dir_all(place.join(&snapshot)).unwrap();
    for entry in fs::read_dir(place.join("model")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, place.join(&snapshot).join(path.file_name().unwrap())).unwrap();
    }
    let output = place.join("m.gguf");
    for (from, source, name, origin) in [
        ("model", ".", "model", "model"),
        ("model", "../model/", "model", "../model"),
        (&snapshot, ".", "tiny-model", "owner/tiny-model"),
        (".", &snapshot, "tiny-model", "owner/tiny-model"),
    ] {
        let arguments = [
            output.to_str().unwrap(),
            "--from-hf",
            source,
            "-q",
            "--overwrite",
        ];
        succeeds(&arguments, &place.join(from));
        let file = GgufFile::open(&output).unwrap();
        let found = |key: &str| file.metadata().string(key).map(str::to_owned);
        assert_eq!(found("general.name").as_deref(), Some(name), "{source}");
        assert_eq!(found("t81.source").as_deref(), Some(origin), "{source}");
    }
}

#[test]
fn mistyped_names_are_answered_with_the_nearest() {
    let directory = prepared();
    let place = directory.path();
    fs::create_dir_all(place.join("cache/models--owner--SmolLM2/snapshots")).unwrap();
    for (arguments, expected) in [
        (
            &["inf", "f32.gguf"][..],
            "a similar subcommand exists: 'info'",
        ),
        (&["chekc"], "a similar subcommand exists: 'check'"),
        (&["info", "f23.gguf"], "did you mean `f32.gguf`?"),
        (&["check", "./f32.guf"], "did you mean `./f32.gguf`?"),
        (
            &["o.gguf", "--from-gguf", "f33.gguf"],
            "did you mean `f32.gguf`?",
        ),
        (&["o.gguf", "--from-t81", "modl"], "did you mean `model`?"),
        (
            &["o.gguf", "--from-hf", "./modle"],
            "did you mean `./model`?",
        ),
        (&["o.gguf", "--from-hf", "modle"], "did you mean `model`?"),
        (
            &["o.gguf", "--from-hf", "owner/SmolLM"],
            "did you mean `owner/SmolLM2`?",
        ),
    ] {
        let error = fails(arguments, place);
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
    for arguments in [
        &["infos.gguf", "--from-t81", "other"][..],
        &["info", "other"],
        &["f32.gguf"],
    ] {
        let error = fails(arguments, place);
        assert!(
            !error.contains("similar") && !error.contains("did you mean"),
            "{error}"
        );
    }
}
