//! Globs over paths: `*` and `?`, nothing else.

/// Returns whether `glob` matches the whole of `text`; `*` stands for any characters, `/` included.
///
/// **Cost**: at most `glob · text` steps and no recursion, however many stars there are.
pub(crate) fn matches(glob: &str, text: &str) -> bool {
    let (glob, text) = (glob.as_bytes(), text.as_bytes());
    let (mut g, mut t) = (0, 0);
    // Where to go on if what follows the last star does not fit: the star, and the first byte after
    // those that it stands for.
    let mut retry = None;
    while t < text.len() {
        if glob.get(g) == Some(&b'*') {
            retry = Some((g, t + 1));
            g += 1;
        } else if glob.get(g).is_some_and(|&c| c == b'?' || c == text[t]) {
            (g, t) = (g + 1, t + 1);
        } else if let Some((star, next)) = retry {
            retry = Some((star, next + 1));
            (g, t) = (star + 1, next);
        } else {
            return false;
        }
    }
    glob[g..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[track_caller]
    fn check(glob: &str, matching: &[&str], others: &[&str]) {
        for text in matching {
            assert!(matches(glob, text), "{glob} should match {text}");
        }
        for text in others {
            assert!(!matches(glob, text), "{glob} should not match {text}");
        }
    }

    #[test]
    fn without_a_star_the_whole_must_be_equal() {
        check("/a", &["/a"], &["/ab", "/", ""]);
        check("/?", &["/a"], &["/", "/ab"]);
    }

    #[test]
    fn a_star_stands_for_anything() {
        check("*", &["", "/", "/a/b"], &[]);
        check("*.bin", &["/a.bin", "/a/b.bin", ".bin"], &["/a.bin2", "bin"]);
        check("/a*b*c", &["/abc", "/aXbYc", "/abbcc"], &["/acb", "/ab"]);
    }

    #[test]
    fn many_stars_do_not_take_for_ever() {
        let glob = "*a".repeat(40);
        assert!(!matches(&glob, &"a".repeat(39)));
        assert!(!matches(&format!("{glob}b"), &"a".repeat(10_000)));
    }
}
