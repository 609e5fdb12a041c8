//! Requests for files: redirects, ranges, and who gets to see the token.
//!
//! `hf-hub` 0.5 downloads files itself, but it sends the token along to the host that a redirect leads to, takes any body
//! for the file (no check of status, length or hash) and hides the headers that tell a gated repository from a missing
//! one. `hf-hub` 1.0 begins an interrupted file anew, writes the body of an error into the cache, sends every large file
//! through a second protocol (Xet) that cannot be turned off, and brings 159 crates more than this workspace has, where
//! 0.5 brings 25. So `hf-hub` 0.5 knows the Hub's addresses, its description of repositories and the layout of the cache,
//! and the bytes of files come through this module.

use std::time::Duration;

use ureq::http::{Response, Uri, header};
use ureq::{Agent, Body};

use super::RemoteError;

const MAX_REDIRECTS: usize = 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends requests to the Hub and wherever it redirects to.
pub(super) struct Transport {
    agent: Agent,
    endpoint: Uri,
    authorization: Option<String>,
}

/// An answer, and the address that gave it.
pub(super) struct Reply {
    pub(super) url: String,
    pub(super) response: Response<Body>,
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }
}

impl Transport {
    pub(super) fn new(
        endpoint: &str,
        token: Option<&str>,
        timeout: Duration,
    ) -> Result<Self, RemoteError> {
        let address: Uri = endpoint
            .parse()
            .map_err(|_| RemoteError::malformed(endpoint, "it is no address"))?;
        if !matches!(address.scheme_str(), Some("http" | "https")) || address.query().is_some() {
            return Err(RemoteError::malformed(endpoint, "it is no http(s) address"));
        }
        let agent = Agent::config_builder()
            .max_redirects(0)
            .http_status_as_error(false)
            .user_agent(concat!("t81/", env!("CARGO_PKG_VERSION")))
            // The sizes and ranges of files count bytes as they are stored.
            .accept_encoding("identity")
            .timeout_connect(Some(timeout.min(CONNECT_TIMEOUT)))
            .timeout_recv_response(Some(timeout))
            .timeout_per_read(Some(timeout))
            .build()
            .into();
        Ok(Self {
            agent,
            endpoint: address,
            authorization: token.map(|token| format!("Bearer {token}")),
        })
    }

    /// The headers of a file. Follows the redirects within the Hub (a repository was renamed), not those to where the
    /// bytes are: the headers wanted are the Hub's.
    pub(super) fn head(&self, url: &str) -> Result<Reply, ureq::Error> {
        self.follow(url, false, |agent, url| agent.head(url))
    }

    /// The bytes of a file from `start` on.
    pub(super) fn get(&self, url: &str, start: u64) -> Result<Reply, ureq::Error> {
        self.follow(url, true, |agent, url| {
            let request = agent.get(url);
            if start == 0 {
                request
            } else {
                request.header(header::RANGE, format!("bytes={start}-"))
            }
        })
    }

    fn follow(
        &self,
        url: &str,
        to_other_hosts: bool,
        request: impl Fn(&Agent, &Uri) -> ureq::RequestBuilder<ureq::typestate::WithoutBody>,
    ) -> Result<Reply, ureq::Error> {
        let mut url: Uri = url
            .parse()
            .map_err(|_| ureq::Error::BadUri(url.to_owned()))?;
        for _ in 0..=MAX_REDIRECTS {
            let mut request = request(&self.agent, &url);
            if let Some(authorization) = &self.authorization
                && same_origin(&self.endpoint, &url)
            {
                request = request.header(header::AUTHORIZATION, authorization);
            }
            let response = request.call()?;
            let next = response
                .status()
                .is_redirection()
                .then(|| response.headers().get(header::LOCATION))
                .flatten();
            let Some(location) = next else {
                return Ok(Reply {
                    url: url.to_string(),
                    response,
                });
            };
            let next = location
                .to_str()
                .ok()
                .and_then(|location| join(&url, location))
                .ok_or(ureq::Error::RedirectFailed)?;
            if !to_other_hosts && !same_origin(&url, &next) {
                return Ok(Reply {
                    url: url.to_string(),
                    response,
                });
            }
            url = next;
        }
        Err(ureq::Error::TooManyRedirects)
    }
}

/// Whether no connection came about at all, as opposed to one that broke.
pub(super) fn is_unreachable(error: &ureq::Error) -> bool {
    use std::io::ErrorKind;
    match error {
        ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::ConnectProxyFailed(_)
        | ureq::Error::Tls(_)
        | ureq::Error::Rustls(_)
        | ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => true,
        // What the standard library says of a host whose name cannot be looked up has no kind of its own.
        ureq::Error::Io(error) => !matches!(
            error.kind(),
            ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::UnexpectedEof
                | ErrorKind::TimedOut
                | ErrorKind::WouldBlock
                | ErrorKind::Interrupted
        ),
        _ => false,
    }
}

fn same_origin(one: &Uri, other: &Uri) -> bool {
    let port = |uri: &Uri| {
        uri.port_u16().or(match uri.scheme_str() {
            Some("https") => Some(443),
            Some("http") => Some(80),
            _ => None,
        })
    };
    let host = |uri: &Uri| uri.host().map(str::to_ascii_lowercase);
    one.scheme() == other.scheme() && host(one) == host(other) && port(one) == port(other)
}

/// The address that a `Location` means, seen from `base`.
fn join(base: &Uri, location: &str) -> Option<Uri> {
    let scheme = base.scheme_str()?;
    let authority = base.authority()?;
    let joined = if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else if location.contains("://") {
        location.to_owned()
    } else {
        let folder = base
            .path()
            .rsplit_once('/')
            .map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{location}")
    };
    let uri: Uri = joined.parse().ok()?;
    (matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()).then_some(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_seen_from_where_they_came() {
        let base = "https://hub.example:8443/gpt2/resolve/main/x"
            .parse()
            .unwrap();
        for (location, expected) in [
            ("/a/b?c=d", Some("https://hub.example:8443/a/b?c=d")),
            ("//cdn/x", Some("https://cdn/x")),
            ("http://cdn/x", Some("http://cdn/x")),
            ("y", Some("https://hub.example:8443/gpt2/resolve/main/y")),
            ("file:///etc/passwd", None),
            ("/a b", None),
        ] {
            let joined = join(&base, location).map(|uri| uri.to_string());
            assert_eq!(joined.as_deref(), expected, "{location}");
        }
    }

    #[test]
    fn only_the_endpoint_itself_is_the_endpoint() {
        let hub: Uri = "https://huggingface.co/gpt2".parse().unwrap();
        for (other, same) in [
            ("https://huggingface.co/x", true),
            ("https://HuggingFace.co:443/x", true),
            ("http://huggingface.co/x", false),
            ("https://huggingface.co:444/x", false),
            ("https://cdn.huggingface.co/x", false),
            ("https://huggingface.co.evil/x", false),
        ] {
            assert_eq!(same_origin(&hub, &other.parse().unwrap()), same, "{other}");
        }
    }

    #[test]
    fn a_name_without_an_address_is_told_from_a_broken_connection() {
        use std::net::ToSocketAddrs;
        // Names below `invalid` never have an address (RFC 2606).
        let unknown = "hub.invalid:443".to_socket_addrs().unwrap_err();
        assert!(is_unreachable(&ureq::Error::Io(unknown)));
        for (kind, unreachable) in [
            (std::io::ErrorKind::ConnectionRefused, true),
            (std::io::ErrorKind::NetworkUnreachable, true),
            (std::io::ErrorKind::ConnectionReset, false),
            (std::io::ErrorKind::UnexpectedEof, false),
        ] {
            assert_eq!(
                is_unreachable(&ureq::Error::Io(kind.into())),
                unreachable,
                "{kind}"
            );
        }
    }

    #[test]
    fn an_endpoint_is_an_address() {
        for endpoint in ["", "x", "ftp://x", "https://x?y", "huggingface.co/"] {
            assert!(
                Transport::new(endpoint, None, Duration::from_secs(1)).is_err(),
                "{endpoint:?}"
            );
        }
    }
}
