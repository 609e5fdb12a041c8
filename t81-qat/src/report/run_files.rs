//! The files of a run, read as far as they are there.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;
use t81_hub::{HubError, T81Directory, local_directory};

use crate::error::QatError;
use crate::metrics_log::MetricsLog;
use crate::summary::{Baseline, Summary};

/// What a run left.
pub(super) struct RunFiles {
    pub(super) directory: PathBuf,
    pub(super) log: MetricsLog,
    pub(super) settings: Option<Value>,
    pub(super) baseline: Option<Baseline>,
    pub(super) summary: Option<Summary>,
    pub(super) t81: Option<T81Directory>,
    /// What is missing or damaged, a sentence each.
    pub(super) notes: Vec<String>,
}

impl RunFiles {
    /// Reads the files of the run in `directory`. A missing or damaged one becomes a note; without any there is no run.
    pub(super) fn read(directory: &Path) -> Result<Self, QatError> {
        local_directory(directory)?;
        fs::read_dir(directory).map_err(QatError::file("read", directory))?;
        let mut notes = Vec::new();
        let log = match read(&directory.join("metrics.jsonl"), &mut notes)? {
            Some(bytes) => MetricsLog::parse(&bytes),
            None => MetricsLog::default(),
        };
        if let Some(first) = log.damaged.first() {
            notes.push(format!(
                "metrics.jsonl: {} cannot be read and {} left out (the first is line {first}).",
                match log.damaged.len() {
                    1 => "1 line".to_string(),
                    count => format!("{count} lines"),
                },
                match log.damaged.len() {
                    1 => "is",
                    _ => "are",
                },
            ));
        }
        let settings = read_json(directory, "settings.json", &mut notes)?;
        let baseline = read_json(directory, "baseline.json", &mut notes)?;
        let summary = read_json(directory, "summary.json", &mut notes)?;
        let t81 = match T81Directory::open(directory) {
            Ok(t81) => Some(t81),
            Err(HubError::NotT81 { .. }) => {
                notes.push("t81 is not there: the run has no result yet.".to_string());
                None
            }
            Err(error) => {
                notes.push(format!("t81: {}.", with_causes(&error)));
                None
            }
        };
        let files = Self {
            directory: directory.to_path_buf(),
            log,
            settings,
            baseline,
            summary,
            t81,
            notes,
        };
        if files.is_nothing() {
            return Err(QatError::NothingToReport {
                directory: directory.to_path_buf(),
            });
        }
        Ok(files)
    }

    fn is_nothing(&self) -> bool {
        self.log == MetricsLog::default()
            && self.settings.is_none()
            && self.summary.is_none()
            && self.t81.is_none()
            && !["metrics.jsonl", "settings.json", "summary.json", "t81"]
                .iter()
                .any(|name| self.directory.join(name).exists())
    }

    /// A setting of the run.
    pub(super) fn setting(&self, name: &str) -> Option<&Value> {
        self.settings.as_ref()?.get(name)
    }

    /// `MODEL` as the run was given it.
    pub(super) fn model(&self) -> Option<&str> {
        self.setting("model")?.as_str()
    }
}

/// An error and what it comes from, on one line.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message.push_str(&format!(": {error}"));
        cause = error.source();
    }
    message.replace('\n', " ")
}

/// The bytes of a file, or a note that it is not there.
fn read(path: &Path, notes: &mut Vec<String>) -> Result<Option<Vec<u8>>, QatError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            notes.push(match &*name {
                "summary.json" => {
                    "summary.json is not there: the run has not finished.".to_string()
                }
                name => format!("{name} is not there."),
            });
            Ok(None)
        }
        Err(error) => Err(QatError::file("read", path)(error)),
    }
}

fn read_json<T: DeserializeOwned>(
    directory: &Path,
    name: &str,
    notes: &mut Vec<String>,
) -> Result<Option<T>, QatError> {
    let Some(bytes) = read(&directory.join(name), notes)? else {
        return Ok(None);
    };
    match serde_json::from_slice(&bytes) {
        Ok(value) => Ok(Some(value)),
        Err(error) => {
            notes.push(format!("{name} is damaged and left out: {error}."));
            Ok(None)
        }
    }
}
