//! The keys that let go of a container that goes on.

use std::str::FromStr;

use lamina_core::{Error, Result};

/// Keys to be typed one after the other, by default ctrl-p and ctrl-q.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::verb) struct Keys {
    wanted: Vec<u8>,
    /// How many of them were typed just now, and are held back.
    typed: usize,
}

impl Keys {
    /// As they are typed when nobody says otherwise.
    pub(in crate::verb) const DEFAULT: &str = "ctrl-p,ctrl-q";

    /// What of `input` is for the program, and whether the keys are complete, after which nothing is.
    /// A beginning of the keys is held back until it is known to be none.
    pub(super) fn pass(&mut self, input: &[u8], program: &mut Vec<u8>) -> bool {
        for &byte in input {
            if self.wanted.get(self.typed) == Some(&byte) {
                self.typed += 1;
                if self.typed == self.wanted.len() {
                    return true;
                }
                continue;
            }
            program.extend(&self.wanted[..self.typed]);
            self.typed = 0;
            if self.wanted.first() == Some(&byte) {
                self.typed = 1;
                if self.wanted.len() == 1 {
                    return true;
                }
            } else {
                program.push(byte);
            }
        }
        false
    }
}

impl FromStr for Keys {
    type Err = Error;

    /// A list as `ctrl-p,ctrl-q` or `ctrl-a,d`, parted by commas.
    fn from_str(text: &str) -> Result<Keys> {
        let key = |name: &str| -> Option<u8> {
            match (name.strip_prefix("ctrl-"), name.as_bytes()) {
                (Some(control), _) => match control.as_bytes() {
                    [letter @ (b'a'..=b'z' | b'@' | b'['..=b'_')] => Some(letter & 0x1f),
                    _ => None,
                },
                (None, [byte]) if byte.is_ascii_graphic() => Some(*byte),
                _ => None,
            }
        };
        let wanted: Option<Vec<u8>> = text.split(',').map(key).collect();
        let wanted = wanted.ok_or_else(|| {
            let message = format!("{text:?} are no keys such as ctrl-p,ctrl-q or ctrl-a,d");
            Error::invalid_argument(message)
        })?;
        Ok(Keys { wanted, typed: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &str, chunks: &[&[u8]]) -> (Vec<u8>, bool) {
        let (mut keys, mut program): (Keys, _) = (keys.parse().unwrap(), Vec::new());
        let ended = chunks.iter().any(|chunk| keys.pass(chunk, &mut program));
        (program, ended)
    }

    #[test]
    fn keys_are_found_wherever_reads_end() {
        for (chunks, program, ended) in [
            (&[&b"ab\x10\x11"[..]][..], &b"ab"[..], true),
            (&[b"a\x10", b"\x11"], b"a", true),
            (&[b"a\x10", b"b"], b"a\x10b", false),
            (&[b"\x10\x10\x11x"], b"\x10", true),
            (&[b"\x11\x10"], b"\x11", false),
        ] {
            assert_eq!(typed(Keys::DEFAULT, chunks), (program.to_vec(), ended), "{chunks:?}");
        }
        assert_eq!(typed("ctrl-a,d", &[b"x\x01\x01d"]), (b"x\x01".to_vec(), true));
        assert_eq!(typed("q", &[b"xq"]), (b"x".to_vec(), true));
    }

    #[test]
    fn what_is_no_key() {
        for bad in ["", "ctrl-", "ctrl-pq", "ctrl-P", "a,,b", "ab", "ctrl-1", "ö"] {
            assert!(bad.parse::<Keys>().is_err(), "{bad}");
        }
    }
}
