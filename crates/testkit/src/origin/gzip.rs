//! gzip's format without compression: an honest `Content-Encoding: gzip` in forty lines.

use std::io;

use super::object::Content;

/// The most that one stored block of deflate holds (RFC 1951, 3.2.4).
const BLOCK_BYTES_MAX: u64 = 65_535;
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
const TRAILER_BYTES: u64 = 8;

/// Returns the number of bytes that `size` bytes become.
pub(crate) fn length(size: u64) -> u64 {
    HEADER.len() as u64 + 5 * size.div_ceil(BLOCK_BYTES_MAX).max(1) + size + TRAILER_BYTES
}

/// Renders one content in gzip's format (RFC 1952), block by block.
#[derive(Debug)]
pub(crate) struct Gzip {
    offset: u64,
    crc: u32,
    ended: bool,
    /// Rendered and not yet taken, from `taken` on.
    ready: Vec<u8>,
    taken: usize,
}

impl Gzip {
    pub(crate) fn new() -> Self {
        Self { offset: 0, crc: !0, ended: false, ready: HEADER.to_vec(), taken: 0 }
    }

    /// Fills the buffer with the bytes that follow those taken so far. It must not ask for more than
    /// [`length`] in all. `invert` inverts the content's bits.
    pub(crate) fn fill(
        &mut self,
        content: &Content,
        invert: bool,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            if self.taken == self.ready.len() {
                self.render_block(content, invert)?;
            }
            let n = (self.ready.len() - self.taken).min(buffer.len() - filled);
            buffer[filled..filled + n].copy_from_slice(&self.ready[self.taken..self.taken + n]);
            (self.taken, filled) = (self.taken + n, filled + n);
        }
        Ok(())
    }

    fn render_block(&mut self, content: &Content, invert: bool) -> io::Result<()> {
        if self.ended {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let n = (content.size() - self.offset).min(BLOCK_BYTES_MAX);
        self.ended = self.offset + n == content.size();
        let length = n as u16;
        self.ready.clear();
        self.taken = 0;
        self.ready.push(u8::from(self.ended));
        self.ready.extend(length.to_le_bytes());
        self.ready.extend((!length).to_le_bytes());
        self.ready.resize(5 + n as usize, 0);
        let data = &mut self.ready[5..];
        content.fill(self.offset, data)?;
        if invert {
            data.iter_mut().for_each(|byte| *byte = !*byte);
        }
        self.crc = data.iter().fold(self.crc, |crc, &byte| crc32_step(crc, byte));
        self.offset += n;
        if self.ended {
            self.ready.extend((!self.crc).to_le_bytes());
            self.ready.extend((self.offset as u32).to_le_bytes());
        }
        Ok(())
    }
}

/// CRC-32 of RFC 1952, 8, reflected, by a table of 256 entries.
fn crc32_step(crc: u32, byte: u8) -> u32 {
    CRC32[usize::from(crc as u8 ^ byte)] ^ (crc >> 8)
}

static CRC32: [u32; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { 0xEDB8_8320 ^ (crc >> 1) } else { crc >> 1 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn zipped(bytes: &[u8], step: usize) -> Vec<u8> {
        let content = Content::Bytes(Arc::from(bytes));
        let mut gzip = Gzip::new();
        let mut out = vec![0; length(bytes.len() as u64) as usize];
        for piece in out.chunks_mut(step) {
            gzip.fill(&content, false, piece).unwrap();
        }
        assert!(gzip.fill(&content, false, &mut [0]).is_err(), "the length is the true one");
        out
    }

    #[test]
    fn the_crc_is_the_standard_one() {
        let crc = !b"123456789".iter().fold(!0, |crc, &byte| crc32_step(crc, byte));
        assert_eq!(0xCBF4_3926, crc);
    }

    #[test]
    fn a_short_text_becomes_the_known_bytes() {
        let expected = [
            &HEADER[..],
            &[1, 9, 0, 0xf6, 0xff],
            b"123456789",
            &0xCBF4_3926_u32.to_le_bytes(),
            &9_u32.to_le_bytes(),
        ];
        assert_eq!(expected.concat(), zipped(b"123456789", 4));
    }

    #[test]
    fn long_contents_take_several_blocks() {
        let bytes = vec![7; 150_000];
        let out = zipped(&bytes, 1000);
        assert_eq!(out.len() as u64, length(150_000));
        assert_eq!(150_000_u32.to_le_bytes(), out[out.len() - 4..]);
        assert_eq!(zipped(&bytes, 70_000), out);
    }

    #[test]
    fn nothing_is_one_empty_block() {
        assert_eq!([1, 0, 0, 0xff, 0xff], zipped(b"", 3)[10..15]);
    }
}
