//! Numbers and times as tar headers write them.
//!
//! Read as strictly as Go reads them: what one reader takes for 0 and another for 512 is how an
//! archive shows different files to a scanner and to us (CVE-2025-62518 and its kin).

use lamina_sys::fs::Time;

/// A header's numeric field: octal text, or base 256 with the first bit set, where the second one
/// is the sign. `None` for anything else.
pub(super) fn field(bytes: &[u8]) -> Option<i128> {
    match bytes.first() {
        None => Some(0),
        Some(first) if first & 0x80 != 0 => base256(bytes),
        Some(_) => octal(bytes),
    }
}

/// A field that counts bytes: neither negative nor beyond what a file can hold.
pub(super) fn size(bytes: &[u8]) -> Option<u64> {
    let value = field(bytes)?;
    i64::try_from(value).ok().and_then(|value| u64::try_from(value).ok())
}

/// Seconds in a header's field.
pub(super) fn seconds(bytes: &[u8]) -> Option<Time> {
    let sec = i64::try_from(field(bytes)?).ok()?;
    Some(Time { sec, nsec: 0 })
}

/// A PAX record's number of bytes or id: decimal digits only.
pub(super) fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// A PAX record's time: `[-]seconds[.fraction]`, cut at nanoseconds towards the past.
pub(super) fn pax_time(value: &[u8]) -> Option<Time> {
    let (negative, digits) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let mut parts = digits.splitn(2, |byte| *byte == b'.');
    let whole = i64::try_from(decimal(parts.next()?)?).ok()?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |at: usize| fraction.get(at).map_or(0, |byte| u32::from(byte - b'0'));
    let nsec = (0..9).fold(0, |value, at| value * 10 + digit(at));
    if !negative {
        return Some(Time { sec: whole, nsec });
    }
    // Digits that are cut off make the time earlier, not later.
    let cut = fraction.get(9..).is_some_and(|rest| rest.iter().any(|byte| *byte != b'0'));
    let below = nsec + u32::from(cut);
    match below {
        0 => Some(Time { sec: -whole, nsec: 0 }),
        below => Some(Time { sec: (-whole).checked_sub(1)?, nsec: 1_000_000_000 - below }),
    }
}

fn octal(bytes: &[u8]) -> Option<i128> {
    let filler = |byte: &u8| matches!(byte, b' ' | 0);
    let Some(start) = bytes.iter().position(|byte| !filler(byte)) else { return Some(0) };
    let text = &bytes[start..];
    // What follows a NUL is not looked at, as in C.
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let end = text.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
    text[..end].iter().try_fold(0i128, |value, byte| match byte {
        b'0'..=b'7' => Some(value.checked_mul(8)? + i128::from(byte - b'0')),
        _ => None,
    })
}

fn base256(bytes: &[u8]) -> Option<i128> {
    if bytes.len() > 16 {
        return None;
    }
    let first = *bytes.first()?;
    // The marker is not part of the number; the bit behind it is repeated in its place.
    let negative = first & 0x40 != 0;
    let start = if negative { -1i128 } else { 0 };
    let head = if negative { first } else { first & 0x7f };
    let rest = bytes.iter().skip(1);
    Some(rest.fold((start << 8) | i128::from(head), |value, byte| (value << 8) | i128::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_fields() {
        let cases: [(&[u8], Option<i128>); 16] = [
            (b"0000644\0", Some(0o644)),
            (b" 644 \0\0\0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"", Some(0)),
            (b"777777777777", Some(0o777777777777)),
            (b"644\0junk", Some(0o644)),
            (b"+000644\0", None),
            (b"-000644\0", None),
            (b"0x10\0\0\0\0", None),
            (b"0000648\0", None),
            (b"6 4\0\0\0\0\0", None),
            (b"\x80\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00", Some(-256)),
            (b"\x80\0\0\x01\0\0\0\0\0\0\0\x64", Some((1 << 64) + 100)),
        ];
        for (bytes, value) in cases {
            assert_eq!(field(bytes), value, "{}", bytes.escape_ascii());
        }
        assert_eq!(size(b"\x80\0\0\x01\0\0\0\0\0\0\0\x64"), None, "wraps to 100 in 64 bits");
        assert_eq!(size(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00"), None);
        assert_eq!(seconds(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00").unwrap().sec, -256);
    }

    #[test]
    fn pax_times() {
        let cases: [(&str, Option<(i64, u32)>); 16] = [
            ("0", Some((0, 0))),
            ("1700000000.123456789", Some((1_700_000_000, 123_456_789))),
            ("1.5", Some((1, 500_000_000))),
            ("1.", Some((1, 0))),
            ("1.0000000019", Some((1, 1))),
            ("-1", Some((-1, 0))),
            ("-1.5", Some((-2, 500_000_000))),
            ("-0.000000001", Some((-1, 999_999_999))),
            ("-0.0000000001", Some((-1, 999_999_999))),
            ("", None),
            (".5", None),
            ("1.5.5", None),
            ("+1", None),
            ("1e3", None),
            ("--1", None),
            ("99999999999999999999", None),
        ];
        for (text, time) in cases {
            let time = time.map(|(sec, nsec)| Time { sec, nsec });
            assert_eq!(pax_time(text.as_bytes()), time, "{text}");
        }
        assert_eq!(decimal(b"18446744073709551616"), None);
        assert_eq!(decimal(b"4294967296"), Some(1 << 32));
    }
}
