//! Reading a GGUF file through a memory map.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use memmap2::Mmap;
use t81_core::TernaryMatrix;

use crate::error::GgufError;
use crate::metadata::Metadata;
use crate::parse::{GgufHeader, TensorInfo};
use crate::tensor_type::TensorType;

/// An open GGUF file, whose header is checked and whose tensor data is read when asked for.
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
        let io = |source| GgufError::io("open", path, source);
        let file = File::open(path).map_err(io)?;
        let attributes = file.metadata().map_err(io)?;
        if !attributes.is_file() {
            return Err(GgufError::NotAFile {
                path: path.to_owned(),
            });
        }
        let malformed = |source| GgufError::Malformed {
            path: path.to_owned(),
            source,
        };
        if attributes.len() == 0 {
            // Empty files cannot be mapped.
            GgufHeader::parse(&[]).map_err(malformed)?;
        }
        let map = map_file(&file).map_err(io)?;
        let header = GgufHeader::parse(&map).map_err(malformed)?;
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
        }
    }
}

#[allow(unsafe_code)]
fn map_file(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the map is private and read-only, and only byte slices are handed out, so no value can be invalid. What
    // remains is another process changing or truncating the file meanwhile, the documented limit of mapping files.
    unsafe { Mmap::map(file) }
}

/// A tensor of an open file.
#[derive(Clone, Copy, Debug)]
pub struct GgufTensor<'a> {
    /// Name, type and shape.
    pub info: &'a TensorInfo,
    /// The stored bytes, without padding.
    pub bytes: &'a [u8],
}

impl GgufTensor<'_> {
    /// The elements as floats in file order (row-major `[out, in]` for a matrix).
    ///
    /// # Errors
    ///
    /// [`GgufError::NoFloats`] for a type other than F32, F16, BF16, TQ1_0, TQ2_0 and Q2_0;
    /// [`GgufError::Codec`] never for those three as ggml assigns a value to each of their byte patterns.
    pub fn to_f32(&self) -> Result<Vec<f32>, GgufError> {
        let mut values = vec![0.0; self.info.elements() as usize];
        match self.info.tensor_type {
            TensorType::F32 => {
                let (chunks, _) = self.bytes.as_chunks::<4>();
                for (value, &chunk) in values.iter_mut().zip(chunks) {
                    *value = f32::from_le_bytes(chunk);
                }
            }
            TensorType::F16 => {
                let (chunks, _) = self.bytes.as_chunks::<2>();
                let halves: Vec<f16> = chunks
                    .iter()
                    .map(|&chunk| f16::from_le_bytes(chunk))
                    .collect();
                halves.convert_to_f32_slice(&mut values);
            }
            TensorType::BF16 => {
                let (chunks, _) = self.bytes.as_chunks::<2>();
                let halves: Vec<bf16> = chunks
                    .iter()
                    .map(|&chunk| bf16::from_le_bytes(chunk))
                    .collect();
                halves.convert_to_f32_slice(&mut values);
            }
            other => {
                let format = other.block_format().ok_or_else(|| GgufError::NoFloats {
                    tensor: self.info.name.clone(),
                    tensor_type: other,
                })?;
                format
                    .dequantize(self.bytes, &mut values)
                    .map_err(|source| self.codec_error(source))?;
            }
        }
        Ok(values)
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

    fn codec_error(&self, source: t81_core::CodecError) -> GgufError {
        GgufError::Codec {
            tensor: self.info.name.clone(),
            source,
        }
    }
}
