//! Reading fields from bytes, with the bounds checked.

use crate::format_error::FormatError;

/// A position in bytes that may end anywhere.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    pub(super) fn position(&self) -> u64 {
        self.position as u64
    }

    fn remaining(&self) -> u64 {
        (self.bytes.len() - self.position) as u64
    }

    pub(super) fn take(
        &mut self,
        field: &'static str,
        count: u64,
    ) -> Result<&'a [u8], FormatError> {
        let remaining = self.remaining();
        if count > remaining {
            return Err(FormatError::Truncated {
                field,
                offset: self.position as u64,
                needed: count,
                remaining,
            });
        }
        let start = self.position;
        self.position += count as usize;
        Ok(&self.bytes[start..self.position])
    }

    pub(super) fn array<const N: usize>(
        &mut self,
        field: &'static str,
    ) -> Result<[u8; N], FormatError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(field, N as u64)?);
        Ok(out)
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, FormatError> {
        self.array(field).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, field: &'static str) -> Result<u64, FormatError> {
        self.array(field).map(u64::from_le_bytes)
    }

    pub(super) fn string(&mut self, field: &'static str) -> Result<String, FormatError> {
        let offset = self.position as u64 + 8;
        std::str::from_utf8(self.text(field)?)
            .map(str::to_owned)
            .map_err(|_| FormatError::Utf8 { field, offset })
    }

    /// Text that need not be UTF-8.
    pub(super) fn text(&mut self, field: &'static str) -> Result<&'a [u8], FormatError> {
        let length = self.u64(field)?;
        self.take(field, length)
    }

    /// Refuses a count whose entries, at `least` bytes each, cannot fit into the rest of the file.
    pub(super) fn check_count(
        &self,
        field: &'static str,
        count: u64,
        least: u64,
    ) -> Result<(), FormatError> {
        if count > self.remaining() / least {
            return Err(FormatError::Count {
                field,
                offset: self.position as u64,
                count,
                remaining: self.remaining(),
            });
        }
        Ok(())
    }

    pub(super) fn values<T, const N: usize>(
        &mut self,
        count: u64,
        read: fn([u8; N]) -> T,
    ) -> Result<Vec<T>, FormatError> {
        const FIELD: &str = "a metadata array";
        self.check_count(FIELD, count, N as u64)?;
        let bytes = self.take(FIELD, count * N as u64)?;
        let (chunks, _) = bytes.as_chunks::<N>();
        Ok(chunks.iter().map(|&chunk| read(chunk)).collect())
    }
}
