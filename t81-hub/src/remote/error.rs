//! What can go wrong between this machine and the Hub.

use std::path::PathBuf;
use std::time::Duration;

use crate::did_you_mean;

/// Why a repository of the Hub could not be listed or downloaded. Each message says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// A text that cannot be the id of a repository.
    #[error(
        "`{name}` is neither a directory of this machine nor an id of the Hugging Face Hub: {problem}"
    )]
    Id {
        /// What was given.
        name: String,
        /// Which rule it breaks.
        problem: &'static str,
    },
    /// A text that cannot name a revision.
    #[error("`{revision}` cannot be a revision; pass a branch, a tag or a commit")]
    Revision {
        /// What was given.
        revision: String,
    },
    /// The licence of a repository has to be accepted first.
    #[error("`{repo}` is gated: accept its terms at {page}, then {token_hint}")]
    Gated {
        /// The repository.
        repo: String,
        /// Where its terms are.
        page: String,
        /// What is to be done about the token.
        token_hint: String,
    },
    /// There is no such repository, or none that may be seen.
    #[error(
        "{endpoint} has no {kind} `{repo}` that may be seen: check the spelling; a private one needs HF_TOKEN{hint}{}",
        did_you_mean(nearest.as_deref())
    )]
    RepoNotFound {
        /// The Hub's address.
        endpoint: String,
        /// `model` or `dataset`.
        kind: &'static str,
        /// The repository.
        repo: String,
        /// More to know, beginning with punctuation; may be empty.
        hint: Box<str>,
        /// A local directory or a model in the cache of a similar name.
        nearest: Option<Box<str>>,
    },
    /// The repository has no such branch, tag or commit.
    #[error("`{repo}` has no branch, tag or commit `{revision}`; {page} lists them")]
    RevisionNotFound {
        /// The repository.
        repo: String,
        /// The revision asked for.
        revision: String,
        /// Where the repository's revisions are listed.
        page: String,
    },
    /// The repository has no such file.
    #[error("`{repo}` has no file `{file}`")]
    EntryNotFound {
        /// The repository and its revision.
        repo: String,
        /// The file asked for.
        file: String,
    },
    /// The Hub does not accept the token.
    #[error(
        "{endpoint} refuses the token of HF_TOKEN or the token file: make a new one at {endpoint}/settings/tokens"
    )]
    TokenRefused {
        /// The Hub's address.
        endpoint: String,
    },
    /// The token cannot be sent.
    #[error("the token of HF_TOKEN or the token file has characters that no token has")]
    TokenCharacters,
    /// The Hub knows who asks and does not allow it.
    #[error("access to `{repo}` is refused: {message}; check what the token of HF_TOKEN may read")]
    Forbidden {
        /// The repository.
        repo: String,
        /// The Hub's words.
        message: String,
    },
    /// Too many requests were made.
    #[error("{endpoint} limits how often it answers: try again {when}{hint}")]
    RateLimited {
        /// The Hub's address.
        endpoint: String,
        /// When, in words.
        when: String,
        /// More to know, beginning with punctuation; may be empty.
        hint: &'static str,
    },
    /// The cache lacks something and the network may not be used.
    #[error(
        "{what} is not in the cache `{}` and HF_HUB_OFFLINE is set: unset it for one run, or pass a local directory{}",
        cache.display(), did_you_mean(nearest.as_deref())
    )]
    Offline {
        /// What is missing.
        what: String,
        /// The cache.
        cache: PathBuf,
        /// A local directory or a model in the cache of a similar name.
        nearest: Option<Box<str>>,
    },
    /// The Hub cannot be reached.
    #[error(
        "cannot reach {endpoint}; check the network and HF_ENDPOINT, or pass a local directory, which needs none{}",
        did_you_mean(nearest.as_deref())
    )]
    Network {
        /// The Hub's address.
        endpoint: String,
        /// A local directory or a model in the cache of a similar name.
        nearest: Option<Box<str>>,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// The connection broke again and again.
    #[error(
        "the download of `{file}` broke off at {have} of {size} bytes; these are kept, run it again to go on from there"
    )]
    BrokenOff {
        /// The file.
        file: String,
        /// Bytes that arrived.
        have: u64,
        /// Bytes of the whole file.
        size: u64,
        /// Why.
        source: std::io::Error,
    },
    /// The download was stopped.
    #[error("interrupted; what was downloaded is kept, run it again to go on from there")]
    Interrupted,
    /// The disk has no room for a file.
    #[error("the disk is full: {missing} bytes more are needed for `{}`; make room, or set HF_HUB_CACHE to another disk", path.display())]
    DiskFull {
        /// Where the file is written.
        path: PathBuf,
        /// Bytes that still have to be written.
        missing: u64,
    },
    /// A file does not have the size that the Hub announced.
    #[error("`{file}` should have {expected} bytes, but the server sends {found}; try again later")]
    Size {
        /// The file.
        file: String,
        /// The size announced.
        expected: u64,
        /// The size found.
        found: u64,
    },
    /// A file is not the one that the Hub announced.
    #[error(
        "`{file}` arrived damaged: its SHA-256 is {found}, not {expected}; it was discarded, run it again"
    )]
    Hash {
        /// The file.
        file: String,
        /// The hash announced, in hexadecimal digits.
        expected: String,
        /// The hash found.
        found: String,
    },
    /// The server failed.
    #[error("{url} answers with status {status}{message}; try again later")]
    Server {
        /// What was asked for.
        url: String,
        /// The status.
        status: u16,
        /// The server's words, beginning with punctuation; may be empty.
        message: String,
    },
    /// The server's answer makes no sense.
    #[error("{url} does not answer as the Hugging Face Hub does: {problem}; check HF_ENDPOINT")]
    Malformed {
        /// What was asked for.
        url: String,
        /// What is wrong with the answer.
        problem: String,
    },
    /// The repository holds a model in a form that T81 does not read.
    #[error("`{repo}` holds neither model.safetensors nor model.safetensors.index.json{hint}")]
    NoSafetensors {
        /// The repository.
        repo: String,
        /// What to do about it, starting with punctuation; may be empty.
        hint: String,
    },
    /// No directory is known where the cache could lie.
    #[error("there is no home directory for the cache; set HF_HOME")]
    NoHome,
}

impl RemoteError {
    pub(super) fn malformed(url: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Malformed {
            url: url.into(),
            problem: problem.into(),
        }
    }

    /// Whether what the cache holds may be used in place of the answer.
    pub(super) fn is_outage(&self) -> bool {
        matches!(self, Self::Network { .. } | Self::Server { .. })
    }

    pub(super) fn rate_limited(endpoint: &str, wait: Option<Duration>, token: bool) -> Self {
        Self::RateLimited {
            endpoint: endpoint.to_owned(),
            when: wait.map_or_else(
                || "later".to_owned(),
                |wait| format!("in {} s", wait.as_secs()),
            ),
            hint: if token {
                ""
            } else {
                "; with HF_TOKEN set it answers more often"
            },
        }
    }
}
