//! Checkpoints by optimizer step: complete or not there at all.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use burn::lr_scheduler::LrSchedulerRecord;
use burn::optim::OptimizerRecord;
use burn::store::ModuleRecord;
use burn::train::checkpoint::{
    Checkpoint, Checkpointer, CheckpointerError, CheckpointingAction, CheckpointingStrategy,
};
use burn::train::metric::store::EventStoreClient;
use serde::{Deserialize, Serialize};

use super::checksums;
use super::early_stopping::{EvaluatedStep, EvaluationHistory};
use crate::error::QatError;

/// The files of a checkpoint, each a burnpack of one of the learner's parts.
pub(crate) const MODEL: &str = "model";
pub(crate) const OPTIMIZER: &str = "optimizer";
pub(crate) const SCHEDULER: &str = "scheduler";
const PARTS: [&str; 3] = [MODEL, OPTIMIZER, SCHEDULER];
const STATE: &str = "state.json";
const PREFIX: &str = "step-";

/// Where the run stood, beside what Burn's records hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunState {
    /// Optimizer steps done.
    pub(crate) step: usize,
    /// Targets trained on.
    pub(crate) tokens: u64,
    /// Seconds of training, over all sessions of the run.
    pub(crate) seconds: f64,
    /// How the evaluations went.
    #[serde(default)]
    pub(crate) evaluations: EvaluationHistory,
    /// Factor of the loss, if the run computes in float16.
    #[serde(default)]
    pub(crate) loss_scale: Option<f32>,
}

/// Name of the file of a part.
fn file(part: &str) -> String {
    format!("{part}.bpk")
}

/// The files that a checkpoint's checksums are of.
fn files() -> Vec<String> {
    PARTS
        .into_iter()
        .map(file)
        .chain([STATE.to_string()])
        .collect()
}

/// What is wrong with a file of a checkpoint.
#[derive(Debug)]
pub(crate) struct Flaw {
    path: PathBuf,
    message: String,
}

impl Flaw {
    pub(crate) fn new(path: &Path, message: &dyn Display) -> Self {
        Self {
            path: path.to_path_buf(),
            message: message.to_string(),
        }
    }
}

fn readable<R, E: Display>(
    path: &Path,
    load: impl FnOnce(PathBuf) -> Result<R, E>,
) -> Result<(), Flaw> {
    load(path.to_path_buf())
        .map(drop)
        .map_err(|error| Flaw::new(path, &error))
}

/// The checkpoints of a run: `checkpoints/step-00000100/{model,optimizer,scheduler}.bpk`, `state.json` and the checksums of
/// all four.
///
/// Burn saves the three parts on threads of their own. They go into a `.partial` folder, which gets its final name when
/// the last part is on disk; only then are older checkpoints removed, so a full disk costs nothing that was there.
#[derive(Clone)]
pub(crate) struct CheckpointDirectory {
    directory: PathBuf,
    keep: usize,
    /// Checkpoints under way, by step: what they will say, and how many of their parts are on disk. A slow disk may
    /// still write one while the next begins.
    pending: Arc<Mutex<BTreeMap<usize, (RunState, usize)>>>,
}

impl CheckpointDirectory {
    pub(crate) fn new(run: &Path, keep: usize) -> Self {
        Self {
            directory: run.join("checkpoints"),
            keep: keep.max(1),
            pending: Arc::default(),
        }
    }

    /// Announces the checkpoint that Burn is about to save.
    pub(crate) fn begin(&self, state: RunState) {
        if let Ok(mut pending) = self.pending.lock() {
            pending.insert(state.step, (state, 0));
        }
    }

    /// Whether parts of the announced checkpoint at `step` are still to come.
    pub(crate) fn is_pending(&self, step: usize) -> bool {
        let pending = self.pending.lock();
        pending.is_ok_and(|pending| pending.contains_key(&step))
    }

    /// The folder of the checkpoint at `step`.
    pub(crate) fn folder(&self, step: usize) -> PathBuf {
        self.directory.join(format!("{PREFIX}{step:08}"))
    }

    /// The file of `part` in the checkpoint at `step`.
    pub(crate) fn part(&self, step: usize, part: &str) -> PathBuf {
        self.folder(step).join(file(part))
    }

    /// Complete checkpoints, oldest first.
    pub(crate) fn steps(&self) -> Vec<usize> {
        let mut steps: Vec<usize> = fs::read_dir(&self.directory)
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                let name = entry.ok()?.file_name().into_string().ok()?;
                name.strip_prefix(PREFIX)?.parse().ok()
            })
            .collect();
        steps.sort_unstable();
        steps
    }

    /// The newest complete checkpoint, every byte of it compared with its checksum.
    pub(crate) fn latest(&self) -> Result<Option<RunState>, QatError> {
        let steps = self.steps();
        steps.last().map(|&step| self.verified(step)).transpose()
    }

    /// The checkpoint of `step`, every byte of it compared with its checksum.
    pub(crate) fn verified(&self, step: usize) -> Result<RunState, QatError> {
        self.verify(step).map_err(|flaw| self.damaged(step, flaw))
    }

    /// What to do about a flaw in the checkpoint of `step`.
    pub(crate) fn damaged(&self, step: usize, flaw: Flaw) -> QatError {
        let folder = self.folder(step);
        let steps = self.steps();
        let advice = if self.verify(step).is_ok() {
            "all of it can be read: it belongs to another model or to another version of this program"
                .to_string()
        } else if steps.last() != Some(&step) {
            format!(
                "remove {} and go on without it by --resume",
                folder.display()
            )
        } else {
            let older = steps.iter().rev().skip(1).copied();
            let mut whole = older.filter(|&step| self.verify(step).is_ok());
            match whole.next() {
                Some(whole) => format!(
                    "{} is whole: remove the folders of the checkpoints after it and go on from there by --resume",
                    self.folder(whole).display()
                ),
                None => "no older checkpoint is whole; start again with --overwrite".to_string(),
            }
        };
        QatError::DamagedCheckpoint {
            path: flaw.path,
            message: flaw.message,
            advice,
        }
    }

    fn verify(&self, step: usize) -> Result<RunState, Flaw> {
        let state = self.state(step)?;
        let folder = self.folder(step);
        let checked = checksums::check(&folder, &files()).map_err(|mismatch| Flaw {
            path: folder.join(mismatch.name),
            message: mismatch.message,
        })?;
        if !checked {
            // From before there were checksums: what can be read may be used.
            readable(&self.part(step, MODEL), ModuleRecord::load)?;
            readable(&self.part(step, OPTIMIZER), OptimizerRecord::load)?;
            readable(&self.part(step, SCHEDULER), LrSchedulerRecord::load)?;
        }
        Ok(state)
    }

    /// The complete checkpoint whose weights had the lowest loss in an evaluation; the earliest of several.
    pub(crate) fn best(&self) -> Result<Option<EvaluatedStep>, QatError> {
        let mut best: Option<EvaluatedStep> = None;
        for step in self.steps() {
            let state = self.state(step).map_err(|flaw| self.damaged(step, flaw))?;
            let evaluated = state.evaluations.at(step);
            if let Some(evaluated) = evaluated
                && best.is_none_or(|best| evaluated.loss < best.loss)
            {
                best = Some(evaluated);
            }
        }
        Ok(best)
    }

    /// Where the run stood at the checkpoint of `step`.
    fn state(&self, step: usize) -> Result<RunState, Flaw> {
        let path = self.folder(step).join(STATE);
        let text = fs::read_to_string(&path).map_err(|error| Flaw::new(&path, &error))?;
        let state: RunState =
            serde_json::from_str(&text).map_err(|error| Flaw::new(&path, &error))?;
        if state.step != step {
            let message = format!("it names step {}, its folder step {step}", state.step);
            return Err(Flaw::new(&path, &message));
        }
        Ok(state)
    }

    /// Removes what a failed or killed save left behind.
    pub(crate) fn remove_partial(&self) {
        for entry in fs::read_dir(&self.directory)
            .into_iter()
            .flatten()
            .flatten()
        {
            if entry.path().extension().is_some_and(|end| end == "partial") {
                // What cannot be removed is in nobody's way: it has no checkpoint's name.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    fn partial(&self, step: usize) -> PathBuf {
        self.directory.join(format!("{PREFIX}{step:08}.partial"))
    }

    /// Counts a part that is on disk; the last one completes the checkpoint.
    fn finish_part(&self, step: usize) -> std::io::Result<()> {
        let Ok(mut pending) = self.pending.lock() else {
            return Err(std::io::Error::other(
                "another part of the checkpoint failed",
            ));
        };
        let Some((state, parts)) = pending.get_mut(&step) else {
            return Err(std::io::Error::other("a checkpoint that was not announced"));
        };
        *parts += 1;
        if *parts < PARTS.len() {
            return Ok(());
        }
        let state = serde_json::to_vec_pretty(state)?;
        pending.remove(&step);
        let partial = self.partial(step);
        fs::write(partial.join(STATE), state)?;
        fs::File::open(partial.join(STATE))?.sync_all()?;
        for part in PARTS {
            fs::File::open(partial.join(file(part)))?.sync_all()?;
        }
        checksums::write(&partial, &files())?;
        let folder = self.folder(step);
        let replaced = folder.with_extension("replaced.partial");
        if folder.exists() {
            fs::rename(&folder, &replaced)?;
        }
        fs::rename(&partial, &folder)?;
        if replaced.exists() {
            fs::remove_dir_all(&replaced)?;
        }
        self.remove_old()
    }

    /// Removes all but the newest checkpoints and the best one, `keep` in all, as Hugging Face's `Trainer` counts: of a limit
    /// of 1 both stay.
    fn remove_old(&self) -> std::io::Result<()> {
        let steps = self.steps();
        // An unreadable checkpoint is for a resume to complain of, and no reason to lose another one.
        let Ok(best) = self.best() else {
            return Ok(());
        };
        let best = best.map(|best| best.step);
        let newest = &steps[steps.len().saturating_sub(self.keep)..];
        let is_apart = best.is_some_and(|best| !newest.contains(&best));
        let newest = match is_apart && newest.len() > 1 {
            true => &newest[1..],
            false => newest,
        };
        for &old in &steps {
            if !newest.contains(&old) && best != Some(old) {
                fs::remove_dir_all(self.folder(old))?;
            }
        }
        Ok(())
    }

    /// The checkpointer of one part.
    pub(crate) fn checkpointer(&self, part: &'static str) -> PartCheckpointer {
        PartCheckpointer {
            checkpoints: self.clone(),
            part,
        }
    }
}

/// Saves one part of each checkpoint; Burn's "epoch" is our optimizer step.
pub(crate) struct PartCheckpointer {
    checkpoints: CheckpointDirectory,
    part: &'static str,
}

impl<R: Checkpoint> Checkpointer<R> for PartCheckpointer {
    fn save(&self, step: usize, record: R) -> Result<(), CheckpointerError> {
        let _given_up = GivenUp {
            checkpoints: &self.checkpoints,
            step,
        };
        let partial = self.checkpoints.partial(step);
        let path = partial.join(file(self.part));
        let name = |error: std::io::Error| {
            let message = format!("{}: {error}", path.display());
            CheckpointerError::IOError(std::io::Error::new(error.kind(), message))
        };
        fs::create_dir_all(&partial).map_err(name)?;
        record.save(path.clone())?;
        self.checkpoints.finish_part(step).map_err(name)
    }

    fn delete(&self, _step: usize) -> Result<(), CheckpointerError> {
        Ok(())
    }

    fn restore(&self, step: usize) -> Result<R, CheckpointerError> {
        R::load(self.checkpoints.part(step, self.part))
    }
}

/// Ends the wait for a checkpoint whose part panics, as a GPU that is lost while it is read makes it.
struct GivenUp<'a> {
    checkpoints: &'a CheckpointDirectory,
    step: usize,
}

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Ok(mut pending) = self.checkpoints.pending.lock()
        {
            pending.remove(&self.step);
        }
    }
}

/// Saves whenever it is asked; the training loop decides when that is.
pub(crate) struct SaveAlways;

impl CheckpointingStrategy for SaveAlways {
    fn checkpointing(
        &mut self,
        _step: usize,
        _events: &EventStoreClient,
    ) -> Vec<CheckpointingAction> {
        vec![CheckpointingAction::Save]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::lr_scheduler::LrSchedulerRecord;
    use burn::store::RecordError;
    use burn::tensor::Bytes;

    fn save(checkpoints: &CheckpointDirectory, step: usize, parts: &[&'static str]) {
        save_evaluated(checkpoints, step, None, parts);
    }

    fn save_evaluated(
        checkpoints: &CheckpointDirectory,
        step: usize,
        loss: Option<f64>,
        parts: &[&'static str],
    ) {
        checkpoints.begin(RunState {
            step,
            tokens: 7,
            seconds: 1.5,
            evaluations: EvaluationHistory {
                last: loss.map(|loss| EvaluatedStep { step, loss }),
                ..EvaluationHistory::default()
            },
            loss_scale: Some(4096.0),
        });
        for part in parts {
            let record = LrSchedulerRecord::new().with_scalar("step", step as u64);
            checkpoints.checkpointer(part).save(step, record).unwrap();
        }
    }

    #[test]
    fn a_checkpoint_appears_when_its_last_part_is_saved() {
        let run = tempfile::tempdir().unwrap();
        let checkpoints = CheckpointDirectory::new(run.path(), 2);
        assert_eq!(checkpoints.latest().unwrap(), None);
        save(&checkpoints, 10, &[MODEL, OPTIMIZER]);
        assert_eq!(checkpoints.steps(), Vec::<usize>::new());
        assert!(checkpoints.partial(10).exists());
        checkpoints.remove_partial();
        assert!(!checkpoints.partial(10).exists());
        save(&checkpoints, 20, &PARTS);
        let state = checkpoints.latest().unwrap().unwrap();
        assert_eq!((state.step, state.tokens), (20, 7));
        let record: LrSchedulerRecord = checkpoints.checkpointer(SCHEDULER).restore(20).unwrap();
        assert_eq!(record.scalar::<u64>("step"), Some(20));
    }

    #[test]
    fn a_checkpoint_may_begin_while_another_is_being_written() {
        let run = tempfile::tempdir().unwrap();
        let checkpoints = CheckpointDirectory::new(run.path(), 5);
        save(&checkpoints, 1, &[MODEL, OPTIMIZER]);
        save(&checkpoints, 2, &[MODEL]);
        let record = LrSchedulerRecord::new();
        checkpoints.checkpointer(SCHEDULER).save(1, record).unwrap();
        assert_eq!(checkpoints.steps(), [1]);
        for part in [OPTIMIZER, SCHEDULER] {
            let record = LrSchedulerRecord::new();
            checkpoints.checkpointer(part).save(2, record).unwrap();
        }
        assert_eq!(checkpoints.steps(), [1, 2]);
        assert_eq!(checkpoints.latest().unwrap().unwrap().step, 2);
    }

    #[test]
    fn only_the_newest_are_kept() {
        let run = tempfile::tempdir().unwrap();
        let checkpoints = CheckpointDirectory::new(run.path(), 2);
        for step in [5, 100, 15] {
            save(&checkpoints, step, &PARTS);
        }
        assert_eq!(checkpoints.steps(), [15, 100]);
    }

    #[test]
    fn the_best_is_kept_beside_the_newest() {
        for (keep, expected) in [(1, vec![20, 50]), (2, vec![20, 50]), (3, vec![20, 40, 50])] {
            let run = tempfile::tempdir().unwrap();
            let checkpoints = CheckpointDirectory::new(run.path(), keep);
            let losses = [Some(3.0), Some(2.0), None, Some(2.5), Some(2.0)];
            for (index, loss) in losses.into_iter().enumerate() {
                save_evaluated(&checkpoints, 10 * (index + 1), loss, &PARTS);
            }
            assert_eq!(checkpoints.steps(), expected, "{keep}");
            let best = checkpoints.best().unwrap().unwrap();
            assert_eq!((best.step, best.loss), (20, 2.0));
        }
    }

    /// A record of a device that is lost while it is read.
    struct Lost;

    impl Checkpoint for Lost {
        fn save(self, _path: PathBuf) -> Result<(), CheckpointerError> {
            panic!("the device is lost")
        }

        fn load(_path: PathBuf) -> Result<Self, CheckpointerError> {
            Ok(Self)
        }

        fn checkpoint_from_bytes(_bytes: Bytes) -> Result<Self, RecordError> {
            Ok(Self)
        }

        fn checkpoint_into_bytes(self) -> Result<Bytes, RecordError> {
            Ok(Bytes::from_bytes_vec(Vec::new()))
        }
    }

    #[test]
    fn nobody_waits_for_a_part_that_panicked() {
        let run = tempfile::tempdir().unwrap();
        let checkpoints = CheckpointDirectory::new(run.path(), 2);
        save(&checkpoints, 3, &[MODEL]);
        assert!(checkpoints.is_pending(3));
        let checkpointer = checkpoints.checkpointer(OPTIMIZER);
        let reading = std::thread::spawn(move || checkpointer.save(3, Lost));
        assert!(reading.join().is_err());
        assert!(!checkpoints.is_pending(3));
        assert_eq!(checkpoints.steps(), [0usize; 0]);
    }

    #[test]
    fn a_save_that_fails_costs_no_checkpoint() {
        let run = tempfile::tempdir().unwrap();
        let checkpoints = CheckpointDirectory::new(run.path(), 1);
        save(&checkpoints, 1, &PARTS);
        // A file where the folder of the next one should go.
        fs::write(checkpoints.partial(2), "in the way").unwrap();
        checkpoints.begin(RunState {
            step: 2,
            ..RunState::default()
        });
        let record = LrSchedulerRecord::new();
        let error = checkpoints.checkpointer(MODEL).save(2, record).unwrap_err();
        assert!(error.to_string().contains("model.bpk"), "{error}");
        assert_eq!(checkpoints.steps(), [1]);
        assert!(checkpoints.part(1, OPTIMIZER).exists());
    }

    #[test]
    fn a_state_of_an_earlier_version_is_read() {
        let state: RunState =
            serde_json::from_str(r#"{"step": 3, "tokens": 7, "seconds": 1.5}"#).unwrap();
        assert_eq!(state.evaluations, EvaluationHistory::default());
    }

    #[test]
    fn a_damaged_state_is_named() {
        let run = tempfile::tempdir().unwrap();
        let checkpoints = CheckpointDirectory::new(run.path(), 2);
        save(&checkpoints, 3, &PARTS);
        fs::write(checkpoints.folder(3).join(STATE), "{").unwrap();
        let error = checkpoints.latest().unwrap_err().to_string();
        assert!(
            error.contains("damaged") && error.contains("state.json: EOF"),
            "{error}"
        );
    }
}
