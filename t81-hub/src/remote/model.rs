//! The files of a model that T81 reads, and no others.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::cache::{RepoCache, cached_models};
use super::{HubClient, RemoteError, RepoId, RepoListing};
use crate::files::{INDEX_FILE, SINGLE_FILE, shards_of_index, without_safetensors};
use crate::tensor_names::numbered_shards;
use crate::tokenizer::is_companion;
use crate::{HubError, nearest, nearest_sibling};

const CONFIG_FILE: &str = "config.json";

impl HubClient {
    /// Downloads what T81 reads of a model and returns the directory: configuration, tokenizer, licence,
    /// `model.safetensors` or the index and its shards. Never another format of the same weights.
    ///
    /// # Errors
    /// As [`HubClient::download`]; [`RemoteError::NoSafetensors`], before anything is downloaded, if the weights are in
    /// another format; errors of the index as for [`Checkpoint::open`](crate::Checkpoint::open).
    pub fn model(&self, repo: &RepoId) -> Result<PathBuf, HubError> {
        self.find_model(repo)
            .map_err(|error| self.with_nearest(error, repo.name()))
    }

    fn find_model(&self, repo: &RepoId) -> Result<PathBuf, HubError> {
        if self.offline {
            return self.model_cached(repo);
        }
        let listing = match self.describe(repo) {
            Ok(listing) => listing,
            Err(error) => return self.outage(error, || self.model_cached(repo)),
        };
        let weights = weights_of(repo, &listing)?;
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
            listing
                .files
                .iter()
                .map(|file| file.path.as_str())
                .filter(|path| is_companion(path)),
        );
        self.download_all(&pinned, &small)?;
        match weights {
            Weights::Single => drop(self.download(&pinned, SINGLE_FILE)?),
            Weights::Indexed => {
                let path = self.download(&pinned, INDEX_FILE)?;
                let shards = shards_of_index(&path)?;
                if let Some(missing) = shards.iter().find(|shard| !listing.contains(shard)) {
                    return Err(HubError::MissingShard {
                        path: cache.snapshot(&listing.commit).join(missing),
                        index: path,
                    });
                }
                self.download_shards(&pinned, &shards)?;
            }
            Weights::Numbered(shards) => self.download_shards(&pinned, &shards)?,
        }
        cache.write_reference(repo.revision(), &listing.commit);
        Ok(cache.snapshot(&listing.commit))
    }

    fn download_shards(&self, repo: &RepoId, shards: &[String]) -> Result<(), HubError> {
        let shards: Vec<&str> = shards.iter().map(String::as_str).collect();
        self.download_all(repo, &shards).map(drop)
    }

    /// The directory of a model that the cache holds with all its weights.
    fn model_cached(&self, repo: &RepoId) -> Result<PathBuf, HubError> {
        let listing = self.list_cached(repo)?;
        let missing = |file: &str| self.uncached(format!("`{file}` of `{repo}`"));
        if !listing.contains(CONFIG_FILE) {
            return Err(missing(CONFIG_FILE));
        }
        let directory = RepoCache::new(&self.cache, repo).snapshot(&listing.commit);
        if !listing.contains(SINGLE_FILE) && numbered(&listing).is_none() {
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

impl HubClient {
    /// Adds what a model that was not found may have meant: a directory of this machine, or a model in the cache.
    fn with_nearest(&self, mut error: HubError, name: &str) -> HubError {
        if let HubError::Remote(
            RemoteError::RepoNotFound { nearest: found, .. }
            | RemoteError::Offline { nearest: found, .. }
            | RemoteError::Network { nearest: found, .. },
        ) = &mut error
        {
            let cached = cached_models(&self.cache).filter(|cached| cached != name);
            *found = nearest_sibling(Path::new(name), Path::is_dir)
                .or_else(|| nearest(name, cached))
                .map(String::into_boxed_str);
        }
        error
    }
}

/// How a repository holds its weights.
enum Weights {
    Single,
    Indexed,
    /// Shards without an index, all of them.
    Numbered(Vec<String>),
}

fn weights_of(repo: &RepoId, listing: &RepoListing) -> Result<Weights, RemoteError> {
    if listing.contains(SINGLE_FILE) {
        return Ok(Weights::Single);
    }
    if listing.contains(INDEX_FILE) {
        return Ok(Weights::Indexed);
    }
    numbered(listing).map(Weights::Numbered).ok_or_else(|| {
        let names: BTreeSet<&str> = paths(listing).collect();
        let local = repo.name().rsplit('/').next().unwrap_or_default();
        RemoteError::NoSafetensors {
            repo: repo.to_string(),
            hint: without_safetensors(&|name| names.contains(name), repo.name(), local),
        }
    })
}

fn numbered(listing: &RepoListing) -> Option<Vec<String>> {
    numbered_shards(paths(listing))
}

fn paths(listing: &RepoListing) -> impl Iterator<Item = &str> {
    listing.files.iter().map(|file| file.path.as_str())
}
