//! From the command line to jobs: every mistake is found before the first request.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use download::{Digest, Job, Url, headers};

use crate::args::Get;

/// A list of URLs is read whole; more is a mistake.
const LIST_BYTES_MAX: u64 = 256 << 20;
/// Names that file systems take.
const NAME_BYTES_MAX: usize = 255;

/// The jobs of a command line, in order.
pub(crate) fn jobs(get: &Get) -> Result<Vec<Job>, String> {
    let mut wanted = Vec::new();
    for (k, url) in get.urls.iter().enumerate() {
        wanted.push((parse_url(url).map_err(|what| format!("URL {}: {what}", k + 1))?, None));
    }
    if let Some(input) = &get.input {
        wanted.extend(listed(input)?);
    }
    if wanted.is_empty() {
        return Err("there is no URL in the list".to_owned());
    }
    if wanted.len() != 1 && (get.output.is_some() || get.sha256.is_some()) {
        let what = "--output and --sha256 are for one URL; use --dir, and digests in --input";
        return Err(what.to_owned());
    }
    if let Some(sha256) = &get.sha256 {
        let digest = Digest::sha256(sha256).map_err(|error| format!("--sha256: {error}"))?;
        wanted[0].1 = Some(digest);
    }
    let headers = read_headers(&get.transfer.headers)?;
    let mut jobs = Vec::with_capacity(wanted.len());
    for (url, digest) in wanted {
        let target = target(get, &url)?;
        jobs.push(Job { digest, headers: headers.clone(), ..Job::new(url, target) });
    }
    check_targets(&jobs)?;
    Ok(jobs)
}

/// Reads a URL. Errors do not repeat it: its query may be a secret.
pub(crate) fn parse_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| {
        format!("no URL ({error}): write all of it, such as https://example.org/file")
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("`{}:` is not supported, only http and https", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it holds a password: give that with --header instead".to_owned());
    }
    Ok(url)
}

fn listed(path: &Path) -> Result<Vec<(Url, Option<Digest>)>, String> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(LIST_BYTES_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(LIST_BYTES_MAX).read_to_string(&mut text))
    };
    let name = path.display();
    read.map_err(|error| format!("cannot read the list {name}: {error}"))?;
    let lines = text.lines().enumerate().map(|(k, line)| (k + 1, line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|(k, line)| {
            let mut words = line.split_whitespace();
            let told = |what: String| format!("{name}, line {k}: {what}");
            let url = parse_url(words.next().unwrap_or_default()).map_err(told)?;
            let digest = words.next().map(Digest::sha256).transpose();
            let digest = digest.map_err(|error| told(error.to_string()))?;
            match words.next() {
                Some(_) => Err(told("more than a URL and a digest".to_owned())),
                None => Ok((url, digest)),
            }
        })
        .collect()
}

fn target(get: &Get, url: &Url) -> Result<PathBuf, String> {
    if let Some(output) = &get.output {
        return Ok(output.clone());
    }
    let name = name_of(url).ok_or_else(|| {
        let origin = url.origin().ascii_serialization();
        format!("cannot tell a file name from a URL of {origin}: give --output")
    })?;
    Ok(get.dir.as_deref().unwrap_or(Path::new("")).join(name))
}

/// The last part of the path, decoded; `None` where that is no plain file name.
fn name_of(url: &Url) -> Option<String> {
    let name = decode(url.path_segments()?.next_back()?)?;
    let plain = !matches!(&*name, "" | "." | "..") && name.len() <= NAME_BYTES_MAX;
    let visible = !name.chars().any(|c| c == '/' || c == '\\' || c.is_control());
    (plain && visible).then_some(name)
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first == b'%'
            && let [high, low, after @ ..] = tail
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            bytes.push(16 * high + low);
            rest = after;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

fn check_targets(jobs: &[Job]) -> Result<(), String> {
    let mut seen = BTreeMap::new();
    for (k, job) in jobs.iter().enumerate() {
        let path = job.target.display();
        if let Some(other) = seen.insert(job.target.clone(), k + 1) {
            return Err(format!("URLs {other} and {} would both become {path}", k + 1));
        }
        if job.target.is_dir() {
            return Err(format!("{path} is a folder: give --dir for one"));
        }
        check_replaceable(&job.target)?;
    }
    Ok(())
}

/// What is published takes the place of what has its name: a device or a pipe would be gone.
pub(crate) fn check_replaceable(path: &Path) -> Result<(), String> {
    match path.metadata() {
        Ok(metadata) if !metadata.is_file() => {
            Err(format!("{} is no regular file, and would be replaced by one", path.display()))
        }
        _ => Ok(()),
    }
}

/// What guards ranges, forbids compression and frames a request is ours to say.
const OURS: [headers::HeaderName; 10] = [
    headers::RANGE,
    headers::IF_RANGE,
    headers::IF_MATCH,
    headers::IF_NONE_MATCH,
    headers::IF_MODIFIED_SINCE,
    headers::IF_UNMODIFIED_SINCE,
    headers::ACCEPT_ENCODING,
    headers::CONNECTION,
    headers::CONTENT_LENGTH,
    headers::TRANSFER_ENCODING,
];

/// Reads headers. Errors do not repeat their values: those may be secrets.
pub(crate) fn read_headers(given: &[String]) -> Result<headers::HeaderMap, String> {
    let mut lines = Vec::new();
    for text in given {
        match text.strip_prefix('@') {
            Some(path) => {
                let file = std::fs::read_to_string(path);
                let file =
                    file.map_err(|error| format!("cannot read headers of {path}: {error}"))?;
                lines
                    .extend(file.lines().map(str::to_owned).filter(|line| !line.trim().is_empty()));
            }
            None => lines.push(text.clone()),
        }
    }
    let mut all = headers::HeaderMap::new();
    for (k, line) in lines.iter().enumerate() {
        let wrong = |what| format!("header {}: {what}", k + 1);
        let (name, value) = line.split_once(':').ok_or_else(|| wrong("write NAME: VALUE"))?;
        let name = headers::HeaderName::from_bytes(name.trim().as_bytes());
        let name = name.map_err(|_| wrong("its name holds what names cannot"))?;
        if OURS.contains(&name) {
            return Err(format!("header {}: `{name}` is set by us: leave it out", k + 1));
        }
        let mut value = headers::HeaderValue::from_str(value.trim())
            .map_err(|_| wrong("its value holds what values cannot"))?;
        value.set_sensitive(true);
        all.append(name, value);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_end_of_the_path() {
        let name = |url: &str| name_of(&Url::parse(url).unwrap());
        assert_eq!(Some("b.bin".to_owned()), name("http://x/a/b.bin?token=1#f"));
        assert_eq!(Some("b c".to_owned()), name("http://x/b%20c"));
        for bad in [
            "http://x/",
            "http://x/a/",
            "http://x/%2e%2e",
            "http://x/a%2Fb",
            "http://x/%00",
            "http://x/a%5Cb",
            "http://x/%ff",
        ] {
            assert_eq!(None, name(bad), "{bad}");
        }
    }

    #[test]
    fn mistakes_are_told_without_secrets() {
        let error = parse_url("http://me:secret@x/").unwrap_err();
        assert!(!error.contains("secret") && error.contains("--header"), "{error}");
        let error = read_headers(&["Authorization Bearer secret".to_owned()]).unwrap_err();
        assert!(!error.contains("secret"), "{error}");
        let error = read_headers(&["If-Range: secret".to_owned()]).unwrap_err();
        assert!(!error.contains("secret") && error.contains("if-range"), "{error}");
        let error = read_headers(&["X: sec\nret".to_owned()]).unwrap_err();
        assert!(!error.contains("sec"), "{error}");
        assert!(parse_url("ftp://x/a").is_err() && parse_url("x").is_err());
    }
}
