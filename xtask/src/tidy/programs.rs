//! Programs that tests run: on a bare machine they are there only if set-up knows of them.

use anyhow::{Context, Result};
use regex::Regex;

use super::tree::{File, Finding, Tree};
use crate::setup::{ESSENTIAL, PACKAGES};

/// Programs that come with Rust.
const TOOLCHAIN: &[&str] = &["cargo", "rustc"];

/// Every program that a test starts by a literal name is in the table of packages.
pub(crate) fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let start = Regex::new(r#"Command::new\("([^"/]+)"\)"#).context("pattern")?;
    let mut findings = Vec::new();
    for (file, source) in tree.rust() {
        for (index, line) in file.text.lines().enumerate() {
            if !is_test(file) && source.test_lines.get(index) != Some(&true) {
                continue;
            }
            for (_, [program]) in start.captures_iter(line).map(|captures| captures.extract()) {
                if !known(program) {
                    let message =
                        format!("`{program}`: name its package in xtask/src/setup.rs, and why");
                    findings.push(Finding::error(&file.path, index + 1, message));
                }
            }
        }
    }
    Ok(findings)
}

/// The test kit is test code all of it.
fn is_test(file: &File) -> bool {
    file.is_test() || file.krate() == Some("lamina-testkit")
}

fn known(program: &str) -> bool {
    ESSENTIAL.contains(&program)
        || TOOLCHAIN.contains(&program)
        || PACKAGES.iter().any(|package| package.programs.contains(&program))
}
