//! What of a sequence's text may be shown: whole characters, and nothing of a stop string.

use std::sync::Arc;

/// What a failed match may fall back to (Knuth, Morris, Pratt 1977): for each length of a match, the
/// longest shorter one that is its suffix.
fn fallbacks(stop: &[u8]) -> Box<[u16]> {
    let mut table = vec![0_u16; stop.len()].into_boxed_slice();
    let mut length = 0_usize;
    for at in 1..stop.len() {
        while 0 < length && stop[at] != stop[length] {
            length = usize::from(table[length - 1]);
        }
        length += usize::from(stop[at] == stop[length]);
        table[at] = u16::try_from(length).expect("stop strings are short");
    }
    table
}

#[derive(Debug)]
struct Stop {
    fallbacks: Box<[u16]>,
    /// How much of it the text ends with.
    matched: usize,
}

impl Stop {
    /// Reads one byte; returns whether the stop string ends with it.
    fn read(&mut self, stop: &[u8], byte: u8) -> bool {
        while 0 < self.matched && stop[self.matched] != byte {
            self.matched = usize::from(self.fallbacks[self.matched - 1]);
        }
        self.matched += usize::from(stop[self.matched] == byte);
        self.matched == stop.len()
    }
}

/// Holds back what cannot be shown yet.
#[derive(Debug)]
pub(crate) struct Filter {
    strings: Arc<[Box<str>]>,
    stops: Box<[Stop]>,
    /// Whole characters that may begin a stop string.
    held: Vec<u8>,
    /// The beginning of a character, at most 3 bytes.
    partial: Vec<u8>,
}

impl Filter {
    /// A filter that ends at any of these strings, none of which is empty.
    pub(crate) fn new(strings: &Arc<[Box<str>]>) -> Self {
        let stop = |string: &str| Stop { fallbacks: fallbacks(string.as_bytes()), matched: 0 };
        Self {
            strings: Arc::clone(strings),
            stops: strings.iter().map(|string| stop(string)).collect(),
            held: Vec::new(),
            partial: Vec::new(),
        }
    }

    /// Reads the bytes of one token and writes what may be shown. Returns whether a stop string ended
    /// in them; nothing may be read then.
    pub(crate) fn read(&mut self, bytes: &[u8], shown: &mut Vec<u8>) -> bool {
        if self.stops.is_empty() && self.partial.is_empty() && std::str::from_utf8(bytes).is_ok() {
            shown.extend_from_slice(bytes);
            return false;
        }
        self.partial.extend_from_slice(bytes);
        let text = std::mem::take(&mut self.partial);
        let stopped = self.read_text(&text, shown);
        self.partial = text;
        if stopped {
            self.partial.clear();
        } else {
            self.keep_unfinished();
        }
        stopped
    }

    /// Ends the text: shows what was held back for nothing.
    pub(crate) fn end(&mut self, shown: &mut Vec<u8>) {
        shown.append(&mut self.held);
        if !self.partial.is_empty() {
            self.partial.clear();
            shown.extend_from_slice("\u{fffd}".as_bytes());
        }
    }

    /// Whether an end would show something.
    pub(crate) fn holds(&self) -> bool {
        !self.held.is_empty() || !self.partial.is_empty()
    }

    fn read_text(&mut self, text: &[u8], shown: &mut Vec<u8>) -> bool {
        let mut chunks = text.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            if self.read_valid(chunk.valid().as_bytes(), shown) {
                return true;
            }
            let unfinished = chunks.peek().is_none() && is_unfinished(chunk.invalid());
            if !chunk.invalid().is_empty()
                && !unfinished
                && self.read_valid("\u{fffd}".as_bytes(), shown)
            {
                return true;
            }
        }
        false
    }

    /// Leaves the unfinished character at the end, if there is one, and nothing before it.
    fn keep_unfinished(&mut self) {
        let last = self.partial.utf8_chunks().last();
        let keep =
            last.map_or(
                0,
                |chunk| {
                    if is_unfinished(chunk.invalid()) { chunk.invalid().len() } else { 0 }
                },
            );
        self.partial.drain(..self.partial.len() - keep);
    }

    fn read_valid(&mut self, text: &[u8], shown: &mut Vec<u8>) -> bool {
        if self.stops.is_empty() {
            shown.extend_from_slice(text);
            return false;
        }
        for &byte in text {
            self.held.push(byte);
            if let Some(length) = self.match_end(byte) {
                shown.extend_from_slice(&self.held[..self.held.len() - length]);
                self.held.clear();
                return true;
            }
        }
        let keep = self.stops.iter().map(|stop| stop.matched).max().unwrap_or(0);
        let shown_bytes = self.held.len() - keep;
        shown.extend_from_slice(&self.held[..shown_bytes]);
        self.held.drain(..shown_bytes);
        false
    }

    /// The length of the longest stop string that ends with this byte.
    fn match_end(&mut self, byte: u8) -> Option<usize> {
        let both = self.stops.iter_mut().zip(self.strings.iter());
        let ended = both.filter_map(|(stop, string)| {
            stop.read(string.as_bytes(), byte).then_some(string.len())
        });
        ended.max()
    }
}

/// Whether bytes that are no character could become one by more of them.
fn is_unfinished(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is shown of tokens, whether it stopped, and how often something was held back.
    fn show(stops: &[&str], tokens: &[&[u8]]) -> (String, bool) {
        let stops: Arc<[Box<str>]> = stops.iter().map(|stop| Box::from(*stop)).collect();
        let mut filter = Filter::new(&stops);
        let mut shown = Vec::new();
        for token in tokens {
            if filter.read(token, &mut shown) {
                return (String::from_utf8(shown).unwrap(), true);
            }
            // Whatever is shown is text at every moment.
            assert!(std::str::from_utf8(&shown).is_ok());
        }
        filter.end(&mut shown);
        assert!(!filter.holds());
        (String::from_utf8(shown).unwrap(), false)
    }

    #[track_caller]
    fn check(stops: &[&str], tokens: &[&str], expected: &str, stopped: bool) {
        let tokens: Vec<_> = tokens.iter().map(|token| token.as_bytes()).collect();
        assert_eq!((expected.to_owned(), stopped), show(stops, &tokens));
    }

    #[test]
    fn a_stop_string_is_found_across_tokens_and_not_shown() {
        check(&["END"], &["abE", "N", "Dxyz"], "ab", true);
        check(&["END"], &["abE", "N", "xD"], "abENxD", false);
        check(&["aab"], &["aa", "aa", "ab"], "aaa", true);
        check(&["abc", "bc"], &["ab", "c"], "", true);
        check(&["abcd", "bc"], &["abc"], "a", true);
        check(&["é"], &["caf", "é!"], "caf", true);
        check(&["\n\n"], &["a\n", "b\n", "\nc"], "a\nb", true);
    }

    #[test]
    fn broken_characters_are_replaced_and_split_ones_are_not() {
        let euro = "€".as_bytes();
        assert_eq!(("€".to_owned(), false), show(&[], &[&euro[..1], &euro[1..]]));
        assert_eq!(("\u{fffd}x".to_owned(), false), show(&[], &[&euro[..2], b"x"]));
        assert_eq!(("a\u{fffd}".to_owned(), false), show(&[], &[b"a", &euro[..2]]));
        assert_eq!(("\u{fffd}\u{fffd}".to_owned(), false), show(&[], &[&[0xff], &[0xfe]]));
    }

    proptest! {
        #[test]
        fn any_split_shows_what_the_whole_shows(
            text in "[a-c€é🦀]{0,12}",
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
            stops in proptest::collection::vec("[a-c€]{1,3}", 0..3),
        ) {
            let bytes = text.as_bytes();
            let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let tokens: Vec<_> = at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let stops: Vec<_> = stops.iter().map(String::as_str).collect();
            // The stop string that ends first, the longest of those that end there.
            let ends = stops.iter().filter_map(|stop| text.find(stop).map(|at| at + stop.len()));
            let expected = ends.min().map_or((text.clone(), false), |end| {
                let here = stops.iter().filter(|stop| text[..end].ends_with(**stop));
                let length = here.map(|stop| stop.len()).max().unwrap();
                (text[..end - length].to_owned(), true)
            });
            prop_assert_eq!(expected, show(&stops, &tokens));
        }
    }
}
