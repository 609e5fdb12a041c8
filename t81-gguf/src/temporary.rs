//! The temporary file that an output grows in, beside its final place.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;

use tempfile::NamedTempFile;

/// What ends a temporary file's name.
const SUFFIX: &str = ".partial";

/// How often a file is made anew when another process takes it for an abandoned one.
const ATTEMPTS: usize = 8;

/// Creates the file `.NAME.XXXXXX.partial` in the folder of `path`, and removes those that killed processes left there. It is
/// locked as long as it is open: what is not locked is abandoned.
pub(crate) fn create(path: &Path, folder: &Path) -> io::Result<NamedTempFile> {
    let prefix = format!(
        ".{}.",
        path.file_name().unwrap_or_default().to_string_lossy()
    );
    remove_abandoned(folder, &prefix);
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(SUFFIX);
    // Readable as any new file is (the process's umask applies), where tempfile's default is the owner alone.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    for _ in 0..ATTEMPTS {
        let file = builder.tempfile_in(folder)?;
        if own(&file) {
            return Ok(file);
        }
    }
    Err(io::Error::other(
        "other processes keep removing the temporary file",
    ))
}

/// Locks a new file, unless another process took it for abandoned before. (Elsewhere than on Unix a lock would keep others from
/// reading.)
#[cfg(unix)]
fn own(file: &NamedTempFile) -> bool {
    let locked = file.as_file().try_lock();
    !matches!(locked, Err(TryLockError::WouldBlock)) && file.path().exists()
}

#[cfg(not(unix))]
fn own(_file: &NamedTempFile) -> bool {
    true
}

/// What cannot be removed stays: it does no harm but for the space.
#[cfg(unix)]
fn remove_abandoned(folder: &Path, prefix: &str) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        if is_temporary(&entry.file_name(), prefix)
            && entry.file_type().is_ok_and(|kind| kind.is_file())
            && let Ok(file) = File::open(entry.path())
            && file.try_lock().is_ok()
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(not(unix))]
fn remove_abandoned(_folder: &Path, _prefix: &str) {}

/// Whether a name is what [`create`] gives, and not some other file of the user.
#[cfg(unix)]
fn is_temporary(name: &OsStr, prefix: &str) -> bool {
    name.to_str()
        .and_then(|name| name.strip_prefix(prefix))
        .and_then(|rest| rest.strip_suffix(SUFFIX))
        .is_some_and(|random| {
            random.len() == 6 && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn abandoned_files_are_removed_and_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.gguf");
        let living = create(&path, folder.path()).unwrap();
        let others = [
            ".m.gguf.Ab12cd.partially",
            ".m.gguf.notes.partial",
            ".n.gguf.Ab12cd.partial",
            "m.gguf",
        ];
        for name in others.iter().chain(&[".m.gguf.Ab12cd.partial"]) {
            fs::write(folder.path().join(name), b"x").unwrap();
        }
        let next = create(&path, folder.path()).unwrap();
        assert!(living.path().exists() && next.path().exists());
        assert!(!folder.path().join(".m.gguf.Ab12cd.partial").exists());
        for name in others {
            assert!(folder.path().join(name).exists(), "{name}");
        }
    }
}
