//! Token streams that are kept on disk, under the fingerprint of all that they follow from.

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::NamedTempFile;
use tokenizers::Tokenizer;
use xxhash_rust::xxh3::Xxh3;

use super::Tokens;
use super::file::{FileWriter, MappedTokens, Width};
use crate::error::DataError;

const PARTIAL: &str = ".partial-";

/// Age at which a file that nobody finished is removed.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// A directory of token streams, so that the same text is not tokenized twice with the same tokenizer.
///
/// Streams are found by the contents of the text's file, of the tokenizer and by how the text was read: a changed file is
/// another stream, a copied one is the same. A damaged stream is made anew. Any number of processes may use a directory at
/// once. It may be removed at any time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenCache {
    directory: PathBuf,
}

impl TokenCache {
    /// The cache in a directory, which is made when it is needed.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// The cache in `tokens` within `$T81_CACHE`, or else within `t81` in the user's cache directory (`$XDG_CACHE_HOME`,
    /// `~/.cache`, or what the system has in their place). None if there is no such directory.
    pub fn from_environment() -> Option<Self> {
        let base = match std::env::var_os("T81_CACHE") {
            Some(directory) if !directory.is_empty() => PathBuf::from(directory),
            _ => dirs::cache_dir()?.join("t81"),
        };
        Some(Self::new(base.join("tokens")))
    }

    /// Where the streams are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The stream of `key`, if it is there and whole.
    pub(crate) fn find(&self, key: Fingerprint) -> Option<Tokens> {
        MappedTokens::open(&self.path(key), key.0).map(Tokens::mapped)
    }

    fn path(&self, key: Fingerprint) -> PathBuf {
        self.directory.join(format!("{:032x}.tokens", key.0))
    }

    /// Begins a new stream.
    pub(crate) fn writer(&self, tokenizer: &Tokenizer) -> Result<TokenWriter, DataError> {
        fs::create_dir_all(&self.directory).map_err(|source| self.unwritable(source))?;
        self.remove_abandoned();
        let mut builder = tempfile::Builder::new();
        builder.prefix(PARTIAL);
        #[cfg(unix)]
        {
            // The default of the crate is private to the user; a cache may be shared as the umask allows.
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        let vocabulary = tokenizer.get_vocab(true);
        let largest = vocabulary.into_values().max().unwrap_or(0);
        let file = builder
            .tempfile_in(&self.directory)
            .and_then(|file| FileWriter::new(file, Width::for_tokens(largest)))
            .map_err(|source| self.unwritable(source))?;
        Ok(TokenWriter {
            cache: self.clone(),
            file,
        })
    }

    fn remove_abandoned(&self) {
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return;
        };
        let now = SystemTime::now();
        for entry in entries.flatten() {
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            let is_partial = entry.file_name().to_string_lossy().starts_with(PARTIAL);
            let is_old = modified.is_ok_and(|modified| {
                now.duration_since(modified)
                    .is_ok_and(|age| age > ABANDONED)
            });
            if is_partial && is_old {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn unwritable(&self, source: std::io::Error) -> DataError {
        DataError::Cache {
            directory: self.directory.clone(),
            reason: source,
        }
    }
}

/// A stream being written. Dropping it removes it.
pub(crate) struct TokenWriter {
    cache: TokenCache,
    file: FileWriter<NamedTempFile>,
}

impl TokenWriter {
    pub(crate) fn push(&mut self, tokens: &[u32]) -> Result<(), DataError> {
        self.file
            .push(tokens)
            .map_err(|source| self.cache.unwritable(source))
    }

    /// Keeps the stream under `key`.
    pub(crate) fn finish(self, key: Fingerprint) -> Result<Tokens, DataError> {
        let Self { cache, file } = self;
        let path = cache.path(key);
        let written = file
            .finish(key.0)
            .map_err(|source| cache.unwritable(source))?;
        if let Err(error) = written.persist(&path) {
            // Another process may have put the same stream there in a way that forbids replacing it.
            return cache.find(key).ok_or_else(|| cache.unwritable(error.error));
        }
        cache
            .find(key)
            .ok_or_else(|| cache.unwritable(std::io::Error::other("what was written is not there")))
    }
}

/// What a stream follows from, in 128 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(u128);

impl Fingerprint {
    /// The fingerprint of some values, each told from its neighbours.
    pub(crate) fn of(values: &[&[u8]]) -> Self {
        let mut hash = Xxh3::new();
        for value in values {
            hash.update(&(value.len() as u64).to_le_bytes());
            hash.update(value);
        }
        Self(hash.digest128())
    }

    /// The fingerprint of a file's contents.
    pub(crate) fn of_file(path: &Path) -> Result<Self, DataError> {
        let io = |source| DataError::io(path, source);
        let mut file = BufReader::with_capacity(0, File::open(path).map_err(io)?);
        let mut hash = Xxh3::new();
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer).map_err(io)? {
                0 => return Ok(Self(hash.digest128())),
                read => hash.update(&buffer[..read]),
            }
        }
    }

    pub(crate) fn bytes(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::story_tokenizer;

    fn kept(cache: &TokenCache, key: Fingerprint, tokens: &[u32]) -> Tokens {
        let tokenizer = story_tokenizer(300).unwrap();
        let mut writer = cache.writer(&tokenizer).unwrap();
        writer.push(tokens).unwrap();
        writer.finish(key).unwrap()
    }

    #[test]
    fn a_stream_is_found_again_and_a_damaged_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let cache = TokenCache::new(directory.path().join("a/b"));
        let key = Fingerprint::of(&[b"x"]);
        assert!(cache.find(key).is_none());
        assert_eq!(kept(&cache, key, &[1, 2, 3]).to_vec(), [1, 2, 3]);
        assert_eq!(cache.find(key).unwrap().to_vec(), [1, 2, 3]);
        assert!(cache.find(Fingerprint::of(&[b"y"])).is_none());
        assert_eq!(fs::read_dir(cache.directory()).unwrap().count(), 1);

        let path = cache.path(key);
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(cache.find(key).is_none());
        assert_eq!(kept(&cache, key, &[4]).to_vec(), [4]);
    }

    #[test]
    fn what_nobody_finished_is_removed_in_time() {
        let directory = tempfile::tempdir().unwrap();
        let cache = TokenCache::new(directory.path());
        let [old, young] =
            ["old", "young"].map(|name| directory.path().join(PARTIAL.to_owned() + name));
        for path in [&old, &young] {
            fs::write(path, "x").unwrap();
        }
        let long_ago = SystemTime::now() - 2 * ABANDONED;
        File::options()
            .write(true)
            .open(&old)
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
        drop(cache.writer(&story_tokenizer(300).unwrap()).unwrap());
        assert!(!old.exists() && young.exists());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_unwritable_directory_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "x").unwrap();
        let cache = TokenCache::new(&file);
        let error = cache.writer(&story_tokenizer(300).unwrap()).err().unwrap();
        assert!(matches!(&error, DataError::Cache { directory, .. } if *directory == file));
        assert!(error.to_string().contains("T81_CACHE"), "{error}");
    }

    #[test]
    fn fingerprints_tell_values_apart() {
        let of = Fingerprint::of;
        assert_eq!(of(&[b"a", b"b"]), of(&[b"a", b"b"]));
        assert_ne!(of(&[b"ab"]), of(&[b"a", b"b"]));
        assert_ne!(of(&[b"a", b""]), of(&[b"", b"a"]));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "one").unwrap();
        let one = Fingerprint::of_file(&path).unwrap();
        fs::write(&path, "two").unwrap();
        assert_ne!(Fingerprint::of_file(&path).unwrap(), one);
    }
}
