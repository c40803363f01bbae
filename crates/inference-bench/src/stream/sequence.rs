//! Whether numbered tokens came once each, and in order.

use super::record::Sequence;

/// Numbers that are looked at: above it, a stream is not taken for a numbered one.
const NUMBERS_MAX: u64 = 1 << 24;

/// Follows the numbers of one stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Numbers {
    /// The lowest number that has not come, as long as all came in order.
    next: u64,
    /// From the first surprise on: which of all numbers came.
    seen: Vec<bool>,
    is_disturbed: bool,
    /// Something came that has no number.
    is_plain: bool,
    counts: Sequence,
}

impl Numbers {
    /// Takes the text of the next event: `token_7`, or several of them.
    pub(crate) fn take(&mut self, text: &str) {
        if self.is_plain {
            return;
        }
        let mut rest = text;
        while !rest.is_empty() {
            match next_number(rest) {
                Some((number, after)) => {
                    self.number(number);
                    rest = after;
                }
                None => {
                    self.is_plain = true;
                    return;
                }
            }
        }
    }

    /// What was seen; `None` for a stream whose tokens have no numbers.
    pub(crate) fn sequence(&self) -> Option<Sequence> {
        if self.is_plain || self.counts.numbered == 0 {
            return None;
        }
        let missing = self.seen.iter().filter(|&&seen| !seen).count() as u64;
        Some(Sequence { missing, ..self.counts })
    }

    fn number(&mut self, number: u64) {
        self.counts.numbered += 1;
        if !self.is_disturbed && number == self.next {
            self.next += 1;
            return;
        }
        if !self.is_disturbed {
            self.is_disturbed = true;
            self.seen = vec![true; self.next as usize];
        }
        let index = number as usize;
        if self.seen.get(index) == Some(&true) {
            self.counts.duplicated += 1;
        } else if index < self.seen.len() {
            self.counts.reordered += 1;
            self.seen[index] = true;
        } else {
            self.seen.resize(index, false);
            self.seen.push(true);
        }
    }
}

fn next_number(text: &str) -> Option<(u64, &str)> {
    let digits = text.strip_prefix("token_")?;
    let end = digits.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(digits.len());
    let number: u64 = digits[..end].parse().ok().filter(|&number| number < NUMBERS_MAX)?;
    // A blank between tokens belongs to none of them.
    Some((number, digits[end..].trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(texts: &[&str], expected: Option<(u64, u64, u64, u64)>) {
        let mut numbers = Numbers::default();
        texts.iter().for_each(|text| numbers.take(text));
        let told = numbers.sequence();
        let told = told.map(|s| (s.numbered, s.missing, s.duplicated, s.reordered));
        assert_eq!(expected, told);
    }

    #[test]
    fn tokens_in_order_are_counted() {
        check(&["token_0", "token_1token_2", "token_3 "], Some((4, 0, 0, 0)));
    }

    #[test]
    fn each_disturbance_is_told_by_name() {
        check(&["token_0", "token_2", "token_3"], Some((3, 1, 0, 0)));
        check(&["token_0", "token_1", "token_1"], Some((3, 0, 1, 0)));
        check(&["token_0", "token_2", "token_1"], Some((3, 0, 0, 1)));
        check(&["token_0", "token_2", "token_1", "token_1", "token_5"], Some((5, 2, 1, 1)));
    }

    #[test]
    fn other_texts_have_no_numbers() {
        check(&[], None);
        check(&["Hello"], None);
        check(&["token_0", " world"], None);
        check(&["token_99999999999"], None);
    }
}
