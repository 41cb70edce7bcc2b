//! Go's regular expressions in the words of the `regex` crate.
//!
//! Both descend from RE2 and mean mostly the same by the same text. This module rewrites what they
//! read differently: in Go `\d \s \w \b` are ASCII, `{` may be a plain character, `\Q…\E` quotes,
//! octal escapes exist, a class has no set operations and no classes inside, and a repetition of a
//! repetition (`a**`) is an error. Syntax: Go's `regexp/syntax` package documentation.

use std::fmt::Write as _;
use std::str::Chars;
use std::sync::LazyLock;

use regex::Regex;

/// The expression for the `regex` crate, or `None` where Go refuses it. Some errors are left to the
/// compiler of the result.
pub(super) fn translate(go: &str) -> Option<String> {
    let mut out = String::with_capacity(go.len() + 16);
    let mut input = go.chars();
    let mut after_repeat = false;
    while let Some(c) = input.next() {
        let repeat = match c {
            '*' | '+' | '?' => Some(String::from(c)),
            '{' => repeat_count(&mut input)?,
            _ => None,
        };
        if let Some(repeat) = repeat {
            if after_repeat {
                return None;
            }
            out.push_str(&repeat);
            if eat(&mut input, '?') {
                out.push('?');
            }
            after_repeat = true;
            continue;
        }
        after_repeat = false;
        match c {
            '\\' => escape(&mut input, &mut out)?,
            '[' => class(&mut input, &mut out)?,
            '(' => group(&mut input, &mut out)?,
            ')' | '|' | '^' | '$' | '.' => out.push(c),
            _ => literal(&mut out, c),
        }
    }
    Some(out)
}

/// Whether Go counts `c` among letters, marks, numbers, punctuation and symbols.
pub(super) fn is_graphic(c: char) -> bool {
    static GRAPHIC: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"\A[\p{L}\p{M}\p{N}\p{P}\p{S}]\z").ok());
    GRAPHIC.as_ref().is_some_and(|graphic| graphic.is_match(c.encode_utf8(&mut [0; 4])))
}

/// Go's limit for `{n,m}`.
const MOST_REPEAT: u32 = 1000;

/// The classes that go by name inside brackets; the `regex` crate takes others for plain characters.
const POSIX_CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

/// Reads behind a `{`. `Some(None)` if this is a plain character, `None` if the counts are refused.
fn repeat_count(input: &mut Chars<'_>) -> Option<Option<String>> {
    let mut ahead = input.clone();
    let mut body = String::new();
    loop {
        match ahead.next() {
            Some('}') => break,
            Some(c) if c.is_ascii_digit() || c == ',' => body.push(c),
            _ => return Some(None),
        }
    }
    let (low, high) = body.split_once(',').unwrap_or((&body, &body));
    let is_number = |text: &str| {
        text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'))
    };
    if low.is_empty() || !is_number(low) || !is_number(high) {
        return Some(None);
    }
    *input = ahead;
    let bound = |text: &str| text.parse().ok().filter(|&count: &u32| count <= MOST_REPEAT);
    let least = bound(low)?;
    if !high.is_empty() && bound(high)? < least {
        return None;
    }
    Some(Some(format!("{{{body}}}")))
}

/// Reads behind a `(`: Go knows names and the flags `imsU`.
fn group(input: &mut Chars<'_>, out: &mut String) -> Option<()> {
    out.push('(');
    if !eat(input, '?') {
        return Some(());
    }
    out.push('?');
    if eat(input, 'P') && !input.as_str().starts_with('<') {
        return None;
    }
    if eat(input, '<') {
        out.push('<');
        loop {
            match input.next()? {
                '>' => break,
                c if c.is_ascii_alphanumeric() || c == '_' => out.push(c),
                _ => return None,
            }
        }
        out.push('>');
        return Some(());
    }
    loop {
        let c = input.next()?;
        out.push(c);
        match c {
            ':' | ')' => return Some(()),
            'i' | 'm' | 's' | 'U' | '-' => {}
            _ => return None,
        }
    }
}

/// Reads behind a `\` outside a class.
fn escape(input: &mut Chars<'_>, out: &mut String) -> Option<()> {
    match input.next()? {
        'A' => out.push_str(r"\A"),
        'z' => out.push_str(r"\z"),
        'b' => out.push_str(r"(?-u:\b)"),
        'B' => out.push_str(r"(?-u:\B)"),
        'Q' => quoted(input, out),
        c @ ('d' | 's' | 'w') => {
            let _ = write!(out, "(?-i:[{}])", perl_class(c));
        }
        c @ ('D' | 'S' | 'W') => {
            let _ = write!(out, "(?-i:[^{}])", perl_class(c.to_ascii_lowercase()));
        }
        c @ ('p' | 'P') => unicode_class(c, input, out)?,
        c => literal(out, character(c, input)?),
    }
    Some(())
}

/// Reads up to `\E` or the end, every character as it is.
fn quoted(input: &mut Chars<'_>, out: &mut String) {
    while let Some(c) = input.next() {
        if c == '\\' && eat(input, 'E') {
            return;
        }
        literal(out, c);
    }
}

/// Reads behind a `[`. Single characters are written as code points, so that none has a meaning.
fn class(input: &mut Chars<'_>, out: &mut String) -> Option<()> {
    out.push('[');
    if eat(input, '^') {
        out.push('^');
    }
    let mut first = true;
    loop {
        let c = input.next()?;
        match c {
            ']' if !first => break,
            '[' if posix_class(input, out)? => {}
            '\\' if input.as_str().starts_with(['d', 's', 'w', 'D', 'S', 'W', 'p', 'P']) => {
                match input.next()? {
                    c @ ('p' | 'P') => unicode_class(c, input, out)?,
                    c if c.is_ascii_lowercase() => out.push_str(perl_class(c)),
                    c => {
                        let _ = write!(out, "[^{}]", perl_class(c.to_ascii_lowercase()));
                    }
                }
            }
            _ => class_range(c, input, out)?,
        }
        first = false;
    }
    out.push(']');
    Some(())
}

/// Reads a character of a class and, behind a `-` that is not the last, the end of its range.
fn class_range(c: char, input: &mut Chars<'_>, out: &mut String) -> Option<()> {
    let low = class_member(c, input)?;
    let _ = write!(out, r"\x{{{:x}}}", u32::from(low));
    let is_range = input.as_str().starts_with('-') && !input.as_str().starts_with("-]");
    if is_range {
        input.next();
        let c = input.next()?;
        let high = class_member(c, input)?;
        let _ = write!(out, r"-\x{{{:x}}}", u32::from(high));
    }
    Some(())
}

fn class_member(c: char, input: &mut Chars<'_>) -> Option<char> {
    if c != '\\' {
        return Some(c);
    }
    let escaped = input.next()?;
    character(escaped, input)
}

/// Reads `[:name:]` behind its `[`. `Some(false)` if the bracket is a plain character.
fn posix_class(input: &mut Chars<'_>, out: &mut String) -> Option<bool> {
    let Some(rest) = input.as_str().strip_prefix(':') else { return Some(false) };
    let Some((name, rest)) = rest.split_once(":]") else { return Some(false) };
    if !POSIX_CLASSES.contains(&name.strip_prefix('^').unwrap_or(name)) {
        return None;
    }
    let _ = write!(out, "[:{name}:]");
    *input = rest.chars();
    Some(true)
}

/// Reads behind `\p` or `\P`: one letter or `{name}`, where `^` negates.
fn unicode_class(p: char, input: &mut Chars<'_>, out: &mut String) -> Option<()> {
    let mut name = String::new();
    match input.next()? {
        '{' => loop {
            match input.next()? {
                '}' => break,
                c if c.is_ascii_alphanumeric() || matches!(c, '_' | '^') => name.push(c),
                _ => return None,
            }
        },
        c if c.is_ascii_alphabetic() => name.push(c),
        _ => return None,
    }
    let (negated, name) = match name.strip_prefix('^') {
        Some(name) => (true, name),
        None => (false, name.as_str()),
    };
    let p = if (p == 'P') != negated { 'P' } else { 'p' };
    let _ = write!(out, r"\{p}{{{name}}}");
    Some(())
}

/// The character that `\` and `c` spell, both inside and outside of classes.
fn character(c: char, input: &mut Chars<'_>) -> Option<char> {
    let octal = ['0', '1', '2', '3', '4', '5', '6', '7'];
    let code = match c {
        // One digit would be a reference to a group, which RE2 has not.
        '1'..='7' if !input.as_str().starts_with(octal) => return None,
        '0'..='7' => {
            let mut code = c.to_digit(8)?;
            for _ in 0..2 {
                if input.as_str().starts_with(octal) {
                    code = code * 8 + input.next()?.to_digit(8)?;
                }
            }
            code
        }
        'x' => hexadecimal(input)?,
        'a' => 0x07,
        'f' => 0x0c,
        'n' => 0x0a,
        'r' => 0x0d,
        't' => 0x09,
        'v' => 0x0b,
        _ if c.is_ascii() && !c.is_ascii_alphanumeric() => u32::from(c),
        _ => return None,
    };
    char::from_u32(code)
}

/// Reads behind `\x`: two digits, or any number of them in braces.
fn hexadecimal(input: &mut Chars<'_>) -> Option<u32> {
    let first = input.next()?;
    if first != '{' {
        return Some(first.to_digit(16)? * 16 + input.next()?.to_digit(16)?);
    }
    let mut code = input.next()?.to_digit(16)?;
    loop {
        let c = input.next()?;
        if c == '}' {
            return Some(code);
        }
        code = code.checked_mul(16)?.checked_add(c.to_digit(16)?)?;
    }
}

fn perl_class(c: char) -> &'static str {
    match c {
        'd' => "0-9",
        's' => r"\t\n\f\r ",
        _ => "0-9A-Za-z_",
    }
}

fn eat(input: &mut Chars<'_>, c: char) -> bool {
    let is_next = input.as_str().starts_with(c);
    if is_next {
        input.next();
    }
    is_next
}

fn literal(out: &mut String, c: char) {
    out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
}
