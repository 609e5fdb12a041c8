//! The files of a model that T81 reads, and no others.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::cache::RepoCache;
use super::{HubClient, RemoteError, RepoId, RepoListing};
use crate::HubError;
use crate::files::{INDEX_FILE, SINGLE_FILE, shards_of_index, without_safetensors};
use crate::tokenizer::{COMPANION_FILES, TOKENIZER_FILES};

const CONFIG_FILE: &str = "config.json";

impl HubClient {
    /// Downloads what T81 reads of a model and returns the directory: configuration, tokenizer, licence,
    /// `model.safetensors` or the index and its shards. Never another format of the same weights.
    ///
    /// # Errors
    /// As [`HubClient::download`]; [`RemoteError::NoSafetensors`], before anything is downloaded, if the weights are in
    /// another format; errors of the index as for [`Checkpoint::open`](crate::Checkpoint::open).
    pub fn model(&self, repo: &RepoId) -> Result<PathBuf, HubError> {
        if self.offline {
            return self.model_cached(repo);
        }
        let listing = match self.describe(repo) {
            Ok(listing) => listing,
            Err(error) => return self.outage(error, || self.model_cached(repo)),
        };
        let weights = weights_file(repo, &listing)?;
        if !listing.contains(CONFIG_FILE) {
            return Err(RemoteError::EntryNotFound {
                repo: repo.to_string(),
                file: CONFIG_FILE.to_owned(),
            }
            .into());
        }
        let cache = RepoCache::new(&self.cache, repo);
        let pinned = repo.clone().at_revision(&listing.commit)?;
        // The weights come last: where they are, everything is, which is all that a later run offline has to go by.
        let mut small = vec![CONFIG_FILE];
        small.extend(
            TOKENIZER_FILES
                .iter()
                .chain(COMPANION_FILES)
                .copied()
                .filter(|file| listing.contains(file)),
        );
        self.download_all(&pinned, &small)?;
        let path = self.download(&pinned, weights)?;
        if weights == INDEX_FILE {
            let shards = shards_of_index(&path)?;
            if let Some(missing) = shards.iter().find(|shard| !listing.contains(shard)) {
                return Err(HubError::MissingShard {
                    path: cache.snapshot(&listing.commit).join(missing),
                    index: path,
                });
            }
            let shards: Vec<&str> = shards.iter().map(String::as_str).collect();
            self.download_all(&pinned, &shards)?;
        }
        cache.write_reference(repo.revision(), &listing.commit);
        Ok(cache.snapshot(&listing.commit))
    }

    /// The directory of a model that the cache holds with all its weights.
    fn model_cached(&self, repo: &RepoId) -> Result<PathBuf, HubError> {
        let listing = self.list_cached(repo)?;
        let missing = |file: &str| self.uncached(format!("`{file}` of `{repo}`"));
        if !listing.contains(CONFIG_FILE) {
            return Err(missing(CONFIG_FILE));
        }
        let directory = RepoCache::new(&self.cache, repo).snapshot(&listing.commit);
        if !listing.contains(SINGLE_FILE) {
            if !listing.contains(INDEX_FILE) {
                return Err(missing(SINGLE_FILE));
            }
            let shards = shards_of_index(&directory.join(INDEX_FILE))?;
            if let Some(shard) = shards.iter().find(|shard| !listing.contains(shard)) {
                return Err(missing(shard));
            }
        }
        Ok(directory)
    }
}

/// The file that leads to the weights.
fn weights_file(repo: &RepoId, listing: &RepoListing) -> Result<&'static str, RemoteError> {
    let single = [SINGLE_FILE, INDEX_FILE]
        .into_iter()
        .find(|file| listing.contains(file));
    single.ok_or_else(|| {
        let names: BTreeSet<&str> = listing
            .files
            .iter()
            .map(|file| file.path.as_str())
            .collect();
        let local = repo.name().rsplit('/').next().unwrap_or_default();
        RemoteError::NoSafetensors {
            repo: repo.to_string(),
            hint: without_safetensors(&|name| names.contains(name), repo.name(), local),
        }
    })
}
