//! GGUF files made from others with something changed.

#![allow(dead_code)] // Each test binary uses a part.

use std::path::{Path, PathBuf};

use t81_gguf::{
    ExportOptions, ExportType, GgufFile, GgufWriter, Metadata, TensorPlan, TensorType, export_t81,
};
use t81_hub::T81Directory;

use crate::tiny_model::TinyModel;

/// The contents of a GGUF file, to be changed at will.
#[derive(Clone, Debug)]
pub(crate) struct Contents {
    pub(crate) metadata: Metadata,
    pub(crate) tensors: Vec<(TensorPlan, Vec<u8>)>,
}

impl Contents {
    pub(crate) fn of(file: &GgufFile) -> Self {
        let tensors = file.tensors().map(|tensor| {
            let plan = TensorPlan {
                name: tensor.info.name.clone(),
                tensor_type: tensor.info.tensor_type,
                dimensions: tensor.info.dimensions.clone(),
            };
            (plan, tensor.bytes.to_vec())
        });
        Self {
            metadata: file.metadata().clone(),
            tensors: tensors.collect(),
        }
    }

    pub(crate) fn write(&self, path: &Path) -> GgufFile {
        let plan: Vec<TensorPlan> = self.tensors.iter().map(|(plan, _)| plan.clone()).collect();
        let mut writer = GgufWriter::create(path, &self.metadata, &plan, true).unwrap();
        for (plan, bytes) in &self.tensors {
            writer.write_tensor(&plan.name, bytes).unwrap();
        }
        writer.finish().unwrap();
        GgufFile::open(path).unwrap()
    }

    /// The metadata without a key.
    pub(crate) fn without(mut self, key: &str) -> Self {
        let mut metadata = Metadata::new();
        for (other, value) in self.metadata.iter() {
            if other != key {
                metadata.set(other, value.clone());
            }
        }
        assert_eq!(metadata.len() + 1, self.metadata.len(), "{key}");
        self.metadata = metadata;
        self
    }

    pub(crate) fn tensor(&mut self, name: &str) -> &mut (TensorPlan, Vec<u8>) {
        self.tensors
            .iter_mut()
            .find(|(plan, _)| plan.name == name)
            .unwrap_or_else(|| panic!("{name}"))
    }

    /// Replaces a tensor's type and data.
    pub(crate) fn replace(&mut self, name: &str, tensor_type: TensorType, bytes: Vec<u8>) {
        let (plan, data) = self.tensor(name);
        plan.tensor_type = tensor_type;
        *data = bytes;
    }
}

/// Exports a tiny model as `directory/NAME`.
pub(crate) fn exported(model: &TinyModel, directory: &Path, name: &str, quant: &str) -> GgufFile {
    let model_path = directory.join("model");
    if !model_path.exists() {
        model.write(directory);
    }
    let path: PathBuf = directory.join(name);
    let options = ExportOptions {
        quant: Some(quant.parse::<ExportType>().unwrap()),
        overwrite: true,
        ..ExportOptions::default()
    };
    export_t81(&T81Directory::open(model_path).unwrap(), &path, &options).unwrap();
    GgufFile::open(path).unwrap()
}

/// A temporary directory, in memory where there is such a folder: every written file is synced to its disk.
pub(crate) fn directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    }
}
