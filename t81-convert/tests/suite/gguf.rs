//! The GGUF file that is written along with the directory: where it may lie, and that both appear or neither.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use t81_convert::{ConvertError, ConvertOptions, GgufOutput, convert};
use t81_core::Granularity;
use t81_gguf::{ExportOptions, GgufError, GgufFile, TensorType};
use t81_hub::T81Directory;

use crate::model::names;
use crate::place::Place;
use crate::program::{run, stderr, succeed};

/// Changes `tokenizer.json` of the source so that the exporter does not know how it splits text.
fn with_unknown_pre_tokenizer(source: &Path) {
    let path = source.join("tokenizer.json");
    let mut tokenizer: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    tokenizer["pre_tokenizer"]["pretokenizers"][0] = json!({
        "type": "Split", "pattern": {"Regex": "\\d{1,2}"}, "behavior": "Isolated", "invert": false,
    });
    fs::write(&path, tokenizer.to_string()).unwrap();
}

fn refused(place: &Place, arguments: &[&str]) -> String {
    let output = run(place.0.path(), arguments);
    assert_eq!(
        output.status.code(),
        Some(1),
        "{arguments:?}: {}",
        stderr(&output)
    );
    stderr(&output).to_owned()
}

#[test]
fn a_tokenizer_that_cannot_be_exported_is_told_before_the_conversion() {
    let place = Place::new();
    let line = ["source", "out", "--output-gguf", "new/m.gguf"];
    succeed(place.0.path(), &line);
    let old = [
        place.out().join("t81_metadata.json"),
        place.0.path().join("new/m.gguf"),
    ];
    let before = old.each_ref().map(|path| fs::read(path).unwrap());
    with_unknown_pre_tokenizer(&place.source());
    let error = refused(
        &place,
        &[&line[..], &["--overwrite", "--threshold", "0.9"]].concat(),
    );
    assert!(error.contains("--tokenizer-pre"), "{error}");
    assert_eq!(old.each_ref().map(|path| fs::read(path).unwrap()), before);
    // Nothing of a first attempt is left either, so that the same line works once the flag is there.
    let other = ["source", "other", "--output-gguf", "other/m.gguf"];
    refused(&place, &other);
    assert_eq!(names(place.0.path()), ["new", "out", "source"]);
    succeed(
        place.0.path(),
        &[&other[..], &["--tokenizer-pre", "olmo"]].concat(),
    );
    let file = GgufFile::open(place.0.path().join("other/m.gguf")).unwrap();
    assert_eq!(file.metadata().string("tokenizer.ggml.pre"), Some("olmo"));

    let output = run(place.0.path(), &["source", "x", "--tokenizer-pre", "olmo"]);
    assert!(
        stderr(&output).contains("--output-gguf"),
        "{}",
        stderr(&output)
    );
    let nonsense = [&line[..], &["--tokenizer-pre", "nonsense"]].concat();
    let output = run(place.0.path(), &nonsense);
    assert!(
        stderr(&output).contains("gpt-2, gpt-4o"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn the_file_may_lie_anywhere() {
    let place = Place::new();
    let root = place.0.path();
    let absolute = place.out().join("absolute.gguf");
    for gguf in [
        "out/m.gguf",
        "./out/m.gguf",
        "source/../out/m.gguf",
        "out/sub/m.gguf",
        absolute.to_str().unwrap(),
        "new/deep/m.gguf",
    ] {
        let line = ["source", "out", "--overwrite", "-q", "--output-gguf", gguf];
        assert_eq!(succeed(root, &line), "");
        assert!(GgufFile::open(root.join(gguf)).is_ok(), "{gguf}");
        T81Directory::open(place.out()).unwrap();
    }
    succeed(
        root,
        &["source", "a/b/out", "--output-gguf", "a/b/m.gguf", "-q"],
    );
    let shown = succeed(
        root,
        &["source", "shown", "--output-gguf", "./shown/m.gguf"],
    );
    assert!(shown.contains("\n./shown/m.gguf (Q2_0)"), "{shown}");
    assert_eq!(names(root), ["a", "new", "out", "shown", "source"]);
}

#[test]
fn no_file_of_source_or_result_is_written_over() {
    let place = Place::new();
    let root = place.0.path();
    fs::hard_link(root.join("source/config.json"), root.join("hard.gguf")).unwrap();
    let before = fs::read(root.join("source/model.safetensors")).unwrap();
    for gguf in [
        "source/model.safetensors",
        "./source/../source/tokenizer.json",
        "hard.gguf",
        "source",
        "out",
        "out/config.json",
        "out/model.safetensors",
        ".",
    ] {
        let line = ["source", "out", "--overwrite", "--output-gguf", gguf];
        let error = refused(&place, &line);
        assert!(
            error.contains("choose another path") || error.contains("not a regular file"),
            "{gguf}: {error}"
        );
        assert_eq!(names(root), ["hard.gguf", "source"], "{gguf}");
    }
    assert_eq!(
        fs::read(root.join("source/model.safetensors")).unwrap(),
        before
    );
}

#[test]
fn a_file_that_cannot_take_its_name_takes_the_directory_back() {
    let place = Place::new();
    place.open(&ConvertOptions::default());
    let old = fs::read(place.out().join("t81_metadata.json")).unwrap();
    let path = place.0.path().join("m.gguf");
    struct Meanwhile<'a>(&'a Path);
    impl t81_convert::Progress for Meanwhile<'_> {
        fn exporting(&mut self, _progress: &t81_gguf::ExportProgress<'_>) {
            fs::write(self.0, "somebody else's").unwrap();
        }
    }
    let mut options = ConvertOptions {
        threshold: 0.9,
        overwrite: true,
        gguf: Some(GgufOutput {
            path: path.clone(),
            options: ExportOptions::default(),
        }),
        ..Default::default()
    };
    let attempt = |destination: &Path, options: &ConvertOptions| {
        let _ = fs::remove_file(&path);
        let mut progress = Meanwhile(&path);
        let source = place.source();
        t81_convert::convert_with_progress(source, destination, options, &mut progress).unwrap_err()
    };
    for destination in [place.out(), place.0.path().join("fresh")] {
        let error = attempt(&destination, &options);
        assert!(
            matches!(&error, ConvertError::Gguf(GgufError::OutputExists { .. })),
            "{error}"
        );
        assert_eq!(fs::read(&path).unwrap(), b"somebody else's");
    }
    assert_eq!(
        fs::read(place.out().join("t81_metadata.json")).unwrap(),
        old
    );
    assert_eq!(names(place.0.path()), ["m.gguf", "out", "source"]);
    fs::remove_file(&path).unwrap();
    options.gguf.as_mut().unwrap().options.validate = true;
    let report = convert(place.source(), place.out(), &options).unwrap();
    assert_eq!(report.gguf.unwrap().output, path);
    assert_ne!(
        fs::read(place.out().join("t81_metadata.json")).unwrap(),
        old
    );
}

#[test]
fn groups_and_file_have_types_of_their_own() {
    let place = Place::new();
    let root = place.0.path();
    let types = |arguments: &[&str]| {
        let line = [
            &[
                "source",
                "out",
                "--overwrite",
                "--output-gguf",
                "m.gguf",
                "-q",
            ],
            arguments,
        ]
        .concat();
        succeed(root, &line);
        let directory = T81Directory::open(place.out()).unwrap();
        let down = "model.layers.1.mlp.down_proj.weight";
        let file = GgufFile::open(root.join("m.gguf")).unwrap();
        let tensor = file.tensor("blk.1.ffn_down.weight").unwrap();
        (
            directory.metadata().tensors[down].granularity,
            tensor.info.tensor_type,
        )
    };
    let group = |size| Granularity::group(size).unwrap();
    for (arguments, expected) in [
        (
            &["--quant", "TQ1_0", "--gguf-quant", "TQ2_0"][..],
            (group(256), TensorType::TQ2_0),
        ),
        (
            &["--quant", "TQ1_0", "--gguf-quant", "F16"],
            (group(256), TensorType::F16),
        ),
        (
            &["--quant", "TQ1_0", "--gguf-quant", "Q2_0"],
            (group(256), TensorType::Q2_0),
        ),
        (&["--quant", "TQ1_0"], (group(256), TensorType::TQ1_0)),
        (&["--gguf-quant", "TQ1_0"], (group(256), TensorType::TQ1_0)),
        (&["--gguf-quant", "F32"], (group(64), TensorType::F32)),
        (
            &[
                "--quant",
                "Q2_0",
                "--granularity",
                "row",
                "--gguf-quant",
                "TQ1_0",
            ],
            (Granularity::Row, TensorType::TQ1_0),
        ),
    ] {
        assert_eq!(types(arguments), expected, "{arguments:?}");
    }
    let error = refused(
        &place,
        &["source", "x", "--quant", "Q2_0", "--gguf-quant", "TQ2_0"],
    );
    assert!(
        error.contains(
            "--quant Q2_0 makes groups of 64 weights, but --gguf-quant TQ2_0 has one scale for 256"
        ),
        "{error}"
    );
}

#[test]
fn a_model_is_named_after_its_directory() {
    let place = Place::new();
    let source = place.source();
    succeed(
        &source,
        &[".", "../out", "--output-gguf", "../m.gguf", "-q"],
    );
    let directory = T81Directory::open(place.out()).unwrap();
    assert_eq!(directory.metadata().source, "source");
    let file = GgufFile::open(place.0.path().join("m.gguf")).unwrap();
    assert_eq!(file.metadata().string("general.name"), Some("source"));

    let error = refused(&place, &["./sorce", "x"]);
    assert!(error.contains("did you mean `./source`?"), "{error}");
}
