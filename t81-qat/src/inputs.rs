//! The files and directories of this machine that a run reads, which no output may replace.

use std::path::{Path, PathBuf};

use t81_hub::check_apart;

use crate::cli::TrainArguments;
use crate::data::local_files;
use crate::error::QatError;
use crate::source::Source;

/// The model, the teacher and the data, as far as they lie on this machine.
pub(crate) struct Inputs(Vec<PathBuf>);

impl Inputs {
    pub(crate) fn of(arguments: &TrainArguments, source: &Source) -> Result<Self, QatError> {
        let mut paths = local_files(arguments)?;
        let checkpoint = source.checkpoint.as_ref();
        paths.extend(checkpoint.map(|checkpoint| checkpoint.directory().to_path_buf()));
        paths.extend(arguments.teacher.as_ref().map(PathBuf::from));
        Ok(Self(paths))
    }

    /// Refuses an output that is or contains one of them.
    pub(crate) fn check_apart(&self, output: &Path) -> Result<(), QatError> {
        Ok(check_apart(output, self.0.iter().map(PathBuf::as_path))?)
    }
}
