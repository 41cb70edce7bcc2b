//! The right side of `~=`.

use regex::{Regex, RegexBuilder};

use super::re2;

/// An expression: its text, and what it compiled to.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    source: Vec<u8>,
    /// `None` if it is no expression, or too large.
    regex: Option<Regex>,
}

impl Pattern {
    pub(super) fn new(source: Vec<u8>) -> Self {
        let regex = compile(&source);
        Pattern { source, regex }
    }

    /// The expression as it was written.
    pub(super) fn source(&self) -> &[u8] {
        &self.source
    }

    /// Whether the expression is found anywhere in `value`.
    pub(super) fn finds(&self, value: &str) -> bool {
        self.regex.as_ref().is_some_and(|regex| regex.is_match(value))
    }
}

/// Expressions are equal when they were written alike.
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

/// The most bytes an expression may have. Anybody who may list may send one, and many of them.
const MOST_SOURCE: usize = 32 << 10;
/// The most memory a compiled expression may take; ten times what any sensible one needs.
const MOST_COMPILED: usize = 1 << 20;

fn compile(source: &[u8]) -> Option<Regex> {
    if source.len() > MOST_SOURCE {
        return None;
    }
    let translated = re2::translate(std::str::from_utf8(source).ok()?)?;
    RegexBuilder::new(&translated)
        .size_limit(MOST_COMPILED)
        .dfa_size_limit(MOST_COMPILED)
        .build()
        .ok()
}
