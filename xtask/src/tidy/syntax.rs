//! Rules on the syntax: sizes of functions and files, names of modules.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::{Offence, Source};

/// The largest number of lines of a function, signature and braces included.
const FUNCTION_LINES_MAX: usize = 70;
/// The largest number of lines of a file, modules of tests not counted.
const FILE_LINES_MAX: usize = 400;

/// Checks one file.
pub(super) fn check(source: &Source, crate_names: &[String]) -> Vec<Offence> {
    let file = match syn::parse_file(&source.text) {
        Ok(file) => file,
        Err(error) => return vec![Offence::new("syntax", &source.path, error.to_string())],
    };
    let mut reader =
        Reader { source, crate_names, test_lines: 0, depth_in_tests: 0, offences: Vec::new() };
    reader.visit_file(&file);
    let lines = source.text.lines().count() - reader.test_lines;
    if FILE_LINES_MAX < lines && !is_test_file(&source.path) {
        let what = format!("{lines} lines without tests, at most {FILE_LINES_MAX}: split it");
        reader.offences.push(Offence::new("file-size", &source.path, what));
    }
    reader.offences
}

/// Files that hold nothing but tests may be longer: a table of cases is read, not understood.
fn is_test_file(path: &str) -> bool {
    path.contains("/tests/")
}

struct Reader<'a> {
    source: &'a Source,
    crate_names: &'a [String],
    /// Lines inside of `#[cfg(test)]` modules.
    test_lines: usize,
    depth_in_tests: usize,
    offences: Vec<Offence>,
}

impl Reader<'_> {
    fn check_function(&mut self, name: &syn::Ident, from: Span, to: Span) {
        let lines = to.end().line + 1 - from.start().line;
        if FUNCTION_LINES_MAX < lines {
            let what = format!("`{name}` has {lines} lines, at most {FUNCTION_LINES_MAX}");
            self.offend("function-size", from, what);
        }
    }

    fn offend(&mut self, rule: &'static str, at: Span, what: String) {
        let place = format!("{}:{}", self.source.path, at.start().line);
        self.offences.push(Offence::new(rule, place, what));
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.check_function(&item.sig.ident, item.sig.span(), item.block.span());
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.check_function(&item.sig.ident, item.sig.span(), item.block.span());
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.check_function(&item.sig.ident, item.sig.span(), item.span());
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let name = item.ident.to_string();
        if self.crate_names.iter().any(|krate| krate.replace('-', "_") == name) {
            let what = format!("module `{name}` has the name of one of our crates and hides it");
            self.offend("module-name", item.ident.span(), what);
        }
        let is_tests = item.attrs.iter().any(is_cfg_test);
        if is_tests && self.depth_in_tests == 0 {
            self.test_lines += item.span().end().line + 1 - item.span().start().line;
        }
        self.depth_in_tests += usize::from(is_tests);
        visit::visit_item_mod(self, item);
        self.depth_in_tests -= usize::from(is_tests);
    }
}

fn is_cfg_test(attribute: &syn::Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_rules(path: &str, text: &str, expected: &[&str]) {
        let source = Source { path: path.to_owned(), text: text.to_owned() };
        let offences = check(&source, &["queue".to_owned(), "streaming-server".to_owned()]);
        let rules: Vec<_> = offences.iter().map(|offence| offence.rule).collect();
        assert_eq!(expected, rules);
    }

    fn function_of(lines: usize) -> String {
        format!("fn f() {{\n{}}}\n", "    g();\n".repeat(lines - 2))
    }

    #[test]
    fn a_function_may_have_seventy_lines_and_no_more() {
        check_rules("a.rs", &function_of(70), &[]);
        check_rules("a.rs", &function_of(71), &["function-size"]);
    }

    #[test]
    fn methods_count_like_functions() {
        let method = format!("impl A {{\n{}}}\n", function_of(90));
        check_rules("a.rs", &method, &["function-size"]);
    }

    #[test]
    fn modules_do_not_hide_our_crates() {
        check_rules("a.rs", "mod queue;", &["module-name"]);
        check_rules("a.rs", "mod streaming_server {}", &["module-name"]);
        check_rules("a.rs", "mod queues;", &[]);
    }

    #[test]
    fn tests_do_not_count_for_the_size_of_a_file() {
        let code = "const A: u8 = 0;\n".repeat(400);
        let tests =
            format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "    const A: u8 = 0;\n".repeat(9));
        check_rules("a.rs", &format!("{code}{tests}"), &[]);
        check_rules("a.rs", &format!("{code}const B: u8 = 0;\n{tests}"), &["file-size"]);
        check_rules("crates/a/tests/it/b.rs", &"const A: u8 = 0;\n".repeat(401), &[]);
    }
}
