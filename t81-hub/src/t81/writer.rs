//! Writes a t81 directory, one tensor at a time.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;
use serde_json::Value;
use t81_core::TernaryMatrix;

use super::atomic::AtomicDirectory;
use super::metadata::{
    DenseTensorInfo, FORMAT_VERSION, METADATA_FILE, T81Metadata, TernaryTensorInfo,
};
use super::plan::{FileLayout, OutputFormat, Slot, Storage, TensorPlan, codes_name, scales_name};
use crate::files::{SINGLE_FILE, is_plain_file_name};
use crate::json::read_limited;
use crate::tokenizer::is_template_path;
use crate::{HubError, TensorView};

/// Weights decoded at a time in the dense format.
const DENSE_BLOCK: usize = 1 << 22;
/// No file copied beside the tensors is larger.
const MAX_COPY_BYTES: u64 = 1 << 30;

/// Writes a t81 directory. Tensors may come in any order, each exactly once; the plan's order is the fastest. Nothing
/// appears under the directory's name before [`finish`](Self::finish), and what was there before stays whole until then:
/// dropping the writer removes all that it wrote.
#[derive(Debug)]
pub struct T81Writer {
    directory: AtomicDirectory,
    file: File,
    path: PathBuf,
    slots: HashMap<String, Slot>,
    file_bytes: u64,
    pending: BTreeMap<String, TensorPlan>,
    tensors: BTreeMap<String, TernaryTensorInfo>,
    dense_tensors: BTreeMap<String, DenseTensorInfo>,
    format: OutputFormat,
}

impl T81Writer {
    /// Checks that `directory` may be written and starts a partial directory beside it.
    ///
    /// # Errors
    /// [`HubError::OutputExists`] if it holds a t81 directory and `overwrite` is false; [`HubError::NotReplaceable`] if it holds
    /// anything else; [`HubError::Plan`] if the plan repeats a name or a shape is impossible.
    pub fn create(
        directory: impl AsRef<Path>,
        plan: Vec<TensorPlan>,
        overwrite: bool,
        format: OutputFormat,
    ) -> Result<Self, HubError> {
        let FileLayout {
            header,
            slots,
            file_bytes,
        } = FileLayout::new(&plan, format)?;
        let directory = AtomicDirectory::create(directory.as_ref(), overwrite)?;
        let path = directory.path().join(SINGLE_FILE);
        let mut file = File::create_new(&path).map_err(HubError::io("create", &path))?;
        file.write_all(&header)
            .map_err(HubError::io("write", &path))?;
        reserve(&file, file_bytes).map_err(HubError::io("reserve the space for", &path))?;
        let pending = plan
            .into_iter()
            .map(|tensor| (tensor.name.clone(), tensor))
            .collect();
        Ok(Self {
            directory,
            file,
            path,
            slots,
            file_bytes,
            pending,
            tensors: BTreeMap::new(),
            dense_tensors: BTreeMap::new(),
            format,
        })
    }

    /// Copies a file of the directory `source`, for example `config.json`, under its own name. See
    /// [`write_file`](Self::write_file).
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn copy_file(&mut self, source: &Path, name: &str) -> Result<(), HubError> {
        let contents = read_limited(&source.join(name), MAX_COPY_BYTES)?;
        self.write_file(name, &contents)
    }

    /// Writes a small file beside the tensors. In the dense format the `torch_dtype` (and `dtype`, where present) of
    /// `config.json` becomes `float16`, so that loaders which obey it keep the ternary values exact.
    ///
    /// # Errors
    /// If `name` is neither a plain file name nor the path of a chat template (`additional_chat_templates/NAME.jinja`), is
    /// one that the writer itself needs, or was written before.
    pub fn write_file(&mut self, name: &str, contents: &[u8]) -> Result<(), HubError> {
        let plain = is_plain_file_name(name) || is_template_path(name);
        if !plain || name == SINGLE_FILE || name == METADATA_FILE {
            return Err(HubError::plan(
                name,
                "not a name for a file beside the tensors",
            ));
        }
        if name == "config.json" && self.format == OutputFormat::Dense {
            return self.write_new(name, &with_float16(contents)?);
        }
        self.write_new(name, contents)
    }

    /// Writes a ternary tensor.
    ///
    /// # Errors
    /// [`HubError::Plan`] if the plan has no such tensor, or one of another shape or granularity, or if it was written
    /// before.
    pub fn write_ternary(&mut self, name: &str, matrix: &TernaryMatrix) -> Result<(), HubError> {
        let (rows, columns) = (matrix.rows(), matrix.columns());
        let planned = self.pending.get(name).ok_or_else(|| not_pending(name))?;
        let Storage::Ternary {
            granularity,
            transposed,
        } = planned.storage
        else {
            return Err(HubError::plan(name, "planned as floats, given as ternary"));
        };
        if planned.shape != [rows, columns] || granularity != matrix.granularity() {
            let problem = format!(
                "planned as {:?} with scales per {granularity}, given as [{rows}, {columns}] with scales per {}",
                planned.shape,
                matrix.granularity()
            );
            return Err(HubError::plan(name, problem));
        }
        match self.format {
            OutputFormat::Packed => {
                let scales: Vec<u8> = matrix
                    .scales()
                    .iter()
                    .flat_map(|scale| scale.to_le_bytes())
                    .collect();
                self.write_slot(&scales_name(name), &scales)?;
                self.write_slot(&codes_name(name), matrix.codes())?;
            }
            OutputFormat::Dense if transposed => self.write_transposed(name, matrix)?,
            OutputFormat::Dense => self.write_dequantized(name, matrix)?,
        }
        let info = TernaryTensorInfo {
            shape: vec![rows, columns],
            transposed,
            granularity,
            sparsity: matrix.sparsity(),
            bits_per_weight: matrix.bits_per_weight(),
            relative_error: None,
            source_bytes: None,
            stored_bytes: match self.format {
                OutputFormat::Packed => matrix.size_bytes(),
                OutputFormat::Dense => 2 * rows * columns,
            } as u64,
            ratio: None,
        };
        self.pending.remove(name);
        self.tensors.insert(name.to_owned(), info);
        Ok(())
    }

    /// Writes a tensor of floats: row-major, little endian, in the dtype of the plan.
    ///
    /// # Errors
    /// [`HubError::Plan`] if the plan has no such tensor or the number of bytes is not the planned one, or if it was written
    /// before.
    pub fn write_dense(&mut self, name: &str, bytes: &[u8]) -> Result<(), HubError> {
        self.write_dense_with(name, |sink| sink.write(bytes))
    }

    /// Writes a tensor of floats from the pieces that `produce` puts into the sink, in order. After an error the tensor
    /// counts as not written.
    ///
    /// # Errors
    /// As [`write_dense`](Self::write_dense), and whatever `produce` returns.
    pub fn write_dense_with<E: From<HubError>>(
        &mut self,
        name: &str,
        produce: impl FnOnce(&mut DenseSink<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let planned = self.pending.get(name).ok_or_else(|| not_pending(name))?;
        let Storage::Dense(dtype) = planned.storage else {
            return Err(HubError::plan(name, "planned as ternary, given as floats").into());
        };
        let slot = *self.slots.get(name).ok_or_else(|| not_pending(name))?;
        let mut sink = DenseSink {
            file: &mut self.file,
            path: &self.path,
            name,
            slot,
            written: 0,
        };
        produce(&mut sink)?;
        let written = sink.written;
        if written != slot.length {
            return Err(wrong_length(name, slot, written).into());
        }
        if let Some(planned) = self.pending.remove(name) {
            let info = DenseTensorInfo {
                shape: planned.shape,
                dtype,
                source_bytes: None,
                stored_bytes: written as u64,
                ratio: None,
            };
            self.dense_tensors.insert(name.to_owned(), info);
        }
        Ok(())
    }

    /// Writes a tensor of floats from its file, converted to the dtype of the plan: chunk by chunk, in little memory. Returns
    /// the bytes written.
    ///
    /// # Errors
    /// As [`write_dense`](Self::write_dense); [`HubError::Tensor`] if an element is NaN or infinite, [`HubError::Overflow`] if
    /// one does not fit the dtype.
    pub fn write_view(&mut self, view: &TensorView<'_>) -> Result<u64, HubError> {
        let dtype = match self.pending.get(view.name).map(|planned| planned.storage) {
            Some(Storage::Dense(dtype)) => dtype,
            // For the error of the writer.
            _ => view.dtype,
        };
        self.write_dense_with(view.name, |sink| {
            for chunk in view.chunks() {
                chunk.check_finite()?;
                sink.write(&chunk.to_bytes(dtype)?)?;
                chunk.release();
            }
            Ok::<(), HubError>(())
        })?;
        Ok((view.len() * dtype.size_bytes()) as u64)
    }

    /// Completes the directory and moves it to its final place, whose path is returned. The writer fills in the
    /// metadata's `format_version`, `format`, `tensors`, `dense_tensors` and `statistics`; of these the caller's
    /// `relative_error`s and `source_bytes` are kept.
    ///
    /// # Errors
    /// [`HubError::Plan`] if a planned tensor or `config.json` was not written; [`HubError::Io`] if the files cannot be made
    /// durable or moved. The former contents of the final place then are as they were.
    pub fn finish(self, metadata: T81Metadata) -> Result<PathBuf, HubError> {
        self.complete(metadata)?.publish()
    }

    /// As [`finish`](Self::finish), but for the move: the complete directory can be read again first.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub fn complete(mut self, mut metadata: T81Metadata) -> Result<CompleteDirectory, HubError> {
        if let Some(name) = self.pending.keys().next() {
            let problem = format!(
                "never written, as {} tensors of the plan",
                self.pending.len()
            );
            return Err(HubError::plan(name, problem));
        }
        if !self.directory.path().join("config.json").is_file() {
            return Err(HubError::plan("config.json", "never written"));
        }
        self.file
            .sync_all()
            .map_err(HubError::io("sync", &self.path))?;
        self.fill_in(&mut metadata);
        let json = serde_json::to_vec_pretty(&metadata)
            .map_err(|error| HubError::plan(METADATA_FILE, error.to_string()))?;
        self.write_new(METADATA_FILE, &json)?;
        Ok(CompleteDirectory(self.directory))
    }

    fn fill_in(&mut self, metadata: &mut T81Metadata) {
        metadata.format_version = FORMAT_VERSION;
        metadata.format = self.format;
        for (name, info) in &mut self.tensors {
            if let Some(known) = metadata.tensors.get(name) {
                info.relative_error = known.relative_error;
                info.source_bytes = known.source_bytes;
            }
            info.ratio = ratio(info.source_bytes, info.stored_bytes);
        }
        metadata.tensors = std::mem::take(&mut self.tensors);
        for (name, info) in &mut self.dense_tensors {
            if let Some(known) = metadata.dense_tensors.get(name) {
                info.source_bytes = known.source_bytes;
            }
            info.ratio = ratio(info.source_bytes, info.stored_bytes);
        }
        metadata.dense_tensors = std::mem::take(&mut self.dense_tensors);
        let weighted = |value: fn(&TernaryTensorInfo) -> f64| -> f64 {
            metadata
                .tensors
                .values()
                .map(|info| value(info) * weights(info) as f64)
                .sum()
        };
        let ternary_weights: u64 = metadata.tensors.values().map(weights).sum();
        let divisor = ternary_weights.max(1) as f64;
        let statistics = &mut metadata.statistics;
        statistics.stored_bytes = self.file_bytes;
        statistics.ratio = ratio(statistics.source_bytes, self.file_bytes);
        statistics.ternary_weights = ternary_weights;
        statistics.dense_weights = metadata
            .dense_tensors
            .values()
            .map(|info| count(&info.shape))
            .sum();
        statistics.sparsity = weighted(|info| info.sparsity) / divisor;
        statistics.bits_per_weight = weighted(|info| info.bits_per_weight) / divisor;
    }

    fn write_new(&self, name: &str, contents: &[u8]) -> Result<(), HubError> {
        let path = self.directory.path().join(name);
        if path.exists() {
            return Err(HubError::plan(name, "written twice"));
        }
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(HubError::io("create", parent))?;
        }
        File::create_new(&path)
            .and_then(|mut file| file.write_all(contents).and_then(|()| file.sync_all()))
            .map_err(HubError::io("write", &path))
    }

    fn write_slot(&mut self, name: &str, bytes: &[u8]) -> Result<(), HubError> {
        let slot = *self.slots.get(name).ok_or_else(|| not_pending(name))?;
        if bytes.len() != slot.length {
            return Err(wrong_length(name, slot, bytes.len()));
        }
        self.write_at(slot.offset, bytes)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), HubError> {
        write_at(&mut self.file, &self.path, offset, bytes)
    }

    /// As [`write_dequantized`](Self::write_dequantized), but `[in, out]`: each output feature is a column of the file.
    fn write_transposed(&mut self, name: &str, matrix: &TernaryMatrix) -> Result<(), HubError> {
        let slot = *self.slots.get(name).ok_or_else(|| not_pending(name))?;
        let (rows, columns) = (matrix.rows(), matrix.columns());
        let block = (DENSE_BLOCK / rows).clamp(1, columns);
        let mut bytes = vec![0; block * 2 * rows];
        for first in (0..columns).step_by(block) {
            let inputs = block.min(columns - first);
            let bytes = &mut bytes[..inputs * 2 * rows];
            bytes
                .par_chunks_mut(2 * rows)
                .enumerate()
                .for_each(|(input, bytes)| {
                    for (row, bytes) in bytes.as_chunks_mut::<2>().0.iter_mut().enumerate() {
                        let column = first + input;
                        *bytes = match matrix.code(row, column) {
                            0 => f16::ZERO,
                            1 => matrix.scale(row, column),
                            _ => -matrix.scale(row, column),
                        }
                        .to_le_bytes();
                    }
                });
            self.write_at(slot.offset + (first * 2 * rows) as u64, bytes)?;
        }
        Ok(())
    }

    fn write_dequantized(&mut self, name: &str, matrix: &TernaryMatrix) -> Result<(), HubError> {
        let slot = *self.slots.get(name).ok_or_else(|| not_pending(name))?;
        let row_bytes = 2 * matrix.columns();
        let block_rows = (DENSE_BLOCK / matrix.columns()).clamp(1, matrix.rows());
        let mut bytes = vec![0; block_rows * row_bytes];
        for first in (0..matrix.rows()).step_by(block_rows) {
            let rows = block_rows.min(matrix.rows() - first);
            let bytes = &mut bytes[..rows * row_bytes];
            bytes
                .par_chunks_mut(row_bytes)
                .enumerate()
                .try_for_each(|(row, bytes)| {
                    let mut values = vec![0.0; matrix.columns()];
                    let mut halves = vec![f16::ZERO; matrix.columns()];
                    matrix
                        .dequantize_row(first + row, &mut values)
                        .map_err(|source| HubError::Ternary {
                            name: name.to_owned(),
                            source,
                        })?;
                    halves.convert_from_f32_slice(&values);
                    for (half, bytes) in halves.iter().zip(bytes.as_chunks_mut::<2>().0) {
                        *bytes = half.to_le_bytes();
                    }
                    Ok::<(), HubError>(())
                })?;
            self.write_at(slot.offset + (first * row_bytes) as u64, bytes)?;
        }
        Ok(())
    }
}

/// A t81 directory that is complete but does not have its name yet. Dropping it removes it.
#[derive(Debug)]
pub struct CompleteDirectory(AtomicDirectory);

impl CompleteDirectory {
    /// Where it lies for now.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Moves it to its final place, whose path is returned.
    ///
    /// # Errors
    /// [`HubError::Io`] if it cannot be moved; the former contents of the final place then are as they were.
    pub fn publish(self) -> Result<PathBuf, HubError> {
        self.0.commit()
    }

    /// As [`publish`](Self::publish), and then does `last`, which completes the same result elsewhere and whose value is
    /// returned as well. If that fails, the final place gets its former contents back.
    ///
    /// # Errors
    /// As [`publish`](Self::publish), and whatever `last` returns.
    pub fn publish_with<T, E: From<HubError>>(
        self,
        last: impl FnOnce() -> Result<T, E>,
    ) -> Result<(PathBuf, T), E> {
        self.0.commit_with(last)
    }
}

/// Takes the elements of one tensor of floats, piece by piece.
#[derive(Debug)]
pub struct DenseSink<'a> {
    file: &'a mut File,
    path: &'a Path,
    name: &'a str,
    slot: Slot,
    written: usize,
}

impl DenseSink<'_> {
    /// Appends `bytes`.
    ///
    /// # Errors
    /// [`HubError::Plan`] if the tensor's plan has fewer bytes, [`HubError::Io`] if they cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), HubError> {
        let written = self.written + bytes.len();
        if written > self.slot.length {
            return Err(wrong_length(self.name, self.slot, written));
        }
        let offset = self.slot.offset + self.written as u64;
        write_at(self.file, self.path, offset, bytes)?;
        self.written = written;
        Ok(())
    }
}

fn write_at(file: &mut File, path: &Path, offset: u64, bytes: &[u8]) -> Result<(), HubError> {
    file.seek(SeekFrom::Start(offset))
        .and_then(|_| file.write_all(bytes))
        .map_err(HubError::io("write", path))
}

fn wrong_length(name: &str, slot: Slot, given: usize) -> HubError {
    let problem = format!("planned with {} bytes, given {given}", slot.length);
    HubError::plan(name, problem)
}

/// Gives a file its final size. Where the system can, the space is taken now: a full disk shows before the work.
fn reserve(file: &File, bytes: u64) -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::FallocateFlags;
        use rustix::io::Errno;
        match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => return Ok(()),
            Err(error @ (Errno::NOSPC | Errno::FBIG | Errno::DQUOT)) => return Err(error.into()),
            // A file system that reserves nothing: the file stays sparse, and a full disk shows when the tensors come.
            Err(_) => {}
        }
    }
    file.set_len(bytes)
}

fn weights(info: &TernaryTensorInfo) -> u64 {
    count(&info.shape)
}

fn count(shape: &[usize]) -> u64 {
    shape.iter().map(|&size| size as u64).product()
}

/// How many times smaller the stored tensor is.
fn ratio(source: Option<u64>, stored: u64) -> Option<f64> {
    source.map(|source| source as f64 / stored.max(1) as f64)
}

fn not_pending(name: &str) -> HubError {
    HubError::plan(name, "not in the plan, or written twice")
}

fn with_float16(config: &[u8]) -> Result<Vec<u8>, HubError> {
    let failed = |source| HubError::Json {
        path: PathBuf::from("config.json"),
        source,
    };
    let mut config: Value = serde_json::from_slice(config).map_err(failed)?;
    if let Some(fields) = config.as_object_mut() {
        fields.insert("torch_dtype".into(), "float16".into());
        if let Some(dtype) = fields.get_mut("dtype") {
            *dtype = "float16".into();
        }
    }
    serde_json::to_vec_pretty(&config).map_err(failed)
}
