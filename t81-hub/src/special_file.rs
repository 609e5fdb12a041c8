//! What a path may lead to in place of a regular file.

use std::fmt;
use std::fs::{File, FileType};
use std::io::{ErrorKind, Read};
use std::path::Path;

use crate::HubError;

/// A kind of directory entry that is not a regular file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpecialFile {
    /// A directory.
    Directory,
    /// A named pipe, or a shell's `<(command)`.
    Pipe,
    /// A socket.
    Socket,
    /// A terminal, `/dev/zero` or another stream without an end.
    CharacterDevice,
    /// A disk.
    BlockDevice,
    /// Something else.
    Unknown,
}

impl SpecialFile {
    /// Returns the kind of an entry that is not a regular file, `None` for a regular file. Links must be resolved, as
    /// [`std::fs::metadata`] does.
    pub fn of(kind: FileType) -> Option<Self> {
        if kind.is_file() {
            return None;
        }
        if kind.is_dir() {
            return Some(Self::Directory);
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::FileTypeExt;
            let kinds = [
                (kind.is_fifo(), Self::Pipe),
                (kind.is_socket(), Self::Socket),
                (kind.is_char_device(), Self::CharacterDevice),
                (kind.is_block_device(), Self::BlockDevice),
            ];
            if let Some((_, kind)) = kinds.into_iter().find(|(is, _)| *is) {
                return Some(kind);
            }
        }
        Some(Self::Unknown)
    }

    /// What to do if the contents are needed more than once, starting with punctuation; may be empty.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Pipe => "; write what it delivers to a file first and pass that file",
            _ => "",
        }
    }
}

impl fmt::Display for SpecialFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Directory => "a directory",
            Self::Pipe => "a pipe",
            Self::Socket => "a socket",
            Self::CharacterDevice => "a character device",
            Self::BlockDevice => "a block device",
            Self::Unknown => "a special file",
        })
    }
}

/// Opens a file for reading, which must be a regular file or a link to one: to open a pipe without a writer would never
/// return, and a device may never end.
///
/// # Errors
/// [`HubError::NotAFile`] with the kind of anything else, [`HubError::Io`] if the system refuses.
pub fn open_regular_file(path: &Path) -> Result<File, HubError> {
    let metadata = std::fs::metadata(path).map_err(HubError::io("open", path))?;
    if let Some(kind) = SpecialFile::of(metadata.file_type()) {
        return Err(HubError::NotAFile {
            path: path.to_path_buf(),
            kind,
        });
    }
    File::open(path).map_err(HubError::io("open", path))
}

/// Reads a regular file if there is one at `path`.
///
/// # Errors
/// As [`open_regular_file`], but for a path that leads to nothing.
pub fn read_if_exists(path: &Path) -> Result<Option<Vec<u8>>, HubError> {
    let mut file = match open_regular_file(path) {
        Ok(file) => file,
        Err(HubError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)
        .map_err(HubError::io("read", path))?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &Path) -> SpecialFile {
        match open_regular_file(path) {
            Err(HubError::NotAFile { path: named, kind }) => {
                assert_eq!(named, path);
                kind
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_regular_files_are_opened() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "x").unwrap();
        assert_eq!(read_if_exists(&file).unwrap().unwrap(), b"x");
        assert_eq!(
            read_if_exists(&directory.path().join("missing")).unwrap(),
            None
        );
        read_if_exists(directory.path()).unwrap_err();
        assert_eq!(refused(directory.path()), SpecialFile::Directory);
        let missing = open_regular_file(&directory.path().join("missing")).unwrap_err();
        assert!(matches!(missing, HubError::Io { .. }), "{missing}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn pipes_sockets_and_devices_are_named() {
        use rustix::fs::{CWD, FileType, Mode};
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert_eq!(refused(&pipe), SpecialFile::Pipe);
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&pipe, &link).unwrap();
        assert_eq!(refused(&link), SpecialFile::Pipe);
        let socket = directory.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert_eq!(refused(&socket), SpecialFile::Socket);
        assert_eq!(
            refused(Path::new("/dev/zero")),
            SpecialFile::CharacterDevice
        );
    }
}
