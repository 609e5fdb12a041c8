//! Any bytes as a GGUF file: errors are fine, panics and huge allocations are not.

#![no_main]

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use t81_gguf::{
    Comparison, ExportOptions, FloatType, GgufFile, GgufHeader, QuantizeOptions, check, dequant,
    repack,
};

/// A folder for the accepted bytes and what is made of them; in memory where there is such a folder, as every written file
/// is synced to its disk.
fn folder() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let memory = PathBuf::from("/dev/shm");
        let parent = if memory.is_dir() {
            memory
        } else {
            std::env::temp_dir()
        };
        tempfile::tempdir_in(parent).expect("a folder").keep()
    })
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(header) = GgufHeader::parse(bytes) else {
        return;
    };
    for info in &header.tensors {
        assert!(header.data_start + info.offset + info.bytes <= bytes.len() as u64);
    }
    let (path, output) = (folder().join("in.gguf"), folder().join("out.gguf"));
    std::fs::write(&path, bytes).expect("space for the bytes");
    let file = GgufFile::open(&path).expect("the header was accepted");
    assert_eq!(file.header(), &header);
    assert!(check(&path).is_ok());
    assert!(Comparison::of(&file, &file).is_equal());
    for tensor in file.tensors() {
        let _ = (tensor.to_f32(), tensor.to_ternary(), tensor.zero_codes());
    }
    let written = dequant(&file, &output, FloatType::F16, true, &mut |_| {
        ControlFlow::Continue(())
    });
    if written.is_ok() {
        GgufFile::open(&output).expect("a file that was just written");
    }
    let options = ExportOptions {
        overwrite: true,
        ..ExportOptions::default()
    };
    let written = repack(
        &file,
        &output,
        &QuantizeOptions::default(),
        &options,
        &mut |_| ControlFlow::Continue(()),
    );
    if written.is_ok() {
        GgufFile::open(&output).expect("a file that was just written");
    }
});
