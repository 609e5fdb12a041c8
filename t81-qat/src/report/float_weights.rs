//! The float weights that a result can be compared with.

use std::collections::BTreeMap;
use std::path::Path;

use burn::store::ModuleRecord;
use burn::tensor::Device;
use t81_hub::{Checkpoint, T81Directory};

use super::run_files::{RunFiles, with_causes};
use crate::architecture::decoder_config;
use crate::error::QatError;
use crate::training::{CheckpointDirectory, MODEL, QatModel};

use burn::module::Module;

/// Float weights by the names of the Hugging Face checkpoint.
pub(super) struct FloatWeights {
    /// Where they come from, as a sentence's subject.
    pub(super) origin: String,
    store: Store,
}

enum Store {
    Checkpoint(Box<Checkpoint>),
    /// The ternary ones of a saved training state.
    Memory(BTreeMap<String, Vec<f32>>),
}

impl FloatWeights {
    /// Those of the checkpoint that the run started from, or else of its last saved training state; otherwise why there are
    /// none.
    pub(super) fn find(files: &RunFiles, t81: &T81Directory) -> Result<Self, String> {
        let mut reasons = Vec::new();
        match files.model() {
            Some("tiny" | "small") => {
                reasons.push("the run started from fresh weights".to_string());
            }
            Some(model) if Path::new(model).is_dir() => match Checkpoint::open(model) {
                Ok(checkpoint) => {
                    return Ok(Self {
                        origin: format!("the checkpoint {model} that the run started from"),
                        store: Store::Checkpoint(Box::new(checkpoint)),
                    });
                }
                Err(error) => reasons.push(format!("{model}: {}", with_causes(&error))),
            },
            Some(model) => reasons.push(format!("{model} is no directory here")),
            None => reasons.push("the run does not say what it started from".to_string()),
        }
        match Self::saved(files, t81) {
            Ok(Some(weights)) => Ok(weights),
            Ok(None) => {
                reasons.push("no training state is saved".to_string());
                Err(reasons.join("; "))
            }
            Err(error) => {
                reasons.push(with_causes(&error));
                Err(reasons.join("; "))
            }
        }
    }

    /// Those of the saved training state that made the result, or else of the last one.
    fn saved(files: &RunFiles, t81: &T81Directory) -> Result<Option<Self>, QatError> {
        let checkpoints = CheckpointDirectory::new(&files.directory, 1);
        let steps = checkpoints.steps();
        let result = files.summary.as_ref().map(|summary| summary.result_step);
        let step = steps.iter().find(|step| Some(**step) == result);
        let Some(&step) = step.or(steps.last()) else {
            return Ok(None);
        };
        let config = decoder_config(t81.config(), t81.directory())?;
        let path = checkpoints.part(step, MODEL);
        let model = QatModel::new(config.init(&Device::flex()), 0.0);
        let model = ModuleRecord::load(&path)
            .and_then(|record| model.try_load_record(record))
            .map_err(|error| QatError::Damaged {
                path: path.clone(),
                message: error.to_string(),
            })?;
        let ternary = &t81.metadata().tensors;
        let mut weights = BTreeMap::new();
        model.decoder.visit_weights(|weight| {
            if ternary.contains_key(&weight.spec.name) {
                weights.insert(weight.spec.name, weight.values);
            }
            Ok::<_, QatError>(())
        })?;
        Ok(Some(Self {
            origin: format!("the saved training state of step {step}"),
            store: Store::Memory(weights),
        }))
    }

    /// The values of a weight, in any order; none if they are not there.
    pub(super) fn values(&self, name: &str) -> Option<Vec<f32>> {
        match &self.store {
            Store::Checkpoint(checkpoint) => Some(checkpoint.tensor(name).ok()?.to_f32()),
            Store::Memory(weights) => weights.get(name).cloned(),
        }
    }
}
