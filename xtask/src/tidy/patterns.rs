//! Rules about words that must not appear in some place, as data.
//!
//! A [`Pattern`] says which words, in which layer of which files, and who may use them all the
//! same. The invariants of absence in `ARCHITECTURE.md` are nearly all of this kind.

use anyhow::{Context, Result};
use regex::Regex;

use super::tree::{File, Finding, Tree};

/// How many lines of a statement are searched for its mark; chained calls have one line each.
const MARKED_LINES: usize = 4;

/// Words that some files must not contain.
#[derive(Debug)]
pub(crate) struct Pattern {
    /// What is looked for: a regular expression, matched line by line.
    pub(crate) words: &'static str,
    /// Text that is no offence although `words` matches it; blanked before the search.
    pub(crate) harmless: &'static str,
    pub(crate) layer: Layer,
    pub(crate) files: Files,
    /// A comment that permits the statement it stands above or in, if a reason follows.
    pub(crate) unless_marked: Option<&'static str>,
    /// What is wrong and what to do, for the message.
    pub(crate) says: &'static str,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Layer {
    /// Rust code without comments and literals.
    Code,
    /// Rust string literals.
    Strings,
    /// Rust code and comments, and anything in other files.
    Everything,
}

/// The files that a pattern is looked for in.
#[derive(Debug)]
pub(crate) struct Files {
    /// Path prefixes; empty for the whole repository.
    pub(crate) under: &'static [&'static str],
    /// Path prefixes exempt from it.
    pub(crate) except: &'static [&'static str],
    /// Whether test code is looked at too.
    pub(crate) tests: bool,
}

impl Files {
    fn include(&self, file: &File) -> bool {
        let under = |prefixes: &[&str]| prefixes.iter().any(|prefix| file.path.starts_with(prefix));
        (self.under.is_empty() || under(self.under))
            && !under(self.except)
            && (self.tests || !file.is_test())
    }
}

impl Pattern {
    pub(crate) fn check(&self, tree: &Tree) -> Result<Vec<Finding>> {
        let compile = |text: &str| Regex::new(text).with_context(|| format!("pattern {text}"));
        let (words, harmless) = (compile(self.words)?, compile(self.harmless)?);
        let mut findings = Vec::new();
        for file in tree.files().filter(|file| self.files.include(file)) {
            let Some(text) = self.layer.of(file) else { continue };
            for (index, line) in text.lines().enumerate() {
                let line = if self.harmless.is_empty() {
                    line.into()
                } else {
                    harmless.replace_all(line, "")
                };
                let Some(found) = words.find(&line) else { continue };
                if self.excuses(file, index) {
                    continue;
                }
                let message = format!("`{}`: {}", found.as_str().trim(), self.says);
                findings.push(Finding::error(&file.path, index + 1, message));
            }
        }
        Ok(findings)
    }

    /// Whether the line is in test code that is not looked at, or is marked.
    fn excuses(&self, file: &File, index: usize) -> bool {
        let Some(source) = &file.source else { return false };
        if !self.files.tests && source.test_lines.get(index) == Some(&true) {
            return true;
        }
        let Some(marker) = self.unless_marked else { return false };
        let marked = |index: usize| {
            let comment = source.comments.lines().nth(index).unwrap_or_default();
            comment.split_once(marker).is_some_and(|(_, reason)| !reason.trim().is_empty())
        };
        (index.saturating_sub(1)..index + MARKED_LINES).any(marked)
    }
}

impl Layer {
    fn of(self, file: &File) -> Option<&str> {
        match (self, &file.source) {
            (Layer::Code, Some(source)) => Some(&source.code),
            (Layer::Strings, Some(source)) => Some(&source.strings),
            (Layer::Everything, _) => Some(&file.text),
            (Layer::Code | Layer::Strings, None) => None,
        }
    }
}
