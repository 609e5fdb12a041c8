//! A dense tensor as it lies in its file, decoded on demand.

use std::borrow::Cow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use crate::dtype::BLOCK;
use crate::files::RawTensor;
use crate::{Dtype, HubError};

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
    /// The file that holds it.
    pub file: &'a Path,
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
        })
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
            .all(|input| {
                let mut values = [0.0; BLOCK];
                let values = &mut values[..input.len() / self.dtype.size_bytes()];
                self.dtype.decode_block(input, values);
                values
                    .iter()
                    .fold(true, |finite, value| finite & value.is_finite())
            });
        if finite {
            Ok(())
        } else {
            Err(HubError::tensor(self.name, "holds a NaN or an infinity"))
        }
    }

    fn decode(&self, output: &mut [f32]) {
        self.bytes
            .par_chunks(BLOCK * self.dtype.size_bytes())
            .zip(output.par_chunks_mut(BLOCK))
            .for_each(|(input, output)| self.dtype.decode_block(input, output));
    }
}
