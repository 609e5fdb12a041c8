//! From a refusal of the Hub to an error that says what to do.

use std::time::Duration;

use ureq::http::{HeaderMap, StatusCode};

use super::retry::Failure;
use super::{RemoteError, RepoId, RepoKind};

/// What was asked for when the refusal came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    pub(super) endpoint: &'a str,
    pub(super) repo: &'a RepoId,
    /// None where the repository itself was asked for.
    pub(super) file: Option<&'a str>,
    /// Whether a token was sent.
    pub(super) token: bool,
}

/// The error for a status that is neither a success nor a redirect.
pub(super) fn refusal(
    question: Question<'_>,
    url: &str,
    status: StatusCode,
    headers: &HeaderMap,
) -> Failure {
    let Question {
        endpoint,
        repo,
        file,
        token,
    } = question;
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let message = header("x-error-message").unwrap_or_default();
    let page = repo.page(endpoint);
    let entry = |file: &str| RemoteError::EntryNotFound {
        repo: repo.to_string(),
        file: file.to_owned(),
    };
    let error = match (header("x-error-code"), status.as_u16()) {
        (Some("GatedRepo"), _) => RemoteError::Gated {
            repo: repo.name().to_owned(),
            page,
            token_hint: if token {
                "wait until access is granted: the token that was sent has none yet".to_owned()
            } else {
                format!("set HF_TOKEN to a token of that account (from {endpoint}/settings/tokens)")
            },
        },
        (Some("RevisionNotFound"), _) => RemoteError::RevisionNotFound {
            repo: repo.name().to_owned(),
            revision: repo.revision().to_owned(),
            page,
        },
        (Some("EntryNotFound"), _) => entry(file.unwrap_or_default()),
        (None, 401) if message == "Invalid credentials in Authorization header" => {
            RemoteError::TokenRefused {
                endpoint: endpoint.to_owned(),
            }
        }
        // A missing repository and a private one look the same to who may not see it.
        (Some("RepoNotFound"), _) | (_, 401) => not_found(question),
        (_, 404) => match file {
            Some(file) => entry(file),
            None => not_found(question),
        },
        (_, 403) => RemoteError::Forbidden {
            repo: repo.name().to_owned(),
            message: match message {
                "" => "status 403".to_owned(),
                message => message.to_owned(),
            },
        },
        (_, 429) => {
            let wait = retry_after(headers);
            return Failure::Transient {
                error: RemoteError::rate_limited(endpoint, wait, token),
                wait,
            };
        }
        (_, code) => {
            let error = RemoteError::Server {
                url: url.to_owned(),
                status: code,
                message: match message {
                    "" => String::new(),
                    message => format!(": {message}"),
                },
            };
            return if matches!(code, 408 | 500 | 502 | 503 | 504) {
                Failure::Transient {
                    error,
                    wait: retry_after(headers),
                }
            } else {
                error.into()
            };
        }
    };
    error.into()
}

fn not_found(question: Question<'_>) -> RemoteError {
    let (kind, hint) = match question.repo.kind() {
        RepoKind::Model => ("model", ", and no local directory has this name either"),
        RepoKind::Dataset => ("dataset", ""),
    };
    RemoteError::RepoNotFound {
        endpoint: question.endpoint.to_owned(),
        kind,
        repo: question.repo.name().to_owned(),
        hint: hint.into(),
        nearest: None,
    }
}

/// The pause that the server asks for: `Retry-After` in seconds, or `t` of the Hub's `RateLimit`.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let seconds = match header("retry-after").map(|value| value.trim().parse()) {
        Some(Ok(seconds)) => seconds,
        _ => header("ratelimit")?
            .split(';')
            .find_map(|part| part.trim().strip_prefix("t=")?.parse().ok())?,
    };
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(status: u16, headers: &[(&'static str, &str)], token: bool) -> String {
        let repo = RepoId::model("owner/name")
            .unwrap()
            .at_revision("v9")
            .unwrap();
        let question = Question {
            endpoint: "https://hub",
            repo: &repo,
            file: Some("config.json"),
            token,
        };
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        let status = StatusCode::from_u16(status).unwrap();
        match refusal(question, "https://hub/x", status, &headers) {
            Failure::Final(error) => error.to_string(),
            Failure::Transient { error, wait } => format!("{error} [{wait:?}]"),
        }
    }

    #[test]
    fn refusals_say_what_to_do() {
        let code = |code| [("X-Error-Code", code)];
        for (status, headers, token, expected) in [
            (
                401,
                &code("GatedRepo")[..],
                false,
                "accept its terms at https://hub/owner/name, then set HF_TOKEN",
            ),
            (
                403,
                &code("GatedRepo"),
                true,
                "wait until access is granted",
            ),
            (401, &code("RepoNotFound"), false, "no model `owner/name`"),
            (401, &[], false, "no model `owner/name`"),
            (
                404,
                &code("RevisionNotFound"),
                false,
                "no branch, tag or commit `v9`",
            ),
            (
                404,
                &code("EntryNotFound"),
                false,
                "`owner/name@v9` has no file `config.json`",
            ),
            (404, &[], false, "has no file `config.json`"),
            (
                401,
                &[(
                    "X-Error-Message",
                    "Invalid credentials in Authorization header",
                )],
                true,
                "refuses the token",
            ),
            (
                403,
                &[("X-Error-Message", "fine-grained")],
                true,
                "refused: fine-grained",
            ),
            (
                429,
                &[("Retry-After", "3")],
                false,
                "try again in 3 s; with HF_TOKEN set",
            ),
            (
                429,
                &[("RateLimit", "\"api\";r=0;t=55")],
                true,
                "in 55 s [Some(55s)]",
            ),
            (
                429,
                &[("Retry-After", "Wed, 21 Oct 2026 07:28:00 GMT")],
                true,
                "later [None]",
            ),
            (503, &[], false, "status 503; try again later [None]"),
            (418, &[], false, "status 418; try again later"),
        ] {
            let message = message(status, headers, token);
            assert!(
                message.contains(expected),
                "{status} {headers:?}: {message}"
            );
        }
    }
}
