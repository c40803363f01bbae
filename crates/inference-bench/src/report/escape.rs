//! Text from outside (case names, error messages) made harmless in each format.

/// For text and attribute values of HTML and XML: control characters that XML 1.0 forbids are dropped.
pub(super) fn xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(' '),
            c if c.is_control() => {}
            c => escaped.push(c),
        }
    }
    escaped
}

/// For a cell of a Markdown table.
pub(super) fn markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '#' => escaped.extend(['\\', c]),
            '<' => escaped.push_str("&lt;"),
            '&' => escaped.push_str("&amp;"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_its_element() {
        assert_eq!("&lt;script&gt;&amp;&quot;&#39; x", xml("<script>&\"'\n\u{0}x"));
    }

    #[test]
    fn nothing_leaves_its_cell() {
        assert_eq!(r"a\|b \`c\` &lt;b>", markdown("a|b\n`c` <b>".replace('\n', " ").as_str()));
        assert_eq!("a b", markdown("a\nb"));
    }
}
