//! The tests of the founding documents, and the cases that answer them: the table in `ARCHITECTURE.md`
//! is held against what the suites list.

use super::program::Listed;
use super::suites::fits;

/// Where the table stands.
const HEADING: &str = "## The founding tests, and what answers them";

/// A row of the table.
#[derive(Debug, PartialEq)]
struct Row<'a> {
    test: &'a str,
    /// Patterns for `suite/case`; none where there is no case yet.
    cases: Vec<&'a str>,
}

/// What is wrong between the table and the cases that there are: a row that names a case that is not there,
/// and a case whose founding test's row does not name it.
pub(super) fn check(text: &str, listed: &[(&str, &Listed)]) -> Vec<String> {
    let rows = rows(text);
    let mut wrong = Vec::new();
    let full = |(suite, case): &(&str, &Listed)| format!("{suite}/{}", case.name);
    for row in &rows {
        let is_there = |glob: &&str| listed.iter().any(|case| fits(glob, &full(case)));
        let missing = row.cases.iter().filter(|glob| !is_there(glob));
        wrong.extend(missing.map(|glob| format!("`{}`: there is no case `{glob}`", row.test)));
    }
    for case in listed {
        let Some(test) = &case.1.seed_case else { continue };
        let answers =
            |row: &Row<'_>| row.test == test && row.cases.iter().any(|g| fits(g, &full(case)));
        if !rows.iter().any(answers) {
            wrong.push(format!("`{test}`: its row does not name `{}`", full(case)));
        }
    }
    wrong
}

/// The rows whose first cell is the name of a test.
fn rows(text: &str) -> Vec<Row<'_>> {
    let section = text.split_once(HEADING).map_or("", |(_, rest)| rest);
    let section = section.split("\n## ").next().unwrap_or_default();
    section.lines().filter_map(parse).collect()
}

fn parse(line: &str) -> Option<Row<'_>> {
    let mut cells = line.strip_prefix("| `")?.split('|');
    let test = cells.next()?.trim().trim_end_matches('`');
    let cases = cells.next()?.split('`').skip(1).step_by(2).collect();
    Some(Row { test, cases })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every test that the founding documents name.
    const TESTS: [&str; 34] = [
        "test_concurrent_model_requests",
        "test_mixed_model_size_performance",
        "test_lock_contention_performance",
        "test_large_model_memory_usage",
        "test_memory_cleanup_after_operations",
        "test_concurrent_memory_usage",
        "test_download_timeout_handling",
        "test_retry_performance",
        "test_bandwidth_limiting_performance",
        "test_disk_io_performance",
        "test_atomic_operation_performance",
        "test_garbage_collection_performance",
        "test_maximum_concurrent_downloads",
        "test_large_manifest_performance",
        "_benchmark_concurrent_downloads",
        "_benchmark_bandwidth_limiting",
        "_benchmark_adaptive_chunking",
        "_benchmark_memory_optimization",
        "_benchmark_connection_pooling",
        "_benchmark_queue_management",
        "_benchmark_error_recovery",
        "_benchmark_scalability",
        "model loading",
        "test_single_inference_real_time_performance",
        "batch processing",
        "memory per inference",
        "test_memory_leak_detection",
        "concurrent load",
        "resource cleanup",
        "regression detection",
        "report generation",
        "success rate and compliance",
        "image sizes and content",
        "test_llm_streaming",
    ];

    const TABLE: &str = "x\n## The founding tests, and what answers them\n| a | b |\n|---|---|\n\
        | `one` | `s/a`, `s/b/*` | 1 |\n| `two` | no case yet | |\n## Next\n| `three` | `s/c` |\n";

    fn listed(name: &str, test: &str) -> Listed {
        let seed_case = Some(test.to_owned());
        Listed { name: name.to_owned(), seed_case, expected_s: 0.0, paired: false }
    }

    #[test]
    fn the_table_has_a_row_for_each_founding_test() {
        let text = include_str!("../../../ARCHITECTURE.md");
        let tests: Vec<&str> = rows(text).iter().map(|row| row.test).collect();
        assert_eq!(TESTS.as_slice(), tests);
    }

    #[test]
    fn rows_are_read_up_to_the_next_heading() {
        let one = Row { test: "one", cases: vec!["s/a", "s/b/*"] };
        assert_eq!(vec![one, Row { test: "two", cases: vec![] }], rows(TABLE));
    }

    #[test]
    fn table_and_cases_must_name_each_other() {
        let (a, b) = (listed("a", "one"), listed("b/1", "one"));
        assert!(check(TABLE, &[("s", &a), ("s", &b)]).is_empty());
        assert_eq!(["`one`: there is no case `s/b/*`"], *check(TABLE, &[("s", &a)]));
        let c = listed("c", "two");
        let expected = ["`two`: its row does not name `s/c`"];
        assert_eq!(expected, *check(TABLE, &[("s", &a), ("s", &b), ("s", &c)]));
    }
}
