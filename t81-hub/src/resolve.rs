//! From what the user typed to a directory of this machine.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{DownloadProgress, HubClient, HubError, RepoId, TerminalDownloads};

/// What ends a file's name, never an id.
const FILE_EXTENSIONS: &[&str] = &[
    ".safetensors",
    ".json",
    ".gguf",
    ".bin",
    ".pt",
    ".pth",
    ".txt",
    ".jsonl",
    ".parquet",
];

/// How [`resolve`] reaches the Hugging Face Hub, if it has to.
#[derive(Clone, Default)]
pub struct ResolveOptions {
    /// Branch, tag or commit of a repository; none is its branch `main`. A local directory has no revision.
    pub revision: Option<String>,
    /// Who hears of downloads and may stop them.
    pub progress: Option<Arc<dyn DownloadProgress>>,
}

impl ResolveOptions {
    /// As a command line resolves: downloads are shown on standard error unless `quiet`, and stop when `cancelled` says so.
    pub fn for_terminal(
        revision: Option<String>,
        quiet: bool,
        cancelled: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            revision,
            progress: Some(Arc::new(TerminalDownloads::new(quiet, cancelled))),
        }
    }
}

impl fmt::Debug for ResolveOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResolveOptions")
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}

/// The directory that holds the model `source`: an existing directory, or else an id of the Hugging Face Hub
/// (`owner/name`, or an old name without an owner such as `gpt2`), which is downloaded into the cache as far as the cache
/// does not hold it. [`HubClient`] says which environment variables count.
///
/// # Errors
/// [`HubError::DirectoryNotFound`] if `source` is a path rather than an id and leads to no directory,
/// [`HubError::RevisionOfDirectory`], and whatever [`HubClient::model`] meets.
pub fn resolve(source: impl AsRef<Path>, options: &ResolveOptions) -> Result<PathBuf, HubError> {
    let path = source.as_ref();
    if path.is_dir() {
        return match &options.revision {
            None => Ok(path.to_path_buf()),
            Some(revision) => Err(HubError::RevisionOfDirectory {
                directory: path.to_path_buf(),
                revision: revision.clone(),
            }),
        };
    }
    let name = match path.to_str() {
        Some(name) if !is_path(name) && !path.exists() => name,
        _ => return Err(HubError::DirectoryNotFound(path.display().to_string())),
    };
    let mut repo = RepoId::model(name)?;
    if let Some(revision) = &options.revision {
        repo = repo.at_revision(revision)?;
    }
    let mut client = HubClient::builder();
    if let Some(progress) = &options.progress {
        client = client.progress(Arc::clone(progress));
    }
    client.build()?.model(&repo)
}

/// A directory of this machine.
///
/// # Errors
/// [`HubError::DirectoryNotFound`].
pub(crate) fn local_directory(source: impl AsRef<Path>) -> Result<PathBuf, HubError> {
    let path = source.as_ref();
    if path.is_dir() {
        Ok(path.to_path_buf())
    } else {
        Err(HubError::DirectoryNotFound(path.display().to_string()))
    }
}

/// Whether a text can only be meant as a path.
fn is_path(source: &str) -> bool {
    source.starts_with(['.', '/', '~'])
        || source.ends_with('/')
        || source.contains(['\\', ':'])
        || source.matches('/').count() > 1
        || FILE_EXTENSIONS
            .iter()
            .any(|extension| source.ends_with(extension))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_directory_wins_over_an_id() {
        let directory = tempfile::tempdir().unwrap();
        let mut options = ResolveOptions::default();
        assert_eq!(
            resolve(directory.path(), &options).unwrap(),
            directory.path()
        );
        options.revision = Some("v1".into());
        let message = resolve(directory.path(), &options).unwrap_err().to_string();
        assert!(message.contains("leave --revision out"), "{message}");
        assert_eq!(local_directory(directory.path()).unwrap(), directory.path());
    }

    #[test]
    fn paths_are_not_looked_up_on_the_hub() {
        for path in [
            "./x",
            "../x/y",
            "/x",
            "~/x",
            "x/",
            "a/b/c",
            "a\\b",
            "C:x",
            "model.safetensors",
            "owner/model.gguf",
        ] {
            let error = resolve(path, &ResolveOptions::default()).unwrap_err();
            assert!(
                matches!(error, HubError::DirectoryNotFound(_)),
                "{path}: {error}"
            );
        }
        assert!(matches!(
            local_directory("gpt2-which-is-no-directory"),
            Err(HubError::DirectoryNotFound(_))
        ));
        let message = resolve("a b", &ResolveOptions::default())
            .unwrap_err()
            .to_string();
        assert!(message.contains("neither a directory"), "{message}");
    }
}
