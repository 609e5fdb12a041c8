//! A server on this machine that speaks the endpoints of the Hugging Face Hub, standard library only, for tests of the
//! real client. Other crates' tests include it by `#[path = "../../t81-hub/tests/hub_server/mod.rs"]`.
//!
//! It listens on two ports: the Hub, and the "CDN" that large files are redirected to. Every request is recorded, and
//! faults can be planted: connections cut in the middle, refusals, wrong lengths, ignored ranges.
//!
//! ```ignore
//! let server = HubServer::start();
//! server.add(Repo::model("owner/name").files_of(&directory).alias("name"));
//! server.plant(Fault::cut("model.safetensors", 1000).times(1));
//! // ... HF_ENDPOINT = server.url() ...
//! assert_eq!(server.bodies("model.safetensors").len(), 2);
//! ```
#![allow(dead_code, unreachable_pub, unused_imports)]

mod answer;
mod fault;
mod repo;
mod request;
mod sha256;

use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use answer::answer;
pub use fault::Fault;
pub use repo::Repo;
pub use request::{Host, Request};
pub use sha256::sha256;

/// A running server; it stops when it is dropped.
pub struct HubServer {
    state: Arc<State>,
}

/// What the connections share.
pub(crate) struct State {
    pub(crate) hub: u16,
    pub(crate) cdn: u16,
    pub(crate) repos: Mutex<Vec<Arc<Repo>>>,
    pub(crate) faults: Mutex<Vec<Fault>>,
    requests: Mutex<Vec<Request>>,
    stopped: AtomicBool,
}

impl HubServer {
    /// Listens on two free ports of the loopback interface.
    pub fn start() -> Self {
        let listen = || TcpListener::bind("127.0.0.1:0").expect("a free port");
        let (hub, cdn) = (listen(), listen());
        let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
        let state = Arc::new(State {
            hub: port(&hub),
            cdn: port(&cdn),
            repos: Mutex::default(),
            faults: Mutex::default(),
            requests: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        for (listener, host) in [(hub, Host::Hub), (cdn, Host::Cdn)] {
            let state = Arc::clone(&state);
            thread::spawn(move || accept(&listener, host, &state));
        }
        Self { state }
    }

    /// What `HF_ENDPOINT` is to be.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.state.hub)
    }

    /// Where large files come from.
    pub fn cdn_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.state.cdn)
    }

    /// Publishes a repository; one of the same kind and id is replaced.
    pub fn add(&self, repo: Repo) {
        let mut repos = locked(&self.state.repos);
        repos.retain(|other| !other.same_place(&repo));
        repos.push(Arc::new(repo));
    }

    /// From now on, something goes wrong.
    pub fn plant(&self, fault: Fault) {
        locked(&self.state.faults).push(fault);
    }

    /// Ends all faults.
    pub fn heal(&self) {
        locked(&self.state.faults).clear();
    }

    /// Everything that was asked for, in order.
    pub fn requests(&self) -> Vec<Request> {
        locked(&self.state.requests).clone()
    }

    /// Forgets what was asked for.
    pub fn forget(&self) {
        locked(&self.state.requests).clear();
    }

    /// The requests for a file's bytes that were not redirected any further.
    pub fn bodies(&self, file: &str) -> Vec<Request> {
        let body = |request: &Request| {
            request.method == "GET"
                && request.file.as_deref() == Some(file)
                && request.status / 100 == 2
        };
        self.requests().into_iter().filter(body).collect()
    }

    /// Names of all files of which bytes were sent, each once, sorted.
    pub fn served(&self) -> Vec<String> {
        let mut files: Vec<String> = self
            .requests()
            .into_iter()
            .filter(|request| request.method == "GET" && request.status / 100 == 2)
            .filter_map(|request| request.file)
            .collect();
        files.sort();
        files.dedup();
        files
    }
}

impl Drop for HubServer {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        for port in [self.state.hub, self.state.cdn] {
            // Wakes the listener up.
            let _ = TcpStream::connect(("127.0.0.1", port));
        }
    }
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .expect("no test panicked while it held the lock")
}

fn accept(listener: &TcpListener, host: Host, state: &Arc<State>) {
    for connection in listener.incoming() {
        if state.stopped.load(Ordering::SeqCst) {
            return;
        }
        if let Ok(connection) = connection {
            let state = Arc::clone(state);
            thread::spawn(move || serve(connection, host, &state));
        }
    }
}

/// Answers one request after the other until the client goes away or a fault ends the connection.
fn serve(connection: TcpStream, host: Host, state: &State) {
    let _ = connection.set_nodelay(true);
    let Ok(write_half) = connection.try_clone() else {
        return;
    };
    let mut write_half = write_half;
    let mut reader = BufReader::new(connection);
    while let Some(mut request) = Request::read(&mut reader, host) {
        let answer = answer(state, &request);
        request.status = answer.status;
        request.file.clone_from(&answer.file);
        let head_only = request.method == "HEAD";
        locked(&state.requests).push(request);
        let sent = write_half
            .write_all(answer.head().as_bytes())
            .and_then(|()| {
                if head_only {
                    return Ok(());
                }
                let end = answer
                    .cut_after
                    .unwrap_or(answer.body.len())
                    .min(answer.body.len());
                match answer.pause {
                    None => write_half.write_all(&answer.body[..end]),
                    Some((chunk, pause)) => answer.body[..end].chunks(chunk).try_for_each(|part| {
                        write_half.write_all(part)?;
                        write_half.flush()?;
                        thread::sleep(pause);
                        Ok(())
                    }),
                }
            })
            .and_then(|()| write_half.flush());
        if sent.is_err() || (!head_only && answer.cut_after.is_some()) || answer.hang_up {
            let _ = write_half.shutdown(std::net::Shutdown::Both);
            return;
        }
        if let Some(stall) = answer.stall {
            thread::sleep(stall);
        }
    }
}

/// How long a stalled connection stays open.
pub(crate) const STALL: Duration = Duration::from_secs(20);
