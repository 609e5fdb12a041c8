//! A limit for the bytes of one row, so that a file without row ends is not read into memory.

use std::cell::Cell;
use std::io::{Error, ErrorKind, Read};
use std::rc::Rc;

/// Bytes of the longest row.
pub(super) const LONGEST_ROW: u64 = 64 << 20;

/// The kind of error that a [`Limited`] reader meets at a row that is too long.
pub(super) const TOO_LONG: ErrorKind = ErrorKind::FileTooLarge;

/// Bytes that the current row may still have.
#[derive(Clone, Debug)]
pub(super) struct RowLimit(Rc<Cell<u64>>);

impl RowLimit {
    pub(super) fn new() -> Self {
        Self(Rc::new(Cell::new(LONGEST_ROW)))
    }

    /// Begins a new row.
    pub(super) fn reset(&self) {
        self.0.set(LONGEST_ROW);
    }

    /// A reader that fails with [`TOO_LONG`] when a row goes on for too long.
    pub(super) fn apply<R>(&self, contents: R) -> Limited<R> {
        Limited {
            contents,
            left: self.clone(),
        }
    }
}

/// A reader with a [`RowLimit`].
pub(super) struct Limited<R> {
    contents: R,
    left: RowLimit,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.contents.read(buffer)?;
        let left = &self.left.0;
        let remaining = left.get().checked_sub(read as u64).ok_or_else(|| {
            Error::new(TOO_LONG, format!("a row longer than {LONGEST_ROW} bytes"))
        })?;
        left.set(remaining);
        Ok(read)
    }
}
