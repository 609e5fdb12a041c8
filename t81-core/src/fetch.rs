//! Hints to fetch memory before it is needed: the prefetchers of a processor start anew at each page.

/// Asks for the memory that lies as many elements after these as `ahead` says; it may belong to nothing.
#[inline(always)]
pub(crate) fn fetch_ahead<T>(values: &[T], ahead: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        const LINE: usize = 64;
        let first: *const i8 = values.as_ptr().wrapping_add(ahead).cast();
        for offset in (0..size_of_val(values)).step_by(LINE) {
            // SAFETY: a hint reads nothing, wherever it points; every x86-64 has it.
            #[allow(unsafe_code)]
            unsafe {
                _mm_prefetch::<_MM_HINT_T0>(first.wrapping_add(offset));
            }
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (values, ahead);
}

/// Memory to fetch into the second-level cache while other memory is worked on: lines that lie a stride apart. It may
/// belong to nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ahead {
    first: *const f32,
    stride: usize,
}

impl Ahead {
    /// The line that begins `offset` elements after the first of these, and those that begin every `stride` elements from
    /// there.
    pub(crate) fn new(values: &[f32], offset: isize, stride: usize) -> Self {
        let first = values.as_ptr().wrapping_offset(offset);
        Self { first, stride }
    }

    /// No memory.
    pub(crate) fn nothing() -> Self {
        Self {
            first: std::ptr::null(),
            stride: 0,
        }
    }

    /// The lines that begin as many elements later.
    #[inline(always)]
    pub(crate) fn skip(self, elements: usize) -> Self {
        let first = self.first.wrapping_add(elements);
        Self { first, ..self }
    }

    /// Asks for a line.
    #[inline(always)]
    pub(crate) fn fetch(self, index: usize) {
        let line = self.first.wrapping_add(index * self.stride);
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
            // SAFETY: a hint reads nothing, wherever it points; every x86-64 has it.
            #[allow(unsafe_code)]
            unsafe {
                _mm_prefetch::<_MM_HINT_T1>(line.cast());
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = line;
    }
}
