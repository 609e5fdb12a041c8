//! Exporting a float checkpoint, made ternary on the way.

use std::collections::BTreeMap;
use std::path::Path;

use t81_hub::{Checkpoint, QuantizedCheckpoint};

use super::{ExportOptions, ExportSummary, Origin, Progress, export};
use crate::error::GgufError;
use crate::quantize_options::QuantizeOptions;

/// Writes a Hugging Face checkpoint to the GGUF file `output`, its linear weights made ternary one at a time: what
/// `t81-convert` and [`export_t81`](super::export_t81) would make of it, without the directory between.
///
/// `name` is the model as the user named it; it ends up in the file's metadata.
///
/// # Errors
///
/// As [`export`]; [`GgufError::Settings`] for a threshold that is no fraction; [`GgufError::NothingSelected`] when no
/// weight would become ternary.
pub fn export_checkpoint(
    checkpoint: &Checkpoint,
    name: &str,
    output: &Path,
    quantize: &QuantizeOptions,
    options: &ExportOptions,
    progress: Progress<'_>,
) -> Result<ExportSummary, GgufError> {
    checkpoint.config().check(checkpoint)?;
    let mut count = 0;
    let mut columns = BTreeMap::new();
    for spec in checkpoint.config().ternary_weights() {
        count += 1;
        if quantize.selects(&spec.name) {
            columns.insert(spec.name, spec.shape[1]);
        }
    }
    if columns.is_empty() {
        return Err(GgufError::NothingSelected {
            path: checkpoint.directory().to_owned(),
            candidates: count,
        });
    }
    let quantization = quantize.quantization(columns, options.quant)?;
    let source = QuantizedCheckpoint::with_granularities(
        checkpoint,
        quantization.quantizer,
        quantization.granularities,
    )?
    .keeping_ternary_codes(quantize.granularity.is_none())?;
    let origin = Origin {
        source: name.to_owned(),
        tool: concat!("t81-gguf ", env!("CARGO_PKG_VERSION")).to_owned(),
        quantizer: source.quantizer().clone(),
    };
    export(&source, &origin, output, options, progress)
}
