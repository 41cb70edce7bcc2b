//! The documents: what they point at exists, and the code map is complete.

use std::sync::LazyLock;

use anyhow::{Context, Result};
use regex::Regex;

use super::tree::{File, Finding, Tree};

/// The document whose code map lists every crate.
const MAP: &str = "ARCHITECTURE.md";

/// A crate's folder is called like the crate, and the map has an entry for it.
pub(crate) fn check_code_map(tree: &Tree) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let map = tree.get(MAP);
    if map.is_none() {
        findings.push(Finding::error(MAP, 0, "missing: it holds the code map"));
    }
    for folder in tree.crates() {
        let path = format!("crates/{folder}/Cargo.toml");
        let Some(manifest) = tree.get(&path) else {
            findings.push(Finding::error(&path, 0, "missing: every folder of crates/ is a crate"));
            continue;
        };
        let table: toml::Table = manifest.text.parse().with_context(|| path.clone())?;
        let name = table.get("package").and_then(|p| p.get("name")).and_then(|n| n.as_str());
        if name != Some(folder) {
            let message =
                format!("the folder is {folder}, the crate {}", name.unwrap_or("unnamed"));
            findings.push(Finding::error(&path, 0, message));
        }
        let entry = format!("`crates/{folder}`");
        if map.is_some_and(|map| !map.text.contains(&entry)) {
            findings.push(Finding::error(MAP, 0, format!("the code map has no entry {entry}")));
        }
    }
    Ok(findings)
}

/// Links lead to files of the repository and to headings in them; paths in backticks that begin
/// with a folder of ours exist too. Links to the web are not followed.
pub(crate) fn check_links(tree: &Tree) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for file in tree.files().filter(|file| file.path.ends_with(".md")) {
        for (number, line) in prose(&file.text) {
            for target in matches(&LINK, line) {
                if let Some(message) = broken(tree, file, target) {
                    findings.push(Finding::error(&file.path, number, message));
                }
            }
            for path in matches(&PATH, line) {
                if !path.contains(['*', '<', '{', '…']) && !tree.contains(path) {
                    let message = format!("`{path}` does not exist");
                    findings.push(Finding::error(&file.path, number, message));
                }
            }
        }
    }
    Ok(findings)
}

/// The inside of `[text](target)` and `[text]: target`.
static LINK: LazyLock<Result<Regex, regex::Error>> =
    LazyLock::new(|| Regex::new(r"\]\(<?([^)>\s]+)|^\s*\[[^\]]+\]:\s+<?([^\s>]+)"));

/// A path in backticks that can only mean a file of this repository.
static PATH: LazyLock<Result<Regex, regex::Error>> =
    LazyLock::new(|| Regex::new(r"`((?:crates|docs|xtask|tests|fuzz|\.ci)/[^`\s:]*)`"));

fn matches<'a>(regex: &'static Result<Regex, regex::Error>, line: &'a str) -> Vec<&'a str> {
    let Ok(regex) = regex else { return Vec::new() };
    let group = |captures: regex::Captures<'a>| captures.iter().skip(1).flatten().next();
    regex.captures_iter(line).filter_map(group).map(|found| found.as_str()).collect()
}

/// Lines outside of fenced code, numbered from 1.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            lines.push((index + 1, line));
        }
    }
    lines
}

/// Why a link's target does not work, if so.
fn broken(tree: &Tree, from: &File, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let Some(path) = resolve(&from.path, path) else {
        return Some(format!("{target} leads out of the repository"));
    };
    if !tree.contains(&path) {
        return Some(format!("{target} does not exist"));
    }
    if anchor.is_empty() || !path.ends_with(".md") {
        return None;
    }
    let found = tree.get(&path).is_some_and(|file| has_heading(&file.text, anchor));
    (!found).then(|| format!("{path} has no heading for #{anchor}"))
}

/// `target` as a path from the root, for a link in the file `from`.
fn resolve(from: &str, target: &str) -> Option<String> {
    if target.is_empty() {
        return Some(from.to_owned());
    }
    let mut parts: Vec<&str> = match target.strip_prefix('/') {
        Some(_) => Vec::new(),
        None => from.rsplit_once('/').map_or(Vec::new(), |(folder, _)| folder.split('/').collect()),
    };
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop()?,
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

fn has_heading(text: &str, anchor: &str) -> bool {
    let headings = prose(text).into_iter().filter(|(_, line)| line.starts_with('#'));
    headings.map(|(_, line)| slug(line.trim_start_matches('#'))).any(|slug| slug == anchor)
}

/// A heading's anchor as GitHub makes it: lower case, blanks to hyphens, other signs dropped.
fn slug(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}
