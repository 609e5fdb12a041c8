//! From what the user typed to a directory of this machine.
//!
//! This is the one place where an id of the Hugging Face Hub (`owner/name`) would be downloaded into the cache and
//! turned into the snapshot's directory.

use std::path::{Path, PathBuf};

use crate::HubError;

/// The directory that holds the model `source`.
///
/// # Errors
/// [`HubError::DirectoryNotFound`] if `source` is not an existing directory.
pub fn resolve(source: impl AsRef<Path>) -> Result<PathBuf, HubError> {
    let path = source.as_ref();
    if path.is_dir() {
        Ok(path.to_path_buf())
    } else {
        Err(HubError::DirectoryNotFound(path.display().to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_id_is_no_directory_yet() {
        let message = resolve("meta-llama/Llama-3.2-1B").unwrap_err().to_string();
        assert!(
            message.contains("`meta-llama/Llama-3.2-1B` was not found"),
            "{message}"
        );
        assert!(message.contains("pass a local directory"), "{message}");
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(resolve(directory.path()).unwrap(), directory.path());
    }
}
