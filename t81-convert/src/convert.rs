//! The conversion: one tensor at a time from the checkpoint to the t81 directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use t81_core::Layout;
use t81_gguf::Origin;
use t81_hub::{
    Checkpoint, DenseTensorInfo, QuantizedCheckpoint, Storage, T81Metadata, T81Writer, TensorPlan,
    TensorView, TernarySource, TernaryTensorInfo, check_apart, companion_files, model_name,
};

use crate::report::NOTE;
use crate::selection::Selection;
use crate::validate::validate;
use crate::{
    ConversionReport, ConvertError, ConvertOptions, DenseTotals, Progress, Silent, TernaryReport,
    Unheld,
};

/// Makes the checkpoint in the directory `source` ternary and writes the t81 directory `destination`.
///
/// Tensors are read a few rows at a time, so that memory holds little more than the ternary form of one of them, whatever the
/// size of the model. `destination` appears in one step at the end, with the GGUF file if one is asked for; a failure leaves it
/// as it was.
///
/// # Errors
/// If the source is damaged, incomplete or holds a NaN, if the settings are out of range or if the destination exists
/// and may not be replaced. See [`ConvertError`].
pub fn convert(
    source: impl AsRef<Path>,
    destination: impl AsRef<Path>,
    options: &ConvertOptions,
) -> Result<ConversionReport, ConvertError> {
    convert_with_progress(source, destination, options, &mut Silent)
}

/// As [`convert`], with progress and a way to stop.
///
/// # Errors
/// As [`convert`], and [`ConvertError::Interrupted`].
pub fn convert_with_progress(
    source: impl AsRef<Path>,
    destination: impl AsRef<Path>,
    options: &ConvertOptions,
    progress: &mut dyn Progress,
) -> Result<ConversionReport, ConvertError> {
    let source = source.as_ref();
    let checkpoint = Checkpoint::open(source)?;
    let label = model_name(source, None, source);
    convert_checkpoint(&checkpoint, label, destination.as_ref(), options, progress)
}

/// Makes a checkpoint ternary that is open already; `label` is what its user calls it.
pub(crate) fn convert_checkpoint(
    checkpoint: &Checkpoint,
    label: String,
    destination: &Path,
    options: &ConvertOptions,
    progress: &mut dyn Progress,
) -> Result<ConversionReport, ConvertError> {
    let started = Instant::now();
    check_apart(destination, [checkpoint.directory()])?;
    checkpoint.config().check(checkpoint)?;
    let selection = Selection::new(checkpoint, options)?;
    let quantizer = options.quantizer(selection.granularity)?;
    let quantized =
        QuantizedCheckpoint::with_granularities(checkpoint, quantizer.clone(), selection.tensors)?;
    let name = options.source_name.clone().unwrap_or(label);
    if let Some(gguf) = &options.gguf {
        let origin = Origin {
            source: name.clone(),
            tool: concat!("t81-convert ", env!("CARGO_PKG_VERSION")).to_owned(),
            quantizer: quantizer.clone(),
        };
        gguf.check(destination, &quantized, &origin)?;
    }
    let plan = plan(&quantized, options);
    let writer = T81Writer::create(destination, plan.clone(), options.overwrite, options.format)?;
    let mut conversion = Conversion {
        quantized: &quantized,
        options,
        writer,
        ternary: Vec::new(),
        dense: DenseTotals::default(),
        unheld: Vec::new(),
    };
    if checkpoint.has_changed_config() {
        let config = format!("{:#}", checkpoint.config().raw);
        conversion
            .writer
            .write_file("config.json", config.as_bytes())?;
    }
    let directory = checkpoint.directory();
    // A checkpoint in memory has no directory.
    if !directory.as_os_str().is_empty() {
        if !checkpoint.has_changed_config() {
            conversion.writer.copy_file(directory, "config.json")?;
        }
        for name in companion_files(directory)? {
            conversion.writer.copy_file(directory, &name)?;
        }
    }
    let bytes: u64 = checkpoint
        .tensors()
        .map(|tensor| tensor.bytes.len() as u64)
        .sum();
    progress.started(plan.len(), bytes);
    for (index, tensor) in plan.iter().enumerate() {
        if progress.cancelled() {
            return Err(ConvertError::Interrupted);
        }
        progress.tensor(&tensor.name);
        let view = checkpoint.tensor(&tensor.name)?;
        if let Some(next) = plan.get(index + 1) {
            checkpoint.tensor(&next.name)?.prefetch();
        }
        conversion.tensor(&view, tensor.storage)?;
        progress.advanced(view.bytes.len() as u64);
    }
    let Conversion {
        writer,
        ternary,
        dense,
        unheld,
        ..
    } = conversion;
    let mut metadata = T81Metadata::new(
        "t81-convert",
        env!("CARGO_PKG_VERSION"),
        name,
        quantizer.clone(),
        checkpoint.config().model_type,
    );
    let mut report = ConversionReport {
        directory: PathBuf::new(),
        format: options.format,
        quantizer,
        gguf_format: options.gguf_format,
        ternary,
        dense,
        unheld,
        dropped: dropped(checkpoint),
        unexpected: checkpoint.unexpected(),
        notes: quantized.notes(),
        gguf: None,
        source_bytes: bytes,
        stored_bytes: 0,
        seconds: 0.0,
    };
    metadata.statistics.source_bytes = Some(bytes);
    metadata.statistics.relative_error = Some(report.relative_error());
    metadata.tensors = report
        .ternary
        .iter()
        .map(|tensor| (tensor.name.clone(), info(tensor)))
        .collect();
    metadata.dense_tensors = dense_infos(checkpoint, &plan);
    metadata.extra.insert("note".into(), NOTE.into());
    let complete = writer.complete(metadata)?;
    if options.validate {
        validate(complete.path(), &quantized, progress)?;
    }
    if progress.cancelled() {
        return Err(ConvertError::Interrupted);
    }
    report.directory = match &options.gguf {
        None => complete.publish()?,
        Some(gguf) => {
            let (directory, summary) = gguf.publish(destination, complete, progress)?;
            report.gguf = Some(summary);
            directory
        }
    };
    report.stored_bytes = report
        .ternary
        .iter()
        .map(|tensor| tensor.bytes_after)
        .sum::<u64>()
        + report.dense.bytes_after;
    report.seconds = started.elapsed().as_secs_f64();
    Ok(report)
}

/// A conversion under way.
struct Conversion<'a> {
    quantized: &'a QuantizedCheckpoint<'a>,
    options: &'a ConvertOptions,
    writer: T81Writer,
    ternary: Vec<TernaryReport>,
    dense: DenseTotals,
    unheld: Vec<Unheld>,
}

impl Conversion<'_> {
    fn tensor(&mut self, view: &TensorView<'_>, storage: Storage) -> Result<(), ConvertError> {
        match storage {
            Storage::Ternary { .. } => self.ternary(view),
            Storage::Dense(_) => {
                let bytes_after = self.writer.write_view(view)?;
                self.dense.tensors += 1;
                self.dense.bytes_before += view.bytes.len() as u64;
                self.dense.bytes_after += bytes_after;
                Ok(())
            }
        }
    }

    fn ternary(&mut self, view: &TensorView<'_>) -> Result<(), ConvertError> {
        let (matrix, distortion) = self.quantized.quantize(view.name)?;
        let (rows, columns) = (matrix.rows(), matrix.columns());
        let transposed = self.quantized.layout(view.name) == Layout::InOut;
        self.writer.write_ternary(view.name, &matrix)?;
        if let Some(asked) = self.options.gguf_format
            && !asked.holds(&matrix)
        {
            self.unheld.push(Unheld::new(view.name, asked, &matrix));
        }
        let bytes_after = match self.options.format {
            t81_hub::OutputFormat::Packed => matrix.size_bytes(),
            t81_hub::OutputFormat::Dense => 2 * rows * columns,
        };
        self.ternary.push(TernaryReport {
            name: view.name.to_owned(),
            rows,
            columns,
            transposed,
            granularity: matrix.granularity(),
            sparsity: matrix.sparsity(),
            bits_per_weight: matrix.bits_per_weight(),
            distortion,
            bytes_before: view.bytes.len() as u64,
            bytes_after: bytes_after as u64,
        });
        Ok(())
    }
}

fn plan(quantized: &QuantizedCheckpoint<'_>, options: &ConvertOptions) -> Vec<TensorPlan> {
    let mut plan = quantized.plan();
    for tensor in &mut plan {
        if let Storage::Dense(dtype) = &mut tensor.storage {
            *dtype = options.dense_dtype(&tensor.name, *dtype);
        }
    }
    plan
}

fn info(tensor: &TernaryReport) -> TernaryTensorInfo {
    TernaryTensorInfo {
        shape: vec![tensor.rows, tensor.columns],
        transposed: tensor.transposed,
        granularity: tensor.granularity,
        sparsity: tensor.sparsity,
        bits_per_weight: tensor.bits_per_weight,
        relative_error: Some(tensor.relative_error()),
        source_bytes: Some(tensor.bytes_before),
        stored_bytes: tensor.bytes_after,
        ratio: None,
    }
}

/// What the writer cannot know of the tensors of floats.
fn dense_infos(checkpoint: &Checkpoint, plan: &[TensorPlan]) -> BTreeMap<String, DenseTensorInfo> {
    let infos = plan.iter().filter_map(|tensor| {
        let Storage::Dense(dtype) = tensor.storage else {
            return None;
        };
        let view = checkpoint.tensor(&tensor.name).ok()?;
        let info = DenseTensorInfo {
            shape: view.shape.clone(),
            dtype,
            source_bytes: Some(view.bytes.len() as u64),
            stored_bytes: (view.len() * dtype.size_bytes()) as u64,
            ratio: None,
        };
        Some((tensor.name.clone(), info))
    });
    infos.collect()
}

fn dropped(checkpoint: &Checkpoint) -> Vec<String> {
    let redundant = checkpoint
        .names()
        .filter(|name| checkpoint.config().is_redundant(name));
    redundant.map(str::to_owned).collect()
}
