//! Patterns for names of files. Pure.

/// A pattern of the shell's kind: `*` for any characters, slashes too; `?` for one; `[a-z]` and
/// `[!a-z]` for one of a set. One that ends with `/` means all beneath a folder.
///
/// Source: Python's `fnmatch.fnmatchcase`, which the hub's own client filters by. Matching takes at
/// most time proportional to the product of the lengths.
///
/// # Examples
///
/// ```
/// use download::Glob;
///
/// assert!(Glob::new("*.json").matches("nested/config.json"));
/// assert!(Glob::new("onnx/").matches("onnx/model.onnx"));
/// assert!(!Glob::new("model-0000[!1]*").matches("model-00001-of-2.safetensors"));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Glob {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Part {
    Any,
    One,
    Char(char),
    Set { ranges: Vec<(char, char)>, negated: bool },
}

impl Glob {
    /// Reads a pattern. Every text is one: a bracket that is not closed stands for itself.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let mut parts = Vec::with_capacity(chars.len());
        let mut at = 0;
        while let Some(&char) = chars.get(at) {
            at += 1;
            let part = match char {
                '*' if parts.last() == Some(&Part::Any) => continue,
                '*' => Part::Any,
                '?' => Part::One,
                '[' => match set(&chars[at..]) {
                    Some((set, length)) => {
                        at += length;
                        set
                    }
                    None => Part::Char('['),
                },
                char => Part::Char(char),
            };
            parts.push(part);
        }
        if text.ends_with('/') {
            parts.push(Part::Any);
        }
        Self { text: text.to_owned(), parts }
    }

    /// Returns the pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the one name that it stands for; `None` when there may be others.
    #[must_use]
    pub fn literal(&self) -> Option<&str> {
        let is_char = |part: &Part| matches!(part, Part::Char(_));
        self.parts.iter().all(is_char).then_some(&*self.text)
    }

    /// Whether it stands for this name.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        let (mut at, mut part) = (0, 0);
        // Where the latest `*` stands, and up to where it reaches: only that one need ever reach further.
        let mut star = None;
        while at < name.len() {
            match self.parts.get(part) {
                Some(Part::Any) => {
                    star = Some((part, at));
                    part += 1;
                }
                Some(one) if one.takes(name[at]) => (at, part) = (at + 1, part + 1),
                _ => match star {
                    Some((any, reach)) => {
                        star = Some((any, reach + 1));
                        (at, part) = (reach + 1, any + 1);
                    }
                    None => return false,
                },
            }
        }
        self.parts[part..].iter().all(|rest| *rest == Part::Any)
    }
}

impl Part {
    fn takes(&self, char: char) -> bool {
        match self {
            Self::Any => false,
            Self::One => true,
            Self::Char(own) => *own == char,
            Self::Set { ranges, negated } => {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&char)) != *negated
            }
        }
    }
}

/// Reads a set from behind its opening bracket; returns how many characters it takes.
fn set(chars: &[char]) -> Option<(Part, usize)> {
    let negated = chars.first() == Some(&'!');
    let start = usize::from(negated);
    // A bracket that comes first is one of the set.
    let end = start + 1 + chars.get(start + 1..)?.iter().position(|char| *char == ']')?;
    let mut inside = &chars[start..end];
    let mut ranges = Vec::new();
    while let [first, rest @ ..] = inside {
        let (last, after) = match rest {
            ['-', last, after @ ..] => (last, after),
            after => (first, after),
        };
        ranges.push((*first, *last));
        inside = after;
    }
    Some((Part::Set { ranges, negated }, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_those_of_python() {
        // Each line was asked of `fnmatch.fnmatchcase` too.
        let table = [
            ("*", "", true),
            ("*.json", "a/b.json", true),
            ("*.json", "a.jsonl", false),
            ("a*b*c", "a--b--b--c", true),
            ("a*b*c", "a--b--b--", false),
            ("?", "/", true),
            ("a?", "a", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]]", "]", true),
            ("[!]]", "a", true),
            ("[a", "[a", true),
            ("[a-]", "-", true),
            ("A", "a", false),
            ("**", "x", true),
            ("", "", true),
            ("", "x", false),
        ];
        for (pattern, name, expected) in table {
            assert_eq!(expected, Glob::new(pattern).matches(name), "{pattern} {name}");
        }
    }

    #[test]
    fn a_folder_means_all_beneath_it() {
        assert!(Glob::new("onnx/").matches("onnx/a/b"));
        assert!(!Glob::new("onnx/").matches("onnx"));
    }

    #[test]
    fn a_pattern_without_magic_is_one_name() {
        assert_eq!(Some("a.b"), Glob::new("a.b").literal());
        assert_eq!(None, Glob::new("a*").literal());
        assert_eq!(None, Glob::new("a/").literal());
    }

    #[test]
    fn hostile_patterns_end_soon() {
        let pattern = Glob::new(&"*a".repeat(200));
        assert!(!pattern.matches(&format!("{}b", "ab".repeat(10_000))));
        assert!(!pattern.matches(&"b".repeat(100_000)));
    }
}
