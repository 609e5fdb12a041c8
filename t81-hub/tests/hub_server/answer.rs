//! From a request to an answer, as the Hub gives it.

use std::sync::Arc;
use std::time::Duration;

use super::fault::Effect;
use super::repo::{Repo, StoredFile};
use super::request::{Host, Request, decoded};
use super::{STALL, State, locked};

pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// What `Content-Length` says, if not the length of the body.
    length: Option<usize>,
    pub(crate) file: Option<String>,
    pub(crate) cut_after: Option<usize>,
    pub(crate) pause: Option<(usize, Duration)>,
    pub(crate) stall: Option<Duration>,
    pub(crate) hang_up: bool,
}

impl Answer {
    fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            length: None,
            file: None,
            cut_after: None,
            pause: None,
            stall: None,
            hang_up: false,
        }
    }

    fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    fn json(body: String) -> Self {
        Self::new(200, body).with("Content-Type", "application/json")
    }

    fn refusal(status: u16, code: &str, message: &str) -> Self {
        let answer = Self::new(status, format!("{{\"error\":{}}}", json(message)));
        answer
            .with("X-Error-Code", code)
            .with("X-Error-Message", message)
    }

    fn redirect(status: u16, location: String) -> Self {
        Self::new(status, format!("Redirecting to {location}")).with("Location", location)
    }

    pub(crate) fn head(&self) -> String {
        let mut head = format!("HTTP/1.1 {} Status\r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let length = self.length.unwrap_or(self.body.len());
        head.push_str(&format!("Content-Length: {length}\r\n\r\n"));
        head
    }
}

/// The answer, faults included.
pub(crate) fn answer(state: &State, request: &Request) -> Answer {
    let mut answer = match request.host {
        Host::Hub => hub(state, request),
        Host::Cdn => cdn(state, request),
    };
    let sends_bytes = request.method == "GET" && answer.status / 100 == 2;
    for fault in locked(&state.faults).iter_mut() {
        if !fault.strikes(request, sends_bytes && answer.file.is_some()) {
            continue;
        }
        match fault.effect.clone() {
            Effect::Cut(bytes) => answer.cut_after = Some(bytes),
            Effect::Status(status, headers) => {
                let file = answer.file.take();
                answer = Answer::new(status, "refused");
                answer.headers = headers;
                answer.file = file;
            }
            Effect::Slow(bytes, pause) => answer.pause = Some((bytes, pause)),
            Effect::Length(by) => {
                answer.length = Some((answer.body.len() as i64 + by).max(0) as usize);
                answer.hang_up = true;
            }
            Effect::IgnoreRange => {
                if let Some(file) = stored(state, request) {
                    answer = whole(&file.1, 0).named(&file.0);
                }
            }
            Effect::ShiftRange => {
                if let Some(file) = stored(state, request) {
                    answer = whole(&file.1, request.start() + 1).named(&file.0);
                }
            }
            Effect::Corrupt => {
                if let Some(last) = answer.body.last_mut() {
                    *last ^= 1;
                }
            }
            Effect::Stall(bytes) => {
                answer.length = Some(answer.body.len());
                answer.body.truncate(bytes);
                answer.stall = Some(STALL);
            }
            Effect::Body(body) => answer.body = body.into_bytes(),
        }
    }
    answer
}

impl Answer {
    fn named(mut self, file: &str) -> Self {
        self.file = Some(file.to_owned());
        self
    }
}

fn hub(state: &State, request: &Request) -> Answer {
    if let Some(path) = request.path.strip_prefix("/lfs/") {
        return large(state, path, request);
    }
    let path = request.path.trim_start_matches('/');
    let (api, path) = match path.strip_prefix("api/") {
        Some(path) => (true, path),
        None => (false, path),
    };
    let (prefix, dataset, path) =
        match (path.strip_prefix("datasets/"), path.strip_prefix("models/")) {
            (Some(path), _) => ("datasets/", true, path),
            (None, Some(path)) if api => ("models/", false, path),
            _ => ("", false, path),
        };
    let action = if api {
        ["/revision/", "/tree/"]
            .iter()
            .find(|action| path.contains(*action))
    } else {
        Some(&"/resolve/")
    };
    let (id, action, rest) =
        match action.and_then(|action| Some((action, path.split_once(action)?))) {
            Some((action, (id, rest))) => (id, *action, rest),
            None => (path, "", ""),
        };
    let repos = locked(&state.repos).clone();
    let same_kind = || repos.iter().filter(|repo| repo.dataset == dataset);
    if let Some(repo) = same_kind().find(|repo| repo.aliases.iter().any(|alias| alias == id)) {
        let query = match request.query.as_str() {
            "" => String::new(),
            query => format!("?{query}"),
        };
        let api = if api { "api/" } else { "" };
        return Answer::redirect(
            307,
            format!("/{api}{prefix}{}{action}{rest}{query}", repo.id),
        );
    }
    let token = token(request);
    let may_see = |repo: &&Arc<Repo>| repo.private.is_none() || repo.private.as_deref() == token;
    let Some(repo) = same_kind().filter(may_see).find(|repo| repo.id == id) else {
        return match token {
            None => Answer::refusal(401, "RepoNotFound", "Invalid username or password."),
            Some(_) => Answer::refusal(404, "RepoNotFound", "Repository not found"),
        };
    };
    let (revision, file) = match action {
        "" => ("main".to_owned(), ""),
        "/revision/" => (decoded(rest), ""),
        _ => {
            let (revision, file) = rest.split_once('/').unwrap_or((rest, ""));
            (decoded(revision), file)
        }
    };
    if !repo.has_revision(&revision) {
        return Answer::refusal(
            404,
            "RevisionNotFound",
            &format!("Invalid rev id: {revision}"),
        );
    }
    match action {
        "/resolve/" => resolve(state, repo, &decoded(file), request),
        "/tree/" => Answer::json(tree(repo)),
        _ => Answer::json(description(repo, request.query.contains("blobs=true"))),
    }
}

fn resolve(state: &State, repo: &Repo, path: &str, request: &Request) -> Answer {
    let refused = |answer: Answer| answer.named(path);
    if repo.gated.is_some() && repo.gated.as_deref() != token(request) {
        let status = if token(request).is_some() { 403 } else { 401 };
        let message = format!("Access to model {} is restricted.", repo.id);
        return refused(Answer::refusal(status, "GatedRepo", &message));
    }
    let Some(file) = repo.files.get(path) else {
        let answer = Answer::refusal(404, "EntryNotFound", "Entry not found");
        return refused(answer.with("X-Repo-Commit", repo.commit()));
    };
    let answer = if file.large {
        let lfs = format!("/lfs/{}/{}", file.sha256, path.replace(' ', "%20"));
        let location = if repo.relative_redirects {
            lfs
        } else {
            format!("http://127.0.0.1:{}{lfs}", state.cdn)
        };
        Answer::redirect(302, location)
            .with("X-Linked-ETag", format!("\"{}\"", file.sha256))
            .with("X-Linked-Size", file.bytes.len().to_string())
    } else {
        let start = if request.header("range").is_some() {
            Some(request.start())
        } else {
            None
        };
        ranged(file, start).with("ETag", format!("\"{}\"", file.blob_id()))
    };
    answer.with("X-Repo-Commit", repo.commit()).named(path)
}

fn cdn(state: &State, request: &Request) -> Answer {
    // A real one refuses a token that it did not ask for.
    if request.header("authorization").is_some() {
        return Answer::new(400, "Only one auth mechanism allowed");
    }
    match request.path.strip_prefix("/lfs/") {
        Some(path) => large(state, path, request),
        None => Answer::new(404, "no such key"),
    }
}

fn large(state: &State, path: &str, request: &Request) -> Answer {
    let start = request.header("range").map(|_| request.start());
    match find_large(state, path) {
        Some((name, file)) => {
            let etag = format!("\"{}\"", file.sha256);
            // Within the Hub, the redirect is followed for the headers, too.
            let answer = ranged(&file, start).with("ETag", etag).named(&name);
            match commit_of(state, &file) {
                Some(commit) if request.host == Host::Hub => answer.with("X-Repo-Commit", commit),
                _ => answer,
            }
        }
        None => Answer::new(404, "no such key"),
    }
}

fn find_large(state: &State, path: &str) -> Option<(String, StoredFile)> {
    let (hash, name) = path.split_once('/')?;
    let name = decoded(name);
    let repos = locked(&state.repos);
    let file = repos.iter().find_map(|repo| {
        let file = repo.files.get(&name)?;
        (file.sha256 == hash).then(|| file.clone())
    })?;
    Some((name, file))
}

fn commit_of(state: &State, wanted: &StoredFile) -> Option<String> {
    let repos = locked(&state.repos);
    let holder = repos
        .iter()
        .find(|repo| repo.files.values().any(|file| file.sha256 == wanted.sha256))?;
    Some(holder.commit())
}

/// The file that a request for bytes is about.
fn stored(state: &State, request: &Request) -> Option<(String, StoredFile)> {
    if let Some(path) = request.path.strip_prefix("/lfs/") {
        return find_large(state, path);
    }
    let name = decoded(request.path.split_once("/resolve/")?.1.split_once('/')?.1);
    let repos = locked(&state.repos);
    let file = repos.iter().find_map(|repo| repo.files.get(&name))?.clone();
    Some((name, file))
}

fn ranged(file: &StoredFile, start: Option<usize>) -> Answer {
    match start {
        None => whole(file, 0),
        Some(start) if start >= file.bytes.len() => {
            Answer::new(416, "").with("Content-Range", format!("bytes */{}", file.bytes.len()))
        }
        Some(start) => {
            let mut answer = whole(file, start);
            // A range that covers everything is a range all the same.
            if start == 0 {
                answer.status = 206;
            }
            answer
        }
    }
}

/// The bytes from `start` on; all of them with status 200.
fn whole(file: &StoredFile, start: usize) -> Answer {
    let size = file.bytes.len();
    let body = &file.bytes[start.min(size)..];
    let answer =
        Answer::new(if start == 0 { 200 } else { 206 }, body).with("Accept-Ranges", "bytes");
    if start == 0 {
        return answer;
    }
    answer.with(
        "Content-Range",
        format!("bytes {start}-{}/{size}", size - 1),
    )
}

fn token(request: &Request) -> Option<&str> {
    request.header("authorization")?.strip_prefix("Bearer ")
}

fn description(repo: &Repo, blobs: bool) -> String {
    let siblings: Vec<String> = repo
        .files
        .iter()
        .map(|(path, file)| {
            let mut sibling = format!("{{\"rfilename\":{}", json(path));
            if blobs {
                let (size, id) = (file.bytes.len(), file.blob_id());
                sibling.push_str(&format!(",\"size\":{size},\"blobId\":\"{id}\""));
                if file.large {
                    let hash = &file.sha256;
                    sibling.push_str(&format!(
                        ",\"lfs\":{{\"sha256\":\"{hash}\",\"size\":{size},\"pointerSize\":134}}"
                    ));
                }
            }
            sibling.push('}');
            sibling
        })
        .collect();
    let gated = if repo.gated.is_some() {
        "\"manual\""
    } else {
        "false"
    };
    format!(
        "{{\"_id\":\"0\",\"id\":{},\"sha\":\"{}\",\"private\":{},\"gated\":{gated},\"disabled\":false,\"tags\":[],\
         \"downloads\":0,\"likes\":0,\"siblings\":[{}]}}",
        json(&repo.id),
        repo.commit(),
        repo.private.is_some(),
        siblings.join(",")
    )
}

fn tree(repo: &Repo) -> String {
    let entries: Vec<String> = repo
        .files
        .iter()
        .map(|(path, file)| {
            let (size, id) = (file.bytes.len(), file.blob_id());
            let lfs = if file.large {
                let hash = &file.sha256;
                format!(",\"lfs\":{{\"oid\":\"{hash}\",\"size\":{size},\"pointerSize\":134}}")
            } else {
                String::new()
            };
            format!(
                "{{\"type\":\"file\",\"oid\":\"{id}\",\"size\":{size},\"path\":{}{lfs}}}",
                json(path)
            )
        })
        .collect();
    format!("[{}]", entries.join(","))
}

/// A JSON string.
fn json(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => {
                quoted.push_str(&format!("\\u{:04x}", control as u32));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
