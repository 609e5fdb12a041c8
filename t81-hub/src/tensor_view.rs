//! A dense tensor as it lies in its file, decoded on demand.

use std::borrow::Cow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use crate::dtype::BLOCK;
use crate::files::RawTensor;
use crate::pages::Pages;
use crate::{Dtype, HubError};

/// Elements of a chunk: large enough to keep every core busy, small beside any memory.
const CHUNK: usize = 1 << 22;

/// A dense tensor of a checkpoint: a view into the mapped file, nothing copied.
#[derive(Clone, Debug)]
pub struct TensorView<'a> {
    /// The tensor's name.
    pub name: &'a str,
    /// Its element type.
    pub dtype: Dtype,
    /// Its shape, outermost dimension first.
    pub shape: Vec<usize>,
    /// Its elements: row-major, little endian, of any alignment.
    pub bytes: &'a [u8],
    /// The file that holds it; empty for a tensor in memory.
    pub file: &'a Path,
    pages: Pages<'a>,
}

impl<'a> TensorView<'a> {
    pub(crate) fn from_raw(raw: RawTensor<'a>) -> Result<Self, HubError> {
        let Some(dtype) = Dtype::from_safetensors(raw.dtype) else {
            return Err(HubError::UnsupportedDtype {
                name: raw.name.to_owned(),
                path: raw.file.to_path_buf(),
                dtype: raw.dtype.to_string(),
            });
        };
        Ok(Self {
            name: raw.name,
            dtype,
            shape: raw.shape.to_vec(),
            bytes: raw.bytes,
            file: raw.file,
            pages: raw.pages,
        })
    }

    /// A tensor in memory: row-major, little endian.
    ///
    /// # Errors
    /// If `bytes` does not hold exactly the elements of the shape.
    pub fn new(
        name: &'a str,
        dtype: Dtype,
        shape: &[usize],
        bytes: &'a [u8],
    ) -> Result<Self, HubError> {
        let expected = shape
            .iter()
            .try_fold(dtype.size_bytes(), |bytes, &size| bytes.checked_mul(size));
        if expected != Some(bytes.len()) {
            let problem = format!("is {dtype} {shape:?}, but has {} bytes", bytes.len());
            return Err(HubError::tensor(name, problem));
        }
        Ok(Self {
            name,
            dtype,
            shape: shape.to_vec(),
            bytes,
            file: Path::new(""),
            pages: Pages::default(),
        })
    }

    /// The tensor in parts of some millions of elements, in order and without its shape, so that a tensor of any size can be
    /// worked on in little memory: use a part, then [`release`](Self::release) it.
    pub fn chunks(&self) -> impl Iterator<Item = TensorView<'a>> {
        let (whole, step) = (self.clone(), CHUNK * self.dtype.size_bytes());
        (0..self.bytes.len()).step_by(step).map(move |start| {
            let range = start..(start + step).min(whole.bytes.len());
            Self {
                shape: vec![range.len() / whole.dtype.size_bytes()],
                bytes: &whole.bytes[range.clone()],
                pages: whole.pages.part(&range),
                ..whole
            }
        })
    }

    /// Tells the system that the tensor's bytes are not needed in memory for now; they come back from the file when they
    /// are looked at. Without it, everything read so far counts as memory of the process.
    pub fn release(&self) {
        self.pages.release();
    }

    /// Tells the system that the tensor's bytes will be needed soon, so that it reads them ahead.
    pub fn prefetch(&self) {
        self.pages.prefetch();
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.dtype.size_bytes()
    }

    /// True if the tensor has no element.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// `[rows, columns]` of a matrix.
    ///
    /// # Errors
    /// If the tensor does not have two dimensions.
    pub fn matrix_shape(&self) -> Result<(usize, usize), HubError> {
        match self.shape[..] {
            [rows, columns] => Ok((rows, columns)),
            _ => Err(HubError::tensor(
                self.name,
                format!("has shape {:?}, not a matrix's", self.shape),
            )),
        }
    }

    /// All elements as f32 (exact), decoded on all cores.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.len()];
        self.decode(&mut values);
        values
    }

    /// Decodes into `output` on all cores.
    ///
    /// # Errors
    /// If `output` does not hold exactly [`len`](Self::len) elements.
    pub fn to_f32_into(&self, output: &mut [f32]) -> Result<(), HubError> {
        if output.len() != self.len() {
            let problem = format!("has {} elements, the buffer {}", self.len(), output.len());
            return Err(HubError::tensor(self.name, problem));
        }
        self.decode(output);
        Ok(())
    }

    /// The elements as bytes of another element type: the file's own bytes where the type is the same, otherwise
    /// rounded to nearest even on all cores.
    ///
    /// # Errors
    /// [`HubError::Overflow`] if a finite element would become infinite.
    pub fn to_bytes(&self, dtype: Dtype) -> Result<Cow<'a, [u8]>, HubError> {
        if dtype == self.dtype {
            return Ok(Cow::Borrowed(self.bytes));
        }
        let mut bytes = vec![0; self.len() * dtype.size_bytes()];
        let fits = AtomicBool::new(true);
        self.bytes
            .par_chunks(BLOCK * self.dtype.size_bytes())
            .zip(bytes.par_chunks_mut(BLOCK * dtype.size_bytes()))
            .for_each(|(input, output)| {
                let mut values = [0.0; BLOCK];
                let values = &mut values[..input.len() / self.dtype.size_bytes()];
                self.dtype.decode_block(input, values);
                if !dtype.encode_block(values, output) {
                    fits.store(false, Ordering::Relaxed);
                }
            });
        if fits.into_inner() {
            Ok(Cow::Owned(bytes))
        } else {
            Err(HubError::Overflow {
                name: self.name.to_owned(),
                dtype,
            })
        }
    }

    /// Checks on all cores that no element is NaN or infinite.
    ///
    /// # Errors
    /// [`HubError::Tensor`] naming the tensor otherwise.
    pub fn check_finite(&self) -> Result<(), HubError> {
        let finite = self
            .bytes
            .par_chunks(BLOCK * self.dtype.size_bytes())
            .all(|bytes| self.dtype.all_finite(bytes));
        if finite {
            Ok(())
        } else {
            Err(HubError::tensor(self.name, "holds a NaN or an infinity"))
        }
    }

    /// Whether the shape and all values are those of `other`, of whatever dtype. Reads a part of both at a time.
    pub(crate) fn has_values_of(&self, other: &TensorView<'_>) -> bool {
        if self.shape != other.shape {
            return false;
        }
        self.chunks().zip(other.chunks()).all(|(one, other)| {
            let equal = match one.dtype == other.dtype {
                true => one.bytes == other.bytes,
                false => one.to_f32() == other.to_f32(),
            };
            one.release();
            other.release();
            equal
        })
    }

    /// Decodes as many elements from `first` on as `output` holds, on this thread alone. They must exist.
    pub(crate) fn decode_elements(&self, first: usize, output: &mut [f32]) {
        let size = self.dtype.size_bytes();
        let bytes = &self.bytes[first * size..][..output.len() * size];
        for (bytes, output) in bytes.chunks(BLOCK * size).zip(output.chunks_mut(BLOCK)) {
            self.dtype.decode_block(bytes, output);
        }
    }

    fn decode(&self, output: &mut [f32]) {
        self.bytes
            .par_chunks(BLOCK * self.dtype.size_bytes())
            .zip(output.par_chunks_mut(BLOCK))
            .for_each(|(input, output)| self.dtype.decode_block(input, output));
    }
}
