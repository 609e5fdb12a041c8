//! Access to the Hub.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::cache::RepoCache;
use super::environment::{Environment, checked_token};
use super::repo::is_repo_path;
use super::transport::Transport;
use super::{DownloadProgress, RemoteError, RepoId, RepoListing, SilentDownloads};
use crate::HubError;

const RETRY_WAIT: Duration = Duration::from_millis(500);
/// Files that are fetched at the same time.
const CONNECTIONS: usize = 4;

/// Settings of a [`HubClient`]. They begin as the environment has them: `HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE`,
/// `HF_TOKEN`, `HF_TOKEN_PATH`, `HF_HUB_OFFLINE`, `HF_HUB_DOWNLOAD_TIMEOUT`.
pub struct HubClientBuilder {
    environment: Environment,
    retry_wait: Duration,
    progress: Arc<dyn DownloadProgress>,
}

impl HubClientBuilder {
    /// The Hub's address, `https://huggingface.co` by default.
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.environment.endpoint = endpoint.into().trim_end_matches('/').to_owned();
        self
    }

    /// The cache, `~/.cache/huggingface/hub` by default.
    pub fn cache_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.environment.cache = Some(directory.into());
        self
    }

    /// The token that proves who asks; it is sent to the endpoint alone. None sends none.
    pub fn token(mut self, token: Option<String>) -> Self {
        self.environment.token = token;
        self
    }

    /// Whether only the cache may be used.
    pub fn offline(mut self, offline: bool) -> Self {
        self.environment.offline = offline;
        self
    }

    /// How long a connection may stay silent before it is taken for dead; 30 s by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.environment.timeout = timeout;
        self
    }

    /// The pause before something is tried a second time, half a second by default; it doubles from attempt to attempt.
    pub fn retry_wait(mut self, wait: Duration) -> Self {
        self.retry_wait = wait;
        self
    }

    /// Who hears of downloads and may stop them.
    pub fn progress(mut self, progress: Arc<dyn DownloadProgress>) -> Self {
        self.progress = progress;
        self
    }

    /// The client. Nothing is requested yet.
    ///
    /// # Errors
    /// If the endpoint is no address, the token cannot be sent, or neither a cache nor a home directory is known.
    pub fn build(self) -> Result<HubClient, HubError> {
        let Environment {
            endpoint,
            cache,
            token,
            offline,
            timeout,
        } = self.environment;
        let cache = cache.ok_or(RemoteError::NoHome)?;
        let token = token.map(checked_token).transpose()?;
        let transport = Transport::new(&endpoint, token.as_deref(), timeout)?;
        let api = hf_hub::api::sync::ApiBuilder::from_cache(hf_hub::Cache::new(cache.clone()))
            .with_endpoint(endpoint.clone())
            .with_token(token.clone())
            .with_progress(false)
            .with_user_agent("t81", env!("CARGO_PKG_VERSION"))
            .build()
            .map_err(|error| RemoteError::malformed(&endpoint, error.to_string()))?;
        Ok(HubClient {
            endpoint,
            cache,
            offline,
            timeout,
            retry_wait: self.retry_wait,
            progress: self.progress,
            has_token: token.is_some(),
            transport,
            api,
        })
    }
}

/// Downloads from the Hugging Face Hub into the cache that the Python tools use.
///
/// ```no_run
/// use t81_hub::{HubClient, RepoId};
///
/// let client = HubClient::from_env()?;
/// let model = client.model(&RepoId::model("meta-llama/Llama-3.2-1B")?)?;
/// let dataset = RepoId::dataset("Salesforce/wikitext")?;
/// for file in client.list(&dataset)?.files {
///     println!("{} {:?}", file.path, file.size);
/// }
/// let readme = client.download(&dataset, "README.md")?;
/// # Ok::<(), t81_hub::HubError>(())
/// ```
pub struct HubClient {
    pub(super) endpoint: String,
    pub(super) cache: PathBuf,
    pub(super) offline: bool,
    pub(super) timeout: Duration,
    pub(super) retry_wait: Duration,
    pub(super) transport: Transport,
    pub(super) api: hf_hub::api::sync::Api,
    progress: Arc<dyn DownloadProgress>,
    has_token: bool,
}

impl HubClient {
    /// A client as the environment describes it.
    ///
    /// # Errors
    /// As [`HubClientBuilder::build`].
    pub fn from_env() -> Result<Self, HubError> {
        Self::builder().build()
    }

    /// The settings of the environment, to be changed.
    pub fn builder() -> HubClientBuilder {
        HubClientBuilder {
            environment: Environment::read(),
            retry_wait: RETRY_WAIT,
            progress: Arc::new(SilentDownloads),
        }
    }

    /// The files of a repository: one request. Offline, or if the Hub cannot be reached, those that the cache holds.
    ///
    /// What a branch or tag stands for offline stays as it was, since no file of the commit need be in the cache yet:
    /// [`HubClient::record_revision`] changes it.
    ///
    /// # Errors
    /// [`HubError::Remote`] if there is no such repository or revision, it may not be seen, or nothing of it is cached
    /// and there is no network.
    pub fn list(&self, repo: &RepoId) -> Result<RepoListing, HubError> {
        if self.offline {
            return self.list_cached(repo);
        }
        self.describe(repo)
            .or_else(|error| self.outage(error, || self.list_cached(repo)))
    }

    /// Makes `commit` what the branch or tag of `repo` stands for offline. To be called once the files that are needed of the
    /// commit are in the cache.
    pub fn record_revision(&self, repo: &RepoId, commit: &str) {
        RepoCache::new(&self.cache, repo).write_reference(repo.revision(), commit);
    }

    /// Downloads one file unless the cache holds it, and returns its path there. At a revision that is a commit (as
    /// [`RepoListing::commit`] is), a cached file costs no request.
    ///
    /// # Errors
    /// [`HubError::Remote`] as for [`HubClient::list`], if the repository has no such file, or if the download fails;
    /// [`HubError::Io`] if the cache cannot be written.
    pub fn download(&self, repo: &RepoId, file: &str) -> Result<PathBuf, HubError> {
        let Downloaded { path, commit } = self.download_with(repo, file, self.progress())?;
        if let Some(commit) = commit {
            self.record_revision(repo, &commit);
        }
        Ok(path)
    }

    /// Downloads several files of a repository at once; the paths are in the order of `files`.
    ///
    /// # Errors
    /// The first error that [`HubClient::download`] meets; the other downloads are then stopped, and can be continued.
    pub fn download_all(&self, repo: &RepoId, files: &[&str]) -> Result<Vec<PathBuf>, HubError> {
        let stop = AtomicBool::new(false);
        let progress = Stoppable {
            inner: self.progress(),
            stop: &stop,
        };
        let next = AtomicUsize::new(0);
        let work = || -> Vec<(usize, Result<Downloaded, HubError>)> {
            let mut done = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(file) = files.get(index) else { break };
                let outcome = self.download_with(repo, file, &progress);
                if outcome.is_err() {
                    stop.store(true, Ordering::Relaxed);
                }
                done.push((index, outcome));
            }
            done
        };
        let mut outcomes = std::thread::scope(|scope| {
            let workers: Vec<_> = (1..CONNECTIONS.min(files.len()))
                .map(|_| scope.spawn(work))
                .collect();
            let mut outcomes = work();
            for worker in workers {
                match worker.join() {
                    Ok(done) => outcomes.extend(done),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            outcomes
        });
        outcomes.sort_by_key(|(index, _)| *index);
        // A download that another one's failure stopped is not the error that the user has to see.
        let stopped = |outcome: &Result<Downloaded, HubError>| {
            matches!(outcome, Err(HubError::Remote(RemoteError::Interrupted)))
        };
        if let Some(first) = outcomes
            .iter()
            .position(|(_, outcome)| outcome.is_err() && !stopped(outcome))
        {
            return outcomes.swap_remove(first).1.map(|_| Vec::new());
        }
        let downloaded: Result<Vec<Downloaded>, HubError> =
            outcomes.into_iter().map(|(_, outcome)| outcome).collect();
        let downloaded = downloaded?;
        // Not before all are there: the cache would otherwise lead offline to a commit that lacks some.
        if let Some(commit) = downloaded
            .iter()
            .rev()
            .find_map(|file| file.commit.as_ref())
        {
            self.record_revision(repo, commit);
        }
        Ok(downloaded.into_iter().map(|file| file.path).collect())
    }

    fn download_with(
        &self,
        repo: &RepoId,
        file: &str,
        progress: &dyn DownloadProgress,
    ) -> Result<Downloaded, HubError> {
        let cached = |path| Downloaded { path, commit: None };
        if !is_repo_path(file) {
            return Err(RemoteError::EntryNotFound {
                repo: repo.to_string(),
                file: file.to_owned(),
            }
            .into());
        }
        let cache = RepoCache::new(&self.cache, repo);
        if let Some(path) = repo.commit().and_then(|commit| cache.file(commit, file)) {
            return Ok(cached(path));
        }
        if self.offline {
            return self.cached(repo, file).map(cached);
        }
        let facts = match self.facts(repo, file) {
            Ok(facts) => facts,
            Err(error) => return self.outage(error, || self.cached(repo, file)).map(cached),
        };
        let path = match cache.file(&facts.commit, file) {
            Some(path) => path,
            None => {
                // The bytes of that very commit, should the branch move meanwhile.
                let repo = repo.clone().at_revision(&facts.commit)?;
                self.fetch(&repo, file, &facts, &cache, progress)?;
                cache.link(&facts.commit, file, &facts.etag)?
            }
        };
        Ok(Downloaded {
            path,
            commit: Some(facts.commit),
        })
    }

    /// What the cache has in place of an answer that an outage prevented; any other error stays.
    pub(super) fn outage<T>(
        &self,
        error: HubError,
        cached: impl FnOnce() -> Result<T, HubError>,
    ) -> Result<T, HubError> {
        match &error {
            HubError::Remote(remote) if remote.is_outage() => match cached() {
                Ok(value) => {
                    self.progress
                        .note(&format!("{remote}; what the cache holds is used"));
                    Ok(value)
                }
                Err(_) => Err(error),
            },
            _ => Err(error),
        }
    }

    /// The directory that holds the cache.
    pub fn cache_directory(&self) -> &Path {
        &self.cache
    }

    /// The Hub's address.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub(super) fn progress(&self) -> &dyn DownloadProgress {
        &*self.progress
    }

    pub(super) fn has_token(&self) -> bool {
        self.has_token
    }
}

/// A file in the cache.
struct Downloaded {
    path: PathBuf,
    /// The commit of the revision asked for, if the Hub said which it is.
    commit: Option<String>,
}

/// Progress of one of several downloads, all of which end when one fails.
struct Stoppable<'a> {
    inner: &'a dyn DownloadProgress,
    stop: &'a AtomicBool,
}

impl DownloadProgress for Stoppable<'_> {
    fn started(&self, file: &str, size: u64, have: u64) {
        self.inner.started(file, size, have);
    }

    fn advanced(&self, file: &str, have: u64) {
        self.inner.advanced(file, have);
    }

    fn finished(&self, file: &str) {
        self.inner.finished(file);
    }

    fn note(&self, text: &str) {
        self.inner.note(text);
    }

    fn cancelled(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.inner.cancelled()
    }
}
