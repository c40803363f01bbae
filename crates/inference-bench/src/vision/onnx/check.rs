//! Whether a file is framed as an ONNX model at all, before an engine reads it.
//!
//! Engines trust numbers more than they should: of two that were tried, one loops for ever on a number of
//! eleven bytes. Here every number, length and nesting is looked at once; weights are stepped over.
//!
//! Source: onnx.proto of ONNX 1.12; "Protocol Buffers: Encoding".

use std::fmt;

use super::wire::{NoNumber, varint};

/// Graphs within attributes of nodes of graphs: as deep as no model is.
const DEPTH_MAX: u32 = 24;

/// Why a file is no model.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Malformed {
    /// At which byte.
    pub at: usize,
    /// The node, the weight or the value around it, where it has said its name before.
    pub node: Option<String>,
    what: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no ONNX model: {} at byte {}", self.what, self.at)
    }
}

impl std::error::Error for Malformed {}

/// The messages of a model that engines read into.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    SparseTensor,
    ValueInfo,
    Type,
    TensorType,
    Shape,
    /// Messages in which nothing is nested that engines read.
    Flat,
}

/// What the bytes of a field are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Content {
    Message(Kind),
    /// Numbers, one after the other.
    Packed,
    /// The name of what is around.
    Name,
    Bytes,
}

impl Kind {
    /// What a field with a length holds.
    fn field(self, field: u64) -> Content {
        use Content::{Bytes, Message, Name, Packed};
        match (self, field) {
            (Self::Model, 7) | (Self::Attribute, 6 | 11) => Message(Self::Graph),
            (Self::Model, 8 | 14) | (Self::Shape, 1) => Message(Self::Flat),
            (Self::Graph, 1) => Message(Self::Node),
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::SparseTensor, 1 | 2) => {
                Message(Self::Tensor)
            }
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => Message(Self::SparseTensor),
            (Self::Graph, 11..=13) => Message(Self::ValueInfo),
            (Self::Node, 5) => Message(Self::Attribute),
            (Self::ValueInfo, 2) | (Self::Attribute, 14 | 15) => Message(Self::Type),
            (Self::Type, 1) => Message(Self::TensorType),
            (Self::TensorType, 2) => Message(Self::Shape),
            (Self::Tensor, 13) => Message(Self::Flat),
            (Self::Tensor, 1 | 5 | 7 | 11) | (Self::Attribute, 8) | (Self::SparseTensor, 3) => {
                Packed
            }
            (Self::Node, 3) | (Self::Tensor, 8) | (Self::ValueInfo, 1) => Name,
            _ => Bytes,
        }
    }
}

/// Checks the framing of a whole file.
///
/// **Cost.** Every byte but those of weights is looked at once; nothing is allocated for a sound file.
///
/// # Errors
///
/// [`Malformed`] with the place of the first byte that is wrong, and who was being described there.
pub fn check(file: &[u8]) -> Result<(), Malformed> {
    let mut walker = Walker { file, has_graph: false };
    walker.message(Kind::Model, 0, file.len(), 0)?;
    if walker.has_graph { Ok(()) } else { Err(wrong(file.len(), "there is no graph")) }
}

struct Walker<'a> {
    file: &'a [u8],
    has_graph: bool,
}

impl Walker<'_> {
    fn message(
        &mut self,
        kind: Kind,
        start: usize,
        end: usize,
        depth: u32,
    ) -> Result<(), Malformed> {
        if DEPTH_MAX < depth {
            return Err(wrong(start, "nested too deeply"));
        }
        self.has_graph |= kind == Kind::Graph;
        let mut name = None;
        self.fields(kind, (start, end), depth, &mut name).map_err(|mut error| {
            let (from, to): (usize, usize) = name.unwrap_or_default();
            if error.node.is_none() && from < to {
                error.node = Some(String::from_utf8_lossy(&self.file[from..to]).into_owned());
            }
            error
        })
    }

    fn fields(
        &mut self,
        kind: Kind,
        (start, end): (usize, usize),
        depth: u32,
        name: &mut Option<(usize, usize)>,
    ) -> Result<(), Malformed> {
        let mut at = start;
        while at < end {
            let (tag, next) = self.varint(at, end)?;
            let field = tag >> 3;
            at = match tag & 7 {
                _ if field == 0 => return Err(wrong(at, "a field without a number")),
                0 => self.varint(next, end)?.1,
                1 => skip(next, 8, end)?,
                5 => skip(next, 4, end)?,
                2 => {
                    let (len_bytes, from) = self.varint(next, end)?;
                    let to = skip(from, len_bytes, end)?;
                    match kind.field(field) {
                        Content::Message(inner) => self.message(inner, from, to, depth + 1)?,
                        Content::Packed => self.packed(from, to)?,
                        Content::Name => *name = Some((from, to)),
                        Content::Bytes => {}
                    }
                    to
                }
                _ => return Err(wrong(at, "a field of no known kind")),
            };
        }
        Ok(())
    }

    fn packed(&self, start: usize, end: usize) -> Result<(), Malformed> {
        let mut at = start;
        while at < end {
            at = self.varint(at, end)?.1;
        }
        Ok(())
    }

    /// A number, and where it ends.
    fn varint(&self, start: usize, end: usize) -> Result<(u64, usize), Malformed> {
        match varint(&self.file[start..end]) {
            Ok((number, len_bytes)) => Ok((number, start + len_bytes)),
            Err(NoNumber::CutOff) => Err(wrong(start, "a number that is cut off")),
            Err(NoNumber::Endless) => Err(wrong(start, "an endless number")),
        }
    }
}

fn skip(at: usize, len_bytes: u64, end: usize) -> Result<usize, Malformed> {
    if (end - at) as u64 >= len_bytes {
        return Ok(at + len_bytes as usize);
    }
    Err(wrong(at, "something longer than what is around it, as in a torn file,"))
}

fn wrong(at: usize, what: &'static str) -> Malformed {
    Malformed { at, node: None, what }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vision::zoo::{self, Normalization};

    fn model() -> Vec<u8> {
        let mut file = Vec::new();
        let graph = zoo::find("yolo11n").unwrap().graph(32, 0, Normalization::Apart).unwrap();
        graph.write(&mut file).unwrap();
        file
    }

    #[test]
    fn what_we_write_is_well_formed() {
        assert_eq!(Ok(()), check(&model()));
    }

    #[test]
    fn a_file_torn_anywhere_is_not() {
        let file = model();
        let ends = (0..file.len()).step_by(9973).chain(0..300);
        ends.for_each(|end| assert!(check(&file[..end]).is_err(), "{end} bytes"));
    }

    #[test]
    fn endless_numbers_end() {
        for byte in [0x80, 0xFF] {
            assert_eq!("an endless number", check(&[byte; 64]).unwrap_err().what);
        }
        let largest = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01];
        let error = check(&largest).unwrap_err();
        assert_ne!("an endless number", error.what, "this is the largest number there is");
    }

    #[test]
    fn the_node_around_is_named() {
        // A graph with a node of the name `n` and an attribute that is longer than the node.
        let node = [0x1A, 1, b'n', 0x2A, 0x7F];
        let graph = [&[0x0A, node.len() as u8][..], &node].concat();
        let file = [&[0x3A, graph.len() as u8][..], &graph].concat();
        assert_eq!(Some("n"), check(&file).unwrap_err().node.as_deref());
    }

    #[test]
    fn nesting_has_an_end() {
        let wrap = |tag: u8, inner: &[u8]| {
            // All lengths here take two bytes.
            let len = [inner.len() as u8 | 0x80, (inner.len() >> 7) as u8];
            [&[tag], &len[..], inner].concat()
        };
        let mut node = wrap(0x1A, b"x");
        for _ in 0..40 {
            // A node with an attribute with a graph with a node.
            node = wrap(0x2A, &wrap(0x32, &wrap(0x0A, &node)));
        }
        let file = wrap(0x3A, &wrap(0x0A, &node));
        assert_eq!("nested too deeply", check(&file).unwrap_err().what);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn any_bytes_are_judged_and_nothing_panics(file in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = check(&file);
        }
    }
}
