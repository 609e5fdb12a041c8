//! A directory that appears under its name only when it is complete.

use std::ffi::{OsStr, OsString};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::metadata::METADATA_FILE;
use crate::{HubError, OutputFolder, resolve_output};

/// What the name of a partial directory has after the name of its target.
const PARTIAL: &str = ".t81-partial-";

/// How often a partial directory is made anew when another process takes it for an abandoned one.
const ATTEMPTS: usize = 8;

/// A directory being written beside its final place, under the name `.NAME.t81-partial-XXXXXX`. Dropping it removes it;
/// [`commit`](Self::commit) moves it to its final place in one step. A process that is killed leaves the partial directory
/// behind and the final place as it was; the next one that writes there removes it.
#[derive(Debug)]
pub(super) struct AtomicDirectory {
    target: PathBuf,
    overwrite: bool,
    partial: TempDir,
    /// Locked as long as this process works on the directory: what is not locked is abandoned.
    _lock: Option<File>,
    /// The folder of both; goes after the partial directory, so that it can be found empty.
    _folder: OutputFolder,
}

impl AtomicDirectory {
    /// Checks that `target` may be written, before any work, and creates the partial directory.
    pub(super) fn create(target: &Path, overwrite: bool) -> Result<Self, HubError> {
        let target = resolve_output(target)?;
        check_replaceable(&target, overwrite)?;
        let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(HubError::NotReplaceable(target));
        };
        let folder = OutputFolder::make(parent)?;
        let prefix = affixed(name, PARTIAL);
        remove_abandoned(parent, &prefix);
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix);
        #[cfg(unix)]
        {
            // The default of the crate is private to the user; the result should obey the umask like any directory.
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(std::fs::Permissions::from_mode(0o777));
        }
        for _ in 0..ATTEMPTS {
            let partial = builder
                .tempdir_in(parent)
                .map_err(HubError::io("create a directory in", parent))?;
            if let Owned::Yes(lock) = own(partial.path()) {
                return Ok(Self {
                    target,
                    overwrite,
                    partial,
                    _lock: lock,
                    _folder: folder,
                });
            }
        }
        let source = std::io::Error::other("other processes keep removing it");
        Err(HubError::io("create a directory in", parent)(source))
    }

    /// Where the files go until [`commit`](Self::commit).
    pub(super) fn path(&self) -> &Path {
        self.partial.path()
    }

    /// Moves the directory to its final place, replacing what is there if that is allowed. Whatever fails, either the
    /// old or the new contents are whole.
    pub(super) fn commit(self) -> Result<PathBuf, HubError> {
        Ok(self.commit_with(|| Ok::<(), HubError>(()))?.0)
    }

    /// As [`commit`](Self::commit), and then does `last`, the other part of the same result. If that fails, the final place gets
    /// its former contents back.
    pub(super) fn commit_with<T, E: From<HubError>>(
        self,
        last: impl FnOnce() -> Result<T, E>,
    ) -> Result<(PathBuf, T), E> {
        let Self {
            target,
            overwrite,
            partial,
            ..
        } = self;
        sync_directory(partial.path())?;
        // Somebody else may have made the target since the first look.
        check_replaceable(&target, overwrite)?;
        // Once exchanged, the old contents lie in the partial directory: to others they must not seem abandoned.
        let _old = File::open(&target)
            .ok()
            .filter(|old| old.try_lock().is_ok());
        let former = if is_vacant(&target) {
            std::fs::rename(partial.path(), &target).map_err(HubError::io("create", &target))?;
            Former::Nothing
        } else if exchange(partial.path(), &target) {
            Former::InPartial
        } else {
            Former::Aside(replace_in_two_steps(partial.path(), &target)?)
        };
        let other = match last() {
            Ok(other) => other,
            Err(error) => {
                if !former.restore(partial.path(), &target) {
                    // The former contents may be in the partial directory.
                    let _ = partial.keep();
                }
                return Err(error);
            }
        };
        match former {
            Former::Nothing => drop(partial.keep()),
            // If some of the old contents cannot be removed, the new ones are in place all the same, and the next process that
            // writes there tries again.
            Former::InPartial => drop(partial.close()),
            Former::Aside(aside) => {
                let _ = partial.keep();
                let _ = std::fs::remove_dir_all(&aside);
            }
        }
        if let Some(parent) = target.parent() {
            sync_directory(parent)?;
        }
        Ok((target, other))
    }
}

/// Where the former contents of the final place are once the new ones are there.
enum Former {
    /// There were none.
    Nothing,
    /// Where the new ones were.
    InPartial,
    /// In a directory of their own.
    Aside(PathBuf),
}

impl Former {
    /// Moves the new contents back to `partial` and the former ones to `target`; returns whether that succeeded.
    fn restore(&self, partial: &Path, target: &Path) -> bool {
        match self {
            Self::InPartial => exchange(partial, target),
            Self::Nothing => std::fs::rename(target, partial).is_ok(),
            Self::Aside(aside) => {
                std::fs::rename(target, partial).is_ok() && std::fs::rename(aside, target).is_ok()
            }
        }
    }
}

fn affixed(name: &OsStr, suffix: &str) -> OsString {
    let mut affixed = OsString::from(".");
    affixed.push(name);
    affixed.push(suffix);
    affixed
}

/// Whether a new partial directory is this process' own.
enum Owned {
    /// With the lock, where the file system has locks.
    Yes(Option<File>),
    /// Another process took it for abandoned before it was locked.
    No,
}

fn own(partial: &Path) -> Owned {
    let Ok(directory) = File::open(partial) else {
        return if partial.exists() {
            Owned::Yes(None)
        } else {
            Owned::No
        };
    };
    match directory.try_lock() {
        Err(TryLockError::WouldBlock) => Owned::No,
        // Between its making and its locking it may have been removed.
        _ if !partial.exists() => Owned::No,
        Ok(()) => Owned::Yes(Some(directory)),
        Err(TryLockError::Error(_)) => Owned::Yes(None),
    }
}

/// Removes the partial directories that processes left which were killed. Whatever cannot be removed stays: it does no harm
/// but for the space.
fn remove_abandoned(parent: &Path, prefix: &OsStr) {
    let Ok(entries) = std::fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let suffix = name
            .as_encoded_bytes()
            .strip_prefix(prefix.as_encoded_bytes());
        // An old result that stepped aside has a longer name, and is not ours to remove.
        let is_partial = suffix
            .is_some_and(|rest| !rest.is_empty() && rest.iter().all(u8::is_ascii_alphanumeric));
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_partial
            && is_directory
            && let Ok(directory) = File::open(entry.path())
            && directory.try_lock().is_ok()
        {
            let _ = std::fs::remove_dir_all(entry.path());
        }
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
/// Returns where it is.
fn replace_in_two_steps(partial: &Path, target: &Path) -> Result<PathBuf, HubError> {
    let mut aside = partial.as_os_str().to_owned();
    aside.push("-previous");
    let aside = PathBuf::from(aside);
    std::fs::rename(target, &aside).map_err(HubError::io("replace", target))?;
    if let Err(error) = std::fs::rename(partial, target) {
        std::fs::rename(&aside, target).map_err(HubError::io(
            "restore (it is now in a directory beside)",
            target,
        ))?;
        return Err(HubError::io("replace", target)(error));
    }
    Ok(aside)
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
        let aside = replace_in_two_steps(new.path(), &target).unwrap();
        assert_eq!(std::fs::read(target.join(METADATA_FILE)).unwrap(), b"new");
        assert_eq!(std::fs::read(aside.join(METADATA_FILE)).unwrap(), b"old");
        assert!(Former::Aside(aside.clone()).restore(new.path(), &target));
        assert_eq!(std::fs::read(target.join(METADATA_FILE)).unwrap(), b"old");
        assert!(new.path().is_dir() && !aside.exists());
    }

    #[test]
    fn two_steps_put_the_old_directory_back() {
        let parent = tempfile::tempdir().unwrap();
        let target = old_result(parent.path());
        let new = AtomicDirectory::create(&target, true).unwrap();
        std::fs::remove_dir(new.path()).unwrap();
        assert!(replace_in_two_steps(new.path(), &target).is_err());
        assert_eq!(std::fs::read(target.join(METADATA_FILE)).unwrap(), b"old");
    }

    #[test]
    fn a_result_whose_other_part_fails_is_taken_back() {
        let failure = || Err(HubError::plan("other part", "failed"));
        let parent = tempfile::tempdir().unwrap();
        let fresh = parent.path().join("made/fresh");
        let new = AtomicDirectory::create(&fresh, false).unwrap();
        std::fs::write(new.path().join(METADATA_FILE), b"new").unwrap();
        assert!(new.commit_with(failure).is_err());
        assert!(!parent.path().join("made").exists());

        let target = old_result(parent.path());
        for (succeeds, left) in [(false, b"old"), (true, b"new")] {
            let new = AtomicDirectory::create(&target, true).unwrap();
            std::fs::write(new.path().join(METADATA_FILE), b"new").unwrap();
            let seen = target.join(METADATA_FILE);
            let result = new.commit_with(|| {
                assert_eq!(std::fs::read(&seen).unwrap(), b"new");
                if succeeds { Ok(()) } else { failure() }
            });
            assert_eq!(result.is_ok(), succeeds);
            assert_eq!(std::fs::read(&seen).unwrap(), left);
            assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn abandoned_directories_are_removed_and_others_stay() {
        let parent = tempfile::tempdir().unwrap();
        let target = old_result(parent.path());
        let living = AtomicDirectory::create(&target, true).unwrap();
        for name in [
            ".out.t81-partial-Ab12cd",
            ".out.t81-partial-Ab12cd-previous",
            ".other.t81-partial-Ab12cd",
            "out.t81-partial-Ab12cd",
        ] {
            std::fs::create_dir(parent.path().join(name)).unwrap();
            std::fs::write(parent.path().join(name).join("model.safetensors"), b"x").unwrap();
        }
        let file = parent.path().join(".out.t81-partial-file");
        std::fs::write(&file, b"mine").unwrap();
        let next = AtomicDirectory::create(&target, true).unwrap();
        assert!(living.path().is_dir() && next.path().is_dir() && file.is_file());
        assert!(!parent.path().join(".out.t81-partial-Ab12cd").exists());
        for name in [
            ".out.t81-partial-Ab12cd-previous",
            ".other.t81-partial-Ab12cd",
            "out.t81-partial-Ab12cd",
        ] {
            assert!(parent.path().join(name).is_dir(), "{name}");
        }
        drop((living, next));
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 5);
    }

    #[test]
    fn cleaning_up_beside_a_replacement_does_not_fail_it() {
        let parent = tempfile::tempdir().unwrap();
        let target = old_result(parent.path());
        let prefix = affixed(OsStr::new("out"), PARTIAL);
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    remove_abandoned(parent.path(), &prefix);
                }
            });
            let replace = |round: usize| {
                let new = AtomicDirectory::create(&target, true)?;
                for file in 0..20 {
                    std::fs::write(new.path().join(file.to_string()), b"x").unwrap();
                }
                std::fs::write(new.path().join(METADATA_FILE), round.to_string()).unwrap();
                new.commit()
            };
            let results: Vec<_> = (0..200).map(replace).collect();
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            for result in results {
                result.unwrap();
            }
        });
        let last = std::fs::read_to_string(target.join(METADATA_FILE)).unwrap();
        assert_eq!(last, "199");
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1);
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
