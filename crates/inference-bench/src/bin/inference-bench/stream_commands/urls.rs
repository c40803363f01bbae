//! What the words of a URL say.

/// Whether a URL leads to this machine, as far as its words say.
pub(super) fn is_local(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    ["localhost", "127.", "[::1]"].iter().any(|start| authority.starts_with(start))
}

/// A URL without what may be secret in it: credentials, query, fragment.
pub(super) fn bare(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{path}")
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known_by_its_names() {
        for url in ["http://127.0.0.1:8000/v1", "http://localhost/", "https://[::1]:1"] {
            assert!(is_local(url), "{url}");
        }
        assert!(!is_local("http://gpu-12.example/127.0.0.1"));
    }

    #[test]
    fn secrets_in_urls_are_not_told() {
        assert_eq!("http://a:1/v1", bare("http://user:pass@a:1/v1?key=s#x"));
        assert_eq!("http://a", bare("http://a"));
    }
}
