//! The safetensors files of one directory, mapped into memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use serde::Deserialize;

use crate::header::{HeaderEntry, parse_header};
use crate::json::{UniqueMap, read_json};
use crate::pages::Pages;
use crate::tensor_names::{numbered_shards, safetensors_in};
use crate::{ForeignContent, HubError, MemoryTensor, TensorView, open_regular_file};

/// File name of a model that is not sharded.
pub(crate) const SINGLE_FILE: &str = "model.safetensors";
/// File name of the index of a sharded model.
pub(crate) const INDEX_FILE: &str = "model.safetensors.index.json";
/// Limit for the JSON files that describe a model (not the tokenizer, which is larger).
pub(crate) const MAX_JSON_BYTES: u64 = 64 << 20;

/// What [`ForeignContent`] is recognized by.
const RECOGNIZED_BYTES: usize = 4096;

/// A tensor of any element type, as it lies in its file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawTensor<'a> {
    pub(crate) name: &'a str,
    pub(crate) dtype: safetensors::Dtype,
    pub(crate) shape: &'a [usize],
    pub(crate) bytes: &'a [u8],
    pub(crate) file: &'a Path,
    pub(crate) pages: Pages<'a>,
}

/// One or more mapped safetensors files whose tensors have distinct names.
#[derive(Debug)]
pub(crate) struct TensorFiles {
    directory: PathBuf,
    shards: Vec<Shard>,
    locations: BTreeMap<String, (usize, usize)>,
}

#[derive(Debug)]
struct Shard {
    path: PathBuf,
    contents: Contents,
    entries: Vec<HeaderEntry>,
}

/// The bytes of a shard.
#[derive(Debug)]
enum Contents {
    /// An empty file, or a file's.
    Mapped(Option<Mmap>),
    /// A tensor's, given by the caller.
    Memory(Vec<u8>),
}

impl Contents {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map.as_deref().unwrap_or_default(),
            Self::Memory(bytes) => bytes,
        }
    }

    fn map(&self) -> Option<&Mmap> {
        match self {
            Self::Mapped(map) => map.as_ref(),
            Self::Memory(_) => None,
        }
    }
}

#[derive(Deserialize)]
struct Index {
    weight_map: UniqueMap<String>,
}

impl TensorFiles {
    /// Maps `model.safetensors`, or else the shards of `model.safetensors.index.json`. Every tensor of the index must
    /// be in the shard that it names. Without an index, all shards of a numbered set are one model.
    pub(crate) fn open(directory: &Path) -> Result<Self, HubError> {
        let single = directory.join(SINGLE_FILE);
        let index = directory.join(INDEX_FILE);
        if single.exists() {
            return Self::from_shards(directory, vec![Shard::open(single)?]);
        }
        if !index.exists() {
            return match unindexed(directory) {
                Ok(names) => {
                    let paths = names.into_iter().map(|name| directory.join(name));
                    let shards: Result<_, HubError> = paths.map(Shard::open).collect();
                    Self::from_shards(directory, shards?)
                }
                Err(hint) => Err(HubError::NoWeights {
                    directory: directory.to_path_buf(),
                    hint,
                }),
            };
        }
        let weight_map = read_index(&index)?;
        let names = shard_names(&weight_map, &index)?;
        let mut shards = Vec::with_capacity(names.len());
        for name in names {
            let path = directory.join(name);
            if !path.exists() {
                return Err(HubError::MissingShard { path, index });
            }
            shards.push(Shard::open(path)?);
        }
        let files = Self::from_shards(directory, shards)?;
        for (name, shard) in &weight_map {
            let found = files
                .locations
                .get(name)
                .map(|&(shard, _)| &files.shards[shard].path);
            let place = directory.join(shard);
            if found != Some(&place) {
                return Err(HubError::MissingTensor {
                    name: name.clone(),
                    place,
                });
            }
        }
        Ok(files)
    }

    /// Tensors in memory, which have no directory.
    pub(crate) fn in_memory(
        tensors: impl IntoIterator<Item = MemoryTensor>,
    ) -> Result<Self, HubError> {
        let shards: Result<_, HubError> = tensors.into_iter().map(Shard::in_memory).collect();
        Self::from_shards(Path::new(""), shards?)
    }

    fn from_shards(directory: &Path, shards: Vec<Shard>) -> Result<Self, HubError> {
        let mut locations = BTreeMap::new();
        for (shard_index, shard) in shards.iter().enumerate() {
            for (entry_index, entry) in shard.entries.iter().enumerate() {
                if let Some((first, _)) =
                    locations.insert(entry.name.clone(), (shard_index, entry_index))
                {
                    let first: &Shard = &shards[first];
                    return Err(HubError::DuplicateTensor {
                        name: entry.name.clone(),
                        first: first.path.clone(),
                        second: shard.path.clone(),
                    });
                }
            }
        }
        Ok(Self {
            directory: directory.to_path_buf(),
            shards,
            locations,
        })
    }

    /// Gives tensors other names, where `new_name` has one. A name that is taken already stays as it was.
    pub(crate) fn rename(&mut self, new_name: impl Fn(&str) -> Option<String>) {
        for (shard_index, shard) in self.shards.iter_mut().enumerate() {
            for (entry_index, entry) in shard.entries.iter_mut().enumerate() {
                let Some(name) = new_name(&entry.name) else {
                    continue;
                };
                if self.locations.contains_key(&name) {
                    continue;
                }
                self.locations.remove(&entry.name);
                self.locations
                    .insert(name.clone(), (shard_index, entry_index));
                entry.name = name;
            }
        }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Names in alphabetical order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.locations.keys().map(String::as_str)
    }

    pub(crate) fn get(&self, name: &str) -> Option<RawTensor<'_>> {
        let &(shard, entry) = self.locations.get(name)?;
        Some(self.shards[shard].tensor(&self.shards[shard].entries[entry]))
    }

    /// Tensors in the order in which they lie on disk, shard after shard.
    pub(crate) fn in_file_order(&self) -> impl Iterator<Item = RawTensor<'_>> {
        self.shards
            .iter()
            .flat_map(|shard| shard.entries.iter().map(|entry| shard.tensor(entry)))
    }
}

impl Shard {
    fn open(path: PathBuf) -> Result<Self, HubError> {
        let file = open_regular_file(&path)?;
        let metadata = file.metadata().map_err(HubError::io("read", &path))?;
        let map = if metadata.len() == 0 {
            None
        } else {
            Some(map_file(&file, &path)?)
        };
        let bytes = map.as_deref().unwrap_or_default();
        let entries = parse_header(bytes, &path).map_err(|error| {
            // Only what cannot be read is looked at: the length of a header may begin like another format.
            let beginning = &bytes[..bytes.len().min(RECOGNIZED_BYTES)];
            match ForeignContent::recognize(beginning) {
                Some(found) => HubError::Foreign {
                    path: path.clone(),
                    found,
                },
                None => error,
            }
        })?;
        Ok(Self {
            path,
            contents: Contents::Mapped(map),
            entries,
        })
    }

    fn in_memory(tensor: MemoryTensor) -> Result<Self, HubError> {
        // Checks the length.
        TensorView::new(&tensor.name, tensor.dtype, &tensor.shape, &tensor.bytes)?;
        let entry = HeaderEntry {
            name: tensor.name,
            dtype: tensor.dtype.to_safetensors(),
            shape: tensor.shape,
            range: 0..tensor.bytes.len(),
        };
        Ok(Self {
            path: PathBuf::from("memory"),
            contents: Contents::Memory(tensor.bytes),
            entries: vec![entry],
        })
    }

    fn tensor<'a>(&'a self, entry: &'a HeaderEntry) -> RawTensor<'a> {
        RawTensor {
            name: &entry.name,
            dtype: entry.dtype,
            shape: &entry.shape,
            bytes: &self.contents.bytes()[entry.range.clone()],
            file: &self.path,
            pages: Pages::new(self.contents.map(), &entry.range),
        }
    }
}

/// Maps a file for reading.
#[allow(unsafe_code)]
fn map_file(file: &File, path: &Path) -> Result<Mmap, HubError> {
    // SAFETY: the map is read-only, and its bytes are only ever decoded as integers and floats, for which every bit pattern
    // is valid. It is shared with every other process that has the file open, so nothing here can rule out the two things
    // that the contract of `map` forbids: a process that writes into the file changes bytes under a borrowed slice, and one
    // that shortens it makes the next read beyond its end a bus error (SIGBUS), which ends this process. Model files are
    // written once and replaced by renaming, which leaves an existing map intact; the documentation of `Checkpoint` asks for that.
    unsafe { Mmap::map(file) }.map_err(HubError::io("map", path))
}

/// True if `name` is one component that stays within its directory.
pub(crate) fn is_plain_file_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!(components.next(), Some(std::path::Component::Normal(first)) if first == name)
        && components.next().is_none()
        && !name.contains(['/', '\\', '\0'])
}

/// The file names that an index lists, each once, in alphabetical order.
///
/// # Errors
/// If the index is damaged, empty or names a file outside its own directory.
pub(crate) fn shards_of_index(index: &Path) -> Result<Vec<String>, HubError> {
    let weight_map = read_index(index)?;
    let names = shard_names(&weight_map, index)?;
    Ok(names.into_iter().map(str::to_owned).collect())
}

/// Which shard each tensor is in.
fn read_index(index: &Path) -> Result<Vec<(String, String)>, HubError> {
    let Index {
        weight_map: UniqueMap(weight_map),
    } = read_json(index, MAX_JSON_BYTES)?;
    if weight_map.is_empty() {
        return Err(HubError::Safetensors {
            path: index.to_path_buf(),
            problem: "its weight_map is empty".into(),
        });
    }
    Ok(weight_map)
}

fn shard_names<'a>(
    weight_map: &'a [(String, String)],
    index: &Path,
) -> Result<Vec<&'a str>, HubError> {
    let mut names: Vec<&str> = weight_map.iter().map(|(_, shard)| shard.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let improper = |name: &&&str| !is_plain_file_name(name) || !name.ends_with(".safetensors");
    match names.iter().find(improper) {
        Some(&name) => Err(HubError::ShardName {
            index: index.to_path_buf(),
            shard: name.to_owned(),
        }),
        None => Ok(names),
    }
}

/// The files of a model that has neither of the usual names, if there is no doubt which they are; otherwise what to do.
fn unindexed(directory: &Path) -> Result<Vec<String>, String> {
    let place = directory.display().to_string();
    let hint = without_safetensors(&|name| directory.join(name).exists(), &place, &place);
    if !hint.is_empty() {
        return Err(hint);
    }
    let found = safetensors_in(directory);
    match (
        numbered_shards(found.iter().map(String::as_str)),
        found.as_slice(),
    ) {
        (Some(shards), _) => Ok(shards),
        (None, []) => Err(String::new()),
        // A checkpoint of one file under a name of its own, such as a variant.
        (None, [single]) if !single.contains("-of-") => Ok(vec![single.clone()]),
        (None, found) => Err(format!(
            "; it has {}: shards without an index are read if their names say that none is missing \
             (model-00001-of-0000{count}.safetensors to model-0000{count}-of-0000{count}.safetensors)",
            listed(found),
            count = found.len().clamp(2, 9),
        )),
    }
}

fn listed(names: &[String]) -> String {
    const SHOWN: usize = 4;
    let shown = names[..names.len().min(SHOWN)].join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// What to do about a model without safetensors, by the files that it `has`; starts with punctuation or is empty.
/// `source` is where `transformers` finds the model, `destination` where a converted one may be written.
pub(crate) fn without_safetensors(
    has: &dyn Fn(&str) -> bool,
    source: &str,
    destination: &str,
) -> String {
    if has("pytorch_model.bin") || has("pytorch_model.bin.index.json") {
        let tokenizer = if source == destination {
            String::new()
        } else {
            format!(
                "; from transformers import AutoTokenizer as T; T.from_pretrained('{source}').save_pretrained('{destination}')"
            )
        };
        let then = if source == destination {
            String::new()
        } else {
            format!("; then pass ./{destination}")
        };
        return format!(
            ", only PyTorch's pickle format; convert it once: python -c \"from transformers import AutoModelForCausalLM as M; \
             M.from_pretrained('{source}', torch_dtype='auto').save_pretrained('{destination}', safe_serialization=True){tokenizer}\"{then}"
        );
    }
    if has("adapter_model.safetensors") {
        return ": it is an adapter; merge it into its base model first (peft: merge_and_unload)"
            .into();
    }
    if has("consolidated.00.pth") || has("consolidated.safetensors") {
        return ": it is in the original layout of its authors; use the Hugging Face version of the model".into();
    }
    if has("t81/t81_metadata.json") || has("t81_metadata.json") {
        return ": it holds a t81 directory, not a float checkpoint".into();
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::is_plain_file_name;

    #[test]
    fn only_plain_names_pass() {
        assert!(is_plain_file_name("model-00001-of-00002.safetensors"));
        for name in [
            "", ".", "..", "../x", "/x", "a/b", "a\\b", "./x", "x/", "x\0",
        ] {
            assert!(!is_plain_file_name(name), "{name:?}");
        }
    }
}
