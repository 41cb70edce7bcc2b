//! Durations: ages in listings, and life times as arguments.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lamina_core::{Error, Result};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;
const MONTH: u64 = 30 * DAY;
const YEAR: u64 = 365 * DAY;

/// How long ago `then` was, roughly, in the words that ctr uses.
pub(crate) fn age(then: Timestamp, now: Timestamp) -> String {
    // A clock that was set back makes things of the future; they are new.
    let seconds = u64::try_from(now.duration_since(then).as_secs()).unwrap_or(0);
    let plain = |unit: u64, name: &str| format!("{} {name}", seconds / unit);
    match seconds {
        0 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..MINUTE => plain(1, "seconds"),
        MINUTE..120 => "About a minute".to_owned(),
        120..HOUR => plain(MINUTE, "minutes"),
        HOUR..7200 => "About an hour".to_owned(),
        7200..172_800 => plain(HOUR, "hours"),
        172_800..1_209_600 => plain(DAY, "days"),
        1_209_600..5_184_000 => plain(WEEK, "weeks"),
        5_184_000..63_072_000 => plain(MONTH, "months"),
        _ => plain(YEAR, "years"),
    }
}

/// Reads `24h`, `1h30m`, `90s`, and `0` for none.
///
/// # Errors
/// InvalidArgument for anything else and for less than nothing.
pub(crate) fn parse_duration(text: &str) -> Result<Duration> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let bad = || Error::invalid_argument(format!("{text:?} is no duration such as 24h or 1h30m"));
    let duration: SignedDuration =
        text.parse().map_err(|error: jiff::Error| bad().with_source(error))?;
    Duration::try_from(duration).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        let then = Timestamp::UNIX_EPOCH;
        for (seconds, text) in [
            (-5, "Less than a second"),
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (150, "2 minutes"),
            (3600, "About an hour"),
            (7200, "2 hours"),
            (172_799, "47 hours"),
            (172_800, "2 days"),
            (1_209_600, "2 weeks"),
            (5_184_000, "2 months"),
            (63_072_000, "2 years"),
        ] {
            let now = Timestamp::from_second(seconds).unwrap();
            assert_eq!(age(then, now), text, "{seconds}");
        }
    }

    #[test]
    fn durations() {
        for (text, seconds) in [("0", 0), ("24h", 86400), ("1h30m", 5400), ("90s", 90)] {
            assert_eq!(parse_duration(text).unwrap().as_secs(), seconds, "{text}");
        }
        for bad in ["", "24", "x", "-1h"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
