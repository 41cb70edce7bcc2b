//! Durations as Go writes them: `1h30m`, `100ms`, `0`. https://pkg.go.dev/time#ParseDuration

use std::time::Duration;

/// Longest units first where one begins like another.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("μs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
];

/// The duration that `text` names; none for text that names none, and for a negative one.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() || text.is_empty() || text == "+" {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|end| *end > 0)?;
        let (number, after) = rest.split_at(end);
        let (unit, seconds) = UNITS.iter().find(|(unit, _)| after.starts_with(unit))?;
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        total = total.checked_add(part)?;
        rest = &after[unit.len()..];
    }
    Some(total)
}

/// A duration in the largest unit in which it is a whole number.
pub(crate) fn format(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let units = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)];
    let whole = units.into_iter().find(|(_, unit)| nanos.is_multiple_of(*unit));
    whole.map_or_else(|| format!("{nanos}ns"), |(name, unit)| format!("{}{name}", nanos / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, nanos) in [
            ("0", Some(0)),
            ("0s", Some(0)),
            ("100ms", Some(100_000_000)),
            ("1.5s", Some(1_500_000_000)),
            ("1h2m3s", Some(3_723_000_000_000)),
            ("+5us", Some(5_000)),
            ("7ns", Some(7)),
            ("", None),
            ("+", None),
            ("5", None),
            ("s", None),
            ("-1s", None),
            ("1.2.3s", None),
            ("5 s", None),
            ("99999999999999999999h", None),
        ] {
            let got = parse(text);
            assert_eq!(got.map(|d| d.as_nanos()), nanos, "{text:?}");
            if let Some(duration) = got {
                assert_eq!(parse(&format(duration)), got, "{text:?}");
            }
        }
        assert_eq!(format(Duration::from_millis(100)), "100ms");
    }
}
