//! `t81-gguf info FILE`

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::process::ExitCode;

use indicatif::HumanBytes;
use serde_json::{Map, Value, json};
use t81_gguf::{GgufFile, MetadataArray, MetadataValue, TensorType};

use super::{Outcome, print_result, printable};
use t81_gguf::command_line::InfoArguments;

pub(crate) fn run(arguments: &InfoArguments) -> Outcome {
    let file = GgufFile::open(&arguments.file)?;
    let zeros = if arguments.no_sparsity {
        Zeros::new()
    } else {
        count_zeros(&file)
    };
    let mut out = Vec::new();
    if arguments.json {
        serde_json::to_writer_pretty(&mut out, &to_json(&file, &zeros, arguments.no_tensors))?;
        writeln!(out)?;
    } else {
        print(&file, &zeros, arguments.no_tensors, &mut out)?;
    }
    print_result(&out)?;
    Ok(ExitCode::SUCCESS)
}

/// Zero codes of the ternary tensors, by name.
type Zeros = HashMap<String, u64>;

fn count_zeros(file: &GgufFile) -> Zeros {
    file.tensors()
        .filter_map(|tensor| Some((tensor.info.name.clone(), tensor.zero_codes()?)))
        .collect()
}

fn print(file: &GgufFile, zeros: &Zeros, no_tensors: bool, out: &mut impl Write) -> io::Result<()> {
    let header = file.header();
    writeln!(
        out,
        "{}: GGUF version {}, {} ({} bytes), {} metadata entries, {} tensors, alignment {}",
        file.path().display(),
        header.version,
        HumanBytes(file.size_bytes()),
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
    if !no_tensors {
        print_tensors(file, zeros, out)?;
    }
    writeln!(
        out,
        "\n{:<8} {:>8} {:>14} {:>14} {:>12} {:>12} {:>9}",
        "type", "tensors", "weights", "bytes", "size", "bits/weight", "sparsity"
    )?;
    for (kind, total) in totals(file, zeros) {
        let bits = total.bytes as f64 * 8.0 / total.weights as f64;
        writeln!(
            out,
            "{kind:<8} {:>8} {:>14} {:>14} {:>12} {bits:>12.4} {:>9}",
            total.tensors,
            total.weights,
            total.bytes,
            HumanBytes(total.bytes).to_string(),
            shown_sparsity(total.sparsity())
        )?;
    }
    let all = sum(totals(file, zeros).values());
    if let Some(sparsity) = all.sparsity() {
        writeln!(
            out,
            "{:.2} % of {} ternary weights are 0",
            100.0 * sparsity,
            all.ternary
        )?;
    }
    Ok(())
}

fn print_tensors(file: &GgufFile, zeros: &Zeros, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\ntensors")?;
    let tensors = &file.header().tensors;
    let widest = tensors
        .iter()
        .map(|info| info.name.len())
        .max()
        .unwrap_or(0);
    for info in tensors {
        let name = printable(&info.name);
        let sparsity = zeros
            .get(&info.name)
            .map(|&zeros| zeros as f64 / info.elements() as f64);
        writeln!(
            out,
            "  {name:<widest$}  {:<8} {:>12} bytes {:>12} {:>9}  {:?}",
            info.tensor_type,
            info.bytes,
            HumanBytes(info.bytes).to_string(),
            shown_sparsity(sparsity),
            info.dimensions
        )?;
    }
    Ok(())
}

fn shown_sparsity(sparsity: Option<f64>) -> String {
    sparsity.map_or_else(String::new, |share| format!("{:.2} %", 100.0 * share))
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
    /// Weights of ternary tensors whose zeros were counted, and those zeros.
    ternary: u64,
    zeros: u64,
}

impl Total {
    fn sparsity(&self) -> Option<f64> {
        (self.ternary > 0).then(|| self.zeros as f64 / self.ternary as f64)
    }
}

fn totals(file: &GgufFile, zeros: &Zeros) -> BTreeMap<TensorType, Total> {
    let mut totals: BTreeMap<TensorType, Total> = BTreeMap::new();
    for info in &file.header().tensors {
        let total = totals.entry(info.tensor_type).or_default();
        total.tensors += 1;
        total.weights += info.elements();
        total.bytes += info.bytes;
        if let Some(zeros) = zeros.get(&info.name) {
            total.ternary += info.elements();
            total.zeros += zeros;
        }
    }
    totals
}

fn sum<'a>(totals: impl Iterator<Item = &'a Total>) -> Total {
    totals.fold(Total::default(), |sum, total| Total {
        tensors: sum.tensors + total.tensors,
        weights: sum.weights + total.weights,
        bytes: sum.bytes + total.bytes,
        ternary: sum.ternary + total.ternary,
        zeros: sum.zeros + total.zeros,
    })
}

fn to_json(file: &GgufFile, zeros: &Zeros, no_tensors: bool) -> Value {
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
            let sparsity = zeros
                .get(&info.name)
                .map(|&zeros| zeros as f64 / info.elements() as f64);
            json!({
                "name": info.name,
                "type": info.tensor_type.name(),
                "dimensions": info.dimensions,
                "offset": info.offset,
                "bytes": info.bytes,
                "sparsity": sparsity,
            })
        })
        .collect();
    let totals = totals(file, zeros);
    let all = sum(totals.values());
    let types: Map<String, Value> = totals
        .into_iter()
        .map(|(kind, total)| {
            (
                kind.name().to_owned(),
                json!({
                    "tensors": total.tensors,
                    "weights": total.weights,
                    "bytes": total.bytes,
                    "sparsity": total.sparsity(),
                }),
            )
        })
        .collect();
    let mut json = json!({
        "file": file.path().display().to_string(),
        "version": header.version,
        "bytes": file.size_bytes(),
        "alignment": header.alignment,
        "data_start": header.data_start,
        "metadata": metadata,
        "types": types,
        "ternary_weights": all.ternary,
        "sparsity": all.sparsity(),
    });
    if !no_tensors {
        json["tensors"] = Value::Array(tensors);
    }
    json
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
        MetadataValue::Bytes(text) => json!(String::from_utf8_lossy(text)),
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
        MetadataArray::Bytes(values) => values
            .iter()
            .map(|text| String::from_utf8_lossy(text))
            .collect(),
        MetadataArray::Array(arrays) => Value::Array(arrays.iter().map(array_to_json).collect()),
    }
}
