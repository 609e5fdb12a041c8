//! A directory that appears under its name only when it is complete.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::metadata::METADATA_FILE;
use crate::HubError;

/// A directory being written beside its final place, under the name `.NAME.t81-partial-XXXXXX`. Dropping it removes it;
/// [`commit`](Self::commit) moves it to its final place in one step. A process that is killed leaves the partial directory
/// behind and the final place as it was.
#[derive(Debug)]
pub(super) struct AtomicDirectory {
    target: PathBuf,
    overwrite: bool,
    partial: TempDir,
}

impl AtomicDirectory {
    /// Checks that `target` may be written, before any work, and creates the partial directory.
    pub(super) fn create(target: &Path, overwrite: bool) -> Result<Self, HubError> {
        let target = absolute(target)?;
        check_replaceable(&target, overwrite)?;
        let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(HubError::NotReplaceable(target));
        };
        std::fs::create_dir_all(parent).map_err(HubError::io("create", parent))?;
        let mut builder = tempfile::Builder::new();
        let prefix = affixed(name, ".t81-partial-");
        builder.prefix(&prefix);
        #[cfg(unix)]
        {
            // The default of the crate is private to the user; the result should obey the umask like any directory.
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(std::fs::Permissions::from_mode(0o777));
        }
        let partial = builder
            .tempdir_in(parent)
            .map_err(HubError::io("create a directory in", parent))?;
        Ok(Self {
            target,
            overwrite,
            partial,
        })
    }

    /// Where the files go until [`commit`](Self::commit).
    pub(super) fn path(&self) -> &Path {
        self.partial.path()
    }

    /// Moves the directory to its final place, replacing what is there if that is allowed. Whatever fails, either the
    /// old or the new contents are whole.
    pub(super) fn commit(self) -> Result<PathBuf, HubError> {
        let Self {
            target,
            overwrite,
            partial,
        } = self;
        sync_directory(partial.path())?;
        // Somebody else may have made the target since the first look.
        check_replaceable(&target, overwrite)?;
        if is_vacant(&target) {
            std::fs::rename(partial.path(), &target).map_err(HubError::io("create", &target))?;
            let _ = partial.keep();
        } else if exchange(partial.path(), &target) {
            // The partial directory now holds the old contents, and goes.
            partial
                .close()
                .map_err(HubError::io("remove the old contents of", &target))?;
        } else {
            replace_in_two_steps(partial, &target)?;
        }
        if let Some(parent) = target.parent() {
            sync_directory(parent)?;
        }
        Ok(target)
    }
}

fn affixed(name: &std::ffi::OsStr, suffix: &str) -> OsString {
    let mut affixed = OsString::from(".");
    affixed.push(name);
    affixed.push(suffix);
    affixed
}

/// The target without symbolic links or `..` in the part of it that exists.
fn absolute(target: &Path) -> Result<PathBuf, HubError> {
    if let Ok(existing) = target.canonicalize() {
        return Ok(existing);
    }
    let target = std::path::absolute(target).map_err(HubError::io("resolve", target))?;
    match (
        target
            .parent()
            .and_then(|parent| parent.canonicalize().ok()),
        target.file_name(),
    ) {
        (Some(parent), Some(name)) => Ok(parent.join(name)),
        _ => Ok(target),
    }
}

fn is_vacant(target: &Path) -> bool {
    match std::fs::read_dir(target) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

/// An empty directory may always be filled, a t81 directory may be replaced on request, anything else never: a slip
/// of the user's finger must not remove a home directory.
fn check_replaceable(target: &Path, overwrite: bool) -> Result<(), HubError> {
    if target.symlink_metadata().is_err() || (target.is_dir() && is_vacant(target)) {
        return Ok(());
    }
    if !target.join(METADATA_FILE).is_file() {
        return Err(HubError::NotReplaceable(target.to_path_buf()));
    }
    if overwrite {
        Ok(())
    } else {
        Err(HubError::OutputExists(target.to_path_buf()))
    }
}

/// Swaps two directories in one step where the system can.
#[cfg(target_os = "linux")]
fn exchange(one: &Path, other: &Path) -> bool {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn exchange(_one: &Path, _other: &Path) -> bool {
    false
}

/// For file systems that cannot exchange: the old directory steps aside, and returns if the new one cannot take its place.
fn replace_in_two_steps(partial: TempDir, target: &Path) -> Result<(), HubError> {
    let mut aside = partial.path().as_os_str().to_owned();
    aside.push("-previous");
    let aside = PathBuf::from(aside);
    std::fs::rename(target, &aside).map_err(HubError::io("replace", target))?;
    if let Err(error) = std::fs::rename(partial.path(), target) {
        std::fs::rename(&aside, target).map_err(HubError::io(
            "restore (it is now in a directory beside)",
            target,
        ))?;
        return Err(HubError::io("replace", target)(error));
    }
    let _ = partial.keep();
    std::fs::remove_dir_all(&aside).map_err(HubError::io("remove", &aside))
}

/// Makes the entries of a directory durable.
#[cfg(unix)]
fn sync_directory(path: &Path) -> Result<(), HubError> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(HubError::io("sync", path))
}

#[cfg(not(unix))]
fn sync_directory(_path: &Path) -> Result<(), HubError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn old_result(parent: &Path) -> PathBuf {
        let target = parent.join("out");
        std::fs::create_dir(&target).unwrap();
        std::fs::write(target.join(METADATA_FILE), b"old").unwrap();
        target
    }

    #[test]
    fn two_steps_replace_the_whole_directory() {
        let parent = tempfile::tempdir().unwrap();
        let target = old_result(parent.path());
        let new = AtomicDirectory::create(&target, true).unwrap();
        std::fs::write(new.path().join(METADATA_FILE), b"new").unwrap();
        replace_in_two_steps(new.partial, &target).unwrap();
        assert_eq!(std::fs::read(target.join(METADATA_FILE)).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1);
    }

    #[test]
    fn two_steps_put_the_old_directory_back() {
        let parent = tempfile::tempdir().unwrap();
        let target = old_result(parent.path());
        let new = AtomicDirectory::create(&target, true).unwrap();
        std::fs::remove_dir(new.path()).unwrap();
        assert!(replace_in_two_steps(new.partial, &target).is_err());
        assert_eq!(std::fs::read(target.join(METADATA_FILE)).unwrap(), b"old");
    }

    #[test]
    fn the_partial_directory_is_recognisable_and_a_sibling() {
        let parent = tempfile::tempdir().unwrap();
        let target = parent.path().join("a/b/out/");
        let new = AtomicDirectory::create(&target, false).unwrap();
        assert!(
            new.path()
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with(".out.t81-partial-")
        );
        assert_eq!(
            new.path().parent().unwrap().canonicalize().unwrap(),
            parent.path().join("a/b").canonicalize().unwrap()
        );
        assert!(!target.exists());
    }
}
