//! Models and datasets of the Hugging Face Hub, downloaded into the cache that the Python tools use.

mod api;
mod cache;
mod client;
mod download;
mod environment;
mod error;
mod model;
mod offline;
mod progress;
mod repo;
mod retry;
mod status;
mod terminal;
mod transport;

pub(crate) use cache::cached_model_name;
pub use client::{HubClient, HubClientBuilder};
pub use error::RemoteError;
pub use progress::{DownloadProgress, SilentDownloads};
pub(crate) use repo::is_commit;
pub use repo::{RemoteFile, RepoId, RepoKind, RepoListing};
pub use terminal::TerminalDownloads;
