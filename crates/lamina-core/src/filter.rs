//! Filters: which records a listing or a subscription is about.
//!
//! The grammar is containerd's, since clients send it as text. A filter is one or more selectors,
//! parted by commas, all of which must hold; of several filters one is enough.
//!
//! ```text
//! filter   = selector *( "," selector )
//! selector = path [ operator value ]           no operator: the field is present
//! path     = field *( "." field )
//! field    = 1*( letter / digit / "_" ) / quoted
//! operator = "==" / "!=" / "~="                ~= finds an RE2 expression anywhere in the value
//! value    = word / quoted                     word: printable, without comma and space, not
//!                                              beginning with one of  " / | . = ! ~
//! quoted   = a Go string in "…"; for the value after ~= also in /…/ or |…|
//! ```
//! Space is skipped before fields, operators and values, and is an error elsewhere (before a comma, a
//! dot or the end). Single quotes have no meaning. Field names are refused when an escape makes them
//! anything but UTF-8; there is no such field.
//!
//! A field that is absent is the empty text for `!=` and `~=`, and differs from everything for `==`.
//! An expression that does not compile matches nothing; it is not an error.

mod parse;
mod pattern;
mod quote;
mod re2;

use std::borrow::Cow;
use std::fmt;

use crate::Result;
use crate::labels::Labels;
use pattern::Pattern;

/// What a filter can look at.
pub trait Fields {
    /// The value at a field path; `None` when absent, and for a path nobody knows.
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>>;
}

/// The label whose key is the rest of a field path, joined by dots.
pub fn label<'a>(labels: &'a Labels, path: &[&str]) -> Option<Cow<'a, str>> {
    labels.get(&path.join(".")).map(|v| Cow::Borrowed(v.as_str()))
}

/// Filters of which one must match. None at all match everything, as does an empty one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filters {
    filters: Vec<Filter>,
}

impl Filters {
    /// Parses filter texts.
    ///
    /// # Errors
    /// InvalidArgument for the first text that is not a filter, as [`Filter::parse`].
    pub fn parse_all<S: AsRef<str>>(texts: &[S]) -> Result<Self> {
        let filters =
            texts.iter().map(|text| Filter::parse(text.as_ref())).collect::<Result<_>>()?;
        Ok(Filters { filters })
    }

    /// Whether something matches.
    pub fn matches(&self, fields: &(impl Fields + ?Sized)) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| filter.matches(fields))
    }

    /// Whether everything matches, whatever its fields are.
    pub fn match_everything(&self) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| filter.selectors.is_empty())
    }

    /// The filters as texts that parse to the same again, for sending them on.
    pub fn to_texts(&self) -> Vec<String> {
        self.filters.iter().map(Filter::to_string).collect()
    }
}

/// One filter: selectors that must all hold. Without any it matches everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    selectors: Vec<Selector>,
}

impl Filter {
    /// Parses one filter; the empty text matches everything.
    ///
    /// # Errors
    /// InvalidArgument; the message begins with `filters: ` and has the position (in bytes, from 0)
    /// and what was expected there.
    pub fn parse(text: &str) -> Result<Self> {
        let selectors = if text.is_empty() { Vec::new() } else { parse::selectors(text)? };
        Ok(Filter { selectors })
    }

    /// Whether something matches.
    pub fn matches(&self, fields: &(impl Fields + ?Sized)) -> bool {
        self.selectors.iter().all(|selector| selector.holds(fields))
    }
}

/// A text that parses to the same filter, though not always the one it was parsed from.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, selector) in self.selectors.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            fmt::Display::fmt(selector, f)?;
        }
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Selector {
    /// At least one component.
    path: Vec<String>,
    test: Test,
}

/// Values are bytes: escapes can spell what no field can contain.
#[derive(Clone, Debug, PartialEq)]
enum Test {
    Present,
    Equal(Vec<u8>),
    NotEqual(Vec<u8>),
    Matches(Pattern),
}

impl Selector {
    fn holds(&self, fields: &(impl Fields + ?Sized)) -> bool {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let value = fields.field(&path);
        let or_empty = value.as_deref().unwrap_or_default();
        match &self.test {
            Test::Present => value.is_some(),
            Test::Equal(wanted) => value.is_some() && or_empty.as_bytes() == wanted,
            Test::NotEqual(unwanted) => or_empty.as_bytes() != unwanted,
            Test::Matches(pattern) => pattern.finds(or_empty),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, field) in self.path.iter().enumerate() {
            if i > 0 {
                f.write_str(".")?;
            }
            if parse::is_bare_field(field) {
                f.write_str(field)?;
            } else {
                quote::write(f, field.as_bytes())?;
            }
        }
        let (operator, value) = match &self.test {
            Test::Present => return Ok(()),
            Test::Equal(value) => ("==", value.as_slice()),
            Test::NotEqual(value) => ("!=", value.as_slice()),
            Test::Matches(pattern) => ("~=", pattern.source()),
        };
        f.write_str(operator)?;
        match std::str::from_utf8(value) {
            Ok(value) if parse::is_bare_value(value) => f.write_str(value),
            _ => quote::write(f, value),
        }
    }
}

#[cfg(test)]
mod tests;
