//! Writing and reading GGUF files: what is written is read back, and nothing is destroyed.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use t81_gguf::{
    FormatError, GgufError, GgufFile, GgufHeader, GgufWriter, Metadata, MetadataArray,
    MetadataValue, TensorPlan, TensorType,
};
use t81_hub::HubError;

fn planned(name: &str, tensor_type: TensorType, dimensions: &[u64]) -> TensorPlan {
    TensorPlan {
        name: name.to_owned(),
        tensor_type,
        dimensions: dimensions.to_vec(),
    }
}

fn write(
    path: &Path,
    metadata: &Metadata,
    tensors: &[(TensorPlan, Vec<u8>)],
    overwrite: bool,
) -> Result<(), GgufError> {
    let plan: Vec<TensorPlan> = tensors.iter().map(|(plan, _)| plan.clone()).collect();
    let mut writer = GgufWriter::create(path, metadata, &plan, overwrite)?;
    for (plan, bytes) in tensors {
        writer.write_tensor(&plan.name, bytes)?;
    }
    writer.finish()
}

fn scalar() -> impl Strategy<Value = MetadataValue> {
    prop_oneof![
        any::<u8>().prop_map(MetadataValue::from),
        any::<i8>().prop_map(MetadataValue::from),
        any::<u16>().prop_map(MetadataValue::from),
        any::<i16>().prop_map(MetadataValue::from),
        any::<u32>().prop_map(MetadataValue::from),
        any::<i32>().prop_map(MetadataValue::from),
        (-1e30f32..1e30).prop_map(MetadataValue::from),
        any::<u64>().prop_map(MetadataValue::from),
        any::<i64>().prop_map(MetadataValue::from),
        (-1e300f64..1e300).prop_map(MetadataValue::from),
        any::<bool>().prop_map(MetadataValue::from),
        ".{0,12}".prop_map(MetadataValue::from),
        not_utf_8().prop_map(MetadataValue::Bytes),
    ]
}

/// Text with a byte that UTF-8 never has.
fn not_utf_8() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..6).prop_map(|mut text| {
        text.push(0xff);
        text
    })
}

fn array() -> impl Strategy<Value = MetadataArray> {
    let flat = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..9).prop_map(MetadataArray::U8),
        prop::collection::vec(any::<i16>(), 0..9).prop_map(MetadataArray::I16),
        prop::collection::vec(any::<u32>(), 0..9).prop_map(MetadataArray::U32),
        prop::collection::vec(-1e30f32..1e30, 0..9).prop_map(MetadataArray::F32),
        prop::collection::vec(any::<i64>(), 0..9).prop_map(MetadataArray::I64),
        prop::collection::vec(any::<bool>(), 0..9).prop_map(MetadataArray::Bool),
        prop::collection::vec(".{0,6}", 0..5).prop_map(MetadataArray::String),
        prop::collection::vec(not_utf_8(), 1..5).prop_map(MetadataArray::Bytes),
    ];
    flat.prop_recursive(3, 12, 3, |inner| {
        prop::collection::vec(inner, 0..3).prop_map(MetadataArray::Array)
    })
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let value = prop_oneof![3 => scalar(), 1 => array().prop_map(MetadataValue::Array)];
    prop::collection::vec(("[a-z.]{1,10}", value), 0..8).prop_map(|entries| {
        let mut metadata = Metadata::new();
        for (key, value) in entries {
            metadata.set(key, value);
        }
        metadata
    })
}

fn tensors() -> impl Strategy<Value = Vec<(TensorPlan, Vec<u8>)>> {
    let tensor = (
        prop::sample::select(TensorType::ALL),
        1u64..3,
        prop::collection::vec(1u64..4, 0..4),
        any::<u8>(),
    );
    prop::collection::vec(tensor, 0..6).prop_map(|tensors| {
        let build =
            |(index, (kind, blocks, rest, fill)): (usize, (TensorType, u64, Vec<u64>, u8))| {
                let mut dimensions = vec![blocks * kind.block_len()];
                dimensions.extend(rest);
                let bytes = kind.row_bytes(dimensions[0]).unwrap()
                    * dimensions[1..].iter().product::<u64>();
                (
                    planned(&format!("tensor.{index}"), kind, &dimensions),
                    vec![fill; bytes as usize],
                )
            };
        tensors.into_iter().enumerate().map(build).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read_back(
        mut metadata in metadata(), tensors in tensors(), alignment in prop::option::of(3u32..12)
    ) {
        if let Some(exponent) = alignment {
            metadata.set("general.alignment", 1u32 << exponent);
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file.gguf");
        write(&path, &metadata, &tensors, false).unwrap();
        let file = GgufFile::open(&path).unwrap();
        prop_assert_eq!(file.metadata(), &metadata);
        prop_assert_eq!(file.header().alignment, alignment.map_or(32, |exponent| 1 << exponent));
        prop_assert_eq!(file.tensors().len(), tensors.len());
        for ((plan, bytes), read) in tensors.iter().zip(file.tensors()) {
            prop_assert_eq!(&plan.name, &read.info.name);
            prop_assert_eq!(plan.tensor_type, read.info.tensor_type);
            prop_assert_eq!(&plan.dimensions, &read.info.dimensions);
            prop_assert_eq!(&bytes[..], read.bytes);
            prop_assert!((file.header().data_start + read.info.offset).is_multiple_of(file.header().alignment));
        }
    }
}

#[test]
fn an_existing_file_is_kept_unless_overwriting_succeeds() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.gguf");
    fs::write(&path, "precious").unwrap();
    let tensor = (planned("t", TensorType::F32, &[2]), vec![0; 8]);

    let refused = write(
        &path,
        &Metadata::new(),
        std::slice::from_ref(&tensor),
        false,
    )
    .unwrap_err();
    assert!(
        matches!(refused, GgufError::OutputExists { .. }),
        "{refused}"
    );
    assert_eq!(fs::read(&path).unwrap(), b"precious");

    // Abandoned half-way, with a size that does not add up, or out of order: the old file and nothing else is there.
    let plan = [tensor.0.clone()];
    drop(GgufWriter::create(&path, &Metadata::new(), &plan, true).unwrap());
    let short = write(
        &path,
        &Metadata::new(),
        &[(tensor.0.clone(), vec![0; 7])],
        true,
    )
    .unwrap_err();
    assert!(
        matches!(
            short,
            GgufError::TensorSize {
                expected: 8,
                found: 7,
                ..
            }
        ),
        "{short}"
    );
    let mut writer = GgufWriter::create(&path, &Metadata::new(), &plan, true).unwrap();
    assert!(matches!(
        writer.write_tensor("other", &[]),
        Err(GgufError::TensorOrder { .. })
    ));
    assert!(matches!(
        writer.finish(),
        Err(GgufError::TensorOrder { .. })
    ));
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);

    write(&path, &Metadata::new(), std::slice::from_ref(&tensor), true).unwrap();
    assert_eq!(
        GgufFile::open(&path).unwrap().tensor("t").unwrap().bytes,
        [0; 8]
    );
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_file_that_appears_meanwhile_is_not_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.gguf");
    let writer = GgufWriter::create(&path, &Metadata::new(), &[], false).unwrap();
    fs::write(&path, "precious").unwrap();
    assert!(matches!(
        writer.finish(),
        Err(GgufError::OutputExists { .. })
    ));
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}

#[test]
fn pieces_are_joined_and_too_many_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.gguf");
    let plan = [
        planned("a", TensorType::I8, &[5]),
        planned("b", TensorType::I8, &[1]),
    ];
    let mut writer = GgufWriter::create(&path, &Metadata::new(), &plan, false).unwrap();
    writer
        .write_tensor_with("a", |sink| {
            sink.write(&[1, 2])?;
            sink.write(&[])?;
            sink.write(&[3, 4, 5])
        })
        .unwrap();
    assert!(matches!(
        writer.write_tensor("b", &[1, 2]),
        Err(GgufError::TensorSize {
            expected: 1,
            found: 2,
            ..
        })
    ));
    writer.write_tensor("b", &[9]).unwrap();
    assert!(matches!(
        writer.write_tensor("c", &[]),
        Err(GgufError::TensorOrder { .. })
    ));
    writer.finish().unwrap();
    let file = GgufFile::open(&path).unwrap();
    assert_eq!(file.tensor("a").unwrap().bytes, [1, 2, 3, 4, 5]);
    assert_eq!(file.tensor("b").unwrap().bytes, [9]);
    assert_eq!(file.size_bytes(), file.header().data_start + 64);
}

#[test]
fn plans_that_no_reader_accepts_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.gguf");
    let refuse = |metadata: &Metadata, plan: &[TensorPlan]| match GgufWriter::create(
        &path, metadata, plan, false,
    ) {
        Err(GgufError::Plan { source, .. }) => source,
        other => panic!("{other:?}"),
    };
    let none = Metadata::new();
    let long = "x".repeat(64);
    assert!(matches!(
        refuse(&none, &[planned(&long, TensorType::F32, &[1])]),
        FormatError::NameLength { length: 64, .. }
    ));
    assert!(matches!(
        refuse(&none, &[planned("", TensorType::F32, &[1])]),
        FormatError::EmptyName { .. }
    ));
    assert!(matches!(
        refuse(&none, &[planned("a", TensorType::F32, &[1; 5])]),
        FormatError::Dimensions { dimensions: 5, .. }
    ));
    assert!(matches!(
        refuse(&none, &[planned("a", TensorType::F32, &[])]),
        FormatError::Dimensions { dimensions: 0, .. }
    ));
    assert!(matches!(
        refuse(&none, &[planned("a", TensorType::F32, &[4, 0])]),
        FormatError::Shape { .. }
    ));
    assert!(matches!(
        refuse(&none, &[planned("a", TensorType::F32, &[1 << 40, 1 << 40])]),
        FormatError::Shape { .. }
    ));
    assert!(matches!(
        refuse(&none, &[planned("a", TensorType::TQ2_0, &[576])]),
        FormatError::BlockLength { columns: 576, .. }
    ));
    let twice = [
        planned("a", TensorType::F32, &[1]),
        planned("a", TensorType::F16, &[1]),
    ];
    assert!(matches!(
        refuse(&none, &twice),
        FormatError::DuplicateTensor { .. }
    ));
    let mut metadata = Metadata::new();
    metadata.set("general.alignment", 48u32);
    assert!(matches!(
        refuse(&metadata, &[]),
        FormatError::Alignment { .. }
    ));
    assert!(!path.exists());
}

#[test]
fn outputs_that_cannot_be_written_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let error = GgufWriter::create(file.join("model.gguf"), &Metadata::new(), &[], false);
    let error = error.unwrap_err();
    assert!(
        matches!(error, GgufError::Hub(HubError::Io { .. })),
        "{error}"
    );
    assert!(error.to_string().contains("file"), "{error}");
    let error = GgufWriter::create(directory.path(), &Metadata::new(), &[], true).unwrap_err();
    assert!(matches!(error, GgufError::NotAFile { .. }), "{error}");
}

#[test]
fn new_files_are_readable_like_any_other() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let (ours, plain) = (
        directory.path().join("model.gguf"),
        directory.path().join("plain"),
    );
    write(&ours, &Metadata::new(), &[], false).unwrap();
    fs::write(&plain, "").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&ours), mode(&plain));
}

#[test]
fn version_2_is_read() {
    let mut bytes = include_bytes!("fixtures/golden.gguf").to_vec();
    bytes[4] = 2;
    let header = GgufHeader::parse(&bytes).unwrap();
    assert_eq!(header.version, 2);
    assert_eq!(header.tensors.len(), 4);
}

#[test]
fn a_half_written_tensor_cannot_be_finished() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.gguf");
    let plan = [planned("a", TensorType::I8, &[5])];
    for pieces in [&[&[1, 2, 3][..]][..], &[&[1, 2, 3], &[4, 5, 6]]] {
        let mut writer = GgufWriter::create(&path, &Metadata::new(), &plan, false).unwrap();
        let error = writer.write_tensor_with("a", |sink| {
            pieces.iter().try_for_each(|piece| sink.write(piece))
        });
        assert!(matches!(
            error,
            Err(GgufError::TensorSize { expected: 5, .. })
        ));
        assert!(matches!(
            writer.write_tensor("a", &[1, 2, 3, 4, 5]),
            Err(GgufError::HalfWritten { .. })
        ));
        assert!(matches!(
            writer.finish(),
            Err(GgufError::HalfWritten { .. })
        ));
        assert!(!path.exists());
    }
}
