//! The parser: one pass over the text, one character of look-ahead.

use super::pattern::Pattern;
use super::{Selector, Test, quote};
use crate::digest::clip;
use crate::{Error, Result};

/// Parses a text that is not empty.
pub(super) fn selectors(text: &str) -> Result<Vec<Selector>> {
    let mut cursor = Cursor { text, at: 0 };
    let mut selectors = Vec::new();
    loop {
        selectors.push(selector(&mut cursor)?);
        match cursor.peek() {
            None => return Ok(selectors),
            Some(',') => cursor.bump(),
            Some(_) => return Err(cursor.expected("',' or the end")),
        }
    }
}

/// Whether a field name needs no quotes.
pub(super) fn is_bare_field(field: &str) -> bool {
    !field.is_empty() && field.chars().all(is_field)
}

/// Whether a value needs no quotes.
pub(super) fn is_bare_value(value: &str) -> bool {
    value.starts_with(begins_value) && value.chars().all(is_value)
}

fn selector(cursor: &mut Cursor<'_>) -> Result<Selector> {
    let mut path = vec![field(cursor)?];
    while cursor.peek() == Some('.') {
        cursor.bump();
        path.push(field(cursor)?);
    }
    let test = match cursor.peek() {
        None | Some(',') => Test::Present,
        Some(_) => match operator(cursor)? {
            "==" => Test::Equal(value(cursor, false)?),
            "!=" => Test::NotEqual(value(cursor, false)?),
            _ => Test::Matches(Pattern::new(value(cursor, true)?)),
        },
    };
    Ok(Selector { path, test })
}

fn field(cursor: &mut Cursor<'_>) -> Result<String> {
    const WHAT: &str = "a field: letters, digits and '_', or \"…\"";
    cursor.skip_space();
    match cursor.peek() {
        Some('"') => {
            let start = cursor.at;
            String::from_utf8(quote::read(cursor)?)
                .map_err(|_| cursor.error(start, "the quoted field is not UTF-8"))
        }
        Some(c) if is_field(c) => Ok(cursor.take_while(is_field).to_owned()),
        _ => Err(cursor.expected(WHAT)),
    }
}

/// Reads all operator characters in a row, so that `===` is no operator.
fn operator<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str> {
    cursor.skip_space();
    let start = cursor.at;
    match cursor.take_while(is_operator) {
        operator @ ("==" | "!=" | "~=") => Ok(operator),
        "" => Err(cursor.expected("\"==\", \"!=\" or \"~=\"")),
        other => Err(cursor.error(start, &format!("{:?} is not an operator", clip(other)))),
    }
}

/// Reads a value; `/…/` and `|…|` quote only expressions.
fn value(cursor: &mut Cursor<'_>, is_expression: bool) -> Result<Vec<u8>> {
    cursor.skip_space();
    match cursor.peek() {
        Some('"') => quote::read(cursor),
        Some('/' | '|') if is_expression => quote::read(cursor),
        Some('/' | '|') => {
            Err(cursor.error(cursor.at, "a value that begins with '/' or '|' must be in \"…\""))
        }
        Some(c) if begins_value(c) => {
            let start = cursor.at;
            cursor.bump();
            cursor.take_while(is_value);
            Ok(cursor.text.as_bytes()[start..cursor.at].to_vec())
        }
        _ => Err(cursor.expected("a value")),
    }
}

fn is_field(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn is_operator(c: char) -> bool {
    matches!(c, '=' | '!' | '~')
}

/// containerd takes any other character here, even one that is not printable.
fn begins_value(c: char) -> bool {
    is_text(c) && !c.is_whitespace() && !is_operator(c) && !matches!(c, '"' | '/' | '|' | '.' | ',')
}

/// Go's `unicode.IsGraphic` without space and comma: letters, marks, numbers, punctuation, symbols.
fn is_value(c: char) -> bool {
    match c {
        ',' => false,
        _ if c.is_ascii() => c.is_ascii_graphic(),
        _ => is_text(c) && super::re2::is_graphic(c),
    }
}

/// Characters that may stand in a filter at all. U+FFFD is what a broken encoder leaves.
fn is_text(c: char) -> bool {
    !matches!(c, '\0' | char::REPLACEMENT_CHARACTER)
}

/// A position in the text of a filter.
pub(super) struct Cursor<'a> {
    text: &'a str,
    /// In bytes, at a character boundary.
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn bump(&mut self) {
        self.at += self.peek().map_or(0, char::len_utf8);
    }

    /// The next character, unless it may not stand in a filter.
    pub(super) fn next(&mut self) -> Option<char> {
        let c = self.peek().filter(|&c| is_text(c))?;
        self.bump();
        Some(c)
    }

    pub(super) fn error(&self, at: usize, what: &str) -> Error {
        Error::invalid_argument(format!("filters: {:?} at byte {at}: {what}", clip(self.text)))
    }

    fn expected(&self, what: &str) -> Error {
        let found = match self.peek() {
            None => "the end".to_owned(),
            Some(c) => format!("{c:?}"),
        };
        self.error(self.at, &format!("expected {what}, found {found}"))
    }

    fn skip_space(&mut self) {
        self.take_while(char::is_whitespace);
    }

    fn take_while(&mut self, is: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let taken = &rest[..rest.find(|c| !is(c)).unwrap_or(rest.len())];
        self.at += taken.len();
        taken
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }
}
