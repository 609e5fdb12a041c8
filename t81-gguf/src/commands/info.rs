//! `t81-gguf info FILE`

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Map, Value, json};
use t81_gguf::{GgufFile, MetadataArray, MetadataValue, TensorType};

use super::{Outcome, printable};

pub(crate) fn run(path: &Path, as_json: bool) -> Outcome {
    let file = GgufFile::open(path)?;
    let mut out = BufWriter::new(io::stdout().lock());
    if as_json {
        serde_json::to_writer_pretty(&mut out, &to_json(&file))?;
        writeln!(out)?;
    } else {
        print(&file, &mut out)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn print(file: &GgufFile, out: &mut impl Write) -> io::Result<()> {
    let header = file.header();
    writeln!(
        out,
        "{}: GGUF version {}, {} bytes, {} metadata entries, {} tensors, alignment {}",
        file.path().display(),
        header.version,
        file.size_bytes(),
        header.metadata.len(),
        header.tensors.len(),
        header.alignment
    )?;
    writeln!(out, "\nmetadata")?;
    for (key, value) in header.metadata.iter() {
        writeln!(
            out,
            "  {} = {}",
            printable(key),
            shortened(&value.to_string())
        )?;
    }
    writeln!(out, "\ntensors")?;
    let widest = header
        .tensors
        .iter()
        .map(|info| info.name.len())
        .max()
        .unwrap_or(0);
    for info in &header.tensors {
        let name = printable(&info.name);
        writeln!(
            out,
            "  {name:<widest$}  {:<8} {:>12} bytes  {:?}",
            info.tensor_type, info.bytes, info.dimensions
        )?;
    }
    writeln!(
        out,
        "\n{:<8} {:>8} {:>14} {:>14} {:>12}",
        "type", "tensors", "weights", "bytes", "bits/weight"
    )?;
    for (kind, total) in totals(file) {
        let bits = total.bytes as f64 * 8.0 / total.weights as f64;
        writeln!(
            out,
            "{kind:<8} {:>8} {:>14} {:>14} {bits:>12.4}",
            total.tensors, total.weights, total.bytes
        )?;
    }
    Ok(())
}

/// Long texts (chat templates) by their beginning.
fn shortened(text: &str) -> String {
    const SHOWN: usize = 200;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}... ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Total {
    tensors: u64,
    weights: u64,
    bytes: u64,
}

fn totals(file: &GgufFile) -> BTreeMap<TensorType, Total> {
    let mut totals: BTreeMap<TensorType, Total> = BTreeMap::new();
    for info in &file.header().tensors {
        let total = totals.entry(info.tensor_type).or_default();
        total.tensors += 1;
        total.weights += info.elements();
        total.bytes += info.bytes;
    }
    totals
}

fn to_json(file: &GgufFile) -> Value {
    let header = file.header();
    let metadata: Map<String, Value> = header
        .metadata
        .iter()
        .map(|(key, value)| (key.to_owned(), value_to_json(value)))
        .collect();
    let tensors: Vec<Value> = header
        .tensors
        .iter()
        .map(|info| {
            json!({
                "name": info.name,
                "type": info.tensor_type.name(),
                "dimensions": info.dimensions,
                "offset": info.offset,
                "bytes": info.bytes,
            })
        })
        .collect();
    let types: Map<String, Value> = totals(file)
        .into_iter()
        .map(|(kind, total)| {
            (
                kind.name().to_owned(),
                json!({"tensors": total.tensors, "weights": total.weights, "bytes": total.bytes}),
            )
        })
        .collect();
    json!({
        "file": file.path().display().to_string(),
        "version": header.version,
        "bytes": file.size_bytes(),
        "alignment": header.alignment,
        "data_start": header.data_start,
        "metadata": metadata,
        "tensors": tensors,
        "types": types,
    })
}

fn value_to_json(value: &MetadataValue) -> Value {
    match value {
        MetadataValue::U8(value) => json!(value),
        MetadataValue::I8(value) => json!(value),
        MetadataValue::U16(value) => json!(value),
        MetadataValue::I16(value) => json!(value),
        MetadataValue::U32(value) => json!(value),
        MetadataValue::I32(value) => json!(value),
        MetadataValue::F32(value) => json!(value),
        MetadataValue::U64(value) => json!(value),
        MetadataValue::I64(value) => json!(value),
        MetadataValue::F64(value) => json!(value),
        MetadataValue::Bool(value) => json!(value),
        MetadataValue::String(text) => json!(text),
        MetadataValue::Array(array) => array_to_json(array),
    }
}

fn array_to_json(array: &MetadataArray) -> Value {
    match array {
        MetadataArray::U8(values) => json!(values),
        MetadataArray::I8(values) => json!(values),
        MetadataArray::U16(values) => json!(values),
        MetadataArray::I16(values) => json!(values),
        MetadataArray::U32(values) => json!(values),
        MetadataArray::I32(values) => json!(values),
        MetadataArray::F32(values) => json!(values),
        MetadataArray::U64(values) => json!(values),
        MetadataArray::I64(values) => json!(values),
        MetadataArray::F64(values) => json!(values),
        MetadataArray::Bool(values) => json!(values),
        MetadataArray::String(values) => json!(values),
        MetadataArray::Array(arrays) => Value::Array(arrays.iter().map(array_to_json).collect()),
    }
}
