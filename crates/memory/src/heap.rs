//! What the heap holds: an allocator that counts, and the C library's own figures.

#![expect(unsafe_code, reason = "the contract of `GlobalAlloc`, and four calls of the C library")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// An allocator that counts what goes through it, for programs and benches; libraries install none.
///
/// **Cost.** Three relaxed atomic operations per allocation, two per release. Two threads that allocate
/// at once share a cache line here: measure with it, do not ship with it where that counts.
///
/// # Examples
///
/// ```
/// use memory::heap::CountingAllocator;
///
/// #[global_allocator]
/// static HEAP: CountingAllocator = CountingAllocator::system();
///
/// let before = HEAP.counts();
/// let buffer = std::hint::black_box(vec![0_u8; 4096]);
/// assert!(4096 <= HEAP.counts().live_bytes - before.live_bytes);
/// drop(buffer);
/// assert_eq!(before.live_bytes, HEAP.counts().live_bytes);
/// ```
#[derive(Debug, Default)]
pub struct CountingAllocator<A = System> {
    inner: A,
    live_bytes: AtomicU64,
    peak_bytes: AtomicU64,
    allocations: AtomicU64,
}

/// What a [`CountingAllocator`] has counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct HeapCounts {
    /// Bytes asked for and not yet released; what the allocator adds for itself is not in it.
    pub live_bytes: u64,
    /// The most of those since the start or the last [`CountingAllocator::reset_peak`].
    pub peak_bytes: u64,
    /// How many times memory was asked for, growing included.
    pub allocations: u64,
}

impl CountingAllocator<System> {
    /// Returns a counter around the system's allocator.
    pub const fn system() -> Self {
        Self::new(System)
    }
}

impl<A> CountingAllocator<A> {
    /// Returns a counter around `inner`.
    pub const fn new(inner: A) -> Self {
        let (live_bytes, peak_bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { inner, live_bytes, peak_bytes, allocations: AtomicU64::new(0) }
    }

    /// Returns the counts. Each is exact; together they may be of slightly different instants.
    pub fn counts(&self) -> HeapCounts {
        HeapCounts {
            live_bytes: self.live_bytes.load(Relaxed),
            peak_bytes: self.peak_bytes.load(Relaxed),
            allocations: self.allocations.load(Relaxed),
        }
    }

    /// Lets the peak begin anew from what is live.
    pub fn reset_peak(&self) {
        self.peak_bytes.store(self.live_bytes.load(Relaxed), Relaxed);
    }

    fn count_in(&self, bytes: usize) {
        let bytes = bytes as u64;
        let live_bytes = self.live_bytes.fetch_add(bytes, Relaxed) + bytes;
        self.peak_bytes.fetch_max(live_bytes, Relaxed);
        self.allocations.fetch_add(1, Relaxed);
    }

    fn count_out(&self, bytes: usize) {
        self.live_bytes.fetch_sub(bytes as u64, Relaxed);
    }
}

// SAFETY: every call goes to `inner` with the arguments it came with, and its answer comes back; the
// counting in between touches nothing but integers, and does not allocate or panic.
unsafe impl<A: GlobalAlloc> GlobalAlloc for CountingAllocator<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise on `layout`, passed on.
        let start = unsafe { self.inner.alloc(layout) };
        if !start.is_null() {
            self.count_in(layout.size());
        }
        start
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise on `layout`, passed on.
        let start = unsafe { self.inner.alloc_zeroed(layout) };
        if !start.is_null() {
            self.count_in(layout.size());
        }
        start
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise that `start` came from here with `layout`, so it came from `inner`.
        unsafe { self.inner.dealloc(start, layout) }
        self.count_out(layout.size());
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: as for `dealloc`, and the caller's promise on `bytes`.
        let moved = unsafe { self.inner.realloc(start, layout, bytes) };
        if !moved.is_null() {
            self.count_out(layout.size());
            self.count_in(bytes);
        }
        moved
    }
}

/// What the C library's heap holds (`mallinfo2`, glibc 2.33): also what C code asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct CHeap {
    /// Bytes in use, mapped blocks included.
    pub used_bytes: u64,
    /// Bytes on its free lists: taken from the kernel and not in use.
    pub free_bytes: u64,
    /// Bytes of blocks that were large enough for mappings of their own.
    pub mapped_bytes: u64,
}

/// Reads the C library's heap; `None` where the library does not tell.
///
/// Walks all its free lists, arena by arena: milliseconds in a large heap, so not for a loop.
#[must_use]
pub fn c_heap() -> Option<CHeap> {
    imp::c_heap()
}

/// Has the C library give its free lists back to the kernel; returns whether any memory went.
///
/// It takes milliseconds in a large heap. Programs that free much at a time register it with their monitor
/// (`Monitor::add_cache`), not with a budget, which would wait for it at each refusal.
///
/// # Examples
///
/// ```
/// /// What the C library keeps; it is in no budget, so nothing of it counts as given.
/// struct FreeLists;
///
/// impl memory::Reclaim for FreeLists {
///     fn reclaim(&self, _wanted_bytes: u64) -> u64 {
///         memory::heap::trim_c_heap();
///         0
///     }
/// }
///
/// assert_eq!(0, memory::Reclaim::reclaim(&FreeLists, 1));
/// ```
pub fn trim_c_heap() -> bool {
    imp::trim_c_heap()
}

/// Has the C library keep up to so many freed bytes (at most 2 GiB) for the next request; returns whether
/// it will.
///
/// By itself it maps each large block anew and gives the pages back when the block is released: where the
/// same megabytes are taken and released again and again, each page costs a fault each time. Blocks of up
/// to 32 MiB come from its lists from now on. What it keeps goes with [`trim_c_heap`].
///
/// For a program, at its start: it holds for the whole process.
pub fn keep_freed(bytes: usize) -> bool {
    imp::keep_freed(bytes)
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod imp {
    use libc::{M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, c_int};

    use super::CHeap;

    /// The largest blocks that need no mapping of their own: what `mallopt(3)` allows.
    const LISTED_BYTES_MAX: c_int = 32 << 20;

    pub(super) fn c_heap() -> Option<CHeap> {
        // SAFETY: takes nothing, returns plain numbers, and locks each arena itself.
        let info = unsafe { libc::mallinfo2() };
        Some(CHeap {
            used_bytes: (info.uordblks + info.hblkhd) as u64,
            free_bytes: info.fordblks as u64,
            mapped_bytes: info.hblkhd as u64,
        })
    }

    pub(super) fn trim_c_heap() -> bool {
        // SAFETY: takes a number, releases only what nobody holds, and locks each arena itself.
        unsafe { libc::malloc_trim(0) == 1 }
    }

    pub(super) fn keep_freed(bytes: usize) -> bool {
        let bytes = c_int::try_from(bytes).unwrap_or(c_int::MAX);
        // SAFETY: takes numbers, and locks the arena that it writes to.
        let set = |option, value| unsafe { libc::mallopt(option, value) == 1 };
        set(M_MMAP_THRESHOLD, LISTED_BYTES_MAX) && set(M_TRIM_THRESHOLD, bytes)
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod imp {
    use super::CHeap;

    pub(super) fn c_heap() -> Option<CHeap> {
        None
    }

    pub(super) fn trim_c_heap() -> bool {
        false
    }

    pub(super) fn keep_freed(_: usize) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_peak_and_number_are_counted_exactly() {
        let heap = CountingAllocator::system();
        let layout = Layout::from_size_align(100, 8).unwrap();
        let grown = Layout::from_size_align(300, 8).unwrap();
        // SAFETY: the layouts are not empty, and each block goes back with the layout it has.
        unsafe {
            let first = heap.alloc(layout);
            let second = heap.alloc_zeroed(layout);
            let first = heap.realloc(first, layout, 300);
            heap.dealloc(second, layout);
            let counts = HeapCounts { live_bytes: 300, peak_bytes: 400, allocations: 3 };
            assert_eq!(counts, heap.counts());
            heap.reset_peak();
            heap.dealloc(first, grown);
        }
        assert_eq!(HeapCounts { live_bytes: 0, peak_bytes: 300, allocations: 3 }, heap.counts());
    }

    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn the_c_heap_holds_what_we_hold() {
        let block = std::hint::black_box(vec![1_u8; 64 << 20]);
        let heap = c_heap().unwrap();
        assert!(64 << 20 <= heap.used_bytes && 64 << 20 <= heap.mapped_bytes);
        drop(block);
        trim_c_heap();
    }

    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn what_is_freed_is_kept() {
        let block_bytes = 16 << 20;
        assert!(keep_freed(2 * block_bytes));
        drop(std::hint::black_box(vec![1_u8; block_bytes]));
        assert!(block_bytes as u64 <= c_heap().unwrap().free_bytes);
    }
}
