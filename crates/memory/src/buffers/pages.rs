//! One allocation of whole pages.

#![expect(
    unsafe_code,
    reason = "memory straight from the allocator, so that it is aligned to pages"
)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::ptr::NonNull;
use std::slice;

/// Bytes of a page: what direct I/O, mappings and the page cache count in on the machines we know.
pub(super) const PAGE_BYTES: usize = 4096;

/// Whole pages, owned. Every byte is initialized from the start: zero, or what was written there.
pub(super) struct Pages {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the pages are owned like a `Box<[u8]>`, which is `Send`.
unsafe impl Send for Pages {}
// SAFETY: shared access only reads plain bytes.
unsafe impl Sync for Pages {}

impl Pages {
    /// The least number of whole pages, in bytes, that holds `bytes`.
    pub(super) fn round_up(bytes: usize) -> usize {
        assert!(0 < bytes, "a buffer of 0 B holds nothing");
        let rounded = bytes.checked_next_multiple_of(PAGE_BYTES);
        rounded.filter(|&bytes| isize::try_from(bytes).is_ok()).expect("a buffer above isize::MAX")
    }

    /// Allocates `bytes`, a positive multiple of the page.
    pub(super) fn zeroed(bytes: usize) -> Self {
        let layout = Self::layout(bytes);
        // SAFETY: the size of the layout is not zero: `round_up` sees to it.
        let start = unsafe { alloc_zeroed(layout) };
        let start = NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout));
        Self { start, bytes }
    }

    fn layout(bytes: usize) -> Layout {
        assert!(0 < bytes && bytes % PAGE_BYTES == 0, "{bytes} B are not whole pages");
        Layout::from_size_align(bytes, PAGE_BYTES).expect("`round_up` keeps it below isize::MAX")
    }

    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: `start` points to `bytes` initialized bytes that live as long as `self`; nobody writes
        // while `self` is borrowed.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and the borrow of `self` is exclusive.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: allocated in `zeroed` with this very layout, and freed once.
        unsafe { dealloc(self.start.as_ptr(), Self::layout(self.bytes)) }
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}
