//! Reading a GGUF file through a memory map.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use t81_core::TernaryMatrix;
use t81_hub::{ForeignContent, HubError};

use crate::dequantize;
use crate::error::GgufError;
use crate::format_error::FormatError;
use crate::metadata::Metadata;
use crate::parse::{GgufHeader, TensorInfo};

/// What [`ForeignContent`] is recognized by.
const RECOGNIZED_BYTES: usize = 4096;

/// An open GGUF file, whose header is checked and whose tensor data is read when asked for.
///
/// The file is mapped into memory. No other process may write into it or shorten it meanwhile: the former changes what is
/// read, the latter ends this process (SIGBUS). Replacing it by renaming is safe.
#[derive(Debug)]
pub struct GgufFile {
    path: PathBuf,
    map: Mmap,
    header: GgufHeader,
    positions: HashMap<String, usize>,
}

impl GgufFile {
    /// Opens and validates the file at `path`.
    ///
    /// # Errors
    ///
    /// [`GgufError::Io`] when the file cannot be read, [`GgufError::Malformed`] when it is no valid GGUF file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, GgufError> {
        let path = path.as_ref();
        let failed = |source| GgufError::open(path, source);
        // Opening a pipe would wait for its writer.
        GgufError::check_regular(path, &fs::metadata(path).map_err(failed)?)?;
        Self::from_file(&File::open(path).map_err(failed)?, path)
    }

    /// Maps and validates an open file, to be known as `path`.
    pub(crate) fn from_file(file: &File, path: &Path) -> Result<Self, GgufError> {
        let io = |source| GgufError::io("read", path, source);
        let attributes = file.metadata().map_err(io)?;
        GgufError::check_regular(path, &attributes)?;
        let malformed = |source| GgufError::Malformed {
            path: path.to_owned(),
            source,
        };
        if attributes.len() == 0 {
            // Empty files cannot be mapped.
            GgufHeader::parse(&[]).map_err(malformed)?;
        }
        let map = map_file(file).map_err(io)?;
        let header = GgufHeader::parse(&map).map_err(|source| {
            let beginning = &map[..map.len().min(RECOGNIZED_BYTES)];
            match (&source, ForeignContent::recognize(beginning)) {
                (FormatError::Magic { .. }, Some(found)) => GgufError::Hub(HubError::Foreign {
                    path: path.to_owned(),
                    found,
                }),
                _ => malformed(source),
            }
        })?;
        let positions = header
            .tensors
            .iter()
            .enumerate()
            .map(|(position, info)| (info.name.clone(), position))
            .collect();
        Ok(Self {
            path: path.to_owned(),
            map,
            header,
            positions,
        })
    }

    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The header.
    pub fn header(&self) -> &GgufHeader {
        &self.header
    }

    /// Metadata in file order.
    pub fn metadata(&self) -> &Metadata {
        &self.header.metadata
    }

    /// The size of the file in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.map.len() as u64
    }

    /// The whole file.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Tensors in file order.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = GgufTensor<'_>> {
        self.header.tensors.iter().map(|info| self.view(info))
    }

    /// The tensor called `name`.
    pub fn tensor(&self, name: &str) -> Option<GgufTensor<'_>> {
        self.positions
            .get(name)
            .map(|&position| self.view(&self.header.tensors[position]))
    }

    fn view<'a>(&'a self, info: &'a TensorInfo) -> GgufTensor<'a> {
        // The header's validation put this range inside the file.
        let start = (self.header.data_start + info.offset) as usize;
        GgufTensor {
            info,
            bytes: &self.map[start..start + info.bytes as usize],
            map: &self.map,
            start,
        }
    }
}

#[allow(unsafe_code)]
fn map_file(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the map is read-only, and only byte slices are handed out, so no value can be invalid. It is shared with every
    // other process that has the file open, so nothing here can rule out the two things that the contract of `map` forbids: a
    // process that writes into the file changes bytes under a borrowed slice, and one that shortens it makes the next read
    // beyond its end a bus error (SIGBUS), which ends this process. The documentation of `GgufFile` asks for a file at rest.
    unsafe { Mmap::map(file) }
}

/// A tensor of an open file.
#[derive(Clone, Copy, Debug)]
pub struct GgufTensor<'a> {
    /// Name, type and shape.
    pub info: &'a TensorInfo,
    /// The stored bytes, without padding.
    pub bytes: &'a [u8],
    map: &'a Mmap,
    start: usize,
}

impl GgufTensor<'_> {
    /// The elements as floats in file order (row-major `[out, in]` for a matrix).
    ///
    /// # Errors
    ///
    /// [`GgufError::NoFloats`] for a type other than F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K,
    /// TQ1_0, TQ2_0 and Q2_0.
    pub fn to_f32(&self) -> Result<Vec<f32>, GgufError> {
        let mut values = vec![0.0; self.info.elements() as usize];
        self.read_rows(0, &mut values)?;
        Ok(values)
    }

    /// The number of rows: the product of all dimensions but the first.
    pub fn rows(&self) -> u64 {
        self.info.elements() / self.info.columns()
    }

    /// Writes the elements of consecutive rows as floats, from row `first` on, as many as fill `values`.
    ///
    /// # Errors
    ///
    /// [`GgufError::NoFloats`] as for [`to_f32`](Self::to_f32).
    ///
    /// # Panics
    ///
    /// When the rows are not all there, or `values` holds no whole number of rows.
    pub fn read_rows(&self, first: u64, values: &mut [f32]) -> Result<(), GgufError> {
        let columns = self.info.columns();
        assert!((values.len() as u64).is_multiple_of(columns));
        let row_bytes = self.info.bytes / self.rows();
        let start = (first * row_bytes) as usize;
        let length = values.len() as u64 / columns * row_bytes;
        let bytes = &self.bytes[start..start + length as usize];
        dequantize::dequantize(self.info.tensor_type, bytes, values).map_err(
            |dequantize::Unreadable| GgufError::NoFloats {
                tensor: self.info.name.clone(),
                tensor_type: self.info.tensor_type,
            },
        )
    }

    /// The codes and scales of a ternary tensor, `None` for a tensor of another type.
    ///
    /// # Errors
    ///
    /// [`GgufError::Codec`] when blocks hold what no ternary matrix does: the code +2, trit bytes outside the
    /// 243 canonical ones, or a scale that is not finite.
    pub fn to_ternary(&self) -> Result<Option<TernaryMatrix>, GgufError> {
        let Some(format) = self.info.tensor_type.block_format() else {
            return Ok(None);
        };
        let columns = self.info.columns() as usize;
        let rows = self.info.elements() as usize / columns;
        format
            .decode(self.bytes, rows, columns)
            .map(Some)
            .map_err(|source| self.codec_error(source))
    }

    /// Takes the tensor's mapped pages out of the process' memory; they come back from the file when they are read again.
    #[allow(unsafe_code)]
    pub(crate) fn release(&self) {
        #[cfg(unix)]
        {
            // SAFETY: the map is read-only and backed by a file, so the pages hold nothing that the file does not: after
            // this advice a read faults the same bytes in again, and references into the map see no change. (The advice
            // is dangerous for maps that were written to, whose changes it discards.)
            let _ = unsafe {
                self.map.unchecked_advise_range(
                    memmap2::UncheckedAdvice::DontNeed,
                    self.start,
                    self.bytes.len(),
                )
            };
        }
    }

    /// How many codes of a ternary tensor are 0, `None` for a tensor of another type. Reads the whole tensor.
    pub fn zero_codes(&self) -> Option<u64> {
        let format = self.info.tensor_type.block_format()?;
        format.zero_codes(self.bytes).ok()
    }

    fn codec_error(&self, source: t81_core::CodecError) -> GgufError {
        GgufError::Codec {
            tensor: self.info.name.clone(),
            source,
        }
    }
}
