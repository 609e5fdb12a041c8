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
