//! What the Hub says about a repository.

use std::time::Duration;

use serde::Deserialize;
use ureq::Body;
use ureq::http::Response;

use super::repo::{is_commit, is_repo_path};
use super::retry::{Failure, with_retries};
use super::status::{Question, refusal};
use super::transport::is_unreachable;
use super::{HubClient, RemoteError, RemoteFile, RepoId, RepoListing};
use crate::HubError;

/// Listings of the largest datasets reach some 20 MB.
const MAX_LISTING_BYTES: u64 = 256 << 20;

#[derive(Deserialize)]
struct Description {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    #[serde(default)]
    size: Option<u64>,
}

impl HubClient {
    /// Asks the Hub for the commit and the files of a repository.
    pub(super) fn describe(&self, repo: &RepoId) -> Result<RepoListing, HubError> {
        with_retries(self.retry_wait, self.progress(), || {
            let body = self.ask(repo)?.into_body();
            let bytes = body
                .into_with_config()
                .limit(MAX_LISTING_BYTES)
                .read_to_vec()
                .map_err(|error| self.unanswered(error))?;
            Ok(parse(&self.endpoint, &bytes)?)
        })
    }

    fn ask(&self, repo: &RepoId) -> Result<Response<Body>, Failure> {
        let request = self.api.repo(repo.hf()).info_request();
        let url = request
            .uri_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        let response = request
            .query("blobs", "true")
            .config()
            .http_status_as_error(false)
            .timeout_connect(Some(self.timeout.min(Duration::from_secs(10))))
            .timeout_recv_response(Some(self.timeout))
            .timeout_per_read(Some(self.timeout))
            .build()
            .call()
            .map_err(|error| self.unanswered(error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let question = Question {
            endpoint: &self.endpoint,
            repo,
            file: None,
            token: self.has_token(),
        };
        Err(refusal(
            question,
            &url,
            response.status(),
            response.headers(),
        ))
    }

    /// The failure of a request that got no answer. Without a network another attempt would only cost time.
    pub(super) fn unanswered(&self, error: ureq::Error) -> Failure {
        let unreachable = is_unreachable(&error);
        let error = RemoteError::Network {
            endpoint: self.endpoint.clone(),
            nearest: None,
            source: Box::new(error),
        };
        if unreachable {
            error.into()
        } else {
            Failure::Transient { error, wait: None }
        }
    }
}

fn parse(endpoint: &str, bytes: &[u8]) -> Result<RepoListing, RemoteError> {
    let malformed = |problem: String| RemoteError::malformed(endpoint, problem);
    let Description { sha, siblings } = serde_json::from_slice(bytes).map_err(|error| {
        malformed(format!(
            "its description of a repository is not understood ({error})"
        ))
    })?;
    if !is_commit(&sha) {
        return Err(malformed("it names no commit".to_owned()));
    }
    // A path that would leave the snapshot, or that not every system can hold, does not exist for us.
    let files = siblings
        .into_iter()
        .filter(|sibling| is_repo_path(&sibling.rfilename))
        .map(|sibling| RemoteFile {
            path: sibling.rfilename,
            size: sibling.size,
        })
        .collect();
    Ok(RepoListing { commit: sha, files })
}
