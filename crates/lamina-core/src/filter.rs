//! Filters: placeholder interface until the grammar lands (same names and signatures).

use std::borrow::Cow;

use crate::Result;
use crate::labels::Labels;

/// What a filter can look at.
pub trait Fields {
    /// The value at a field path; `None` when absent.
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>>;
}

/// Filters, ORed; none match everything.
#[derive(Clone, Debug, Default)]
pub struct Filters {}

impl Filters {
    /// Parses filter texts.
    ///
    /// # Errors
    /// InvalidArgument with the position.
    pub fn parse_all<S: AsRef<str>>(_: &[S]) -> Result<Self> {
        Ok(Filters {})
    }

    /// Whether something matches.
    pub fn matches(&self, _: &impl Fields) -> bool {
        true
    }
}

/// The label whose key is the rest of a field path, joined by dots.
pub fn label<'a>(labels: &'a Labels, path: &[&str]) -> Option<Cow<'a, str>> {
    labels.get(&path.join(".")).map(|v| Cow::Borrowed(v.as_str()))
}
