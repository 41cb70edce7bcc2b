//! Quoted texts: Go's escapes, between any of the three quotes.

use std::fmt::{self, Write as _};

use super::parse::Cursor;
use crate::Result;

/// Reads a quoted text at whose opening quote the cursor stands, and the closing one.
pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Vec<u8>> {
    let start = cursor.at();
    let quote = cursor.next();
    let mut bytes = Vec::new();
    loop {
        let at = cursor.at();
        match cursor.next() {
            c if c == quote => return Ok(bytes),
            None | Some('\n') => {
                return Err(cursor.error(start, "the quoted text is not closed"));
            }
            Some('\\') => read_escape(cursor, quote, &mut bytes).ok_or_else(|| {
                cursor.error(at, "this is none of the escapes \\a \\b \\f \\n \\r \\t \\v \\\\ \\NNN \\xNN \\uNNNN \\UNNNNNNNN or the quote in use")
            })?,
            Some(c) => push(&mut bytes, c),
        }
    }
}

/// Writes `bytes` in double quotes so that [`read`] gives them back.
pub(super) fn write(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    f.write_char('"')?;
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                '\n' => f.write_str("\\n")?,
                // ASCII only beyond this guard, so two digits are enough.
                _ if c.is_ascii_control() => write!(f, "\\x{:02x}", u32::from(c))?,
                char::REPLACEMENT_CHARACTER => f.write_str("\\ufffd")?,
                _ => f.write_char(c)?,
            }
        }
        for byte in chunk.invalid() {
            write!(f, "\\x{byte:02x}")?;
        }
    }
    f.write_char('"')
}

/// Reads what follows a backslash. Octal and `\x` spell a byte, `\u` and `\U` a code point.
fn read_escape(cursor: &mut Cursor<'_>, quote: Option<char>, bytes: &mut Vec<u8>) -> Option<()> {
    let byte = match cursor.peek()? {
        long @ ('u' | 'U') => {
            cursor.bump();
            let code = digits(cursor, 16, if long == 'u' { 4 } else { 8 })?;
            if code > u32::from(char::MAX) {
                return None;
            }
            // As Go's encoder does with halves of surrogate pairs.
            push(bytes, char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            return Some(());
        }
        'x' => {
            cursor.bump();
            bytes.push(u8::try_from(digits(cursor, 16, 2)?).ok()?);
            return Some(());
        }
        '0'..='7' => {
            bytes.push(u8::try_from(digits(cursor, 8, 3)?).ok()?);
            return Some(());
        }
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        c if Some(c) == quote => u8::try_from(c).ok()?,
        _ => return None,
    };
    cursor.bump();
    bytes.push(byte);
    Some(())
}

/// Exactly `count` digits; `count` is at most eight, so they fit.
fn digits(cursor: &mut Cursor<'_>, radix: u32, count: u32) -> Option<u32> {
    (0..count).try_fold(0, |value, _| {
        let digit = cursor.next()?.to_digit(radix)?;
        Some(value * radix + digit)
    })
}

fn push(bytes: &mut Vec<u8>, c: char) {
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}
