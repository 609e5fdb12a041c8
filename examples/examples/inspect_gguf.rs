//! Reads a GGUF file by `t81_gguf`: metadata, tensors, and the codes and scales of the ternary ones.
//!
//! Without a file it first writes a small one, whose tensors show all three ternary formats beside floats.
//!
//! `cargo run -p t81-examples --example inspect_gguf [FILE.gguf]`
//!
//! ```text
//! two_bit TQ2_0 [512, 32], 2.0625 bits a weight
//!   codes -1: 4666 (28.5 %), 0: 6840 (41.7 %), +1: 4878 (29.8 %)
//!   64 scales (group:256) from 0.02180 to 0.02615
//! ```

use std::path::Path;

use t81_core::{BlockFormat, Granularity, Layout, Quantizer, TernaryMatrix};
use t81_examples::{Failure, Random, argument_or};
use t81_gguf::{GgufTensor, GgufWriter, Metadata, TensorPlan, TensorType, read_gguf};

/// Sizes of the matrices in the file that this example writes; rows of TQ1_0 and TQ2_0 divide by 256.
const ROWS: usize = 32;
const COLUMNS: usize = 512;

fn main() -> Result<(), Failure> {
    let scratch = tempfile::tempdir()?;
    let path = argument_or(scratch.path().join("small.gguf"))?;
    if path.starts_with(scratch.path()) {
        write_small_file(&path)?;
    }
    let file = read_gguf(&path)?;
    println!(
        "{} bytes, GGUF version {}",
        file.size_bytes(),
        file.header().version
    );
    for (key, value) in file.metadata().iter() {
        // A tokenizer's lists have a hundred thousand elements.
        let value: String = value.to_string().chars().take(60).collect();
        println!("{key} = {value}");
    }
    for tensor in file.tensors() {
        describe(&tensor)?;
    }
    Ok(())
}

/// A line for a tensor, and two more for a ternary one.
fn describe(tensor: &GgufTensor<'_>) -> Result<(), Failure> {
    let info = tensor.info;
    let bits = 8.0 * info.bytes as f64 / info.elements() as f64;
    println!(
        "{} {} {:?}, {bits:.4} bits a weight",
        info.name, info.tensor_type, info.dimensions
    );
    let Some(matrix) = tensor.to_ternary()? else {
        return Ok(());
    };
    let [negative, zero, positive] = count_codes(&matrix);
    let share = |count: usize| 100.0 * count as f64 / info.elements() as f64;
    println!(
        "  codes -1: {negative} ({:.1} %), 0: {zero} ({:.1} %), +1: {positive} ({:.1} %)",
        share(negative),
        share(zero),
        share(positive)
    );
    let scales = matrix.scales().iter().map(|scale| scale.to_f32());
    let (least, largest) = scales.fold((f32::INFINITY, 0.0f32), |(least, largest), scale| {
        (least.min(scale), largest.max(scale))
    });
    println!(
        "  {} scales ({}) from {least:.5} to {largest:.5}",
        matrix.scales().len(),
        matrix.granularity()
    );
    Ok(())
}

/// How many codes are -1, 0 and +1.
fn count_codes(matrix: &TernaryMatrix) -> [usize; 3] {
    let mut counts = [0; 3];
    for row in 0..matrix.rows() {
        for column in 0..matrix.columns() {
            counts[(matrix.code(row, column) + 1) as usize] += 1;
        }
    }
    counts
}

/// A file of one ternary matrix in each of the block formats, and once more as floats.
fn write_small_file(path: &Path) -> Result<(), Failure> {
    let mut random = Random::new(1);
    let weights: Vec<f32> = (0..ROWS * COLUMNS)
        .map(|_| 0.02 * random.normal())
        .collect();
    // Groups of 64 suit Q2_0; the blocks of TQ1_0 and TQ2_0 have one scale for 256 weights.
    let quantize = |group| {
        let quantizer = Quantizer::twn(Granularity::group(group)?);
        let matrix = quantizer.quantize(&weights, ROWS, COLUMNS, Layout::OutIn)?;
        Ok::<_, Failure>(matrix)
    };
    let (fine, coarse) = (quantize(64)?, quantize(256)?);
    let floats = coarse.dequantize().into_iter();
    let floats = floats.flat_map(f32::to_le_bytes).collect();
    let tensors: [(&str, TensorType, Vec<u8>); 4] = [
        (
            "base_three",
            TensorType::TQ1_0,
            BlockFormat::Tq1_0.encode(&coarse)?,
        ),
        (
            "two_bit",
            TensorType::TQ2_0,
            BlockFormat::Tq2_0.encode(&coarse)?,
        ),
        (
            "two_bit_fine",
            TensorType::Q2_0,
            BlockFormat::Q2_0.encode(&fine)?,
        ),
        ("float", TensorType::F32, floats),
    ];
    let plan: Vec<TensorPlan> = tensors
        .iter()
        .map(|&(name, tensor_type, _)| TensorPlan {
            name: name.to_owned(),
            tensor_type,
            dimensions: vec![COLUMNS as u64, ROWS as u64],
        })
        .collect();
    let mut metadata = Metadata::new();
    metadata.set("general.name", "one matrix, four times");
    let mut writer = GgufWriter::create(path, &metadata, &plan, false)?;
    for (name, _, bytes) in &tensors {
        writer.write_tensor(name, bytes)?;
    }
    writer.finish()?;
    Ok(())
}
