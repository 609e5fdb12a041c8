//! The GGUF file that is written along with a t81 directory: both appear, or neither.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use t81_gguf::{
    ExportOptions, ExportProgress, ExportSummary, ModelOutline, Origin, check_export, check_output,
    export_complete,
};
use t81_hub::{CompleteDirectory, GgufPlace, QuantizedCheckpoint, T81Directory, check_apart};

use crate::{ConvertError, Progress};

/// A GGUF file to write along with the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GgufOutput {
    /// The file; it may lie within the directory.
    pub path: PathBuf,
    /// How to export. `overwrite` does not count for a file within the directory, which is replaced as a whole.
    pub options: ExportOptions,
}

impl GgufOutput {
    /// Checks that the file may be written beside or into `directory`: worth a call before a long download.
    ///
    /// # Errors
    /// As [`check_output`]; [`HubError::GgufName`](t81_hub::HubError::GgufName) for a name that the directory may need itself.
    pub fn check_path(&self, directory: &Path) -> Result<(), ConvertError> {
        if GgufPlace::of(&self.path, directory)? == GgufPlace::Outside {
            check_output(&self.path, self.options.overwrite)?;
        }
        Ok(())
    }

    /// Checks everything that would make the export of `source` fail, but for the values of its tensors.
    pub(crate) fn check(
        &self,
        directory: &Path,
        source: &QuantizedCheckpoint<'_>,
        origin: &Origin,
    ) -> Result<(), ConvertError> {
        self.check_path(directory)?;
        check_apart(&self.path, [source.checkpoint().directory()])?;
        check_export(&ModelOutline::of(source), origin, &self.options)?;
        Ok(())
    }

    /// Exports the complete directory, and gives both their names.
    pub(crate) fn publish(
        &self,
        directory: &Path,
        complete: CompleteDirectory,
        progress: &mut dyn Progress,
    ) -> Result<(PathBuf, ExportSummary), ConvertError> {
        let place = GgufPlace::of(&self.path, directory)?;
        let path = match &place {
            GgufPlace::Within(inner) => complete.path().join(inner),
            GgufPlace::Outside => self.path.clone(),
        };
        let source = T81Directory::open(complete.path())?;
        let origin = Origin::from(source.metadata());
        let mut report = |done: &ExportProgress<'_>| {
            progress.exporting(done);
            match progress.cancelled() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        let export = export_complete(&source, &origin, &path, &self.options, &mut report)?;
        // Some systems move no directory with a mapped file in it.
        drop(source);
        match place {
            GgufPlace::Within(_) => {
                let mut summary = export.publish()?;
                summary.output.clone_from(&self.path);
                Ok((complete.publish()?, summary))
            }
            GgufPlace::Outside => complete.publish_with(|| Ok(export.publish()?)),
        }
    }
}
