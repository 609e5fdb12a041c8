//! Who may read what, and who sees the token.

use std::time::Duration;

use t81_hub::{HubClient, HubError, RemoteError};

use super::{Place, Recorder, crowded, dataset, model, remote};
use crate::hub_server::{Fault, Host, Repo};

fn with_token(place: &Place, token: &str) -> HubClient {
    place
        .builder()
        .token(Some(token.to_owned()))
        .build()
        .unwrap()
}

#[test]
fn a_gated_model_says_where_its_terms_are() {
    let (place, source) = (Place::new(), tempfile::tempdir().unwrap());
    place
        .server
        .add(crowded("meta-llama/Llama", source.path()).gated("hf_accepted"));
    let error = remote(place.client().model(&model("meta-llama/Llama"))).to_string();
    let page = format!(
        "accept its terms at {}/meta-llama/Llama",
        place.server.url()
    );
    assert!(error.contains(&page), "{error}");
    assert!(
        error.contains("set HF_TOKEN to a token of that account"),
        "{error}"
    );
    let error = remote(with_token(&place, "hf_other").model(&model("meta-llama/Llama")));
    assert!(matches!(error, RemoteError::Gated { .. }));
    assert!(
        error.to_string().contains("wait until access is granted"),
        "{error}"
    );
    assert!(place.server.served().is_empty());
    with_token(&place, "hf_accepted")
        .model(&model("meta-llama/Llama"))
        .unwrap();
}

#[test]
fn the_token_goes_to_the_hub_and_nowhere_else() {
    let (place, source) = (Place::new(), tempfile::tempdir().unwrap());
    let repo = crowded("owner/name", source.path())
        .private("hf_secret")
        .alias("name");
    place.server.add(repo);
    with_token(&place, "hf_secret")
        .model(&model("name"))
        .unwrap();
    let requests = place.server.requests();
    let (hub, cdn): (Vec<_>, Vec<_>) = requests
        .iter()
        .partition(|request| request.host == Host::Hub);
    assert!(!hub.is_empty() && !cdn.is_empty());
    for request in hub {
        assert_eq!(
            request.header("authorization"),
            Some("Bearer hf_secret"),
            "{request:?}"
        );
    }
    for request in cdn {
        assert_eq!(request.header("authorization"), None, "{request:?}");
    }
}

#[test]
fn what_may_not_be_seen_does_not_exist() {
    let place = Place::new();
    place.server.add(
        Repo::model("owner/secret")
            .file("config.json", "{}")
            .private("hf_x"),
    );
    for (client, id) in [
        (place.client(), "owner/secret"),
        (with_token(&place, "hf_other"), "owner/secret"),
        (place.client(), "owner/misspelt"),
        (with_token(&place, "hf_other"), "owner/misspelt"),
    ] {
        let error = remote(client.model(&model(id)));
        assert!(
            matches!(error, RemoteError::RepoNotFound { .. }),
            "{error:?}"
        );
        let error = error.to_string();
        assert!(error.contains(&format!("no model `{id}`")), "{error}");
        assert!(
            error.contains("check the spelling") && error.contains("HF_TOKEN"),
            "{error}"
        );
    }
    let error = remote(place.client().list(&dataset("nobody/nothing"))).to_string();
    assert!(error.contains("no dataset `nobody/nothing`"), "{error}");
    let error = remote(
        place
            .client()
            .download(&model("owner/misspelt"), "config.json"),
    );
    assert!(
        matches!(error, RemoteError::RepoNotFound { .. }),
        "{error:?}"
    );
}

#[test]
fn a_missing_file_is_named() {
    let place = Place::new();
    place
        .server
        .add(Repo::dataset("owner/data").file("a.txt", "a"));
    let error = remote(place.client().download(&dataset("owner/data"), "b.txt"));
    assert_eq!(error.to_string(), "`owner/data` has no file `b.txt`");
    // A path that leaves the repository is never asked for.
    place.server.forget();
    let error = remote(place.client().download(&dataset("owner/data"), "../../x"));
    assert!(
        matches!(error, RemoteError::EntryNotFound { .. }),
        "{error:?}"
    );
    assert!(place.server.requests().is_empty());
}

#[test]
fn a_refused_token_is_told_from_a_missing_repository() {
    let place = Place::new();
    place
        .server
        .add(Repo::model("owner/name").file("config.json", "{}"));
    let words = "Invalid credentials in Authorization header";
    place
        .server
        .plant(Fault::status("/api/", 401, &[("X-Error-Message", words)]));
    let error = remote(with_token(&place, "hf_old").model(&model("owner/name")));
    assert!(
        matches!(error, RemoteError::TokenRefused { .. }),
        "{error:?}"
    );
    let error = place
        .builder()
        .token(Some("hf_\nX: y".into()))
        .build()
        .err()
        .unwrap();
    assert!(
        matches!(error, HubError::Remote(RemoteError::TokenCharacters)),
        "{error}"
    );
}

#[test]
fn a_short_rate_limit_is_waited_for_and_a_long_one_reported() {
    let place = Place::new();
    place
        .server
        .add(Repo::dataset("owner/data").file("a.txt", "a"));
    place
        .server
        .plant(Fault::status("/api/", 429, &[("Retry-After", "1")]).times(1));
    place
        .server
        .plant(Fault::status("/resolve/", 429, &[("RateLimit", "\"resolvers\";r=0;t=0")]).times(2));
    let recorder = Recorder::new(u64::MAX);
    let client = place.builder().progress(recorder.clone()).build().unwrap();
    client.list(&dataset("owner/data")).unwrap();
    client.download(&dataset("owner/data"), "a.txt").unwrap();
    let statuses: Vec<u16> = place
        .server
        .requests()
        .iter()
        .map(|request| request.status)
        .collect();
    assert_eq!(statuses, [429, 200, 429, 429, 200, 200]);
    assert!(
        recorder.heard().contains("trying again in 1.0 s"),
        "{}",
        recorder.heard()
    );

    place
        .server
        .plant(Fault::status("/api/", 429, &[("Retry-After", "3600")]));
    place.server.forget();
    let error = remote(place.client().list(&dataset("owner/data")));
    assert!(
        error
            .to_string()
            .contains("try again in 3600 s; with HF_TOKEN set"),
        "{error}"
    );
    assert_eq!(place.server.requests().len(), 1);
    // Without a time, a few attempts are made.
    place.server.heal();
    place.server.plant(Fault::status("/api/", 429, &[]));
    place.server.forget();
    let error = remote(with_token(&place, "hf_x").list(&dataset("owner/data")));
    assert!(error.to_string().ends_with("try again later"), "{error}");
    assert_eq!(place.server.requests().len(), 5);
}

#[test]
fn no_network_is_an_error_that_names_the_endpoint() {
    let place = Place::new();
    // The port of a server that is gone.
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let endpoint = format!("http://127.0.0.1:{gone}");
    let client = place.builder().endpoint(&endpoint).build().unwrap();
    let error = remote(client.model(&model("owner/name")));
    let message = error.to_string();
    assert!(matches!(error, RemoteError::Network { .. }), "{error:?}");
    assert!(
        message.contains(&endpoint) && message.contains("local directory"),
        "{message}"
    );
    let client = place
        .builder()
        .timeout(Duration::from_secs(1))
        .endpoint("not an address")
        .build();
    assert!(client.is_err());
}
