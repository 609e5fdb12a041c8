//! The short way in and out: [`write_gguf`] and [`read_gguf`].

use std::ops::ControlFlow;
use std::path::Path;

use t81_hub::{Checkpoint, METADATA_FILE, T81Directory, model_name};

use crate::error::GgufError;
use crate::export::{ExportOptions, ExportProgress, ExportSummary, export_checkpoint, export_t81};
use crate::quantize_options::QuantizeOptions;
use crate::reader::GgufFile;
use crate::repack::repack;

/// Writes the model at `source` as the ternary GGUF file `output`.
///
/// `source` is what `t81-gguf` takes: a t81 directory, whose codes and scales are kept; a Hugging Face checkpoint
/// directory or a GGUF file, whose matrices are made ternary as `quantize` says.
///
/// # Errors
///
/// As [`export_t81`], [`export_checkpoint`] and [`repack`].
///
/// ```no_run
/// use t81_gguf::{ExportOptions, QuantizeOptions, read_gguf, write_gguf};
///
/// let options = ExportOptions { quant: Some("TQ2_0".parse()?), ..ExportOptions::default() };
/// let summary = write_gguf("path/to/converted", "model.gguf", &QuantizeOptions::default(), &options)?;
/// println!("{summary}");
/// assert_eq!(read_gguf("model.gguf")?.header().tensors.len(), summary.tensors.len());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_gguf(
    source: impl AsRef<Path>,
    output: impl AsRef<Path>,
    quantize: &QuantizeOptions,
    options: &ExportOptions,
) -> Result<ExportSummary, GgufError> {
    let (source, output) = (source.as_ref(), output.as_ref());
    let mut progress = |_: &ExportProgress<'_>| ControlFlow::Continue(());
    if source.is_file() {
        return repack(
            &GgufFile::open(source)?,
            output,
            quantize,
            options,
            &mut progress,
        );
    }
    // Training puts its t81 directory into a directory of its own.
    let is_t81 = |directory: &Path| directory.join(METADATA_FILE).is_file();
    if is_t81(source) || is_t81(&source.join("t81")) {
        return export_t81(&T81Directory::open(source)?, output, options);
    }
    export_checkpoint(
        &Checkpoint::open(source)?,
        &model_name(source, None, source),
        output,
        quantize,
        options,
        &mut progress,
    )
}

/// Opens a GGUF file: metadata at once, tensors when asked for.
///
/// # Errors
///
/// As [`GgufFile::open`].
///
/// ```
/// use t81_gguf::{GgufWriter, Metadata, TensorPlan, TensorType, read_gguf};
///
/// let directory = tempfile::tempdir()?;
/// let path = directory.path().join("tiny.gguf");
/// let plan = [TensorPlan { name: "t".into(), tensor_type: TensorType::F16, dimensions: vec![2] }];
/// let mut writer = GgufWriter::create(&path, &Metadata::new(), &plan, false)?;
/// writer.write_tensor("t", &[0, 0x3c, 0, 0xc0])?;
/// writer.finish()?;
///
/// let file = read_gguf(&path)?;
/// assert_eq!(file.tensor("t").unwrap().to_f32()?, [1.0, -2.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_gguf(path: impl AsRef<Path>) -> Result<GgufFile, GgufError> {
    GgufFile::open(path)
}
