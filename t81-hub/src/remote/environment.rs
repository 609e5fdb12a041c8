//! The environment variables that the Python tools read, with the meaning they have there.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::RemoteError;

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";
/// A connection that stays silent for longer is taken for dead.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// What the environment says about the Hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Environment {
    pub(super) endpoint: String,
    pub(super) cache: Option<PathBuf>,
    pub(super) token: Option<String>,
    pub(super) offline: bool,
    pub(super) timeout: Duration,
}

impl Environment {
    /// The environment of this process.
    pub(super) fn read() -> Self {
        Self::from_variables(&|name| std::env::var_os(name).filter(|value| !value.is_empty()))
    }

    fn from_variables(variable: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let text = |name| variable(name).and_then(|value| value.into_string().ok());
        let user = variable("HOME")
            .or_else(|| variable("USERPROFILE"))
            .map(PathBuf::from);
        let path =
            |name| variable(name).map(|value| expand_home(PathBuf::from(value), user.as_deref()));
        let home = path("HF_HOME")
            .or_else(|| path("XDG_CACHE_HOME").map(|cache| cache.join("huggingface")))
            .or_else(|| Some(user.as_ref()?.join(".cache/huggingface")));
        let cache = path("HF_HUB_CACHE")
            .or_else(|| path("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| Some(home.as_ref()?.join("hub")));
        let token_file = path("HF_TOKEN_PATH").or_else(|| Some(home.as_ref()?.join("token")));
        let token = if text("HF_HUB_DISABLE_IMPLICIT_TOKEN").is_some_and(|value| is_true(&value)) {
            None
        } else {
            text("HF_TOKEN")
                .or_else(|| text("HUGGING_FACE_HUB_TOKEN"))
                .and_then(trimmed)
                .or_else(|| std::fs::read_to_string(token_file?).ok().and_then(trimmed))
        };
        Self {
            endpoint: text("HF_ENDPOINT").map_or_else(
                || DEFAULT_ENDPOINT.to_owned(),
                |endpoint| endpoint.trim_end_matches('/').to_owned(),
            ),
            cache,
            token,
            offline: text("HF_HUB_OFFLINE")
                .or_else(|| text("TRANSFORMERS_OFFLINE"))
                .is_some_and(|value| is_true(&value)),
            timeout: text("HF_HUB_DOWNLOAD_TIMEOUT")
                .and_then(|seconds| seconds.parse().ok())
                .filter(|&seconds| seconds > 0)
                .map_or(DEFAULT_TIMEOUT, Duration::from_secs),
        }
    }
}

/// A token as it is sent.
///
/// # Errors
/// If it has characters that would break out of the header.
pub(super) fn checked_token(token: String) -> Result<String, RemoteError> {
    if token.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(token)
    } else {
        Err(RemoteError::TokenCharacters)
    }
}

fn trimmed(text: String) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn is_true(value: &str) -> bool {
    matches!(
        value.to_ascii_uppercase().as_str(),
        "1" | "ON" | "YES" | "TRUE"
    )
}

fn expand_home(path: PathBuf, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Environment {
        Environment::from_variables(&|name| {
            variables
                .iter()
                .find(|(key, value)| *key == name && !value.is_empty())
                .map(|(_, value)| (*value).into())
        })
    }

    #[test]
    fn the_cache_lies_where_python_puts_it() {
        for (variables, cache) in [
            (&[("HOME", "/home/u")][..], "/home/u/.cache/huggingface/hub"),
            (
                &[("HOME", "/home/u"), ("XDG_CACHE_HOME", "/x")],
                "/x/huggingface/hub",
            ),
            (
                &[
                    ("HOME", "/home/u"),
                    ("XDG_CACHE_HOME", "/x"),
                    ("HF_HOME", "~/hf"),
                ],
                "/home/u/hf/hub",
            ),
            (
                &[("HF_HOME", "/hf"), ("HUGGINGFACE_HUB_CACHE", "/old")],
                "/old",
            ),
            (
                &[
                    ("HF_HOME", "/hf"),
                    ("HUGGINGFACE_HUB_CACHE", "/old"),
                    ("HF_HUB_CACHE", "/new"),
                ],
                "/new",
            ),
        ] {
            assert_eq!(
                read(variables).cache.unwrap(),
                Path::new(cache),
                "{variables:?}"
            );
        }
        assert_eq!(read(&[]).cache, None);
    }

    #[test]
    fn tokens_come_from_the_variable_or_a_file() {
        let home = tempfile::tempdir().unwrap();
        let place = home.path().to_str().unwrap();
        assert_eq!(read(&[("HF_HOME", place)]).token, None);
        std::fs::write(home.path().join("token"), "hf_file\n").unwrap();
        std::fs::write(home.path().join("other"), " hf_other ").unwrap();
        let other = home.path().join("other");
        let other = other.to_str().unwrap();
        for (variables, token) in [
            (&[("HF_HOME", place)][..], Some("hf_file")),
            (
                &[("HF_HOME", place), ("HF_TOKEN", "hf_variable\n")],
                Some("hf_variable"),
            ),
            (&[("HF_HOME", place), ("HF_TOKEN", "  ")], Some("hf_file")),
            (
                &[("HF_HOME", place), ("HF_TOKEN_PATH", other)],
                Some("hf_other"),
            ),
            (
                &[("HF_HOME", place), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")],
                None,
            ),
        ] {
            assert_eq!(read(variables).token.as_deref(), token, "{variables:?}");
        }
        assert!(checked_token("hf_abc123".into()).is_ok());
        assert!(checked_token("hf_abc\r\nX: y".into()).is_err());
    }

    #[test]
    fn endpoint_offline_and_timeout() {
        let environment = read(&[
            ("HF_ENDPOINT", "http://localhost:1/"),
            ("HF_HUB_OFFLINE", "yes"),
        ]);
        assert_eq!(environment.endpoint, "http://localhost:1");
        assert!(environment.offline);
        assert!(!read(&[("HF_HUB_OFFLINE", "0")]).offline);
        assert!(read(&[("TRANSFORMERS_OFFLINE", "1")]).offline);
        assert_eq!(read(&[]).endpoint, "https://huggingface.co");
        assert_eq!(
            read(&[("HF_HUB_DOWNLOAD_TIMEOUT", "3")]).timeout,
            Duration::from_secs(3)
        );
        for nonsense in ["0", "-1", "x"] {
            assert_eq!(
                read(&[("HF_HUB_DOWNLOAD_TIMEOUT", nonsense)]).timeout,
                DEFAULT_TIMEOUT
            );
        }
    }
}
