//! From what the user typed to a directory of this machine.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::remote::{cached_model_name, is_commit};
use crate::{DownloadProgress, HubClient, HubError, RepoId, TerminalDownloads, nearest_sibling};

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
        _ => return Err(directory_not_found(path)),
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

/// What a file calls the model that was read from `directory`: `source` as the user typed it, with the revision if one was
/// chosen. A path without a name of its own (`.`, `..`) is called as its directory is, and a commit's directory in the
/// cache of the Hugging Face Hub as its repository is.
pub fn model_name(source: &Path, revision: Option<&str>, directory: &Path) -> String {
    let typed = source.display().to_string();
    if let Some(revision) = revision {
        return format!("{typed}@{revision}");
    }
    let name = source.file_name().and_then(|name| name.to_str());
    let is_whole = name.is_some_and(|name| {
        let trimmed = typed.trim_end_matches(std::path::is_separator);
        trimmed.ends_with(name) && !is_commit(name)
    });
    if is_whole || !source.is_dir() {
        return typed;
    }
    let Ok(directory) = directory.canonicalize() else {
        return typed;
    };
    let own = directory.file_name().map(|name| name.to_string_lossy());
    let snapshot = own.as_deref().filter(|name| is_commit(name));
    let repository = snapshot
        .and_then(|_| directory.parent()?.parent()?.file_name()?.to_str())
        .and_then(cached_model_name);
    repository.unwrap_or_else(|| own.map_or(typed, |name| name.into_owned()))
}

fn directory_not_found(path: &Path) -> HubError {
    HubError::DirectoryNotFound {
        directory: path.display().to_string(),
        nearest: nearest_sibling(path, Path::is_dir),
    }
}

/// A directory of this machine.
///
/// # Errors
/// [`HubError::DirectoryNotFound`].
pub fn local_directory(source: impl AsRef<Path>) -> Result<PathBuf, HubError> {
    let path = source.as_ref();
    if path.is_dir() {
        Ok(path.to_path_buf())
    } else {
        Err(directory_not_found(path))
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
    fn a_model_has_the_name_that_its_user_knows() {
        let place = tempfile::tempdir().unwrap();
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let snapshot = format!("models--owner--tiny-model/snapshots/{commit}");
        for directory in ["my-model/inner", &snapshot] {
            std::fs::create_dir_all(place.path().join(directory)).unwrap();
        }
        let name = |path: &str| {
            let path = place.path().join(path);
            model_name(&path, None, &path)
        };
        let shown = |path: &str| place.path().join(path).display().to_string();
        assert_eq!(name("my-model"), shown("my-model"));
        assert_eq!(name("my-model/"), shown("my-model/"));
        assert_eq!(name("my-model/."), "my-model");
        assert_eq!(name("my-model/inner/.."), "my-model");
        assert_eq!(name(&snapshot), "owner/tiny-model");
        assert_eq!(name(&format!("{snapshot}/.")), "owner/tiny-model");
        let here = std::env::current_dir().unwrap();
        let own = here.file_name().unwrap().to_str().unwrap();
        for path in [".", "./", "src/.."] {
            assert_eq!(model_name(Path::new(path), None, Path::new(path)), own);
        }
        let id = Path::new("owner/name");
        assert_eq!(
            model_name(id, None, &place.path().join(&snapshot)),
            "owner/name"
        );
        assert_eq!(model_name(id, Some("v1"), place.path()), "owner/name@v1");
    }

    #[test]
    fn a_missing_directory_is_answered_with_the_nearest() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join("ternary-stories")).unwrap();
        for open in [
            |path: &Path| resolve(path, &ResolveOptions::default()),
            |path: &Path| local_directory(path),
        ] {
            let error = open(&place.path().join("ternary-storys")).unwrap_err();
            let message = error.to_string();
            assert!(message.contains("; did you mean `"), "{message}");
            assert!(message.contains("ternary-stories`?"), "{message}");
            let error = open(&place.path().join("else")).unwrap_err();
            assert!(!error.to_string().contains("did you mean"), "{error}");
        }
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
                matches!(error, HubError::DirectoryNotFound { .. }),
                "{path}: {error}"
            );
        }
        assert!(matches!(
            local_directory("gpt2-which-is-no-directory"),
            Err(HubError::DirectoryNotFound { .. })
        ));
        let message = resolve("a b", &ResolveOptions::default())
            .unwrap_err()
            .to_string();
        assert!(message.contains("neither a directory"), "{message}");
    }
}
