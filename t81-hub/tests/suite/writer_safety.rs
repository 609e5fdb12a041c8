//! The writer never damages what was there, and leaves nothing half-made.

use std::fs;
use std::path::{Path, PathBuf};

use t81_core::{Granularity, Layout, Quantizer, TernaryMatrix};
use t81_hub::{Dtype, HubError, OutputFormat, Storage, T81Metadata, T81Writer, TensorPlan};

fn plan() -> Vec<TensorPlan> {
    vec![
        TensorPlan {
            name: "w".into(),
            shape: vec![2, 6],
            storage: Storage::Ternary {
                granularity: Granularity::Row,
                transposed: false,
            },
        },
        TensorPlan {
            name: "b".into(),
            shape: vec![3],
            storage: Storage::Dense(Dtype::F32),
        },
    ]
}

fn matrix() -> TernaryMatrix {
    let weights: Vec<f32> = (0..12).map(|index| index as f32 - 5.5).collect();
    Quantizer::twn(Granularity::Row)
        .quantize(&weights, 2, 6, Layout::OutIn)
        .unwrap()
}

fn metadata() -> T81Metadata {
    T81Metadata::new("test", "1", "nothing", Quantizer::bitnet(), "llama")
}

fn create(target: &Path, overwrite: bool) -> Result<T81Writer, HubError> {
    T81Writer::create(target, plan(), overwrite, OutputFormat::Packed)
}

fn write(target: &Path, overwrite: bool, mark: &[u8]) -> Result<PathBuf, HubError> {
    let mut writer = create(target, overwrite)?;
    writer.write_dense("b", &[0; 12])?;
    writer.write_ternary("w", &matrix())?;
    writer.write_file("config.json", mark)?;
    writer.finish(metadata())
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn nothing_appears_before_the_end() {
    let parent = tempfile::tempdir().unwrap();
    let target = parent.path().join("out");
    let mut writer = create(&target, false).unwrap();
    writer.write_ternary("w", &matrix()).unwrap();
    assert!(!target.exists());
    assert!(names(parent.path())[0].starts_with(".out.t81-partial-"));
    drop(writer);
    assert!(names(parent.path()).is_empty());
    write(&target, false, b"1").unwrap();
    assert_eq!(names(parent.path()), ["out"]);
    assert_eq!(
        names(&target),
        ["config.json", "model.safetensors", "t81_metadata.json"]
    );
}

#[test]
fn a_writer_that_is_dropped_or_fails_leaves_the_old_directory() {
    let parent = tempfile::tempdir().unwrap();
    let target = parent.path().join("out");
    write(&target, false, b"old").unwrap();
    let old = fs::read(target.join("model.safetensors")).unwrap();
    let unchanged = || {
        assert_eq!(fs::read(target.join("config.json")).unwrap(), b"old");
        assert_eq!(fs::read(target.join("model.safetensors")).unwrap(), old);
        assert_eq!(names(parent.path()), ["out"]);
    };
    let mut writer = create(&target, true).unwrap();
    writer.write_dense("b", &[1; 12]).unwrap();
    drop(writer);
    unchanged();
    let mut writer = create(&target, true).unwrap();
    writer.write_dense("b", &[1; 12]).unwrap();
    writer.write_file("config.json", b"new").unwrap();
    let error = writer.finish(metadata()).unwrap_err();
    assert!(error.to_string().contains("`w`: never written"), "{error}");
    unchanged();
    let mut writer = create(&target, true).unwrap();
    writer.write_dense("b", &[1; 12]).unwrap();
    writer.write_ternary("w", &matrix()).unwrap();
    let error = writer.finish(metadata()).unwrap_err();
    assert!(
        error.to_string().contains("`config.json`: never written"),
        "{error}"
    );
    unchanged();
    assert!(write(&target, false, b"new").is_err());
    unchanged();
    let open = fs::File::open(target.join("config.json")).unwrap();
    write(&target, true, b"new").unwrap();
    assert_eq!(fs::read(target.join("config.json")).unwrap(), b"new");
    assert_eq!(names(parent.path()), ["out"]);
    // Whoever reads the old files goes on reading them whole.
    assert_eq!(std::io::read_to_string(open).unwrap(), "old");
}

#[test]
fn what_is_no_t81_directory_is_never_replaced() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("file");
    fs::write(&file, b"mine").unwrap();
    let home = parent.path().join("home");
    fs::create_dir(&home).unwrap();
    fs::write(home.join("thesis.tex"), b"mine").unwrap();
    for target in [
        &file,
        &home,
        &parent.path().to_path_buf(),
        &PathBuf::from("/"),
    ] {
        for overwrite in [false, true] {
            assert!(
                matches!(create(target, overwrite), Err(HubError::NotReplaceable(_))),
                "{target:?}"
            );
        }
    }
    assert_eq!(fs::read(home.join("thesis.tex")).unwrap(), b"mine");
    let empty = parent.path().join("empty");
    fs::create_dir(&empty).unwrap();
    write(&empty, false, b"1").unwrap();
    assert!(matches!(
        create(&empty, false),
        Err(HubError::OutputExists(_))
    ));
}

#[test]
fn a_target_that_appears_meanwhile_is_not_lost() {
    let parent = tempfile::tempdir().unwrap();
    let target = parent.path().join("out");
    let mut writer = create(&target, true).unwrap();
    writer.write_dense("b", &[0; 12]).unwrap();
    writer.write_ternary("w", &matrix()).unwrap();
    writer.write_file("config.json", b"{}").unwrap();
    fs::create_dir(&target).unwrap();
    fs::write(target.join("notes"), b"mine").unwrap();
    assert!(matches!(
        writer.finish(metadata()),
        Err(HubError::NotReplaceable(_))
    ));
    assert_eq!(fs::read(target.join("notes")).unwrap(), b"mine");
    assert_eq!(names(parent.path()), ["out"]);
}

#[cfg(unix)]
#[test]
fn a_link_to_a_directory_stays_a_link() {
    let parent = tempfile::tempdir().unwrap();
    let real = parent.path().join("real");
    write(&real, false, b"old").unwrap();
    let link = parent.path().join("link");
    std::os::unix::fs::symlink(&real, &link).unwrap();
    write(&link, true, b"new").unwrap();
    assert!(link.is_symlink());
    assert_eq!(fs::read(real.join("config.json")).unwrap(), b"new");
    assert_eq!(names(parent.path()), ["link", "real"]);
}

#[cfg(unix)]
#[test]
fn the_result_obeys_the_umask_like_any_directory() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let (plain, written) = (parent.path().join("plain"), parent.path().join("written"));
    fs::create_dir(&plain).unwrap();
    write(&written, false, b"1").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&written), mode(&plain));
}

#[test]
fn breaches_of_the_plan_are_refused() {
    let parent = tempfile::tempdir().unwrap();
    let target = parent.path().join("out");
    let mut writer = create(&target, false).unwrap();
    let other = Quantizer::bitnet()
        .quantize(&[1.0; 12], 2, 6, Layout::OutIn)
        .unwrap();
    let messages = [
        (writer.write_ternary("x", &matrix()), "not in the plan"),
        (writer.write_ternary("b", &matrix()), "planned as floats"),
        (
            writer.write_ternary("w", &other),
            "scales per row, given as [2, 6] with scales per tensor",
        ),
        (writer.write_dense("w", &[0; 12]), "planned as ternary"),
        (
            writer.write_dense("b", &[0; 11]),
            "planned with 12 bytes, given 11",
        ),
        (
            writer
                .write_dense("b", &[0; 12])
                .and_then(|()| writer.write_dense("b", &[0; 12])),
            "written twice",
        ),
        (writer.write_file("model.safetensors", b""), "not a name"),
        (writer.write_file("t81_metadata.json", b""), "not a name"),
        (writer.write_file("../escape", b""), "not a name"),
        (writer.write_file("other/a.jinja", b""), "not a name"),
        (
            writer.write_file("additional_chat_templates/../a.jinja", b""),
            "not a name",
        ),
        (
            writer
                .write_file("a", b"")
                .and_then(|()| writer.write_file("a", b"")),
            "written twice",
        ),
        (writer.copy_file(parent.path(), "absent"), "cannot open"),
    ];
    for (result, expected) in messages {
        let message = result.unwrap_err().to_string();
        assert!(message.contains(expected), "`{message}` lacks `{expected}`");
    }
    let ternary = |shape: Vec<usize>| {
        let storage = Storage::Ternary {
            granularity: Granularity::Row,
            transposed: false,
        };
        vec![TensorPlan {
            name: "w".into(),
            shape,
            storage,
        }]
    };
    let twice = [plan(), plan()].concat();
    let plans = [
        (twice, "planned twice"),
        (ternary(vec![4]), "two dimensions"),
        (ternary(vec![usize::MAX, 4]), "too large"),
        (ternary(vec![usize::MAX, 0]), "dimension of zero"),
    ];
    for (plan, expected) in plans {
        let error = T81Writer::create(parent.path().join("y"), plan, false, OutputFormat::Packed)
            .unwrap_err();
        assert!(
            error.to_string().contains(expected),
            "`{error}` lacks `{expected}`"
        );
    }
}
