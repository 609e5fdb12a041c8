//! The mapped pages of a tensor, and how long they stay in memory.

use std::ops::Range;

use memmap2::Mmap;

/// A range of a mapped file, or nothing for bytes that are not mapped.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pages<'a> {
    map: Option<&'a Mmap>,
    offset: usize,
    length: usize,
}

impl<'a> Pages<'a> {
    /// The pages that hold `range` of the map.
    pub(crate) fn new(map: Option<&'a Mmap>, range: &Range<usize>) -> Self {
        Self {
            map,
            offset: range.start,
            length: range.len(),
        }
    }

    /// A part of them, in bytes from their start.
    pub(crate) fn part(&self, range: &Range<usize>) -> Self {
        Self {
            map: self.map,
            offset: self.offset + range.start,
            length: range.len(),
        }
    }

    /// Asks the system to read them ahead. They do not count as the process' memory until they are touched.
    pub(crate) fn prefetch(&self) {
        #[cfg(unix)]
        if let Some(map) = self.map {
            // A hint: nothing depends on it.
            let _ = map.advise_range(memmap2::Advice::WillNeed, self.offset, self.length);
        }
    }

    /// Takes them out of the process' memory. They come back from the file when they are touched again.
    #[allow(unsafe_code)]
    pub(crate) fn release(&self) {
        #[cfg(unix)]
        if let Some(map) = self.map {
            // SAFETY: the map is read-only and backed by a file, so the pages hold nothing that the file does not: after
            // this advice a read faults the same bytes in again, and references into the map see no change. (The advice
            // is dangerous for maps that were written to, whose changes it discards.)
            let _ = unsafe {
                map.unchecked_advise_range(
                    memmap2::UncheckedAdvice::DontNeed,
                    self.offset,
                    self.length,
                )
            };
        }
    }
}
