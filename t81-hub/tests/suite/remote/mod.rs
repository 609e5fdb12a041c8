//! The client of the Hub against a server on this machine.

mod access;
mod cache;
mod faults;
mod models;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use t81_hub::{DownloadProgress, HubClient, HubClientBuilder, HubError, RemoteError, RepoId};

use crate::hub_server::{HubServer, Repo};
use crate::model::{write_sharded, write_single};

/// A server, and a cache of its own.
struct Place {
    server: HubServer,
    cache: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            server: HubServer::start(),
            cache: tempfile::tempdir().unwrap(),
        }
    }

    /// A client without a token, whatever the environment of the tests says.
    fn client(&self) -> HubClient {
        self.builder().build().unwrap()
    }

    fn builder(&self) -> HubClientBuilder {
        HubClient::builder()
            .endpoint(self.server.url())
            .cache_directory(self.cache.path())
            .token(None)
            .offline(false)
            .timeout(Duration::from_secs(10))
            .retry_wait(Duration::from_millis(1))
    }

    fn cached(&self, path: &str) -> PathBuf {
        self.cache.path().join(path)
    }
}

/// Remembers what it hears; stops downloads after so many bytes of a file.
struct Recorder {
    heard: Mutex<Vec<String>>,
    stop_at: u64,
    have: AtomicU64,
}

impl Recorder {
    fn new(stop_at: u64) -> Arc<Self> {
        Arc::new(Self {
            heard: Mutex::default(),
            stop_at,
            have: AtomicU64::new(0),
        })
    }

    fn heard(&self) -> String {
        self.heard.lock().unwrap().join("\n")
    }

    fn hear(&self, text: String) {
        self.heard.lock().unwrap().push(text);
    }
}

impl DownloadProgress for Recorder {
    fn started(&self, file: &str, size: u64, have: u64) {
        self.hear(format!("started {file} {have}/{size}"));
    }

    fn advanced(&self, _file: &str, have: u64) {
        self.have.store(have, Ordering::SeqCst);
    }

    fn finished(&self, file: &str) {
        self.hear(format!("finished {file}"));
    }

    fn note(&self, text: &str) {
        self.hear(text.to_owned());
    }

    fn cancelled(&self) -> bool {
        self.have.load(Ordering::SeqCst) >= self.stop_at
    }
}

/// A model as people publish them: safetensors, and the same weights in every other format.
fn crowded(id: &str, directory: &Path) -> Repo {
    write_single(directory, t81_hub::Dtype::BF16);
    let mut repo = Repo::model(id).files_of(directory);
    for (path, text) in [
        ("tokenizer.json", "{}"),
        ("tokenizer_config.json", "{\"a\": 1}"),
        ("chat_template.jinja", "{{ messages }}"),
        ("generation_config.json", "{\"b\": 2}"),
        ("LICENSE.txt", "a licence"),
        ("README.md", "a card"),
        (".gitattributes", "*.bin lfs"),
        ("pytorch_model.bin", "pickle"),
        ("original/consolidated.00.pth", "pickle"),
        ("model.onnx", "graph"),
        ("onnx/model.onnx", "graph"),
        ("flax_model.msgpack", "flax"),
        ("tf_model.h5", "keras"),
        ("rust_model.ot", "torch"),
        ("model-q4_0.gguf", "gguf"),
        ("model.fp16.safetensors", "a variant"),
    ] {
        repo = repo.file(path, text);
    }
    repo
}

/// A model in two shards, whose index leaves a third file of safetensors out.
fn sharded(id: &str, directory: &Path) -> Repo {
    write_sharded(directory);
    Repo::model(id)
        .files_of(directory)
        .file("tokenizer.json", "{}")
        .file("consolidated.safetensors", "another layout")
}

fn model(id: &str) -> RepoId {
    RepoId::model(id).unwrap()
}

fn dataset(id: &str) -> RepoId {
    RepoId::dataset(id).unwrap()
}

/// The error of the Hub in a result that must be one.
fn remote<T: std::fmt::Debug>(outcome: Result<T, HubError>) -> RemoteError {
    match outcome.unwrap_err() {
        HubError::Remote(error) => error,
        other => panic!("{other:?}"),
    }
}

/// Bytes that do not repeat.
fn noise(count: usize) -> Vec<u8> {
    (0..count as u32)
        .map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

/// Paths of all files and links below a directory, sorted.
fn tree(directory: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    let mut folders = vec![directory.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                let path = entry.path();
                let path = path.strip_prefix(directory).unwrap();
                paths.push(path.to_str().unwrap().to_owned());
            }
        }
    }
    paths.sort();
    paths
}
