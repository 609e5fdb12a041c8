//! Where the files of a dataset are.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::DataError;

/// Folders within folders that are looked into.
const DEEPEST: usize = 16;

/// Files of a dataset that can be listed, and had one by one.
pub(crate) trait Repository {
    /// What the user calls it.
    fn name(&self) -> String;

    /// The names of all files, relative to the repository, with `/` between folders.
    fn files(&self) -> Result<Vec<String>, DataError>;

    /// The path of a file on this machine, to which it is downloaded if need be.
    fn fetch(&self, file: &str) -> Result<PathBuf, DataError>;
}

/// A directory that is laid out as a dataset repository.
pub(crate) struct Directory<'p>(pub(crate) &'p Path);

impl Repository for Directory<'_> {
    fn name(&self) -> String {
        self.0.display().to_string()
    }

    fn files(&self) -> Result<Vec<String>, DataError> {
        let mut names = Vec::new();
        list(self.0, "", DEEPEST, &mut names)?;
        Ok(names)
    }

    fn fetch(&self, file: &str) -> Result<PathBuf, DataError> {
        Ok(self.0.join(file))
    }
}

/// Lists a directory. Links to directories are not followed: they may lead in circles.
fn list(
    directory: &Path,
    prefix: &str,
    depth: usize,
    names: &mut Vec<String>,
) -> Result<(), DataError> {
    let io = |source| DataError::io(directory, source);
    for entry in fs::read_dir(directory).map_err(io)? {
        let entry = entry.map_err(io)?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if entry.file_type().map_err(io)?.is_dir() {
            if depth > 0 && name != ".git" {
                list(&entry.path(), &format!("{prefix}{name}/"), depth - 1, names)?;
            }
        } else if fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_file()) {
            names.push(format!("{prefix}{name}"));
        }
    }
    Ok(())
}

/// Files that the user named.
pub(crate) struct Files<'p>(pub(crate) &'p [PathBuf]);

impl Repository for Files<'_> {
    fn name(&self) -> String {
        let names: Vec<String> = self.files().unwrap_or_default();
        names.join(", ")
    }

    fn files(&self) -> Result<Vec<String>, DataError> {
        let names = self.0.iter().map(|path| path.display().to_string());
        Ok(names.collect())
    }

    fn fetch(&self, file: &str) -> Result<PathBuf, DataError> {
        let path = self
            .0
            .iter()
            .find(|path| path.display().to_string() == file);
        Ok(path.map_or_else(|| PathBuf::from(file), Clone::clone))
    }
}
