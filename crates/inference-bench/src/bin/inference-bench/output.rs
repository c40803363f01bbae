//! What people and scripts see: results on stdout, the rest on stderr, NDJSON where asked for.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use inference_bench::report::Report;
use serde_json::{Map, Value};

/// Where lines go.
pub(crate) struct Output {
    json: bool,
    start: Instant,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, start: Instant::now() }
    }

    /// A line of the result: on stdout, unless that belongs to NDJSON.
    pub(crate) fn result(&self, line: &str) {
        if self.json {
            self.remark(line);
        } else {
            // Nobody reads any more: no reason to panic.
            let _ = writeln!(std::io::stdout(), "{line}");
        }
    }

    /// A line beside the result.
    pub(crate) fn remark(&self, line: &str) {
        let _ = writeln!(std::io::stderr(), "{line}");
    }

    /// An event, with `--json` only.
    pub(crate) fn event(&self, name: &str, fields: Value) {
        if !self.json {
            return;
        }
        let mut object = Map::new();
        object.insert("event".to_owned(), name.into());
        object.insert("t_ms".to_owned(), (self.start.elapsed().as_millis() as u64).into());
        if let Value::Object(fields) = fields {
            object.extend(fields);
        }
        let _ = writeln!(std::io::stdout(), "{}", Value::Object(object));
    }
}

/// Writes a report in all its forms into a folder, which is made if it is not there.
pub(crate) fn write_report(report: &Report, folder: &Path) -> Result<(), String> {
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))
    };
    std::fs::create_dir_all(folder)
        .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    write("report.json", report.to_json())?;
    write("report.md", report.to_markdown())?;
    write("report.csv", report.to_csv())?;
    write("junit.xml", report.to_junit())?;
    write("report.html", report.to_html())
}
