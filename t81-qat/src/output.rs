//! The output directory of a run.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use t81_hub::{OutputFolder, check_apart, check_creatable, resolve_output};
use tempfile::NamedTempFile;

use crate::error::QatError;
use crate::run_lock::{LOCK_FILE, RunLock};
use crate::settings::RunSettings;
use crate::training::WarmupDecay;

const SETTINGS: &str = "settings.json";

/// Rows of `schedule.csv` at most.
const MAX_SCHEDULE_ROWS: usize = 20_000;

/// The files of a run, which is the only one in its directory.
#[derive(Debug)]
pub(crate) struct OutputDirectory {
    directory: PathBuf,
    _lock: RunLock,
}

impl OutputDirectory {
    /// Locks `directory` for a run that may be written to it, and leaves what is in it.
    pub(crate) fn open(directory: &Path, overwrite: bool, resume: bool) -> Result<Self, QatError> {
        // Another run's directory is that run's, whatever is in it.
        let lock = match directory.join(LOCK_FILE).exists() {
            true => Some(RunLock::acquire(directory)?),
            false => None,
        };
        Self::check(directory, overwrite, resume)?;
        let lock = match lock {
            Some(lock) => lock,
            None => RunLock::acquire(directory)?,
        };
        Ok(Self {
            directory: directory.to_path_buf(),
            _lock: lock,
        })
    }

    fn check(directory: &Path, overwrite: bool, resume: bool) -> Result<(), QatError> {
        let is_run = directory.join(SETTINGS).is_file();
        if resume {
            return if is_run {
                Ok(())
            } else {
                Err(QatError::NothingToResume {
                    directory: directory.to_path_buf(),
                })
            };
        }
        if is_run && !overwrite {
            return Err(QatError::RunExists {
                directory: directory.to_path_buf(),
            });
        }
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries
                .flatten()
                .any(|entry| entry.file_name() != LOCK_FILE),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
            Err(error) => return Err(QatError::file("read", directory)(error)),
        };
        if entries && !is_run {
            return Err(QatError::NotARun {
                directory: directory.to_path_buf(),
            });
        }
        Ok(())
    }

    /// Starts a run: creates the directory, drops the checkpoints of the one before. Its `t81` folder stays until the
    /// new one is complete.
    pub(crate) fn start(&self, settings: &RunSettings) -> Result<(), QatError> {
        fs::create_dir_all(&self.directory).map_err(QatError::file("create", &self.directory))?;
        self.write_json(SETTINGS, settings)?;
        let checkpoints = self.directory.join("checkpoints");
        match fs::remove_dir_all(&checkpoints) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(QatError::file("remove", checkpoints)(error))
            }
            _ => Ok(()),
        }
    }

    /// Writes the schedules of the whole run as a table, of a very long one every few steps.
    pub(crate) fn write_schedule(
        &self,
        settings: &RunSettings,
        rates: &WarmupDecay,
    ) -> Result<(), QatError> {
        let mut table = String::from("step,learning_rate,threshold,lambda\n");
        let stride = settings.total_steps.div_ceil(MAX_SCHEDULE_ROWS).max(1);
        for step in (0..settings.total_steps).step_by(stride) {
            table.push_str(&format!(
                "{step},{:e},{},{}\n",
                rates.rate_at(step),
                settings.schedule.threshold.value_at(step),
                settings.schedule.blend.value_at(step)
            ));
        }
        self.write("schedule.csv", table.as_bytes())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn settings(&self) -> PathBuf {
        self.directory.join(SETTINGS)
    }

    pub(crate) fn metrics(&self) -> PathBuf {
        self.directory.join("metrics.jsonl")
    }

    pub(crate) fn baseline(&self) -> PathBuf {
        self.directory.join("baseline.json")
    }

    pub(crate) fn t81(&self) -> PathBuf {
        self.directory.join("t81")
    }

    /// Writes `value` to the file `name`, whole or not at all.
    pub(crate) fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), QatError> {
        let mut text = serde_json::to_vec_pretty(value)
            .map_err(std::io::Error::other)
            .map_err(QatError::file("write", self.directory.join(name)))?;
        text.push(b'\n');
        self.write(name, &text)
    }

    fn write(&self, name: &str, contents: &[u8]) -> Result<(), QatError> {
        write_whole(&self.directory.join(name), contents)
    }
}

/// Checks, before the work whose result it will hold, that the file `path` can be written and replaces none of `inputs`.
pub(crate) fn check_file(path: &Path, inputs: &[&Path]) -> Result<(), QatError> {
    if path.is_dir() {
        let source = std::io::Error::from(std::io::ErrorKind::IsADirectory);
        return Err(QatError::file("write", path)(source));
    }
    check_creatable(path)?;
    Ok(check_apart(path, inputs.iter().copied())?)
}

/// The file for the result of a command that reads `directory`: `chosen`, or else `usual`, which alone may be replaced within
/// the directory. Checked before the work.
pub(crate) fn result_file(
    usual: PathBuf,
    chosen: Option<&Path>,
    directory: Option<&Path>,
) -> Result<PathBuf, QatError> {
    let path = chosen.map_or_else(|| usual.clone(), Path::to_path_buf);
    let is_usual = resolve_output(&path)? == resolve_output(&usual)?;
    let inputs = directory.filter(|_| !is_usual);
    check_file(&path, inputs.as_slice())?;
    Ok(path)
}

/// Writes the file `path`, whole or not at all. Its folder is made if it does not exist.
pub(crate) fn write_whole(path: &Path, contents: &[u8]) -> Result<(), QatError> {
    let path = &resolve_output(path)?;
    let directory = path.parent().unwrap_or(path);
    let _made = OutputFolder::make(directory)?;
    temporary_file(directory)
        .and_then(|mut file| {
            file.write_all(contents)?;
            file.as_file().sync_all()?;
            file.persist(path).map_err(|error| error.error)
        })
        .map(drop)
        .map_err(QatError::file("write", path))
}

/// A temporary file in `directory` that is as readable as any new file (the process's umask applies).
fn temporary_file(directory: &Path) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_replaces_itself_and_nothing_else_in_what_is_read() {
        let place = tempfile::tempdir().unwrap();
        let run = place.path().join("run");
        fs::create_dir(&run).unwrap();
        for name in ["report.html", "metrics.jsonl"] {
            fs::write(run.join(name), name).unwrap();
        }
        let usual = run.join("report.html");
        let chosen =
            |chosen: Option<PathBuf>| result_file(usual.clone(), chosen.as_deref(), Some(&run));
        assert_eq!(chosen(None).unwrap(), usual);
        chosen(Some(run.join("../run/report.html"))).unwrap();
        let error = chosen(Some(run.join("metrics.jsonl"))).unwrap_err();
        assert!(error.to_string().contains("choose another path"), "{error}");
        assert!(chosen(Some(run.clone())).is_err());
        let deep = place.path().join("new/deep/page.html");
        write_whole(&chosen(Some(deep.clone())).unwrap(), b"page").unwrap();
        assert_eq!(fs::read(deep).unwrap(), b"page");
    }

    #[test]
    fn other_peoples_folders_are_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run");
        drop(OutputDirectory::open(&path, false, false).unwrap());
        assert!(!path.exists());
        fs::create_dir(&path).unwrap();
        drop(OutputDirectory::open(&path, false, false).unwrap());
        assert!(path.exists());
        fs::write(path.join("thesis.txt"), "mine").unwrap();
        for overwrite in [false, true] {
            let error = OutputDirectory::open(&path, overwrite, false).unwrap_err();
            assert!(matches!(error, QatError::NotARun { .. }));
        }
        let error = OutputDirectory::open(&path, false, true).unwrap_err();
        assert!(matches!(error, QatError::NothingToResume { .. }));
    }

    #[test]
    fn an_earlier_run_needs_a_word() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("settings.json"), "{}").unwrap();
        let error = OutputDirectory::open(directory.path(), false, false).unwrap_err();
        assert!(matches!(error, QatError::RunExists { .. }));
        drop(OutputDirectory::open(directory.path(), true, false).unwrap());
        let run = OutputDirectory::open(directory.path(), false, true).unwrap();
        for (overwrite, resume) in [(false, false), (true, false), (false, true)] {
            let error = OutputDirectory::open(directory.path(), overwrite, resume).unwrap_err();
            assert!(matches!(error, QatError::InUse { .. }));
        }
        drop(run);
    }
}
