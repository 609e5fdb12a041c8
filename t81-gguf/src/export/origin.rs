//! What an exported file says of itself and of where its weights come from.

use std::collections::BTreeMap;
use std::path::Path;

use t81_core::Quantizer;

use super::{ExportType, Origin};
use crate::metadata::Metadata;
use crate::tensor_type::TensorType;

/// Names, and how the weights came to be ternary.
pub(super) fn describe_origin(origin: &Origin, file_type: u32, metadata: &mut Metadata) {
    let path = origin.source.trim_end_matches(['/', '\\']);
    let name = last_part(path).unwrap_or("model");
    metadata.set("general.type", "model");
    metadata.set("general.name", name);
    describe_file(file_type, metadata);
    metadata.set("t81.source", shown_source(path));
    metadata.set("t81.tool", origin.tool.as_str());
    describe_quantizer(&origin.quantizer, metadata);
}

/// What the file is and who wrote it.
pub(crate) fn describe_file(file_type: u32, metadata: &mut Metadata) {
    metadata.set("general.file_type", file_type);
    metadata.set("general.quantization_version", 2u32);
    metadata.set(
        "general.quantized_by",
        concat!("t81-gguf ", env!("CARGO_PKG_VERSION")),
    );
}

/// The settings that weights were made ternary with.
pub(crate) fn describe_quantizer(quantizer: &Quantizer, metadata: &mut Metadata) {
    metadata.set(
        "t81.quantizer.granularity",
        quantizer.granularity().to_string(),
    );
    metadata.set("t81.quantizer.threshold", quantizer.threshold());
    metadata.set("t81.quantizer.reference", quantizer.reference().to_string());
    metadata.set("t81.quantizer.scale", quantizer.scale().to_string());
    metadata.set("t81.quantizer.rounding", quantizer.rounding().to_string());
}

/// A source as the file names it: one that is passed on does not tell where its maker keeps models.
pub(crate) fn shown_source(path: &str) -> &str {
    let absolute = Path::new(path).is_absolute();
    last_part(path).filter(|_| absolute).unwrap_or(path)
}

fn last_part(path: &str) -> Option<&str> {
    path.rsplit(['/', '\\'])
        .next()
        .filter(|name| !matches!(*name, "" | "." | ".."))
}

/// `general.file_type`: the type of most ternary weights, as llama.cpp names a file by its majority.
///
/// `ternary` gives type and number of weights of each ternary matrix.
pub(crate) fn file_type(
    ternary: impl Iterator<Item = (TensorType, u64)>,
    quant: ExportType,
) -> u32 {
    let mut weights: BTreeMap<TensorType, u64> = BTreeMap::new();
    for (tensor_type, count) in ternary {
        *weights.entry(tensor_type).or_default() += count;
    }
    let majority = weights
        .into_iter()
        .max_by_key(|&(_, weights)| weights)
        .map_or(quant.tensor_type(), |(kind, _)| kind);
    match majority.block_format() {
        Some(format) => format.file_type(),
        None if majority == TensorType::F32 => 0,
        None => 1,
    }
}
