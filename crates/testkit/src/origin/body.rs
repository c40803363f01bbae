//! The bytes of a body, one after the other.

use std::io;

use super::gzip::Gzip;
use super::reply::{Part, Payload};

/// A payload that is being sent.
#[derive(Debug)]
pub(crate) struct Source {
    payload: Payload,
    gzip: Option<Gzip>,
    /// Bytes taken so far.
    taken: u64,
}

impl Source {
    pub(crate) fn new(payload: Payload) -> Self {
        let zipped = matches!(&payload, Payload::Part(part) if part.gzip);
        Self { payload, gzip: zipped.then(Gzip::new), taken: 0 }
    }

    /// Fills the buffer with the bytes that follow those taken so far; there must be as many.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        match &self.payload {
            Payload::Text(text) => {
                let start = self.taken as usize;
                buffer.copy_from_slice(&text[start..start + buffer.len()]);
            }
            Payload::Part(part) => match &mut self.gzip {
                Some(gzip) => gzip.fill(&part.content, part.swapped, buffer)?,
                None => fill_part(part, part.range.start + self.taken, buffer)?,
            },
        }
        self.taken += buffer.len() as u64;
        Ok(())
    }
}

fn fill_part(part: &Part, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
    part.content.fill(offset, buffer)?;
    if part.swapped {
        buffer.iter_mut().for_each(|byte| *byte = !*byte);
    }
    if let Some(index) = part.flipped.and_then(|at| at.checked_sub(offset))
        && let Some(byte) = usize::try_from(index).ok().and_then(|index| buffer.get_mut(index))
    {
        *byte ^= 1;
    }
    Ok(())
}
