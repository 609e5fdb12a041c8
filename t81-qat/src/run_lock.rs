//! The lock of an output directory: one run at a time.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process;

use t81_hub::terminal::print_error;

use crate::error::QatError;

/// Name of the file in the output directory. It holds the id of the process that locked it.
pub(crate) const LOCK_FILE: &str = "run.lock";

/// Bytes of the file that are read: more than any process id has.
const MAX_ID_BYTES: u64 = 32;

/// Keeps other runs out of a directory while it lives.
///
/// The operating system holds the lock, so that it ends with the process, however that ends: a file that a killed run left is
/// no obstacle.
#[derive(Debug)]
pub(crate) struct RunLock {
    directory: PathBuf,
    /// Folders that were made for the file, outermost first. They go again if nothing else comes into them.
    made: Vec<PathBuf>,
    _file: File,
}

impl RunLock {
    /// Locks `directory`, which is created if it does not exist.
    ///
    /// # Errors
    ///
    /// [`QatError::InUse`] if another run has locked it, or if its file cannot be written.
    pub(crate) fn acquire(directory: &Path) -> Result<Self, QatError> {
        let made = missing_folders(directory);
        fs::create_dir_all(directory).map_err(QatError::file("create", directory))?;
        let path = directory.join(LOCK_FILE);
        loop {
            let mut file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(QatError::file("create", &path))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(QatError::InUse {
                        directory: directory.to_path_buf(),
                        process: holder(&mut file),
                    });
                }
                // Some network file systems have no locks.
                Err(TryLockError::Error(error)) => print_error(format_args!(
                    "note: {} cannot be locked ({error}); start no second run in this directory",
                    path.display()
                )),
            }
            // The run that had it before may have removed it in between.
            if !is_at(&file, &path) {
                continue;
            }
            let written = file
                .set_len(0)
                .and_then(|()| file.write_all(format!("{}\n", process::id()).as_bytes()));
            written.map_err(QatError::file("write", &path))?;
            return Ok(Self {
                directory: directory.to_path_buf(),
                made,
                _file: file,
            });
        }
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // While it is still locked. What cannot be removed is in nobody's way.
        let _ = fs::remove_file(self.directory.join(LOCK_FILE));
        for folder in self.made.iter().rev() {
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }
}

/// The folders of `directory` that do not exist, itself included, outermost first.
fn missing_folders(directory: &Path) -> Vec<PathBuf> {
    let mut missing: Vec<PathBuf> = directory
        .ancestors()
        .take_while(|folder| *folder != Path::new("") && !folder.exists())
        .map(Path::to_path_buf)
        .collect();
    missing.reverse();
    missing
}

/// The process that a lock file names. Where locks keep others from reading, as on Windows, there is none.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(MAX_ID_BYTES).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Whether `path` still names `file`.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_at(_file: &File, path: &Path) -> bool {
    path.exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_is_refused_until_the_first_is_gone() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("new/deep/run");
        let lock = RunLock::acquire(&directory).unwrap();
        let error = RunLock::acquire(&directory).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "another run (process {}) is writing to {}; wait for its end, stop it, or pass another --output-dir",
                process::id(),
                directory.display()
            )
        );
        drop(lock);
        assert!(!scratch.path().join("new").exists(), "it made the folders");
        drop(RunLock::acquire(&directory).unwrap());
    }

    #[test]
    fn what_a_killed_run_left_is_no_obstacle() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(LOCK_FILE);
        fs::write(&path, "4194304999 and more than an id").unwrap();
        fs::write(directory.path().join("settings.json"), "{}").unwrap();
        let lock = RunLock::acquire(directory.path()).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            format!("{}\n", process::id())
        );
        drop(lock);
        assert!(!path.exists());
        assert!(directory.path().join("settings.json").exists());
    }
}
