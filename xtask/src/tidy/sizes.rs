//! File sizes: one idea a file, readable on a few screens.

use anyhow::Result;

use super::tree::{File, Finding, Tree};
use crate::tidy::source::Source;

/// Above this a file is mentioned: it probably holds two ideas.
const SOFT_LIMIT: usize = 600;

/// Above this, without its tests, a file breaks the rule.
const HARD_LIMIT: usize = 1000;

/// The median of all files must stay below this.
const MEDIAN_LIMIT: usize = 250;

/// Files that may exceed the hard limit, each with its reason. Keep it short.
const ALLOWED: &[(&str, &str)] = &[];

pub(crate) fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let mut sizes = Vec::new();
    for (file, source) in tree.rust() {
        let lines = lines_without_tests(file, source);
        if !file.is_test() {
            sizes.push(lines);
        }
        let allowed = ALLOWED.iter().any(|(path, _)| *path == file.path);
        if lines > HARD_LIMIT && !file.is_test() && !allowed {
            let message =
                format!("{lines} lines without tests, the limit is {HARD_LIMIT}: split it");
            findings.push(Finding::error(&file.path, 0, message));
        } else if lines > SOFT_LIMIT {
            let message =
                format!("{lines} lines; above {SOFT_LIMIT} look for the second idea in it");
            findings.push(Finding::note(&file.path, 0, message));
        }
    }
    for (path, reason) in ALLOWED {
        if tree.get(path).is_none() {
            let message = format!("allowed in tidy/sizes.rs ({reason}), but the file is gone");
            findings.push(Finding::error(path, 0, message));
        }
    }
    sizes.sort_unstable();
    let median = sizes.get(sizes.len() / 2).copied().unwrap_or(0);
    let message = format!("{} Rust files, median {median} lines", sizes.len());
    findings.push(if median < MEDIAN_LIMIT {
        Finding::note("", 0, message)
    } else {
        Finding::error("", 0, format!("{message}; it must stay below {MEDIAN_LIMIT}"))
    });
    Ok(findings)
}

/// Integration tests count in full: there the tests are the file.
fn lines_without_tests(file: &File, source: &Source) -> usize {
    let tests = source.test_lines.iter().filter(|&&test| test).count();
    file.text.lines().count().saturating_sub(tests)
}
