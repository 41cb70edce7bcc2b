//! `WWW-Authenticate`: what a registry wants to see before it answers (RFC 9110, 11.6.1).
//!
//! The header is hostile input. The parser is strict: a header that is not of the grammar is refused
//! whole, a parameter given twice too, so that no two readers can disagree about it.

use std::collections::BTreeMap;

use lamina_core::{Error, Result};
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

use super::answer::clip;

/// One way to authenticate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    /// The scheme in lower case: `basic`, `bearer`, …
    pub(super) scheme: String,
    /// The parameters, names in lower case.
    pub(super) params: BTreeMap<String, String>,
}

/// Every challenge of an answer, in the order written.
///
/// # Errors
/// Unauthenticated when a header is malformed, with what was sent.
pub(super) fn challenges(headers: &HeaderMap) -> Result<Vec<Challenge>> {
    let mut all = Vec::new();
    for value in headers.get_all(WWW_AUTHENTICATE) {
        let text = String::from_utf8_lossy(value.as_bytes());
        let parsed = parse(&text).map_err(|why| {
            Error::new(
                lamina_core::Kind::Unauthenticated,
                format!("cannot read the header WWW-Authenticate {:?}: {why}", clip(&text)),
            )
        })?;
        all.extend(parsed);
    }
    Ok(all)
}

/// Parses one header: challenges parted by commas, each a scheme, then parameters parted by commas
/// or one opaque token (which is dropped: no scheme that registries use has one).
pub(super) fn parse(text: &str) -> Result<Vec<Challenge>, &'static str> {
    if text.len() > LONGEST {
        return Err("it is too long");
    }
    let mut input = Input { rest: text };
    let mut all: Vec<Challenge> = Vec::new();
    loop {
        // Empty list elements are allowed (RFC 9110, 5.6.1).
        while input.blank() || input.take(',') {}
        if input.rest.is_empty() {
            return if all.is_empty() { Err("it names no scheme") } else { Ok(all) };
        }
        all.push(input.challenge()?);
        if all.len() > MOST {
            return Err("it has too many challenges");
        }
    }
}

/// Longest header that is parsed. Real ones have some 200 bytes.
const LONGEST: usize = 8 << 10;
/// Most challenges in a header, and most parameters in a challenge.
const MOST: usize = 32;

struct Input<'a> {
    rest: &'a str,
}

impl<'a> Input<'a> {
    fn challenge(&mut self) -> Result<Challenge, &'static str> {
        let scheme = self.token().ok_or("a scheme is expected")?.to_ascii_lowercase();
        let mut challenge = Challenge { scheme, params: BTreeMap::new() };
        if !self.blank() {
            return match self.rest.chars().next() {
                None | Some(',') => Ok(challenge),
                Some(_) => Err("a blank is expected after a scheme"),
            };
        }
        if self.token68() {
            return Ok(challenge);
        }
        while let Some((name, value)) = self.param()? {
            if challenge.params.insert(name, value).is_some() {
                return Err("a parameter is given twice");
            }
            if challenge.params.len() > MOST {
                return Err("a challenge has too many parameters");
            }
            let before = self.rest;
            self.blank();
            if self.rest.is_empty() {
                break;
            }
            if !self.take(',') {
                return Err("a comma is expected between parameters");
            }
            while self.blank() || self.take(',') {}
            // What follows is the next parameter or, if it has no '=', the next challenge.
            if !self.at_param() {
                self.rest = before;
                break;
            }
        }
        Ok(challenge)
    }

    /// `name=value`; `None` where there is no parameter at all.
    fn param(&mut self) -> Result<Option<(String, String)>, &'static str> {
        if !self.at_param() {
            return Ok(None);
        }
        let name = self.token().ok_or("a parameter's name is expected")?.to_ascii_lowercase();
        self.blank();
        self.take('=');
        self.blank();
        let value = if self.take('"') {
            self.quoted()?
        } else {
            self.token().ok_or("a parameter has no value")?.to_owned()
        };
        Ok(Some((name, value)))
    }

    fn at_param(&self) -> bool {
        let mut ahead = Input { rest: self.rest };
        ahead.token().is_some() && {
            ahead.blank();
            ahead.take('=')
        }
    }

    /// The rest of a quoted string, behind its first quote.
    fn quoted(&mut self) -> Result<String, &'static str> {
        let mut value = String::new();
        let mut chars = self.rest.chars();
        while let Some(c) = chars.next() {
            match c {
                '"' => {
                    self.rest = chars.as_str();
                    return Ok(value);
                }
                '\\' => value.push(chars.next().ok_or("a quoted value does not end")?),
                c if c.is_control() && c != '\t' => return Err("a quoted value has control signs"),
                c => value.push(c),
            }
        }
        Err("a quoted value does not end")
    }

    /// Takes an opaque token (`token68`) that is the whole rest of a challenge.
    fn token68(&mut self) -> bool {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
        let body = self.rest.trim_start_matches(is_part);
        let end = body.trim_start_matches('=').trim_start_matches([' ', '\t']);
        let found = body.len() < self.rest.len() && (end.is_empty() || end.starts_with(','));
        if found {
            self.rest = end;
        }
        found
    }

    fn token(&mut self) -> Option<&'a str> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!token.is_empty()).then_some(token)
    }

    fn blank(&mut self) -> bool {
        let rest = self.rest.trim_start_matches([' ', '\t']);
        let found = rest.len() < self.rest.len();
        self.rest = rest;
        found
    }

    fn take(&mut self, c: char) -> bool {
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn challenge(scheme: &str, params: &[(&str, &str)]) -> Challenge {
        let params = params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Challenge { scheme: scheme.to_owned(), params }
    }

    #[test]
    fn what_registries_send_is_read() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/redis:pull""#;
        let params = [
            ("realm", "https://auth.docker.io/token"),
            ("service", "registry.docker.io"),
            ("scope", "repository:library/redis:pull"),
        ];
        assert_eq!(parse(hub).unwrap(), [challenge("bearer", &params)]);
        for (text, want) in [
            ("Basic", vec![challenge("basic", &[])]),
            // By the grammar an opaque token with its padding.
            ("Bearer realm=", vec![challenge("bearer", &[])]),
            ("BASIC realm=x", vec![challenge("basic", &[("realm", "x")])]),
            (r#"Basic Realm = "a \"b\" c""#, vec![challenge("basic", &[("realm", "a \"b\" c")])]),
            (
                "Negotiate, Basic realm=\"\"",
                vec![challenge("negotiate", &[]), challenge("basic", &[("realm", "")])],
            ),
            (
                "NTLM abc==, Bearer a=b , c=\"d,e\",,Basic realm=f",
                vec![
                    challenge("ntlm", &[]),
                    challenge("bearer", &[("a", "b"), ("c", "d,e")]),
                    challenge("basic", &[("realm", "f")]),
                ],
            ),
        ] {
            assert_eq!(parse(text).unwrap(), want, "{text}");
        }
    }

    #[test]
    fn what_is_not_of_the_grammar_is_refused() {
        let long = format!("Basic realm=\"{}\"", "a".repeat(LONGEST));
        let many = vec!["Basic"; MOST + 1].join(",");
        for text in [
            "",
            " , ",
            "Bearer realm=\"x",
            "Bearer realm=\"x\\",
            "Bearer realm=\"x\" service=\"y\"",
            "Bearer realm=x,realm=y",
            "Bearer realm=\"x\u{1b}[2J\"",
            "Bearer \"x\"",
            "Bearer/1",
            "=x",
            &long,
            &many,
        ] {
            assert!(parse(text).is_err(), "{text:?}: {:?}", parse(text));
        }
    }

    proptest! {
        #[test]
        fn no_input_panics_or_hangs(text in "\\PC{0,80}") {
            let _ = parse(&text);
        }

        #[test]
        fn near_misses_do_not_either(text in "[Bb =,\"\\\\\\t/a]{0,40}") {
            let _ = parse(&text);
        }

        #[test]
        fn what_is_written_is_read(
            scheme in "[A-Za-z]{1,8}",
            params in proptest::collection::btree_map("[a-z]{1,6}", "[ -~]{0,12}", 1..5),
        ) {
            let quote = |v: &str| v.replace('\\', "\\\\").replace('"', "\\\"");
            let list: Vec<_> = params.iter().map(|(k, v)| format!("{k}=\"{}\"", quote(v))).collect();
            let text = format!("{scheme} {}", list.join(", "));
            let want = Challenge { scheme: scheme.to_ascii_lowercase(), params };
            prop_assert_eq!(parse(&text).unwrap(), [want]);
        }
    }
}
