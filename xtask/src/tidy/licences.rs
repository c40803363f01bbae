//! Reads licence expressions, as far as packages use them.

/// Whether this expression can be satisfied with the allowed licences alone.
///
/// Understands `AND`, `OR` (and its old spelling `/`), `WITH` and parentheses (SPDX 2.3, annex D).
pub(super) fn satisfied(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Reader { words: &words, at: 0, allowed };
    let satisfied = reader.any();
    satisfied && reader.at == words.len()
}

struct Reader<'a> {
    words: &'a [&'a str],
    at: usize,
    allowed: &'a [&'a str],
}

impl Reader<'_> {
    fn any(&mut self) -> bool {
        let mut satisfied = self.all();
        while self.take("OR") {
            satisfied |= self.all();
        }
        satisfied
    }

    fn all(&mut self) -> bool {
        let mut satisfied = self.one();
        while self.take("AND") {
            satisfied &= self.one();
        }
        satisfied
    }

    fn one(&mut self) -> bool {
        if self.take("(") {
            return self.any() & self.take(")");
        }
        let Some(name) = self.words.get(self.at) else {
            return false;
        };
        self.at += 1;
        if self.take("WITH") {
            let exception = self.words.get(self.at).copied().unwrap_or_default();
            self.at += 1;
            return self.allowed.contains(&format!("{name} WITH {exception}").as_str());
        }
        self.allowed.contains(name)
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.words.get(self.at) == Some(&word);
        self.at += usize::from(found);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::satisfied;

    #[track_caller]
    fn check(expression: &str, expected: bool) {
        assert_eq!(expected, satisfied(expression, &["MIT", "ISC", "A WITH x"]), "{expression}");
    }

    #[test]
    fn one_allowed_alternative_is_enough() {
        check("MIT OR GPL-3.0", true);
        check("GPL-3.0/MIT", true);
        check("GPL-3.0 OR AGPL-3.0", false);
    }

    #[test]
    fn each_part_of_a_conjunction_counts() {
        check("MIT AND ISC", true);
        check("MIT AND GPL-3.0", false);
        check("(GPL-3.0 OR MIT) AND ISC", true);
    }

    #[test]
    fn an_exception_belongs_to_its_licence() {
        check("A WITH x", true);
        check("MIT WITH x", false);
    }

    #[test]
    fn nonsense_is_not_satisfied() {
        check("", false);
        check("MIT MIT", false);
        check("(MIT", false);
    }
}
