//! A corpus of damaged files through everything that reads one: typed errors only, no panic, memory bounded.
//!
//! The only test of its binary, since it measures the memory of the whole process.

mod mutations {
    pub(crate) mod bytes;
    pub(crate) mod corpus;
}

use std::ops::ControlFlow;
use std::path::Path;

use mutations::corpus::{corpus, sample};
use peak_alloc::PeakAlloc;
use t81_gguf::{
    Comparison, EmbeddingType, ExportOptions, FloatType, GgufFile, QuantizeOptions, check, dequant,
    repack,
};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Memory that one damaged file may cost. The files have a few kilobytes; the writer's buffer has a megabyte.
const CEILING: usize = 8 << 20;

/// Reads the file in every way there is. Returns how far that went.
fn read(path: &Path, output: &Path) -> usize {
    let report = check(path).unwrap();
    let Ok(file) = GgufFile::open(path) else {
        assert!(!report.is_clean());
        return 0;
    };
    assert!(Comparison::of(&file, &file).is_equal());
    for tensor in file.tensors() {
        let _ = (tensor.to_f32(), tensor.to_ternary(), tensor.zero_codes());
    }
    for (key, value) in file.metadata().iter() {
        assert!(key.len() + value.to_string().len() < 10_000);
    }
    let mut reached = 1;
    for float_type in [FloatType::F16, FloatType::F32] {
        if dequant(&file, output, float_type, true, &mut |_| {
            ControlFlow::Continue(())
        })
        .is_ok()
        {
            assert!(GgufFile::open(output).is_ok());
            reached += 1;
        }
    }
    for (validate, embedding_type) in [(true, None), (false, Some(EmbeddingType::Q8_0))] {
        let options = ExportOptions {
            embedding_type,
            overwrite: true,
            validate,
            ..ExportOptions::default()
        };
        let quantize = QuantizeOptions::default();
        if repack(&file, output, &quantize, &options, &mut |_| {
            ControlFlow::Continue(())
        })
        .is_ok()
        {
            assert!(GgufFile::open(output).is_ok());
            reached += 1;
        }
    }
    reached
}

#[test]
fn damaged_files_give_errors_and_cost_little() {
    // In memory where there is such a folder: every written file is synced to its disk.
    let memory = Path::new("/dev/shm");
    let directory = if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    };
    let path = directory.path().join("in.gguf");
    let output = directory.path().join("out.gguf");

    // The undamaged file goes all the way, and is the first to pay for threads and the like.
    std::fs::write(&path, sample().bytes()).unwrap();
    let problems = check(&path).unwrap().problems;
    assert_eq!(problems, []);
    assert_eq!(read(&path, &output), 5);

    let corpus = corpus();
    println!("{} damaged files", corpus.len());
    assert!(corpus.len() >= 400);
    let mut refused = 0;
    for (name, bytes) in &corpus {
        std::fs::write(&path, bytes).unwrap();
        MEMORY.reset_peak_usage();
        let before = MEMORY.current_usage();
        let reached = read(&path, &output);
        let cost = MEMORY.peak_usage().saturating_sub(before);
        assert!(cost < CEILING, "{name}: {cost} bytes");
        refused += usize::from(reached == 0);
    }
    // Most damage is in the header here; the rest is in values or means nothing.
    assert!(
        refused > corpus.len() / 3,
        "{refused} of {} refused",
        corpus.len()
    );
    let left: Vec<_> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 2, "{left:?}");
}
