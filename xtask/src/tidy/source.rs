//! Rust source taken apart into code, string literals and comments, without parsing it.
//!
//! Each part is the whole file with everything else blanked out, so a byte of a part is on the same
//! line as in the file. That is all the rules need: they look for words in one part and name lines.

/// One Rust file in three layers.
#[derive(Debug)]
pub(crate) struct Source {
    /// Everything that is neither a comment nor the inside of a literal.
    pub(crate) code: String,
    /// String literals with their quotes.
    pub(crate) strings: String,
    /// Comments of every kind with their slashes.
    pub(crate) comments: String,
    /// For each line, whether it belongs to an item under `#[cfg(test)]`.
    pub(crate) test_lines: Vec<bool>,
}

impl Source {
    pub(crate) fn new(text: &str) -> Source {
        let chars: Vec<char> = text.chars().collect();
        let parts = classify(&chars);
        let layer = |wanted: Part| -> String {
            let keep =
                |(&c, &part): (&char, &Part)| if part == wanted || c == '\n' { c } else { ' ' };
            chars.iter().zip(&parts).map(keep).collect()
        };
        let code = layer(Part::Code);
        let test_lines = test_lines(&code);
        Source { code, strings: layer(Part::Str), comments: layer(Part::Comment), test_lines }
    }
}

impl Source {
    /// The names of modules that are compiled for tests only and lie in files of their own.
    pub(crate) fn test_modules(&self) -> Vec<&str> {
        let lines = self.code.lines().zip(&self.test_lines).filter(|(_, test)| **test);
        lines
            .filter_map(|(line, _)| line.trim().strip_suffix(';')?.rsplit_once("mod "))
            .map(|m| m.1)
            .collect()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Code,
    Str,
    Comment,
    /// Character literals: no rule looks at them, but a `'"'` must not open a string.
    Char,
}

fn classify(chars: &[char]) -> Vec<Part> {
    let mut parts = Vec::with_capacity(chars.len());
    while parts.len() < chars.len() {
        let at = parts.len();
        let (part, length) = token(chars, at);
        parts.resize((at + length.max(1)).min(chars.len()), part);
    }
    parts
}

/// The part that starts at `at`, and its length in characters.
fn token(chars: &[char], at: usize) -> (Part, usize) {
    let rest = &chars[at..];
    match rest {
        ['/', '/', ..] => (Part::Comment, up_to(rest, |c| c == '\n')),
        ['/', '*', ..] => (Part::Comment, block_comment(rest)),
        ['"', ..] => (Part::Str, quoted(rest, '"')),
        ['r', '"' | '#', ..] if !continues_a_name(chars, at) => match raw_string(rest) {
            Some(length) => (Part::Str, length),
            None => (Part::Code, 1),
        },
        // A quote is a character literal if it is closed where one would end, else a lifetime.
        ['\'', '\\', ..] => (Part::Char, quoted(rest, '\'')),
        ['\'', _, '\'', ..] => (Part::Char, 3),
        _ => (Part::Code, 1),
    }
}

/// `br"…"` and `cr"…"` are raw strings, `for"…"` is none.
fn continues_a_name(chars: &[char], at: usize) -> bool {
    let name = |index: usize| chars.get(index).is_some_and(|c| c.is_alphanumeric() || *c == '_');
    match at.checked_sub(1) {
        Some(before) if matches!(chars[before], 'b' | 'c') => {
            before.checked_sub(1).is_some_and(name)
        }
        Some(before) => name(before),
        None => false,
    }
}

fn up_to(rest: &[char], end: impl Fn(char) -> bool) -> usize {
    rest.iter().position(|&c| end(c)).unwrap_or(rest.len())
}

/// Block comments nest in Rust.
fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut index) = (0usize, 0);
    while index < rest.len() {
        match &rest[index..] {
            ['/', '*', ..] => (depth, index) = (depth + 1, index + 2),
            ['*', '/', ..] => (depth, index) = (depth - 1, index + 2),
            _ => index += 1,
        }
        if depth == 0 {
            return index;
        }
    }
    rest.len()
}

fn quoted(rest: &[char], quote: char) -> usize {
    let mut index = 1;
    while index < rest.len() {
        match rest[index] {
            '\\' => index += 2,
            c if c == quote => return index + 1,
            _ => index += 1,
        }
    }
    rest.len()
}

/// The length of `r"…"`, `r#"…"#` and so on; none for a raw identifier such as `r#type`.
fn raw_string(rest: &[char]) -> Option<usize> {
    let hashes = up_to(&rest[1..], |c| c != '#');
    let open = 1 + hashes;
    if rest.get(open) != Some(&'"') {
        return None;
    }
    let closes = |&index: &usize| {
        rest[index] == '"'
            && rest[index + 1..].iter().take(hashes).filter(|&&c| c == '#').count() == hashes
    };
    let end = (open + 1..rest.len()).find(closes);
    Some(end.map_or(rest.len(), |quote| quote + 1 + hashes))
}

/// Marks the lines of every item that `#[cfg(test)]` (or `cfg(all(test, …))`) stands before: up to
/// its closing brace, or its semicolon.
fn test_lines(code: &str) -> Vec<bool> {
    let mut marks = vec![false; code.lines().count()];
    let line_of = |at: usize| code[..at].matches('\n').count();
    for opening in ["#[cfg(test)]", "#[cfg(all(test,"] {
        for (start, _) in code.match_indices(opening) {
            let end = item_end(code, start);
            for mark in marks.iter_mut().take(line_of(end) + 1).skip(line_of(start)) {
                *mark = true;
            }
        }
    }
    marks
}

fn item_end(code: &str, start: usize) -> usize {
    let mut depth = 0usize;
    for (offset, byte) in code[start..].bytes().enumerate() {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 && matches!(byte, b';' | b'}') {
            return start + offset;
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_literal_and_comment_is_told_apart() {
        // (source, what is left as code, strings, comments), blanks squeezed.
        let cases = [
            ("a(\"s\\\"t\"); // c", "a( );", "\"s\\\"t\"", "// c"),
            ("a /* x /* y */ z */ b", "a b", "", "/* x /* y */ z */"),
            ("r\"a\\\" b", "b", "r\"a\\\"", ""),
            ("r#\"a \" b\"# c", "c", "r#\"a \" b\"#", ""),
            ("br##\"a\"# b\"## c", "b c", "r##\"a\"# b\"##", ""),
            ("let r#type = 1;", "let r#type = 1;", "", ""),
            ("f('\"', 'a', '\\'', b'/') // x", "f( , , , b )", "", "// x"),
            ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}", "", ""),
            ("for\"x\"", "for", "\"x\"", ""),
            ("\"é // no\" y", "y", "\"é // no\"", ""),
            ("\"open", "", "\"open", ""),
        ];
        for (text, code, strings, comments) in cases {
            let source = Source::new(text);
            let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(squeeze(&source.code), code, "code of {text}");
            assert_eq!(squeeze(&source.strings), strings, "strings of {text}");
            assert_eq!(squeeze(&source.comments), comments, "comments of {text}");
        }
    }

    #[test]
    fn parts_keep_their_lines() {
        let source = Source::new("/* a\n b */ c\n\"d\ne\" f\n");
        assert_eq!(source.code.lines().map(str::trim).collect::<Vec<_>>(), ["", "c", "", "f"]);
        assert_eq!(
            source.strings.lines().map(str::trim).collect::<Vec<_>>(),
            ["", "", "\"d", "e\""]
        );
    }

    #[test]
    fn test_items_are_marked_to_their_end() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n  fn b() { if x {} }\n}\nfn c() {}\n\
                    #[cfg(test)]\nuse x;\nfn d() {}\n";
        let marks = Source::new(text).test_lines;
        assert_eq!(marks, [false, true, true, true, true, false, true, true, false]);
    }

    #[test]
    fn modules_for_tests_are_named() {
        let source = Source::new("mod a;\n#[cfg(test)]\npub(crate) mod b;\n#[cfg(test)]\nuse c;\n");
        assert_eq!(source.test_modules(), ["b"]);
    }
}
