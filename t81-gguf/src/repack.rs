//! Making the matrices of a GGUF file ternary, a piece of a tensor at a time.

mod plan;
mod values;

use std::cell::RefCell;
use std::path::Path;

use t81_hub::check_apart;

use plan::PlannedTensor;

use crate::error::GgufError;
use crate::export::{ExportOptions, ExportSummary, Progress, complete, stream, zero_note};
use crate::quantize_options::QuantizeOptions;
use crate::reader::GgufFile;
use crate::writer::{GgufWriter, check_output};

/// Writes `source` to the GGUF file `output` with the matrices of its blocks ternary.
///
/// F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K and Q6_K matrices are quantized; TQ1_0, TQ2_0 and Q2_0 ones
/// whose blocks are ternary keep their codes and scales. Every other tensor is copied byte for byte, except that
/// [`ExportOptions::embedding_type`] converts the token embedding and the output matrix, and that 16-bit vectors,
/// which llama.cpp does not run, become F32. All metadata is kept but for `general.file_type`,
/// `general.quantization_version`, `general.quantized_by` and `t81.*`.
///
/// At no time is more than a piece of a matrix in memory (a whole one with a scale per tensor), and `output` appears
/// whole or not at all.
///
/// # Errors
///
/// [`GgufError::NoFloats`] for a matrix of another type; [`GgufError::Split`] for one file of several;
/// [`GgufError::NothingSelected`] when no matrix would become ternary; [`GgufError::Quantize`] for weights that are not
/// finite; [`GgufError::OutputExists`] without `overwrite`; [`GgufError::Hub`] for an `output` that is the source; [`GgufError::Io`] for a full or read-only disk;
/// [`GgufError::Interrupted`] when `progress` breaks off. None leaves a file behind.
pub fn repack(
    source: &GgufFile,
    output: &Path,
    quantize: &QuantizeOptions,
    options: &ExportOptions,
    progress: Progress<'_>,
) -> Result<ExportSummary, GgufError> {
    check_output(output, options.overwrite)?;
    check_apart(output, [source.path()])?;
    let plan = plan::plan(source, quantize, options)?;
    let mut writer = GgufWriter::create(output, &plan.metadata, &plan.layout(), options.overwrite)?;
    let zeros = RefCell::new(Vec::new());
    stream(
        &mut writer,
        &plan.tensors,
        |planned| (planned.name(), planned.bytes),
        |planned, sink| {
            if values::write(planned, sink)? {
                zeros.borrow_mut().push(planned.name().to_owned());
            }
            Ok(())
        },
        progress,
    )?;
    complete(
        writer,
        options.validate,
        &plan.tensors,
        PlannedTensor::name,
        |planned, sink| values::write(planned, sink).map(drop),
    )?
    .publish()?;
    let mut summary = plan.into_summary(output);
    summary.notes.extend(zero_note(&zeros.into_inner()));
    Ok(summary)
}
