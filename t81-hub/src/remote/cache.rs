//! One repository's folder in the cache, laid out as the Python tools do it:
//!
//! ```text
//! models--owner--name/refs/main                    the commit that the branch stood at
//! models--owner--name/blobs/HASH                   the bytes of a file
//! models--owner--name/snapshots/COMMIT/config.json  a link to them
//! .locks/models--owner--name/HASH.lock             held by who downloads them
//! ```

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::repo::is_commit;
use super::retry::pause;
use super::{DownloadProgress, RemoteFile, RepoId};
use crate::HubError;

const LOCK_POLL: Duration = Duration::from_millis(100);

pub(super) struct RepoCache {
    layout: hf_hub::CacheRepo,
    folder: PathBuf,
    locks: PathBuf,
}

impl RepoCache {
    pub(super) fn new(cache: &Path, repo: &RepoId) -> Self {
        let hf = repo.hf();
        let name = hf.folder_name();
        Self {
            folder: cache.join(&name),
            locks: cache.join(".locks").join(name),
            layout: hf_hub::Cache::new(cache.to_path_buf()).repo(hf),
        }
    }

    /// Where the bytes of a file lie.
    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.layout.blob_path(etag)
    }

    /// The directory of a commit's files.
    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.layout.pointer_path(commit)
    }

    /// A file of a commit, if it is there.
    pub(super) fn file(&self, commit: &str, path: &str) -> Option<PathBuf> {
        let file = self.snapshot(commit).join(path);
        file.is_file().then_some(file)
    }

    /// The commit that a branch or tag stood at when it was last seen; of a commit, itself.
    pub(super) fn commit(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        let text = fs::read_to_string(self.reference(revision)).ok()?;
        let commit = text.trim();
        is_commit(commit).then(|| commit.to_owned())
    }

    /// Notes the commit that a branch or tag stands at. A cache that cannot be written is no reason to fail: what is in
    /// it can still be read.
    pub(super) fn write_reference(&self, revision: &str, commit: &str) {
        if !is_commit(revision) && self.commit(revision).as_deref() != Some(commit) {
            let _ = write_atomically(&self.reference(revision), commit.as_bytes());
        }
    }

    fn reference(&self, revision: &str) -> PathBuf {
        self.folder.join("refs").join(revision)
    }

    /// Makes `snapshots/COMMIT/PATH` stand for a blob.
    pub(super) fn link(&self, commit: &str, path: &str, etag: &str) -> Result<PathBuf, HubError> {
        let pointer = self.snapshot(commit).join(path);
        let parent = pointer.parent().unwrap_or(&self.folder);
        create_directory(parent)?;
        // From snapshots/COMMIT, and one level more for each folder within the repository.
        let mut target = PathBuf::from("../..");
        target.extend(path.matches('/').map(|_| ".."));
        target.extend(["blobs", etag]);
        // A link to a blob that was deleted is replaced, in one step.
        let name = tempfile::Builder::new()
            .prefix(".link-")
            .make_in(parent, |place| symlink(&target, &self.blob(etag), place))
            .map_err(HubError::io("create a link in", parent))?;
        name.persist(&pointer)
            .map_err(|error| HubError::io("create the link", &pointer)(error.error))?;
        Ok(pointer)
    }

    /// Waits for whoever downloads the same blob.
    pub(super) fn lock(
        &self,
        etag: &str,
        file: &str,
        progress: &dyn DownloadProgress,
    ) -> Result<File, HubError> {
        create_directory(&self.locks)?;
        let path = self.locks.join(format!("{etag}.lock"));
        let lock = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(HubError::io("open", &path))?;
        let mut told = false;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                // Some network file systems know no locks; a download without one is safe, if wasteful.
                Err(TryLockError::Error(error))
                    if error.kind() == std::io::ErrorKind::Unsupported =>
                {
                    return Ok(lock);
                }
                Err(TryLockError::Error(error)) => return Err(HubError::io("lock", &path)(error)),
                Err(TryLockError::WouldBlock) => {
                    if !told {
                        told = true;
                        progress.note(&format!(
                            "waiting for another process that downloads {file}"
                        ));
                    }
                    pause(LOCK_POLL, progress)?;
                }
            }
        }
    }

    /// The files of a commit that are there.
    pub(super) fn files(&self, commit: &str) -> Vec<RemoteFile> {
        let mut files = Vec::new();
        let mut folders = vec![(self.snapshot(commit), String::new())];
        while let Some((folder, prefix)) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let Ok(name) = entry.file_name().into_string() else {
                    continue;
                };
                let path = format!("{prefix}{name}");
                match (entry.file_type(), fs::metadata(entry.path())) {
                    // A link to a folder is not followed: none belongs here.
                    (Ok(kind), _) if kind.is_dir() => {
                        folders.push((entry.path(), format!("{path}/")));
                    }
                    (Ok(_), Ok(metadata)) if metadata.is_file() => files.push(RemoteFile {
                        path,
                        size: Some(metadata.len()),
                    }),
                    _ => {}
                }
            }
        }
        files.sort_by(|one, other| one.path.cmp(&other.path));
        files
    }
}

/// The id of the model whose folder in the cache is called `folder`.
pub(crate) fn cached_model_name(folder: &str) -> Option<String> {
    Some(folder.strip_prefix("models--")?.replacen("--", "/", 1))
}

/// The ids of the models that the cache has anything of.
pub(super) fn cached_models(cache: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = fs::read_dir(cache).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.path().join("snapshots").is_dir())
        .filter_map(|entry| cached_model_name(entry.file_name().to_str()?))
}

pub(super) fn create_directory(path: &Path) -> Result<(), HubError> {
    fs::create_dir_all(path).map_err(HubError::io("create the directory", path))
}

fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(unix)]
fn symlink(target: &Path, _blob: &Path, place: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, place)
}

/// Windows lets few users make links; a copy does as well.
#[cfg(not(unix))]
fn symlink(_target: &Path, blob: &Path, place: &Path) -> std::io::Result<()> {
    fs::copy(blob, place).map(|_| ())
}
