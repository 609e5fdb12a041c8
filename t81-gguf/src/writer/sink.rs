//! Where the data of a tensor goes.

use std::io::{BufWriter, Write};
use std::path::Path;

use t81_core::TernaryMatrix;
use tempfile::NamedTempFile;

use crate::error::GgufError;
use crate::reader::GgufTensor;
use crate::validate;

/// Takes the data of one tensor, piece by piece.
#[derive(Debug)]
pub struct TensorSink<'a> {
    target: Target<'a>,
    path: &'a Path,
    name: &'a str,
    expected: u64,
    written: u64,
}

/// Where the data of a tensor goes.
#[derive(Debug)]
enum Target<'a> {
    File(&'a mut BufWriter<NamedTempFile>),
    /// Nowhere: it is compared with what was written before.
    Comparison(GgufTensor<'a>),
}

impl<'a> TensorSink<'a> {
    /// A sink for the `expected` bytes of a tensor of the file that will be `path`.
    pub(super) fn new(
        out: &'a mut BufWriter<NamedTempFile>,
        path: &'a Path,
        name: &'a str,
        expected: u64,
    ) -> Self {
        Self {
            target: Target::File(out),
            path,
            name,
            expected,
            written: 0,
        }
    }

    /// Bytes that came so far.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// A sink that refuses data other than that of a written tensor.
    pub(crate) fn comparing(written: GgufTensor<'a>, path: &'a Path) -> Self {
        Self {
            target: Target::Comparison(written),
            path,
            name: &written.info.name,
            expected: written.info.bytes,
            written: 0,
        }
    }

    /// Whether all of the tensor's data came.
    pub(crate) fn is_complete(&self) -> bool {
        self.written == self.expected
    }

    /// In a comparison, compares the next rows by what they mean rather than by their bytes. Returns false where there is
    /// none.
    pub(crate) fn compare_ternary(&mut self, matrix: &TernaryMatrix) -> Result<bool, GgufError> {
        let Target::Comparison(written) = &self.target else {
            return Ok(false);
        };
        let row_bytes = written.info.bytes / written.rows();
        validate::same_ternary(matrix, self.written / row_bytes, written)?;
        self.written += matrix.rows() as u64 * row_bytes;
        Ok(true)
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    ///
    /// [`GgufError::TensorSize`] when the tensor's plan has fewer bytes, [`GgufError::Io`] when the disk is full.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), GgufError> {
        let written = self.written + bytes.len() as u64;
        if written > self.expected {
            return Err(GgufError::TensorSize {
                tensor: self.name.to_owned(),
                expected: self.expected,
                found: written,
            });
        }
        match &mut self.target {
            Target::File(out) => out
                .write_all(bytes)
                .map_err(|source| GgufError::io("write", self.path, source))?,
            Target::Comparison(tensor) => validate::same_bytes(bytes, self.written, tensor)?,
        }
        self.written = written;
        Ok(())
    }
}
