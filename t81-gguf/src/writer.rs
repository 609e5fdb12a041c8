//! Writing a GGUF file as a stream: the header from a plan, then one tensor after the other.

mod sink;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use t81_hub::{OutputFolder, check_creatable, resolve_output};
use tempfile::NamedTempFile;

pub use sink::TensorSink;

use crate::error::GgufError;
use crate::format_error::FormatError;
use crate::metadata::{Metadata, MetadataValue, encode_string};
use crate::parse::{
    ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAGIC, MAX_DIMENSIONS, NAME_BUFFER, TensorInfo, tensor_bytes,
};
use crate::reader::GgufFile;
use crate::temporary;
use crate::tensor_type::TensorType;

const VERSION: u32 = 3;
const BUFFER_BYTES: usize = 1 << 20;

/// A tensor that will be written.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorPlan {
    /// The name, unique in the file and under 64 bytes.
    pub name: String,
    /// How elements will be stored.
    pub tensor_type: TensorType,
    /// Elements per dimension, the fastest first: `[in, out]` for a weight matrix `[out, in]`.
    pub dimensions: Vec<u64>,
}

/// Writes a GGUF file of version 3.
///
/// The plan fixes the order of the tensors; each is written once, in that order, in as many pieces as the caller likes,
/// so that no more than a piece need be in memory. The file grows under a temporary name beside `path`, whose folder is made if it
/// does not exist, and takes its name in one step in [`finish`](Self::finish): a failure or a dropped writer leaves what was
/// there untouched.
#[derive(Debug)]
pub struct GgufWriter {
    /// As the caller has it, for messages.
    path: PathBuf,
    /// Where symbolic links lead.
    target: PathBuf,
    overwrite: bool,
    out: BufWriter<NamedTempFile>,
    tensors: Vec<TensorInfo>,
    alignment: u64,
    next: usize,
    /// The tensor that an error left half written, after which nothing fits any more.
    broken: Option<String>,
    /// Goes after the temporary file, so that it can be found empty.
    folder: OutputFolder,
}

impl GgufWriter {
    /// Starts the file that will be `path` and writes its header.
    ///
    /// # Errors
    ///
    /// [`GgufError::OutputExists`] when `path` exists and `overwrite` is false, [`GgufError::Plan`] for a plan that no
    /// GGUF file can hold (names, shapes, alignment), [`GgufError::Io`] when the directory cannot be written.
    pub fn create(
        path: impl AsRef<Path>,
        metadata: &Metadata,
        plan: &[TensorPlan],
        overwrite: bool,
    ) -> Result<Self, GgufError> {
        let path = path.as_ref();
        check_output(path, overwrite)?;
        let planned = |source| GgufError::Plan {
            path: path.to_owned(),
            source,
        };
        let alignment = plan_alignment(metadata).map_err(planned)?;
        let tensors = lay_out(plan, alignment).map_err(planned)?;

        let target = resolve_output(path)?;
        let made = OutputFolder::make(folder(&target))?;
        let temporary = temporary::create(&target, folder(&target))
            .map_err(|source| GgufError::io("create", path, source))?;
        let mut writer = Self {
            path: path.to_owned(),
            target,
            overwrite,
            out: BufWriter::with_capacity(BUFFER_BYTES, temporary),
            tensors,
            alignment,
            next: 0,
            broken: None,
            folder: made,
        };
        let header = encode_header(metadata, &writer.tensors);
        writer
            .out
            .write_all(&header)
            .map_err(|source| GgufError::io("write", path, source))?;
        // Without a tensor there is nothing to align, and the alignment may be a gigabyte.
        if !writer.tensors.is_empty() {
            writer.pad(header.len() as u64)?;
        }
        Ok(writer)
    }

    /// Writes the next planned tensor from `bytes`, its whole data.
    ///
    /// # Errors
    ///
    /// As [`write_tensor_with`](Self::write_tensor_with).
    pub fn write_tensor(&mut self, name: &str, bytes: &[u8]) -> Result<(), GgufError> {
        self.write_tensor_with(name, |sink| sink.write(bytes))
    }

    /// Writes the next planned tensor from the pieces that `produce` puts into the sink.
    ///
    /// # Errors
    ///
    /// [`GgufError::TensorOrder`] when the plan has another tensor next, [`GgufError::TensorSize`] when the pieces
    /// do not add up to the planned size, [`GgufError::Io`] when the disk is full, and whatever `produce` returns. After
    /// an error in the middle of a tensor the file cannot be finished: [`GgufError::HalfWritten`].
    pub fn write_tensor_with<F>(&mut self, name: &str, produce: F) -> Result<(), GgufError>
    where
        F: FnOnce(&mut TensorSink<'_>) -> Result<(), GgufError>,
    {
        self.check_whole()?;
        let expected = match self.tensors.get(self.next) {
            Some(info) if info.name == name => info.bytes,
            other => {
                return Err(GgufError::TensorOrder {
                    expected: other.map_or_else(
                        || "no further tensor".to_owned(),
                        |info| format!("`{}`", info.name),
                    ),
                    found: name.to_owned(),
                });
            }
        };
        let mut sink = TensorSink::new(&mut self.out, &self.path, name, expected);
        let produced = produce(&mut sink);
        let written = sink.written();
        if written > 0 && (produced.is_err() || written != expected) {
            self.broken = Some(name.to_owned());
        }
        produced?;
        if written != expected {
            return Err(GgufError::TensorSize {
                tensor: name.to_owned(),
                expected,
                found: written,
            });
        }
        self.pad(written)?;
        self.next += 1;
        Ok(())
    }

    /// Flushes everything to the disk and gives the file its name.
    ///
    /// # Errors
    ///
    /// [`GgufError::HalfWritten`] after an error in the middle of a tensor, [`GgufError::TensorOrder`] when planned tensors are missing, [`GgufError::OutputExists`] when a file of that
    /// name appeared meanwhile and overwriting was not asked for, [`GgufError::Io`] when the disk is full.
    pub fn finish(self) -> Result<(), GgufError> {
        self.complete(|_| Ok(()))?.publish()
    }

    /// Flushes everything to the disk, but leaves the file under its temporary name. `check` reads it first, under the path
    /// that it will have.
    ///
    /// # Errors
    ///
    /// As [`finish`](Self::finish), and whatever `check` returns.
    pub fn complete(
        mut self,
        check: impl FnOnce(&GgufFile) -> Result<(), GgufError>,
    ) -> Result<CompleteFile, GgufError> {
        self.check_whole()?;
        if let Some(info) = self.tensors.get(self.next) {
            return Err(GgufError::TensorOrder {
                expected: format!("`{}`", info.name),
                found: "the end".to_owned(),
            });
        }
        let failed = |source| GgufError::io("write", &self.path, source);
        self.out.flush().map_err(failed)?;
        let temporary = self
            .out
            .into_inner()
            .map_err(|error| failed(error.into_error()))?;
        temporary.as_file().sync_all().map_err(failed)?;
        check(&GgufFile::from_file(temporary.as_file(), &self.path)?)?;
        Ok(CompleteFile {
            path: self.path,
            target: self.target,
            overwrite: self.overwrite,
            temporary,
            _folder: self.folder,
        })
    }

    fn check_whole(&self) -> Result<(), GgufError> {
        match &self.broken {
            Some(tensor) => Err(GgufError::HalfWritten {
                tensor: tensor.clone(),
            }),
            None => Ok(()),
        }
    }

    fn pad(&mut self, written: u64) -> Result<(), GgufError> {
        let padding = written.next_multiple_of(self.alignment) - written;
        io::copy(&mut io::Read::take(io::repeat(0), padding), &mut self.out)
            .map(|_| ())
            .map_err(|source| GgufError::io("write", &self.path, source))
    }
}

/// A GGUF file that is complete but does not have its name yet. Dropping it removes it.
#[derive(Debug)]
pub struct CompleteFile {
    path: PathBuf,
    target: PathBuf,
    overwrite: bool,
    temporary: NamedTempFile,
    /// Goes after the temporary file, so that it can be found empty.
    _folder: OutputFolder,
}

impl CompleteFile {
    /// Gives the file its name.
    ///
    /// # Errors
    ///
    /// [`GgufError::OutputExists`] when a file of that name appeared meanwhile and overwriting was not asked for,
    /// [`GgufError::Io`] when it cannot be renamed. What was there then is as it was.
    pub fn publish(self) -> Result<(), GgufError> {
        let persisted = if self.overwrite {
            self.temporary.persist(&self.target)
        } else {
            self.temporary.persist_noclobber(&self.target)
        };
        persisted.map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => GgufError::OutputExists {
                path: self.path.clone(),
            },
            _ => GgufError::io("write", &self.path, error.error),
        })?;
        sync_directory(&self.target);
        Ok(())
    }
}

/// Checks that a file may be written at `path`, without touching it: worth a call before long work that ends in a file. Its
/// folder need not exist.
///
/// # Errors
///
/// [`GgufError::OutputExists`] for a file that exists, unless `overwrite`; [`GgufError::NotAFile`] for anything else;
/// [`GgufError::Hub`] when the folder that would hold it, or the one to make it in, cannot be written to.
pub fn check_output(path: &Path, overwrite: bool) -> Result<(), GgufError> {
    check_creatable(path)?;
    match fs::metadata(path) {
        Ok(attributes) => {
            GgufError::check_regular(path, &attributes)?;
            if overwrite {
                Ok(())
            } else {
                Err(GgufError::OutputExists {
                    path: path.to_owned(),
                })
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(GgufError::io("write", path, error)),
    }
}

/// The folder that a file at `path` lies in.
fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Makes the new name durable; a file system that cannot sync directories has nothing to make durable.
fn sync_directory(path: &Path) {
    if let Ok(directory) = File::open(folder(path)) {
        let _ = directory.sync_all();
    }
}

/// Checks a plan as [`GgufWriter::create`] does, without a file.
pub(crate) fn check_plan(metadata: &Metadata, plan: &[TensorPlan]) -> Result<(), FormatError> {
    lay_out(plan, plan_alignment(metadata)?).map(drop)
}

fn plan_alignment(metadata: &Metadata) -> Result<u64, FormatError> {
    if let Some((key, _)) = metadata.iter().find(|(key, _)| key.is_empty()) {
        return Err(FormatError::EmptyName {
            field: "a metadata key",
            offset: key.len() as u64,
        });
    }
    match metadata.get(ALIGNMENT_KEY) {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(&MetadataValue::U32(value)) if value.is_power_of_two() && value >= 8 => {
            Ok(value.into())
        }
        Some(other) => Err(FormatError::Alignment {
            found: other.to_string(),
        }),
    }
}

fn lay_out(plan: &[TensorPlan], alignment: u64) -> Result<Vec<TensorInfo>, FormatError> {
    let mut names = HashSet::new();
    let mut offset = 0u64;
    let mut tensors = Vec::with_capacity(plan.len());
    for TensorPlan {
        name,
        tensor_type,
        dimensions,
    } in plan
    {
        if name.is_empty() {
            return Err(FormatError::EmptyName {
                field: "a tensor name",
                offset,
            });
        }
        if name.len() >= NAME_BUFFER {
            return Err(FormatError::NameLength {
                name: name.clone(),
                length: name.len(),
            });
        }
        if dimensions.is_empty() || dimensions.len() > MAX_DIMENSIONS {
            return Err(FormatError::Dimensions {
                name: name.clone(),
                dimensions: dimensions.len() as u32,
            });
        }
        if !names.insert(name) {
            return Err(FormatError::DuplicateTensor { name: name.clone() });
        }
        let bytes = tensor_bytes(name, *tensor_type, dimensions)?;
        tensors.push(TensorInfo {
            name: name.clone(),
            tensor_type: *tensor_type,
            dimensions: dimensions.clone(),
            offset,
            bytes,
        });
        offset = offset
            .checked_add(bytes)
            .and_then(|end| end.checked_next_multiple_of(alignment))
            .ok_or_else(|| FormatError::Shape {
                name: name.clone(),
                dimensions: dimensions.clone(),
            })?;
    }
    Ok(tensors)
}

fn encode_header(metadata: &Metadata, tensors: &[TensorInfo]) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend_from_slice(&MAGIC);
    header.extend_from_slice(&VERSION.to_le_bytes());
    header.extend_from_slice(&(tensors.len() as u64).to_le_bytes());
    header.extend_from_slice(&(metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata.iter() {
        encode_string(key, &mut header);
        header.extend_from_slice(&value.type_id().to_le_bytes());
        value.encode(&mut header);
    }
    for info in tensors {
        encode_string(&info.name, &mut header);
        header.extend_from_slice(&(info.dimensions.len() as u32).to_le_bytes());
        for dimension in &info.dimensions {
            header.extend_from_slice(&dimension.to_le_bytes());
        }
        header.extend_from_slice(&info.tensor_type.id().to_le_bytes());
        header.extend_from_slice(&info.offset.to_le_bytes());
    }
    header
}
