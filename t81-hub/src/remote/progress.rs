//! Telling a user how far downloads are.

/// Hears of downloads, several of which may run at once, and may stop them.
pub trait DownloadProgress: Send + Sync {
    /// A file of `size` bytes is being fetched, of which the cache holds `have` already.
    fn started(&self, _file: &str, _size: u64, _have: u64) {}

    /// `have` of the file's bytes are there now.
    fn advanced(&self, _file: &str, _have: u64) {}

    /// The file is complete.
    fn finished(&self, _file: &str) {}

    /// Something that the user should know: a retry, a wait, a fall back on the cache.
    fn note(&self, _text: &str) {}

    /// Asked often; true stops all downloads with [`RemoteError::Interrupted`](crate::RemoteError::Interrupted). What
    /// has arrived is kept for the next run.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Progress that nobody hears of.
#[derive(Clone, Copy, Debug, Default)]
pub struct SilentDownloads;

impl DownloadProgress for SilentDownloads {}
