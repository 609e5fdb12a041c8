//! What the cache alone can answer.

use std::path::PathBuf;

use super::cache::RepoCache;
use super::{HubClient, RemoteError, RepoId, RepoListing};
use crate::HubError;

impl HubClient {
    /// The files of a repository that are cached.
    pub(super) fn list_cached(&self, repo: &RepoId) -> Result<RepoListing, HubError> {
        let cache = RepoCache::new(&self.cache, repo);
        let commit = cache
            .commit(repo.revision())
            .filter(|commit| cache.snapshot(commit).is_dir())
            .ok_or_else(|| self.uncached(format!("`{repo}`")))?;
        Ok(RepoListing {
            files: cache.files(&commit),
            commit,
        })
    }

    /// A cached file.
    pub(super) fn cached(&self, repo: &RepoId, file: &str) -> Result<PathBuf, HubError> {
        let cache = RepoCache::new(&self.cache, repo);
        cache
            .commit(repo.revision())
            .and_then(|commit| cache.file(&commit, file))
            .ok_or_else(|| self.uncached(format!("`{file}` of `{repo}`")))
    }

    pub(super) fn uncached(&self, what: String) -> HubError {
        RemoteError::Offline {
            what,
            cache: self.cache.clone(),
            nearest: None,
        }
        .into()
    }
}
