//! The bytes of one file, from the Hub into the cache.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};
use ureq::http::{StatusCode, header};

use super::cache::{RepoCache, create_directory};
use super::repo::is_commit;
use super::retry::{Failure, Retries, with_retries};
use super::status::{Question, refusal};
use super::transport::Reply;
use super::{DownloadProgress, HubClient, RemoteError, RepoId};
use crate::HubError;

const BUFFER_BYTES: usize = 256 << 10;
/// A connection that brought so much was worth its attempt.
const GAIN: u64 = 16 << 20;

/// What the Hub says about a file before it is fetched.
pub(super) struct FileFacts {
    pub(super) commit: String,
    pub(super) etag: String,
    pub(super) size: u64,
}

impl HubClient {
    /// Asks for a file's commit, hash and size.
    pub(super) fn facts(&self, repo: &RepoId, file: &str) -> Result<FileFacts, HubError> {
        let url = self.file_url(repo, file);
        with_retries(self.retry_wait, self.progress(), || {
            let reply = self
                .transport
                .head(&url)
                .map_err(|error| self.unanswered(error))?;
            let status = reply.response.status();
            if !status.is_success() && !status.is_redirection() {
                return Err(self.refused(repo, file, &reply));
            }
            Ok(parse_facts(&reply)?)
        })
    }

    /// Fetches a file into its blob, going on from what an earlier attempt left.
    pub(super) fn fetch(
        &self,
        repo: &RepoId,
        file: &str,
        facts: &FileFacts,
        cache: &RepoCache,
        progress: &dyn DownloadProgress,
    ) -> Result<(), HubError> {
        let blob = cache.blob(&facts.etag);
        if holds(&blob, facts.size) {
            return Ok(());
        }
        if let Some(folder) = blob.parent() {
            create_directory(folder)?;
        }
        let _lock = cache.lock(&facts.etag, file, progress)?;
        if holds(&blob, facts.size) {
            return Ok(());
        }
        let mut partial = Partial::open(&blob, file, facts)?;
        partial.check_room()?;
        progress.started(file, facts.size, partial.have);
        let mut retries = Retries::new(self.retry_wait);
        while partial.have < facts.size {
            let before = partial.have;
            let outcome = self.receive(repo, file, &mut partial, progress);
            if partial.have >= before.saturating_add(GAIN) {
                retries.renew();
            }
            if let Err(failure) = outcome {
                retries.after(failure, progress)?;
            }
        }
        partial.finish(&blob)?;
        progress.finished(file);
        Ok(())
    }

    /// One request for the bytes that are missing.
    fn receive(
        &self,
        repo: &RepoId,
        file: &str,
        partial: &mut Partial<'_>,
        progress: &dyn DownloadProgress,
    ) -> Result<(), Failure> {
        let url = self.file_url(repo, file);
        let reply = self
            .transport
            .get(&url, partial.have)
            .map_err(|error| Failure::Transient {
                error: partial.broken_off(io::Error::other(error)),
                wait: None,
            })?;
        match reply.response.status() {
            StatusCode::PARTIAL_CONTENT => partial.check_range(&reply)?,
            StatusCode::OK => partial.restart()?,
            StatusCode::RANGE_NOT_SATISFIABLE => {
                partial.restart()?;
                return Err(Failure::Transient {
                    error: RemoteError::malformed(reply.url, "it cannot continue a download"),
                    wait: None,
                });
            }
            _ => return Err(self.refused(repo, file, &reply)),
        }
        let announced = reply
            .header(header::CONTENT_LENGTH.as_str())
            .and_then(|length| length.parse::<u64>().ok());
        if let Some(announced) = announced
            && announced != partial.size() - partial.have
        {
            let found = partial.have.saturating_add(announced);
            return Err(partial.wrong_size(found).into());
        }
        let mut body = reply.response.into_body().into_reader();
        let mut buffer = vec![0; BUFFER_BYTES];
        while partial.have < partial.size() {
            if progress.cancelled() {
                return Err(RemoteError::Interrupted.into());
            }
            let count = match body.read(&mut buffer) {
                Ok(0) => Err(io::Error::from(ErrorKind::UnexpectedEof)),
                Ok(count) => Ok(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let count = count.map_err(|error| Failure::Transient {
                error: partial.broken_off(error),
                wait: None,
            })?;
            partial.append(&buffer[..count])?;
            progress.advanced(file, partial.have);
        }
        Ok(())
    }

    fn refused(&self, repo: &RepoId, file: &str, reply: &Reply) -> Failure {
        let question = Question {
            endpoint: &self.endpoint,
            repo,
            file: Some(file),
            token: self.has_token(),
        };
        let (status, headers) = (reply.response.status(), reply.response.headers());
        refusal(question, &reply.url, status, headers)
    }

    fn file_url(&self, repo: &RepoId, file: &str) -> String {
        let encoded: Vec<String> = file
            .split('/')
            .map(|part| percent_encoding::utf8_percent_encode(part, PATH).to_string())
            .collect();
        self.api.repo(repo.hf()).url(&encoded.join("/"))
    }
}

/// What a URL's path cannot hold as it is.
const PATH: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Whether the blob is there in full. One of another size is what an older tool left of a broken download.
fn holds(blob: &Path, size: u64) -> bool {
    fs::metadata(blob).is_ok_and(|metadata| metadata.is_file() && metadata.len() == size)
}

fn parse_facts(reply: &Reply) -> Result<FileFacts, RemoteError> {
    let malformed = |problem: &str| RemoteError::malformed(&reply.url, problem);
    let commit = reply
        .header("x-repo-commit")
        .filter(|commit| is_commit(commit))
        .ok_or_else(|| malformed("it names no commit"))?;
    let etag = reply
        .header("x-linked-etag")
        .or_else(|| reply.header("etag"))
        .map(|etag| etag.trim_start_matches("W/").trim_matches('"'))
        .filter(|etag| is_etag(etag))
        .ok_or_else(|| malformed("it names no hash of the file"))?;
    // The length of a redirect is that of its own text.
    let length = (!reply.response.status().is_redirection())
        .then(|| reply.header(header::CONTENT_LENGTH.as_str()))
        .flatten();
    let size = reply
        .header("x-linked-size")
        .or(length)
        .and_then(|size| size.parse().ok())
        .ok_or_else(|| malformed("it does not say how large the file is"))?;
    Ok(FileFacts {
        commit: commit.to_owned(),
        etag: etag.to_owned(),
        size,
    })
}

/// Whether a hash may be the name of a file in the cache.
fn is_etag(etag: &str) -> bool {
    !etag.is_empty()
        && etag.len() <= 128
        && !etag.starts_with('.')
        && etag
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// A file that is not complete yet: `HASH.incomplete` beside the blob that it becomes.
struct Partial<'a> {
    name: &'a str,
    facts: &'a FileFacts,
    path: PathBuf,
    file: File,
    have: u64,
    /// Of large files the etag is the SHA-256; then the bytes are hashed as they arrive.
    hash: Option<Context>,
}

impl<'a> Partial<'a> {
    fn open(blob: &Path, name: &'a str, facts: &'a FileFacts) -> Result<Self, HubError> {
        let mut path = blob.as_os_str().to_owned();
        path.push(".incomplete");
        let path = PathBuf::from(path);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(HubError::io("open", &path))?;
        let sha256 =
            facts.etag.len() == 64 && facts.etag.bytes().all(|byte| byte.is_ascii_hexdigit());
        let mut partial = Self {
            name,
            facts,
            path,
            file,
            have: 0,
            hash: sha256.then(|| Context::new(&SHA256)),
        };
        partial
            .take_up()
            .map_err(HubError::io("read", &partial.path))?;
        Ok(partial)
    }

    /// Counts and hashes what an earlier attempt left.
    fn take_up(&mut self) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        if length > self.facts.size {
            self.file.set_len(0)?;
        } else if let Some(hash) = &mut self.hash {
            let mut left = Read::take(&self.file, length);
            let mut buffer = vec![0; BUFFER_BYTES];
            loop {
                match left.read(&mut buffer)? {
                    0 => break,
                    count => {
                        hash.update(&buffer[..count]);
                        self.have += count as u64;
                    }
                }
            }
        } else {
            self.have = length;
        }
        self.file.seek(SeekFrom::Start(self.have))?;
        Ok(())
    }

    fn size(&self) -> u64 {
        self.facts.size
    }

    /// Begins anew.
    fn restart(&mut self) -> Result<(), HubError> {
        if self.have > 0 {
            self.have = 0;
            self.hash = self.hash.as_ref().map(|_| Context::new(&SHA256));
            self.file
                .set_len(0)
                .and_then(|()| self.file.rewind())
                .map_err(HubError::io("empty", &self.path))?;
        }
        Ok(())
    }

    /// A continuation must begin where the partial file ends.
    fn check_range(&self, reply: &Reply) -> Result<(), RemoteError> {
        let range = reply
            .header(header::CONTENT_RANGE.as_str())
            .unwrap_or_default();
        let parsed = range.strip_prefix("bytes ").and_then(|range| {
            let (span, total) = range.split_once('/')?;
            let (start, _) = span.split_once('-')?;
            Some((start.parse::<u64>().ok()?, total.parse::<u64>().ok()))
        });
        match parsed {
            Some((start, None)) if start == self.have => Ok(()),
            Some((start, Some(total))) if start == self.have && total == self.size() => Ok(()),
            Some((start, Some(total))) if start == self.have => Err(self.wrong_size(total)),
            _ => Err(RemoteError::malformed(
                &reply.url,
                format!(
                    "asked for the bytes from {} on, it sends `{range}`",
                    self.have
                ),
            )),
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), HubError> {
        if self.have + bytes.len() as u64 > self.size() {
            let found = self.have + bytes.len() as u64;
            self.restart()?;
            return Err(self.wrong_size(found).into());
        }
        self.file
            .write_all(bytes)
            .map_err(|error| self.unwritten(error))?;
        self.have += bytes.len() as u64;
        if let Some(hash) = &mut self.hash {
            hash.update(bytes);
        }
        Ok(())
    }

    fn unwritten(&self, error: io::Error) -> HubError {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => RemoteError::DiskFull {
                path: self.path.clone(),
                missing: self.size() - self.have,
            }
            .into(),
            _ => HubError::io("write", &self.path)(error),
        }
    }

    /// A disk without room is better known before hours of downloading than after.
    fn check_room(&self) -> Result<(), HubError> {
        #[cfg(target_os = "linux")]
        if let Ok(disk) = rustix::fs::fstatvfs(&self.file)
            // A file system that does not say how large it is says nothing about its room either.
            && disk.f_blocks > 0
            && disk.f_bavail.saturating_mul(disk.f_frsize) < self.size() - self.have
        {
            return Err(RemoteError::DiskFull {
                path: self.path.clone(),
                missing: self.size() - self.have,
            }
            .into());
        }
        Ok(())
    }

    /// Gives the complete file its name.
    fn finish(self, blob: &Path) -> Result<(), HubError> {
        if let Some(hash) = self.hash {
            let found: String = hash
                .finish()
                .as_ref()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            if !found.eq_ignore_ascii_case(&self.facts.etag) {
                // What is damaged must not be taken up again.
                fs::remove_file(&self.path).map_err(HubError::io("remove", &self.path))?;
                return Err(RemoteError::Hash {
                    file: self.name.to_owned(),
                    expected: self.facts.etag.clone(),
                    found,
                }
                .into());
            }
        }
        self.file
            .sync_all()
            .map_err(HubError::io("write", &self.path))?;
        fs::rename(&self.path, blob).map_err(HubError::io("create", blob))
    }

    fn broken_off(&self, source: io::Error) -> RemoteError {
        RemoteError::BrokenOff {
            file: self.name.to_owned(),
            have: self.have,
            size: self.size(),
            source,
        }
    }

    fn wrong_size(&self, found: u64) -> RemoteError {
        RemoteError::Size {
            file: self.name.to_owned(),
            expected: self.size(),
            found,
        }
    }
}
