//! The page about untrusted input: every test that it names exists, and every row names one.

use std::sync::LazyLock;

use anyhow::{Context, Result};
use regex::Regex;

use super::tree::{Finding, Tree};

/// The page whose tables say what was learnt from reports about others, and which test holds it.
const PAGE: &str = "docs/security.md";

/// The heading of the tables' last column.
const TESTS: &str = "| test |";

/// A test as the page names it: `` `path/to/file.rs::name` ``.
static NAMED: LazyLock<Result<Regex, regex::Error>> =
    LazyLock::new(|| Regex::new(r"`([\w./-]+\.rs)::(\w+)`"));

/// Tests that the page names are in the source, and no row of a table with tests is without one.
pub(crate) fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let Some(page) = tree.get(PAGE) else {
        return Ok(vec![Finding::error(PAGE, 0, "missing: it names the tests of hostile input")]);
    };
    let named = NAMED.as_ref().context("pattern")?;
    let mut findings = Vec::new();
    let mut in_table = false;
    for (index, line) in page.text.lines().enumerate() {
        let tests: Vec<_> = named.captures_iter(line).map(|found| found.extract().1).collect();
        for [path, name] in &tests {
            if !is_test(tree, path, name) {
                let message = format!("there is no test {name} in {path}");
                findings.push(Finding::error(PAGE, index + 1, message));
            }
        }
        let heading = line.starts_with('|') && line.ends_with(TESTS);
        let rule = line.starts_with("|-");
        in_table = line.starts_with('|') && (in_table || heading);
        if in_table && !heading && !rule && tests.is_empty() {
            findings.push(Finding::error(PAGE, index + 1, "this row names no test"));
        }
    }
    Ok(findings)
}

/// Whether the file has a function of this name under an attribute that makes it a test.
fn is_test(tree: &Tree, path: &str, name: &str) -> bool {
    let Some(source) = tree.get(path).and_then(|file| file.source.as_ref()) else { return false };
    let lines: Vec<&str> = source.code.lines().map(str::trim).collect();
    let heads = [format!("fn {name}("), format!("async fn {name}(")];
    lines.iter().enumerate().any(|(at, line)| {
        heads.iter().any(|head| line.starts_with(head)) && {
            let above = lines[..at].iter().rev();
            // Comments are blank here.
            above
                .take_while(|line| line.is_empty() || line.starts_with("#["))
                .any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
        }
    })
}
