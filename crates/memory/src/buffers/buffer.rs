//! One buffer in one hand.

use std::fmt;
use std::io::{self, Read};
use std::ops::Deref;
use std::sync::Arc;

use bytes::buf::UninitSlice;
use bytes::{BufMut, Bytes};

use super::{Charged, Shared};

/// An empty, half or wholly filled buffer of a [`BufferPool`](super::BufferPool).
///
/// It dereferences to what is filled; nothing of an earlier use shows anywhere. It is a [`BufMut`], so
/// tokio's `read_buf` fills it in place.
///
/// # Examples
///
/// ```
/// use std::io;
///
/// use memory::{Budget, BufferPool};
///
/// let pool = BufferPool::new(&Budget::new(8192), 4096, 1);
/// let mut buffer = pool.try_get()?;
/// assert_eq!(3, buffer.fill_from(&mut io::Cursor::new("abc"))?);
/// assert_eq!(&buffer[..], b"abc");
/// assert_eq!(4093, buffer.spare_bytes());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Buffer {
    /// Taken out on drop alone.
    charged: Option<Charged>,
    len: usize,
    shared: Arc<Shared>,
}

impl Buffer {
    pub(super) fn new(charged: Charged, shared: Arc<Shared>) -> Self {
        Self { charged: Some(charged), len: 0, shared }
    }

    /// Returns how many more bytes fit.
    pub fn spare_bytes(&self) -> usize {
        self.charged().pages.len() - self.len
    }

    /// Appends as much of `bytes` as fits; returns how many that were.
    pub fn extend(&mut self, bytes: &[u8]) -> usize {
        let len = bytes.len().min(self.spare_bytes());
        let start = self.len;
        self.charged_mut().pages.bytes_mut()[start..start + len].copy_from_slice(&bytes[..len]);
        self.len += len;
        len
    }

    /// Appends from `source` until the buffer is full or the source at its end; returns how many bytes.
    ///
    /// The spare part is zeroed first, for the source gets to see it. Files and sockets are better read
    /// with [`fill_from_file`](Self::fill_from_file) or through [`BufMut`].
    ///
    /// # Errors
    ///
    /// Those of the source; what was read before is kept.
    pub fn fill_from(&mut self, source: &mut impl Read) -> io::Result<usize> {
        let start = self.len;
        self.charged_mut().pages.bytes_mut()[start..].fill(0);
        while 0 < self.spare_bytes() {
            let end = self.len;
            match source.read(&mut self.charged_mut().pages.bytes_mut()[end..]) {
                Ok(0) => break,
                Ok(n) => self.len = self.capacity().min(end.saturating_add(n)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.len - start)
    }

    /// Forgets what is filled.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Turns what is filled into [`Bytes`] without a copy. When the last clone or slice of them drops,
    /// the buffer goes back to its pool and its bytes to the budget's use.
    ///
    /// Costs one small allocation.
    pub fn freeze(self) -> Bytes {
        if self.len == 0 {
            return Bytes::new();
        }
        Bytes::from_owner(self)
    }

    /// Appends what `read` puts into the spare part, which it must not look at.
    #[cfg(feature = "files")]
    pub(crate) fn fill_with<E>(
        &mut self,
        read: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<usize, E> {
        let start = self.len;
        let len = read(&mut self.charged_mut().pages.bytes_mut()[start..])?;
        self.len = self.capacity().min(start.saturating_add(len));
        Ok(self.len - start)
    }

    fn capacity(&self) -> usize {
        self.charged().pages.len()
    }

    fn charged(&self) -> &Charged {
        self.charged.as_ref().expect("taken on drop alone")
    }

    fn charged_mut(&mut self) -> &mut Charged {
        self.charged.as_mut().expect("taken on drop alone")
    }
}

#[cfg(feature = "files")]
impl Buffer {
    /// Appends from `file`, at its position, until the buffer is full or the file at its end; returns how
    /// many bytes. Reads in place: nothing is zeroed or copied.
    ///
    /// # Errors
    ///
    /// Those of the file; what was read before is kept.
    pub fn fill_from_file(&mut self, file: impl std::os::fd::AsFd) -> io::Result<usize> {
        let start = self.len;
        while 0 < self.spare_bytes() {
            let end = self.len;
            let spare = &mut self.charged_mut().pages.bytes_mut()[end..];
            match crate::seam::read_into(file.as_fd(), spare) {
                Ok(0) => break,
                Ok(n) => self.len += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.len - start)
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.charged().pages.bytes()[..self.len]
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

#[expect(unsafe_code, reason = "the contract of `BufMut`, through which sockets are read in place")]
// SAFETY: `chunk_mut` is the spare part, `remaining_mut` its length, and `advance_mut` stays inside.
unsafe impl BufMut for Buffer {
    fn remaining_mut(&self) -> usize {
        self.spare_bytes()
    }

    unsafe fn advance_mut(&mut self, count: usize) {
        let spare = self.spare_bytes();
        assert!(count <= spare, "advanced by {count} B of {spare} B");
        // Every byte of the pages is initialized; this one the caller has written, as it promises.
        self.len += count;
    }

    fn chunk_mut(&mut self) -> &mut UninitSlice {
        let len = self.len;
        UninitSlice::new(&mut self.charged_mut().pages.bytes_mut()[len..])
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(charged) = self.charged.take() {
            self.shared.put_back(charged);
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer")
            .field("len", &self.len)
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}
