//! Exporting a t81 directory as a GGUF file, one tensor at a time.

mod checkpoint;
mod embedding;
pub(crate) mod layout;
mod origin;
mod plan;
mod profile;
mod stream;
mod summary;
mod values;

use std::cell::RefCell;
use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::str::FromStr;

use t81_core::{BlockFormat, Quantizer};
use t81_hub::{T81Directory, T81Metadata, TernarySource, check_apart};

pub use checkpoint::export_checkpoint;
pub use embedding::{EmbeddingType, UnknownEmbeddingType};
pub(crate) use origin::{describe_file, describe_quantizer, file_type, shown_source};
pub use plan::ModelOutline;
pub use profile::{Profile, UnknownProfile};
pub(crate) use stream::{complete, stream};
pub(crate) use summary::zero_note;
pub use summary::{ExportSummary, ExportedTensor, Fallback};
pub(crate) use values::{write_floats, write_ternary};

use crate::error::GgufError;
use crate::tensor_type::TensorType;
use crate::tokenizer::PreTokenizerName;
use crate::writer::{CompleteFile, GgufWriter, check_output, check_plan};

/// What the ternary matrices of a model are stored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExportType {
    /// A ternary block format; lossless, with a fallback for matrices that the format cannot hold.
    Ternary(BlockFormat),
    /// The ternary values as 16-bit floats; lossless.
    F16,
    /// The ternary values as 32-bit floats; lossless.
    F32,
}

impl ExportType {
    /// Every type, the smallest first.
    pub const ALL: [Self; 5] = [
        Self::Ternary(BlockFormat::Tq1_0),
        Self::Ternary(BlockFormat::Tq2_0),
        Self::Ternary(BlockFormat::Q2_0),
        Self::F16,
        Self::F32,
    ];

    /// The GGUF tensor type.
    pub fn tensor_type(self) -> TensorType {
        match self {
            Self::Ternary(format) => format.into(),
            Self::F16 => TensorType::F16,
            Self::F32 => TensorType::F32,
        }
    }
}

impl fmt::Display for ExportType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tensor_type().fmt(f)
    }
}

/// A name that is none of TQ1_0, TQ2_0, Q2_0, F16 and F32.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no type to export (TQ1_0, TQ2_0, Q2_0, F16 and F32 are)")]
pub struct UnknownExportType(String);

impl FromStr for ExportType {
    type Err = UnknownExportType;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL
            .into_iter()
            .find(|candidate| candidate.to_string().eq_ignore_ascii_case(text));
        known.ok_or_else(|| UnknownExportType(text.to_owned()))
    }
}

/// How to export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportOptions {
    /// The type of the ternary matrices; `None` takes TQ2_0 where it holds all of them without loss, else Q2_0.
    pub quant: Option<ExportType>,
    /// The type of the embedding and output matrices; `None` takes F16, or F32 when `quant` is F32.
    pub embedding_type: Option<EmbeddingType>,
    /// The value of `tokenizer.ggml.pre`, for a pre-tokenizer that is not recognised.
    pub tokenizer_pre: Option<PreTokenizerName>,
    /// Whether an existing output is replaced.
    pub overwrite: bool,
    /// Whether the file is read again before it takes its name: checked as by [`check`](crate::check), and compared with
    /// the source value by value.
    pub validate: bool,
}

/// How far an export has come, told before each tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExportProgress<'a> {
    /// The tensor about to be written, by its GGUF name.
    pub tensor: &'a str,
    /// Tensors written.
    pub tensors_done: usize,
    /// Tensors in all.
    pub tensors_total: usize,
    /// Bytes of tensor data written.
    pub bytes_done: u64,
    /// Bytes of tensor data in all.
    pub bytes_total: u64,
}

/// Where a model's ternary weights come from; written into the file under `general.name` and `t81.*`.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// The model that was made ternary, as the user named it.
    pub source: String,
    /// The program that made it ternary, with its version.
    pub tool: String,
    /// The settings that it was made ternary with.
    pub quantizer: Quantizer,
}

impl From<&T81Metadata> for Origin {
    fn from(metadata: &T81Metadata) -> Self {
        Self {
            source: metadata.source.clone(),
            tool: format!("{} {}", metadata.tool, metadata.tool_version),
            quantizer: metadata.quantizer.clone(),
        }
    }
}

/// Told before each tensor; a [`ControlFlow::Break`] abandons the export.
pub type Progress<'a> = &'a mut dyn FnMut(&ExportProgress<'_>) -> ControlFlow<()>;

/// Writes the model in `directory` to the GGUF file `output`: [`export`] of what `t81-convert` and `t81-qat` wrote.
///
/// # Errors
///
/// As [`export`].
pub fn export_t81(
    directory: &T81Directory,
    output: &Path,
    options: &ExportOptions,
) -> Result<ExportSummary, GgufError> {
    export_t81_with_progress(directory, output, options, &mut |_| {
        ControlFlow::Continue(())
    })
}

/// As [`export_t81`], telling `progress` about each tensor before it is written.
///
/// # Errors
///
/// As [`export`].
pub fn export_t81_with_progress(
    directory: &T81Directory,
    output: &Path,
    options: &ExportOptions,
    progress: Progress<'_>,
) -> Result<ExportSummary, GgufError> {
    export(
        directory,
        &Origin::from(directory.metadata()),
        output,
        options,
        progress,
    )
}

/// Writes a ternary model to the GGUF file `output`.
///
/// Ternary matrices keep their exact codes and scales: in the asked block format where
/// [`BlockFormat::holds`] them, else in Q2_0, else as exact F16 values; the summary says which and why. Norms and
/// biases are F32. At no time is more than one matrix in memory, and `output` appears whole or not at all.
///
/// # Errors
///
/// [`GgufError::OutputExists`] without `overwrite`; errors that name the tensor, setting or tokenizer part that llama.cpp
/// could not run; [`GgufError::Hub`] for damaged model files and for an `output` that is one of them; [`GgufError::Io`] for a
/// full or read-only disk; [`GgufError::Interrupted`] when `progress` breaks off. None leaves a file behind.
pub fn export(
    source: &dyn TernarySource,
    origin: &Origin,
    output: &Path,
    options: &ExportOptions,
    progress: Progress<'_>,
) -> Result<ExportSummary, GgufError> {
    export_complete(source, origin, output, options, progress)?.publish()
}

/// As [`export`], but the complete file stays under a temporary name until it is published.
///
/// # Errors
///
/// As [`export`].
pub fn export_complete(
    source: &dyn TernarySource,
    origin: &Origin,
    output: &Path,
    options: &ExportOptions,
    progress: Progress<'_>,
) -> Result<CompleteExport, GgufError> {
    check_output(output, options.overwrite)?;
    check_apart(output, [source.directory()])?;
    let plan = plan::plan(source, origin, options)?.with_notes(source.notes());
    let mut writer = GgufWriter::create(output, &plan.metadata, &plan.layout(), options.overwrite)?;
    let zeros = RefCell::new(Vec::new());
    stream(
        &mut writer,
        &plan.tensors,
        |planned| (&planned.mapped.name, planned.bytes),
        |planned, sink| {
            if values::write(source, planned, sink)? {
                zeros.borrow_mut().push(planned.mapped.name.clone());
            }
            Ok(())
        },
        progress,
    )?;
    let file = complete(
        writer,
        options.validate,
        &plan.tensors,
        |planned| &planned.mapped.name,
        |planned, sink| values::write(source, planned, sink).map(drop),
    )?;
    let mut summary = plan.into_summary(output);
    summary.notes.extend(zero_note(&zeros.into_inner()));
    Ok(CompleteExport { file, summary })
}

/// An exported file that is complete but does not have its name yet. Dropping it removes it.
#[derive(Debug)]
pub struct CompleteExport {
    file: CompleteFile,
    summary: ExportSummary,
}

impl CompleteExport {
    /// Gives the file its name.
    ///
    /// # Errors
    ///
    /// As [`CompleteFile::publish`].
    pub fn publish(self) -> Result<ExportSummary, GgufError> {
        self.file.publish()?;
        Ok(self.summary)
    }
}

/// Checks that a model can be exported before its weights exist: the very plan of [`export`] (tensors, hyper-parameters,
/// tokenizer) is made and dropped. The output is checked by [`check_output`].
///
/// # Errors
///
/// As [`export`], but for the values of tensors.
pub fn check_export(
    model: &ModelOutline<'_>,
    origin: &Origin,
    options: &ExportOptions,
) -> Result<(), GgufError> {
    let plan = plan::plan_outline(model, origin, options)?;
    check_plan(&plan.metadata, &plan.layout()).map_err(|source| GgufError::Plan {
        path: model.directory.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_names_are_read_in_any_case() {
        for export_type in ExportType::ALL {
            assert_eq!(export_type.to_string().parse(), Ok(export_type));
            assert_eq!(
                export_type.to_string().to_lowercase().parse(),
                Ok(export_type)
            );
        }
        let error = "Q4_0".parse::<ExportType>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "`Q4_0` is no type to export (TQ1_0, TQ2_0, Q2_0, F16 and F32 are)"
        );
        assert_eq!("f32".parse(), Ok(EmbeddingType::F32));
        assert_eq!("q8_0".parse(), Ok(EmbeddingType::Q8_0));
        assert!("TQ1_0".parse::<EmbeddingType>().is_err());
    }
}
